"""Triangles to pixels: a z-buffer without loops, on any device."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...imaging.shapes import ShapeError

__all__ = ["Fragments", "rasterise"]

_NEAR = 0.05


@dataclass(frozen=True, eq=False)
class Fragments:
    """What is seen in each pixel of a picture.

    Attributes
    ----------
    face : Tensor of int64, shape (height, width)
        Number of the nearest triangle, -1 where there is none.
    weights : Tensor, shape (height, width, 3)
        Share of each of its corners, for interpolation in space; they sum to 1, or to 0 where
        there is no triangle.
    depth : Tensor, shape (height, width)
        Distance along the optical axis; NaN where there is no triangle.
    """

    face: Tensor
    weights: Tensor
    depth: Tensor

    @property
    def mask(self) -> Tensor:
        """Where there is a triangle; bool, shape (height, width)."""
        return self.face >= 0

    def interpolate(self, values: Tensor, faces: Tensor) -> Tensor:
        """Interpolate values of vertices (vertices, channels) to (seen pixels, channels)."""
        mask = self.mask
        corners = values[faces[self.face[mask]]]
        return (self.weights[mask][..., None] * corners).sum(dim=1)


def rasterise(
    points: Tensor,
    depth: Tensor,
    faces: Tensor,
    size: tuple[int, int],
    *,
    two_sided: Tensor | None = None,
) -> Fragments:
    """Find the nearest triangle at the centre of each pixel.

    Every triangle contributes the pixels of its bounding box, all in one long list; a scatter by
    minimum then keeps the nearest. That is quick for meshes of many small triangles.

    Parameters
    ----------
    points : Tensor, shape (vertices, 2)
        x and y in pixels; the centre of the first pixel is (0, 0), y points down.
    depth : Tensor, shape (vertices,)
        Distance along the optical axis; triangles that come nearer than 5 cm are left out.
    faces : Tensor of int64, shape (faces, 3)
        Corners of each triangle, anticlockwise seen from outside.
    size : (int, int)
        Height and width of the picture.
    two_sided : Tensor of bool, shape (faces,), optional
        Triangles to be seen from behind as well; by default none.
    """
    if points.ndim != 2 or points.shape[1] != 2 or depth.shape != points.shape[:1]:
        raise ShapeError(
            "points and depth must have shapes (vertices, 2) and (vertices,), got "
            f"{tuple(points.shape)} and {tuple(depth.shape)}"
        )
    height, width = size
    corners = points[faces]
    # With y down, an anticlockwise triangle has a negative area.
    area = _edge(corners[:, 0], corners[:, 1], corners[:, 2])
    facing = area < 0 if two_sided is None else (area < 0) | (two_sided & (area != 0))
    kept = (facing & (depth[faces] > _NEAR).all(dim=1)).nonzero()[:, 0]
    pixel, face = _candidates(corners[kept], height, width)
    face = kept[face]
    weights, distance = _weights(pixel, face, width, points, depth, faces)
    inside = (weights >= 0).all(dim=1)
    pixel, face, distance = pixel[inside], face[inside], distance[inside]
    # The bits of positive floats sort as the floats do: distance above, number below.
    keys = (distance.float().view(torch.int32).to(torch.int64) << 32) | face
    nothing = torch.iinfo(torch.int64).max
    nearest = torch.full((height * width,), nothing, device=points.device)
    nearest.scatter_reduce_(0, pixel, keys, "amin")
    return _fragments(nearest, nothing, size, points, depth, faces)


def _fragments(
    nearest: Tensor,
    nothing: int,
    size: tuple[int, int],
    points: Tensor,
    depth: Tensor,
    faces: Tensor,
) -> Fragments:
    seen = (nearest != nothing).nonzero()[:, 0]
    chosen = nearest[seen] & 0xFFFFFFFF
    shares, distance = _weights(seen, chosen, size[1], points, depth, faces)
    # From shares of the picture's triangle to shares of the triangle in space.
    shares = shares * (distance[:, None] / depth[faces[chosen]])
    face = torch.full_like(nearest, -1)
    face[seen] = chosen
    weights = points.new_zeros(len(nearest), 3)
    weights[seen] = shares
    distances = points.new_full((len(nearest),), torch.nan)
    distances[seen] = distance
    return Fragments(face.view(size), weights.view(*size, 3), distances.view(size))


def _candidates(corners: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """List pixel and triangle for every pixel of every bounding box."""
    limit = corners.new_tensor([width - 1, height - 1])
    low = corners.amin(dim=1).ceil().clamp(min=0)
    high = torch.minimum(corners.amax(dim=1).floor(), limit)
    extent = (high - low + 1).clamp(min=0).long()
    low = low.long()
    counts = extent[:, 0] * extent[:, 1]
    face = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    first = counts.cumsum(0) - counts
    place = torch.arange(len(face), device=counts.device) - first[face]
    columns = extent[face, 0]
    row = torch.div(place, columns, rounding_mode="floor")
    x = low[face, 0] + place - row * columns
    return (low[face, 1] + row) * width + x, face


def _weights(
    pixel: Tensor, face: Tensor, width: int, points: Tensor, depth: Tensor, faces: Tensor
) -> tuple[Tensor, Tensor]:
    """Return shares in the picture (count, 3) and distances (count,) at pixels."""
    row = torch.div(pixel, width, rounding_mode="floor")
    place = torch.stack([pixel - row * width, row], dim=1).to(points.dtype)
    corners = faces[face]
    first, second, third = points[corners].unbind(dim=1)
    area = _edge(first, second, third)
    weights = torch.stack(
        [_edge(second, third, place), _edge(third, first, place), _edge(first, second, place)],
        dim=1,
    )
    weights = weights / area[:, None]
    return weights, 1 / (weights / depth[corners]).sum(dim=1)


def _edge(start: Tensor, end: Tensor, place: Tensor) -> Tensor:
    """Twice the area of the triangle of three points (count, 2)."""
    along, across = end - start, place - start
    return along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0]
