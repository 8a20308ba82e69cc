"""Turning sensor planes by a small angle, to undo a mask mounted askew."""

import math
from functools import lru_cache

import torch
from torch import Tensor

from .shapes import ShapeError, check_floating

__all__ = ["rotate"]


def rotate(planes: Tensor, angle_deg: float) -> Tensor:
    r"""Turn planes about the centre of their first pixel, interpolating bilinearly.

    Output pixel :math:`(x, y)` takes the value at
    :math:`(x \cos a - y \sin a,\; x \sin a + y \cos a)`, with x along the width and y down the
    height: the convention of FlatNet's published preprocessing. What lies outside is zero.

    Parameters
    ----------
    planes : Tensor, shape (..., height, width)
        Sensor planes; of the same dtype as the result.
    angle_deg : float
        The angle :math:`a`, in degrees.

    Returns
    -------
    Tensor, shape (..., height, width)
        The turned planes; the very same values where the angle is 0.

    Raises
    ------
    ShapeError, TypeError
        The planes have fewer than two axes, or no floating-point dtype.
    """
    check_floating(planes, "planes")
    if planes.ndim < 2:
        raise ShapeError(f"planes must have shape (..., height, width), got {tuple(planes.shape)}")
    if angle_deg == 0:
        return planes
    height, width = planes.shape[-2:]
    turned = torch.nn.functional.grid_sample(
        planes.reshape(1, -1, height, width),
        _grid(height, width, angle_deg, planes.dtype, planes.device),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=True,
    )
    return turned.reshape(planes.shape)


@lru_cache(maxsize=2)  # of large tensors; captures of one camera share one
@torch.inference_mode(False)  # so that whoever comes next may ask for gradients
def _grid(
    height: int, width: int, angle_deg: float, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Find where each pixel takes its value, shape (1, height, width, 2)."""
    angle = math.radians(angle_deg)
    y = torch.arange(height, dtype=torch.float64)[:, None]
    x = torch.arange(width, dtype=torch.float64)
    source_x = x * math.cos(angle) - y * math.sin(angle)
    source_y = x * math.sin(angle) + y * math.cos(angle)
    # grid_sample wants the centres of the first and last pixel at -1 and 1.
    grid = torch.stack(
        [2 * source_x / max(width - 1, 1) - 1, 2 * source_y / max(height - 1, 1) - 1], dim=-1
    )
    return grid.to(device=device, dtype=dtype)[None]
