"""Means over a square window around each sample."""

import torch
from torch import Tensor

__all__ = ["check_window", "window_mean"]


def check_window(window: int) -> None:
    """Require an odd, positive side."""
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window must be odd and positive, got {window}")


def window_mean(values: Tensor, window: int) -> Tensor:
    """Mean over the part of the window that lies inside (..., height, width), for odd sides."""
    for axis in (-2, -1):
        inside = _line_sum(values.new_ones(values.shape[axis], 1), window, -2)
        values = _line_sum(values, window, axis) / (inside if axis == -2 else inside.mT)
    return values


def _line_sum(values: Tensor, window: int, axis: int) -> Tensor:
    """Sum of the neighbours along an axis, by doubling: of 17 = 1 + 16 in six additions."""
    length, half = values.shape[axis], window // 2
    pairs = torch.nn.functional.pad(values, (half, half) if axis == -1 else (0, 0, half, half))
    total, start, size = torch.zeros_like(values), 0, 1
    while True:
        if window & size:
            total += pairs.narrow(axis, start, length)
            start += size
        if 2 * size > window:
            return total
        left = pairs.shape[axis] - size
        pairs = pairs.narrow(axis, 0, left) + pairs.narrow(axis, size, left)
        size *= 2
