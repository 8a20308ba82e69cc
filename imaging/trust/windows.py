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
    mean = values.reshape(-1, 1, *values.shape[-2:])
    for size in ((window, 1), (1, window)):  # one axis at a time: cheap, and the same
        mean = torch.nn.functional.avg_pool2d(
            mean, size, stride=1, padding=(size[0] // 2, size[1] // 2), count_include_pad=False
        )
    return mean.reshape(values.shape)
