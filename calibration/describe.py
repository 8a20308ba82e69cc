"""A camera record in words."""

import torch
from torch import Tensor

from .camera import Camera

__all__ = ["describe"]


def describe(camera: Camera) -> str:
    """Tell what a record holds and how well the camera is conditioned, one fact a line."""
    window = camera.window
    frame = "x".join(map(str, camera.frame_shape))
    lines = [
        f"{camera.name}",
        f"kind: {camera.kind}",
        f"frame: {frame}, levels {camera.black_level:g} to {camera.white_level:g}, "
        f"mosaic {camera.bayer or 'none'}",
        f"used: {window.height}x{window.width} from row {window.top}, column {window.left} of "
        f"each plane, turned by {camera.rotation_deg:.4f} degrees",
        f"scene: {'x'.join(map(str, camera.operator().scene_shape[-2:]))} samples",
        f"row and column means: {'removed' if camera.mean_removal else 'kept'}",
    ]
    for side, phi in (("height", camera.phi_left), ("width", camera.phi_right)):
        if phi is not None:
            lines.append(f"along the {side}: {_conditioning(phi, camera.mean_removal)}")
    for title in ("geometry", "residuals", "provenance"):
        entries = getattr(camera, title)
        if entries:
            lines.append(f"{title}: {', '.join(sorted(entries))}")
    lines.append(f"digest: {camera.digest}")
    return "\n".join(lines)


def _conditioning(phi: Tensor, mean_removal: bool) -> str:
    """Count the modes that a capture measures well, in the worst plane."""
    phi = phi - phi.mean(-2, keepdim=True) if mean_removal else phi
    values = torch.linalg.svdvals(phi.double())
    relative = (values / values[..., :1]).reshape(-1, values.shape[-1])
    tenth, hundredth = (int((relative > share).sum(-1).min()) for share in (0.1, 0.01))
    return f"{hundredth} of {phi.shape[-1]} modes over 1 % of the strongest, {tenth} over 10 %"
