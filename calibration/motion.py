"""Small motions of the captured shadow: undone in a capture, or followed by a camera record."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .camera import Camera, Crop
from .errors import CalibrationError

__all__ = ["Drift", "correct_camera", "move_planes", "moved_rows"]


@dataclass(frozen=True)
class Drift:
    """Motion of the captured shadow since calibration, about the centre of the plane.

    Attributes
    ----------
    shift_down_px, shift_right_px : float
        In samples of a plane. A scene that has moved looks nearly the same: the edges of the
        calibrated field tell the two apart, so that a scene must be dark beyond them.
    scale : float
        Magnification, 1 for none.
    rotation_deg : float
        Clockwise on the screen, where rows run down.
    """

    shift_down_px: float = 0.0
    shift_right_px: float = 0.0
    scale: float = 1.0
    rotation_deg: float = 0.0

    def describe(self) -> str:
        """Say the motion in words."""
        return (
            f"{self.shift_down_px:+.2f} px down and {self.shift_right_px:+.2f} px right, "
            f"{self.scale - 1:+.3%} larger, turned by {self.rotation_deg:+.3f} degrees"
        )


def move_planes(planes: Tensor, drift: Drift) -> Tensor:
    """Undo a motion: resample planes (..., height, width) where the shadow has gone."""
    height, width = planes.shape[-2:]
    angle = math.radians(drift.rotation_deg)
    y = torch.arange(height, dtype=torch.float64)[:, None] - (height - 1) / 2
    x = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
    moved_x = drift.scale * (x * math.cos(angle) - y * math.sin(angle)) + drift.shift_right_px
    moved_y = drift.scale * (x * math.sin(angle) + y * math.cos(angle)) + drift.shift_down_px
    grid = torch.stack([moved_x * 2 / (width - 1), moved_y * 2 / (height - 1)], dim=-1)
    moved = torch.nn.functional.grid_sample(
        planes.reshape(1, -1, height, width),
        grid.to(planes)[None],
        mode="bicubic",
        padding_mode="reflection",
        align_corners=True,
    )
    return moved.reshape(planes.shape)


def correct_camera(camera: Camera, drift: Drift) -> Camera:
    """Copy a camera as it is after a drift.

    The rotation goes into the record's own angle; shift and scale move the rows of the matrices.
    Turning leaves a border without data, by which the crop shrinks.
    """
    if camera.phi_left is None or camera.phi_right is None:
        raise CalibrationError(
            f"{camera.name!r} is a {camera.kind} camera; a separable one is needed"
        )
    window = camera.window
    down, right = _shift_after_turning(window, drift)
    margin = math.ceil(
        abs(math.radians(drift.rotation_deg)) * max(camera.plane_shape)
        + (0.5 if drift.rotation_deg else 0)
    )
    kept = slice(margin, -margin or None)
    return replace(
        camera,
        rotation_deg=camera.rotation_deg + drift.rotation_deg,
        crop=Crop(
            window.top + margin,
            window.left + margin,
            window.height - 2 * margin,
            window.width - 2 * margin,
        ),
        phi_left=moved_rows(camera.phi_left, drift.scale, down)[..., kept, :].contiguous(),
        phi_right=moved_rows(camera.phi_right, drift.scale, right)[..., kept, :].contiguous(),
        phi_left_std=None if camera.phi_left_std is None else camera.phi_left_std[..., kept, :],
        phi_right_std=None if camera.phi_right_std is None else camera.phi_right_std[..., kept, :],
        provenance={**camera.provenance, "corrected_for_drift": vars(drift)},
    )


def _shift_after_turning(window: Crop, drift: Drift) -> tuple[float, float]:
    """Shift (down, right) that is left once planes are turned about their first pixel."""
    angle = -math.radians(drift.rotation_deg)
    centre_y = window.top + (window.height - 1) / 2
    centre_x = window.left + (window.width - 1) / 2
    y, x = centre_y + drift.shift_down_px, centre_x + drift.shift_right_px
    return (
        x * math.sin(angle) + y * math.cos(angle) - centre_y,
        x * math.cos(angle) - y * math.sin(angle) - centre_x,
    )


def moved_rows(phi: Tensor, scale: float, shift: float) -> Tensor:
    """Resample the rows of a matrix where a moved shadow puts them, by cubic splines."""
    from scipy.interpolate import CubicSpline

    sensor = phi.shape[-2]
    centre = (sensor - 1) / 2
    rows = torch.arange(sensor, dtype=torch.float64)
    source = ((rows - centre - shift) / scale + centre).clamp(0, sensor - 1)
    spline = CubicSpline(rows.numpy(), phi.double().movedim(-2, 0).numpy())
    return torch.from_numpy(spline(source.numpy())).movedim(0, -2).to(phi.dtype).contiguous()
