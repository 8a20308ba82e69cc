"""A camera record in words."""

import torch
from torch import Tensor

from .camera import Camera
from .report.findings import findings
from .report.spectrum import relative_singular_values

__all__ = ["describe"]


def describe(camera: Camera) -> str:
    """Tell what a record holds, how well the camera is conditioned, and what to beware of."""
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
    if camera.psf is not None:
        lines.append(f"PSF: {_passed(camera.psf)}")
    for title in ("geometry", "residuals", "provenance"):
        entries = getattr(camera, title)
        if entries:
            lines.append(f"{title}: {', '.join(sorted(entries))}")
    lines.append(f"digest: {camera.digest}")
    lines += [f"warning: {finding}" for finding in findings(camera)]
    return "\n".join(lines)


def _conditioning(phi: Tensor, mean_removal: bool) -> str:
    """Count the modes that a capture measures well, in the worst plane."""
    relative = relative_singular_values(phi, mean_removal=mean_removal)
    tenth, hundredth = (int((relative > share).sum(-1).min()) for share in (0.1, 0.01))
    return f"{hundredth} of {phi.shape[-1]} modes over 1 % of the strongest, {tenth} over 10 %"


def _passed(psf: Tensor) -> str:
    """Count the frequencies that reach the capture, in the worst plane."""
    transfer = torch.fft.rfft2(psf.double()).abs().flatten(-2)
    relative = (transfer / transfer[..., :1]).reshape(-1, transfer.shape[-1])
    hundredth, thousandth = (
        float((relative > share).double().mean(-1).min()) for share in (0.01, 0.001)
    )
    return (
        f"{hundredth:.1%} of frequencies keep over 1 % of their contrast, "
        f"{thousandth:.1%} over 0.1 %"
    )
