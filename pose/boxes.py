"""Boxes of people: how much they overlap, and which of several on one person to keep."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..imaging.shapes import ShapeError, check_shape

__all__ = ["box_cover", "box_iou", "suppress_overlaps"]


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Area that each pair of boxes shares, over the area that the two cover.

    Parameters
    ----------
    first, second : Tensor, shape (count, 4), (other count, 4)
        Left, top, right and bottom.

    Returns
    -------
    Tensor, shape (count, other count)
        In [0, 1]; 0 for boxes of no area.
    """
    shared, areas, other_areas = _areas(first, second)
    return _share(shared, areas + other_areas - shared)


def box_cover(first: Tensor, second: Tensor) -> Tensor:
    """Area that each pair of boxes shares, over that of the smaller of the two.

    Parameters and result are those of :func:`box_iou`; 1 for a box inside another.
    """
    shared, areas, other_areas = _areas(first, second)
    return _share(shared, torch.minimum(areas, other_areas))


def suppress_overlaps(
    boxes: Tensor,
    scores: Tensor,
    limit: float,
    *,
    overlap: Callable[[Tensor, Tensor], Tensor] = box_iou,
) -> Tensor:
    """Keep the best of boxes that overlap (non-maximum suppression).

    Parameters
    ----------
    boxes : Tensor, shape (count, 4)
        Left, top, right and bottom.
    scores : Tensor, shape (count,)
        The first of equal ones goes first.
    limit : float
        A box goes where a better one that stays overlaps it by more, in [0, 1].
    overlap : callable
        :func:`box_iou` or :func:`box_cover`.

    Returns
    -------
    Tensor of int64, shape (kept,)
        Places of those to keep, best first.
    """
    if tuple(scores.shape) != (len(boxes),):
        raise ShapeError(
            f"scores must have one value for each of {len(boxes)} boxes, got {tuple(scores.shape)}"
        )
    order = scores.argsort(descending=True, stable=True)
    # On the processor: each step waits for the last one, and there are at most some hundreds.
    better = (overlap(boxes[order], boxes[order]) > limit).cpu()
    kept = torch.ones(len(boxes), dtype=torch.bool)
    for place in range(len(boxes)):
        if kept[place]:
            kept[place + 1 :] &= ~better[place, place + 1 :]
    return order[kept.to(order.device)]


def _areas(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shared area of each pair, and the areas of each, of shapes to broadcast."""
    check_shape(first, (4,), "first")
    check_shape(second, (4,), "second")
    top_left = torch.maximum(first[:, None, :2], second[:, :2])
    bottom_right = torch.minimum(first[:, None, 2:], second[:, 2:])
    shared = (bottom_right - top_left).clamp(min=0).prod(dim=-1)
    return shared, _area(first)[:, None], _area(second)


def _share(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part / whole, torch.zeros_like(part))


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=-1)
