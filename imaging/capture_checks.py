"""What a raw capture must be before it is worth reconstructing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["CaptureError", "CaptureLevels", "check_capture"]


class CaptureError(ValueError):
    """A capture cannot be used; the message says what is wrong, with the numbers."""


@dataclass(frozen=True)
class CaptureLevels:
    """The counts of a capture that passed its checks.

    Attributes
    ----------
    minimum, maximum, mean : float
        In the units of the file.
    saturated_share : float
        Share of the pixels at the white level, in [0, 1].
    """

    minimum: float
    maximum: float
    mean: float
    saturated_share: float


def check_capture(
    raw: Tensor,
    *,
    white_level: float,
    expected_shape: Sequence[int] | None = None,
    saturated_limit: float = 0.01,
) -> CaptureLevels:
    """Refuse a raw capture that cannot be what its camera gives.

    Parameters
    ----------
    raw : Tensor of any real dtype, shape (height, width) or (channels, height, width)
        Counts as stored, from :func:`~barelens.imaging.files.read_raw`.
    white_level : float
        The count at which the sensor saturates, such as 4095 or 65535.
    expected_shape : sequence of int, optional
        The camera's frame; any where left out.
    saturated_limit : float, optional
        Largest share of saturated pixels to accept, in [0, 1].

    Returns
    -------
    CaptureLevels
        For the record of a reconstruction.

    Raises
    ------
    CaptureError
        Another shape, a dtype too small for the white level, NaN or infinity, counts over the
        white level, too many saturated pixels, or the same count everywhere.
    """
    _check_form(raw, white_level, expected_shape)
    # As an array, because torch cannot compare its unsigned 16-bit integers.
    counts = (raw.detach().double() if raw.is_floating_point() else raw).cpu().numpy()
    bad = counts.size - np.count_nonzero(np.isfinite(counts)) if raw.is_floating_point() else 0
    if bad:
        raise CaptureError(f"capture has {bad} of {counts.size} values NaN or infinite")
    minimum, maximum = float(counts.min()), float(counts.max())
    if maximum > white_level:
        raise CaptureError(f"capture reaches {maximum:g}, over the white level {white_level:g}")
    if minimum == maximum:
        raise CaptureError(f"capture is {maximum:g} everywhere")
    full = white_level if raw.is_floating_point() else math.ceil(white_level)
    saturated = float(np.count_nonzero(counts >= full) / counts.size) if maximum >= full else 0.0
    if saturated > saturated_limit:
        raise CaptureError(
            f"capture is saturated in {saturated:.2%} of its pixels, over {saturated_limit:.2%}"
        )
    return CaptureLevels(minimum, maximum, _mean(counts), saturated)


def _mean(counts: NDArray[Any]) -> float:
    if counts.dtype != np.uint16:
        return float(counts.mean())
    import cv2

    # Adds up integers, ten times as fast as NumPy; both are exact.
    total: float = cv2.sumElems(counts.reshape(len(counts), -1))[0]
    return total / counts.size


def _check_form(raw: Tensor, white_level: float, expected_shape: Sequence[int] | None) -> None:
    if expected_shape is not None and tuple(raw.shape) != tuple(expected_shape):
        raise CaptureError(
            f"capture has shape {tuple(raw.shape)}, the camera's frame is {tuple(expected_shape)}"
        )
    if raw.numel() == 0:
        raise CaptureError(f"capture is empty, with shape {tuple(raw.shape)}")
    if raw.is_complex() or raw.dtype == torch.bool:
        raise CaptureError(f"capture has dtype {raw.dtype}, wanted integers or floating point")
    if not raw.is_floating_point() and torch.iinfo(raw.dtype).max < white_level:
        raise CaptureError(
            f"capture has dtype {raw.dtype}, which ends at {torch.iinfo(raw.dtype).max}, "
            f"below the white level {white_level:g}"
        )
