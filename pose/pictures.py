"""Pictures as callers have them, brought to one form."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ..imaging.shapes import ShapeError

__all__ = ["Image", "as_levels", "as_pixels"]

Image = Tensor | NDArray[Any]


def as_pixels(image: Image) -> Tensor:
    """Bring a picture to (3, height, width), uint8 or float32 in 0..255.

    Parameters
    ----------
    image : Tensor or array
        A Tensor of uint8, or of a floating-point dtype in [0, 1], of shape (3, height, width), or
        a NumPy array of uint8 of shape (height, width, 3); display-encoded RGB.

    Raises
    ------
    ShapeError, TypeError, ValueError
        It is none of these.
    """
    pixels = image if isinstance(image, Tensor) else torch.from_numpy(image).movedim(-1, 0)
    if pixels.ndim != 3 or pixels.shape[0] != 3 or pixels.numel() == 0:
        raise ShapeError(
            "an image must be a Tensor of shape (3, height, width) or an array of shape "
            f"(height, width, 3), got {type(image).__name__} of shape {tuple(image.shape)}"
        )
    if pixels.dtype == torch.uint8:
        return pixels
    if not pixels.is_floating_point():
        raise TypeError(f"an image must be uint8 or floating-point, got {pixels.dtype}")
    if not bool(((pixels >= 0) & (pixels <= 1)).all()):
        raise ValueError(
            "a floating-point image must lie in [0, 1], got "
            f"{float(pixels.min()):.4g} to {float(pixels.max()):.4g}"
        )
    return pixels.float() * 255


def as_levels(picture: Tensor) -> Tensor:
    """Round a picture of 0..255 to uint8, as detectors take it."""
    return picture.round().clamp(0, 255).to(torch.uint8)
