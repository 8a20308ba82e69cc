"""Turning sensor planes by a small angle, to undo a mask mounted askew."""

import math
from functools import lru_cache

import torch
from torch import Tensor

from .shapes import ShapeError, check_floating

__all__ = ["rotate"]


def rotate(
    planes: Tensor, angle_deg: float, *, window: tuple[slice, slice] | None = None
) -> Tensor:
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
    window : tuple of slice, optional
        Rows and columns of the turned planes that are wanted, without steps; all by default.

    Returns
    -------
    Tensor, shape (..., height, width) of the window
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
        return planes if window is None else planes[..., window[0], window[1]]
    height, width = planes.shape[-2:]
    rows, columns = window or (slice(None), slice(None))
    cut = (rows.indices(height)[:2], columns.indices(width)[:2])
    turned = torch.nn.functional.grid_sample(
        planes.reshape(1, -1, height, width),
        _grid((height, width), cut, angle_deg, planes.dtype, planes.device),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=True,
    )
    return turned.reshape(*planes.shape[:-2], *turned.shape[-2:])


@lru_cache(maxsize=2)  # of large tensors; captures of one camera share one
@torch.inference_mode(False)  # so that whoever comes next may ask for gradients
def _grid(
    shape: tuple[int, int],
    cut: tuple[tuple[int, int], tuple[int, int]],
    angle_deg: float,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Find where each pixel within the cut takes its value, shape (1, rows, columns, 2)."""
    height, width = shape
    angle = math.radians(angle_deg)
    y, x = (torch.arange(start, stop, dtype=torch.float64) for start, stop in cut)
    y = y[:, None]
    source_x = x * math.cos(angle) - y * math.sin(angle)
    source_y = x * math.sin(angle) + y * math.cos(angle)
    # grid_sample wants the centres of the first and last pixel at -1 and 1.
    grid = torch.stack(
        [2 * source_x / max(width - 1, 1) - 1, 2 * source_y / max(height - 1, 1) - 1], dim=-1
    )
    return grid.to(device=device, dtype=dtype)[None]
