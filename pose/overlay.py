"""Pictures of what was found: skeletons, parts, masks, depth and normals."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..imaging.shapes import ShapeError
from .labels import KeypointLayout, PartLabels, keypoint_layout, part_labels
from .outputs import HumanOutput, Person

__all__ = [
    "draw_depth",
    "draw_masks",
    "draw_normals",
    "draw_parts",
    "draw_people",
    "side_by_side",
]

# Left cool, right warm, told apart with any kind of colour vision; people's own sides.
_SIDES = {"left": (38, 166, 255), "right": (255, 133, 27), "centre": (233, 233, 240)}
_OUTLINE = (16, 18, 24)
_BACKGROUND = (24, 26, 31)
_SUBPIXEL_BITS = 4  # cv2 draws at positions of 1/16 of a pixel
_SURE, _UNSURE = 0.6, 0.55  # a score from which a line is opaque; opacity below it

Pixels = NDArray[np.uint8]


class _Stroke(NamedTuple):
    """A line between two keypoints, or a dot on one; width and rim in pixels."""

    score: float
    first: int
    second: int | None
    colour: tuple[int, int, int]
    width: float
    rim: float


def draw_people(image: Tensor, output: HumanOutput, *, min_score: float = 0.3) -> Tensor:
    """Draw the skeletons of people, left side blue and right side orange.

    Lines are as thick as fits the person, with a dark rim so that they stand out from any
    clothing; unsure points (a score below 0.6) are half transparent, those below ``min_score``
    left out. Faces and fingers get finer lines and dots.

    Parameters
    ----------
    image : Tensor of uint8, shape (height, width, 3)
        The picture, display-encoded RGB; it is not changed.
    output : HumanOutput
        Its people's keypoints.
    min_score : float
        Least score of a point to be drawn.

    Returns
    -------
    Tensor of uint8, shape (height, width, 3)
    """
    pixels = _pixels(image)
    for person in output.people:
        if person.keypoints is not None:
            layout = output.layout or keypoint_layout(len(person.keypoints))
            pixels = _draw_person(pixels, person, layout, min_score)
    return torch.from_numpy(pixels)


def draw_parts(
    image: Tensor, class_map: Tensor, *, classes: int | PartLabels, opacity: float = 0.6
) -> Tensor:
    """Colour the parts of people by their palette, with a bright line where one meets another.

    Parameters
    ----------
    image : Tensor of uint8, shape (height, width, 3)
        The picture.
    class_map : Tensor of uint8, shape (height, width)
        0 is left as it is.
    classes : int or PartLabels
        What the parts are, or how many, which decides the palette for known models.
    opacity : float
        Of the colours, in [0, 1].
    """
    pixels = _pixels(image)
    labels = class_map.cpu().numpy()
    _check_map(labels, pixels, "class_map")
    labelled = part_labels(classes) if isinstance(classes, int) else classes
    palette = np.array(labelled.palette, np.float32)
    opacity_map = np.where(labels > 0, np.float32(opacity), np.float32(0))[..., None]
    mixed = pixels * (1 - opacity_map) + palette[labels] * opacity_map
    edges = _edges(labels)[..., None]
    mixed = np.where(edges, 0.35 * mixed + 0.65 * 255, mixed)
    return torch.from_numpy(mixed.round().astype(np.uint8))


def draw_masks(image: Tensor, people: Sequence[Person], *, opacity: float = 0.5) -> Tensor:
    """Colour each person's mask by a colour of its own, the same for the same track."""
    pixels = _pixels(image).astype(np.float32)
    palette = np.array(part_labels(64).palette, np.float32)
    for index, person in enumerate(people):
        if person.mask is None:
            continue
        mask = person.mask.cpu().numpy()
        _check_map(mask, pixels, "mask")
        number = index if person.track is None else person.track
        colour = palette[1 + number % 63]
        pixels[mask] = pixels[mask] * (1 - opacity) + colour * opacity
        pixels[_edges(mask) & mask] = colour
    return torch.from_numpy(pixels.round().astype(np.uint8))


def draw_depth(depth: Tensor, *, mask: Tensor | None = None, invert: bool = False) -> Tensor:
    """Colour depth by the inferno scale, from the 1st to the 99th percentile.

    Parameters
    ----------
    depth : Tensor, shape (height, width)
        Higher values are brighter; NaN is left dark.
    mask : Tensor of bool, shape (height, width), optional
        Where to draw.
    invert : bool
        Draw lower values brighter, as is usual for the first generation's depth.

    Returns
    -------
    Tensor of uint8, shape (height, width, 3)
    """
    import cv2

    values = depth.detach().float().cpu().numpy()
    known = np.isfinite(values) if mask is None else np.isfinite(values) & mask.cpu().numpy()
    canvas = np.full((*values.shape, 3), _BACKGROUND, np.uint8)
    if known.any():
        low, high = np.percentile(values[known], (1, 99))
        shares = (np.where(known, values, low) - low) / max(high - low, 1e-12)
        if invert:
            shares = 1 - shares
        levels = (np.clip(shares, 0, 1) * 255).round().astype(np.uint8)
        coloured = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1]
        canvas[known] = coloured[known]
    return torch.from_numpy(canvas)


