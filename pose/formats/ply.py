"""Point clouds in binary PLY files."""

import os

import numpy as np
import torch
from torch import Tensor

from ...imaging.files import atomic_path
from ...imaging.shapes import ShapeError

__all__ = ["backproject_depth", "write_ply"]


def write_ply(
    path: str | os.PathLike[str],
    points: Tensor,
    *,
    colours: Tensor | None = None,
    normals: Tensor | None = None,
    mask: Tensor | None = None,
) -> int:
    """Write points to a little-endian binary PLY file.

    Parameters
    ----------
    path : path
        Where to write.
    points : Tensor of a floating-point dtype, shape (3, ...)
        X, Y and Z, of a picture (3, height, width) or of a list (3, count). Those that are not
        finite are left out.
    colours : Tensor of uint8, shape (3, ...), optional
        Red, green and blue of each.
    normals : Tensor of a floating-point dtype, shape (3, ...), optional
        Of each.
    mask : Tensor of bool, shape (...), optional
        Which points to write.

    Returns
    -------
    int
        How many were written.

    Raises
    ------
    ShapeError, TypeError
        The arrays do not fit.
    """
    columns = _check(points, colours, normals, mask)
    flat = {name: array.detach().cpu().reshape(3, -1) for name, array in columns.items()}
    keep = torch.isfinite(flat["points"]).all(dim=0)
    if mask is not None:
        keep &= mask.cpu().reshape(-1)
    fields = [("points", "xyz", "<f4", "float"), ("normals", ("nx", "ny", "nz"), "<f4", "float")]
    fields += [("colours", ("red", "green", "blue"), "u1", "uchar")]
    fields = [field for field in fields if field[0] in flat]
    count = int(keep.sum())
    vertices = np.empty(count, [(name, kind) for _, names, kind, _ in fields for name in names])
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {count}"]
    for array, names, _, word in fields:
        for axis, name in enumerate(names):
            vertices[name] = flat[array][axis, keep].numpy()
            header.append(f"property {word} {name}")
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(("\n".join([*header, "end_header"]) + "\n").encode("ascii"))
        file.write(vertices.tobytes())
    return count


def backproject_depth(
    depth: Tensor, focal_px: float, *, center: tuple[float, float] | None = None
) -> Tensor:
    """Turn depth along the optical axis into points before a pinhole camera.

    Parameters
    ----------
    depth : Tensor of a floating-point dtype, shape (..., height, width)
        Distance from the camera's plane, for example in metres.
    focal_px : float
        Focal length in pixels.
    center : (float, float), optional
        x and y of the optical axis in pixels; the middle of the picture where not given.

    Returns
    -------
    Tensor, shape (..., 3, height, width)
        X to the right, Y down, Z forward, in the unit of ``depth``.
    """
    if depth.ndim < 2:
        raise ShapeError(f"depth must have shape (..., height, width), got {tuple(depth.shape)}")
    if not focal_px > 0:
        raise ValueError(f"focal_px must be positive, got {focal_px}")
    height, width = depth.shape[-2:]
    axis_x, axis_y = ((width - 1) / 2, (height - 1) / 2) if center is None else center
    x = (torch.arange(width, dtype=depth.dtype, device=depth.device) - axis_x) / focal_px
    y = (torch.arange(height, dtype=depth.dtype, device=depth.device) - axis_y) / focal_px
    return torch.stack([depth * x, depth * y[:, None], depth], dim=-3)


def _check(
    points: Tensor, colours: Tensor | None, normals: Tensor | None, mask: Tensor | None
) -> dict[str, Tensor]:
    if points.ndim < 2 or points.shape[0] != 3:
        raise ShapeError(f"points must have shape (3, ...), got {tuple(points.shape)}")
    if not points.is_floating_point():
        raise TypeError(f"points must have a floating-point dtype, got {points.dtype}")
    if colours is not None and colours.dtype != torch.uint8:
        raise TypeError(f"colours must be uint8, got {colours.dtype}")
    columns = {"points": points, "colours": colours, "normals": normals}
    for name, array in columns.items():
        if array is not None and array.shape != points.shape:
            raise ShapeError(
                f"{name} must have the points' shape {tuple(points.shape)}, got "
                f"{tuple(array.shape)}"
            )
    if mask is not None and mask.shape != points.shape[1:]:
        raise ShapeError(f"mask must have shape {tuple(points.shape[1:])}, got {tuple(mask.shape)}")
    return {name: array for name, array in columns.items() if array is not None}
