"""Whole pictures brought to a model's size: stretched, or padded with their proportions kept."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..imaging.shapes import ShapeError
from .preparation import Interpolation

__all__ = ["Margins", "area_weights", "pad_to_size", "remove_margins", "resize_image"]


@dataclass(frozen=True)
class Margins:
    """Pixels added around a picture, and the size it was given before."""

    left: int
    right: int
    top: int
    bottom: int


def resize_image(
    image: Tensor, size: tuple[int, int], *, interpolation: Interpolation = "linear"
) -> Tensor:
    """Resize a picture as OpenCV does, to within 1 level of 255.

    Parameters
    ----------
    image : Tensor of uint8 or a floating-point dtype, shape (channels, height, width)
        The picture.
    size : (int, int)
        Height and width wanted; proportions need not be kept.
    interpolation : "linear", "linear-or-cubic" or "area-or-cubic"
        The first of a pair is for shrinking in either axis. "linear" takes no average when it
        shrinks, as the published models were trained.

    Returns
    -------
    Tensor, shape (channels, *size)
        In the dtype of the image; uint8 is rounded to the nearest.
    """
    if image.ndim != 3:
        raise ShapeError(f"image must have shape (channels, height, width), got {image.shape}")
    wide = image if image.is_floating_point() else image.float()
    shrinks = size[0] < image.shape[1] or size[1] < image.shape[2]
    first, _, second = interpolation.partition("-or-")
    method = first if shrinks or not second else second
    if method == "area":
        # OpenCV averages only where both axes shrink, and takes another rule for both if not.
        both = size[0] <= image.shape[1] and size[1] <= image.shape[2]
        weights = area_weights if both else _stepped_weights
        rows, columns = (weights(image.shape[axis + 1], size[axis]).to(wide) for axis in (0, 1))
        resized = rows @ wide @ columns.mT
    else:
        mode = {"linear": "bilinear", "cubic": "bicubic"}[method]
        resized = F.interpolate(wide[None], size=size, mode=mode, align_corners=False)[0]
    return resized if image.is_floating_point() else resized.round().clamp(0, 255).to(image.dtype)


def pad_to_size(
    image: Tensor, size: tuple[int, int], *, interpolation: Interpolation = "linear"
) -> tuple[Tensor, Margins]:
    """Fit a picture into a size with its proportions kept, black around it.

    Parameters
    ----------
    image, size, interpolation
        As for :func:`resize_image`.

    Returns
    -------
    image : Tensor, shape (channels, *size)
        The picture in the middle.
    margins : Margins
        For :func:`remove_margins`.
    """
    scale = min(size[0] / image.shape[1], size[1] / image.shape[2])
    height, width = (max(1, int(side * scale)) for side in image.shape[1:])
    resized = resize_image(image, (height, width), interpolation=interpolation)
    left, top = (size[1] - width) // 2, (size[0] - height) // 2
    margins = Margins(left, size[1] - width - left, top, size[0] - height - top)
    return F.pad(resized, (margins.left, margins.right, margins.top, margins.bottom)), margins


def remove_margins(maps: Tensor, margins: Margins) -> Tensor:
    """Cut the margins off maps (..., height, width) of the padded picture's size."""
    height, width = maps.shape[-2:]
    return maps[..., margins.top : height - margins.bottom, margins.left : width - margins.right]


def area_weights(before: int, after: int) -> Tensor:
    """Return the matrix (after, before) that averages over the extent of each new pixel."""
    edges = torch.arange(after + 1, dtype=torch.float64) * (before / after)
    pixels = torch.arange(before, dtype=torch.float64)
    overlap = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    overlap = overlap.clamp(min=0)
    return overlap / overlap.sum(dim=1, keepdim=True)


def _stepped_weights(before: int, after: int) -> Tensor:
    """Return the matrix (after, before) of repeated pixels, mixed where a new one spans two."""
    place = torch.arange(after, dtype=torch.float64)
    source = (place * before / after).floor()
    mix = place + 1 - (source + 1) * (after / before)
    mix = torch.where(mix <= 0, 0, mix - mix.floor())
    pixels = torch.arange(before, dtype=torch.float64)
    next_source = (source + 1).clamp(max=before - 1)
    return (1 - mix)[:, None] * (pixels == source[:, None]) + mix[:, None] * (
        pixels == next_source[:, None]
    )