def draw_normals(normals: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Colour normals: red, green and blue are x, y and z from -1 to 1.

    Parameters
    ----------
    normals : Tensor, shape (3, height, width)
        Unit vectors; those of no length, or not finite, are left dark.
    mask : Tensor of bool, shape (height, width), optional
        Where to draw.

    Returns
    -------
    Tensor of uint8, shape (height, width, 3)
    """
    values = normals.detach().float().cpu()
    length = torch.linalg.vector_norm(values, dim=0)
    known = torch.isfinite(length) & (length > 1e-6)
    if mask is not None:
        known &= mask.cpu()
    levels = ((values + 1) / 2).clamp(0, 1).nan_to_num(0).mul(255).round().to(torch.uint8)
    background = torch.tensor(_BACKGROUND, dtype=torch.uint8)
    return torch.where(known[..., None], levels.permute(1, 2, 0), background)


def side_by_side(panels: Sequence[Tensor], *, gap: int = 8) -> Tensor:
    """Put pictures (height, width, 3) of one height next to each other, ``gap`` pixels apart."""
    if not panels:
        raise ValueError("panels must hold at least one picture, got none")
    arrays = [_pixels(panel) for panel in panels]
    height = arrays[0].shape[0]
    if any(array.shape[0] != height for array in arrays):
        raise ShapeError(f"panels must have one height, got {[a.shape[0] for a in arrays]}")
    bar = np.full((height, gap, 3), _BACKGROUND, np.uint8)
    row = [part for array in arrays for part in (array, bar)][:-1]
    return torch.from_numpy(np.concatenate(row, axis=1))


def _draw_person(
    pixels: Pixels, person: Person, layout: KeypointLayout, min_score: float
) -> Pixels:
    assert person.keypoints is not None
    points = person.keypoints.detach().float().cpu().numpy()
    if person.keypoint_scores is None:
        scores = np.ones(len(points), np.float32)
    else:
        scores = person.keypoint_scores.detach().float().cpu().numpy()
    thickness = _thickness(points, scores >= min_score, pixels.shape)
    strokes: list[_Stroke] = []
    for first, second in layout.skeleton:
        score = min(scores[first], scores[second])
        fine = _is_fine(layout.names[first]) or _is_fine(layout.names[second])
        width = thickness * (0.5 if fine else 1.0)
        colour = _line_colour(layout.sides, first, second)
        strokes.append(_Stroke(score, first, second, colour, width, rim=2.0))
    for index, side in enumerate(layout.sides):
        fine = _is_fine(layout.names[index])
        size = thickness * (0.4 if fine else 1.5)
        # Hundreds of points on a face would be all rim.
        rim = 0.0 if fine else 2.0
        strokes.append(_Stroke(scores[index], index, None, _SIDES[side], size, rim))
    for low, high, opacity in ((min_score, _SURE, _UNSURE), (max(_SURE, min_score), np.inf, 1.0)):
        chosen = [stroke for stroke in strokes if low <= stroke.score < high]
        if chosen:
            pixels = _draw_strokes(pixels, points, chosen, opacity)
    return pixels


def _draw_strokes(
    pixels: Pixels, points: NDArray[np.float32], strokes: Sequence[_Stroke], opacity: float
) -> Pixels:
    import cv2

    layer = pixels.copy()
    # All rims first: they must not cut through lines that cross.
    for rims in (True, False):
        for stroke in strokes:
            if rims and not stroke.rim:
                continue
            width = stroke.width + (stroke.rim if rims else 0)
            paint = _OUTLINE if rims else stroke.colour
            start = _fixed(points[stroke.first])
            if stroke.second is None:
                radius = round(width / 2 * (1 << _SUBPIXEL_BITS))
                cv2.circle(layer, start, radius, paint, -1, cv2.LINE_AA, _SUBPIXEL_BITS)
            else:
                end = _fixed(points[stroke.second])
                whole = max(1, round(width))
                cv2.line(layer, start, end, paint, whole, cv2.LINE_AA, _SUBPIXEL_BITS)
    if opacity < 1:
        layer = cv2.addWeighted(layer, opacity, pixels, 1 - opacity, 0).astype(np.uint8)
    return layer


def _fixed(point: NDArray[np.float32]) -> tuple[int, int]:
    # cv2 overflows far outside of the picture, where nothing is visible anyway.
    x, y = np.clip(point, -10000, 30000) * (1 << _SUBPIXEL_BITS)
    return round(float(x)), round(float(y))


def _thickness(
    points: NDArray[np.float32], found: NDArray[np.bool_], shape: tuple[int, ...]
) -> float:
    """Fit lines to the size of the person, about 1/90 of it."""
    if found.sum() < 2:
        return 2.0
    extent = np.ptp(points[found], axis=0).max()
    return float(np.clip(extent / 90, 1.0, max(shape[:2]) / 100 + 1))


def _is_fine(name: str) -> bool:
    """Whether a point is of the face or of a hand, beside the wrist and COCO's five."""
    body = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "toe", "heel")
    return not (name.endswith(body) or name in ("nose", "neck"))


def _line_colour(sides: Sequence[str], first: int, second: int) -> tuple[int, int, int]:
    same = sides[first] == sides[second]
    if same:
        return _SIDES[sides[first]]
    if "centre" in (sides[first], sides[second]):
        return _SIDES[sides[second] if sides[first] == "centre" else sides[first]]
    return _SIDES["centre"]


def _edges(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels that differ from the one to the right or below."""
    edges = np.zeros(labels.shape, bool)
    edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edges[:-1] |= labels[:-1] != labels[1:]
    return edges


def _pixels(image: Tensor) -> Pixels:
    if image.ndim != 3 or image.shape[2] != 3:
        raise ShapeError(f"image must have shape (height, width, 3), got {tuple(image.shape)}")
    if image.dtype != torch.uint8:
        raise TypeError(f"image must be uint8, got {image.dtype}")
    return np.ascontiguousarray(image.cpu().numpy())


def _check_map(values: NDArray[Any], pixels: NDArray[Any], name: str) -> None:
    if values.shape != pixels.shape[:2]:
        raise ShapeError(
            f"{name} must have the picture's shape {pixels.shape[:2]}, got {values.shape}"
        )
