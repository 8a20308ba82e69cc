"""Dense head outputs to maps at a picture's own size: parts, depth, normals, points."""

import math
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..imaging.shapes import ShapeError
from .crops import Frames, sample_image

__all__ = [
    "best_class",
    "class_map",
    "depth_map",
    "normal_map",
    "point_map",
    "resize_maps",
    "uncrop_maps",
]

_CLASSES_AT_ONCE = 4  # of a 12-megapixel picture: 200 MB in float32


def resize_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Interpolate maps (batch, channels, rows, columns) linearly to (batch, channels, *size).

    Corners of pixels lie on corners of pixels (``align_corners=False``).
    """
    if maps.ndim != 4:
        raise ShapeError(
            f"maps must have shape (batch, channels, rows, columns), got {tuple(maps.shape)}"
        )
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def class_map(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Choose the class of each pixel at another size.

    The logits are interpolated, not the classes, a few at a time: all 28 of a large photo at
    once would take more memory than the model.

    Parameters
    ----------
    logits : Tensor, shape (batch, classes, rows, columns)
        Raw output of a segmentation head.
    size : (int, int)
        Height and width wanted.

    Returns
    -------
    Tensor of uint8, shape (batch, *size)
        The first class of the highest logit.
    """
    if logits.ndim != 4 or not 1 <= logits.shape[1] <= 256:
        raise ShapeError(
            "logits must have shape (batch, 1 to 256 classes, rows, columns), got "
            f"{tuple(logits.shape)}"
        )
    return best_class(resize_maps(part, size) for part in torch.split(logits, _CLASSES_AT_ONCE, 1))


def best_class(parts: Iterable[Tensor]) -> Tensor:
    """Choose the first class of the highest logit from parts of all classes, one at a time.

    Parameters
    ----------
    parts : iterable of Tensor, shape (batch, classes of this part, height, width)
        Logits; at most 256 classes in all.

    Returns
    -------
    Tensor of uint8, shape (batch, height, width)
    """
    seen = 0
    for part in parts:
        highest, index = part.max(dim=1)
        labels = (index + seen).to(torch.uint8)
        if seen == 0:
            best, chosen = highest, labels
        else:
            higher = highest > best
            chosen = torch.where(higher, labels, chosen)
            best = torch.where(higher, highest, best)
        seen += part.shape[1]
    if seen == 0:
        raise ValueError("parts must hold at least one class, got none")
    return chosen


def depth_map(depth: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring raw depth (batch, 1, rows, columns) to (batch, *size).

    Published depth is relative, with neither scale nor origin: metric depth is
    ``1 / (shift + scale * depth)`` with a scale and a shift fitted to each picture.
    """
    return resize_maps(depth, size)[:, 0]


def normal_map(
    normals: Tensor,
    size: tuple[int, int],
    *,
    order: Literal["resize-first", "normalise-first"] = "resize-first",
    unit: bool = False,
) -> Tensor:
    """Bring raw normals to another size and to unit length.

    Parameters
    ----------
    normals : Tensor, shape (batch, 3, rows, columns)
        Raw output of a normal head.
    size : (int, int)
        Height and width wanted.
    order : "resize-first" or "normalise-first"
        The first generation divides by the length (plus 1e-5) after resizing; the second before,
        so that its normals come out shorter than 1 where they turn.
    unit : bool
        Normalise once more at the end, for lengths of 1 everywhere.

    Returns
    -------
    Tensor, shape (batch, 3, *size)
        x to the right, y and z as the model has them.
    """
    if order == "resize-first":
        resized = resize_maps(normals, size)
        resized = resized / (torch.linalg.vector_norm(resized, dim=1, keepdim=True) + 1e-5)
    elif order == "normalise-first":
        resized = resize_maps(F.normalize(normals, dim=1, eps=1e-8), size)
    else:
        raise ValueError(f"order must be 'resize-first' or 'normalise-first', got {order!r}")
    return F.normalize(resized, dim=1, eps=1e-8) if unit else resized


def point_map(pointmap: Tensor, scale: Tensor, size: tuple[int, int]) -> Tensor:
    """Turn a raw pointmap and its scale into metres at another size.

    Parameters
    ----------
    pointmap : Tensor, shape (batch, 3, rows, columns)
        X, Y and Z in a unit of the picture's own.
    scale : Tensor, shape (batch, 1)
        That unit in 1/metre.
    size : (int, int)
        Height and width wanted.

    Returns
    -------
    Tensor, shape (batch, 3, *size)
        X to the right, Y down, Z forward, in metres.
    """
    return resize_maps(pointmap / scale[:, :, None, None], size)


def uncrop_maps(
    maps: Tensor,
    frames: Frames,
    index: int,
    *,
    crop_size: tuple[int, int],
    image_size: tuple[int, int],
) -> tuple[Tensor, tuple[slice, slice]]:
    """Bring the maps of one person's crop back to the pixels of the picture under the crop.

    Parameters
    ----------
    maps : Tensor, shape (people, channels, rows, columns)
        Maps of crops, of any size.
    frames : Frames of shape (people, 2)
        Of the crops.
    index : int
        Which person.
    crop_size, image_size : (int, int)
        Height and width of the crops and of the picture.

    Returns
    -------
    values : Tensor, shape (channels, height, width)
        Linearly interpolated, for the part of the picture that the crop covers.
    place : (slice, slice)
        Rows and columns of that part; empty where the frame lies outside.
    """
    spans, positions = [], []
    for axis in (0, 1):  # x, y
        corner, scale = float(frames.corners[index, axis]), float(frames.scales[index, axis])
        limit, extent, cells = image_size[1 - axis], crop_size[1 - axis], maps.shape[-1 - axis]
        first = min(max(math.ceil(corner), 0), limit)
        last = max(min(math.floor(corner + scale) + 1, limit), first)
        pixel = torch.arange(first, last, device=maps.device, dtype=torch.float64)
        # The crop's outermost pixel centres lie on its frame; the cells of a map fill the crop.
        within = (pixel - corner) / scale * (extent - 1)
        positions.append(((within + 0.5) * cells / extent - 0.5).clamp(0, cells - 1))
        spans.append(slice(first, last))
    place = (spans[1], spans[0])
    if not (len(positions[0]) and len(positions[1])):
        return maps.new_zeros(maps.shape[1], len(positions[1]), len(positions[0])), place
    return sample_image(maps[index], positions[0][None], positions[1][None])[0], place
