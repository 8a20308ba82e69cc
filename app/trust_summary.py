"""Short numbers and small maps that stand for full ones in a record."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..imaging.trust import ChiSquare, Conformal
from .json_numbers import json_numbers

__all__ = ["coarse_map", "interval_entry", "level_entry", "std_summary"]

_MAP_SIZE = 16


def level_entry(level: ChiSquare) -> dict[str, Any]:
    """Give a record's entry of a chi-square test."""
    return {
        "chi_square": json_numbers(level.ratio),
        "dof": json_numbers(level.dof),
        "p_value": json_numbers(level.p_value),
    }


def std_summary(std: Tensor) -> dict[str, Any]:
    """Summarise expected errors, shape (colours, height, width), colour by colour."""
    median, high = _quantiles(std)
    return {
        "expected_median": json_numbers(median),
        "expected_95_percent": json_numbers(high),
    }


def interval_entry(
    intervals: Conformal | None, std: Tensor
) -> tuple[Tensor | None, dict[str, Any]]:
    """Give the half width of intervals, shape (height, width), and their entry in a record.

    Of expected errors, shape (colours, height, width), the mean over colours counts. Without a
    calibration there is neither.
    """
    if intervals is None:
        return None, {}
    half_width = intervals.half_width(std.mean(0))
    median, high = _quantiles(half_width)
    summary = {
        "coverage": intervals.coverage,
        "half_width_median": json_numbers(median),
        "half_width_95_percent": json_numbers(high),
        "calibrated_on_samples": intervals.samples,
    }
    return half_width, {"interval": summary}


def coarse_map(values: Tensor) -> list[list[float | None]]:
    """Shrink a map (height, width) for a record; null where it holds nothing but NaN."""
    size = (min(_MAP_SIZE, values.shape[0]), min(_MAP_SIZE, values.shape[1]))
    known = (~values.isnan()).to(values)
    pool = torch.nn.functional.adaptive_avg_pool2d
    mean = pool(values.nan_to_num(0.0)[None], size)[0] / pool(known[None], size)[0]
    return [
        [float(f"{value:.4g}") if math.isfinite(value) else None for value in row]
        for row in mean.tolist()
    ]


def _quantiles(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Median and 95th percentile of maps (..., height, width)."""
    flat = maps.flatten(-2).cpu().numpy()  # NumPy selects ten times as fast
    places = (math.ceil(share * flat.shape[-1]) - 1 for share in (0.5, 0.95))
    median, high = (torch.as_tensor(np.partition(flat, k)[..., k]) for k in places)
    return median, high
