"""Bayer mosaics: from raw frames to colour planes, to RGB, and back."""

from typing import Literal, get_args

import torch
from torch import Tensor

from .shapes import ShapeError

__all__ = [
    "BayerOrder",
    "merge_bayer",
    "plane_mixing",
    "plane_offsets",
    "planes_to_rgb",
    "rgb_to_planes",
    "split_bayer",
]

#: Colours of a mosaic's first two rows, left to right.
BayerOrder = Literal["RGGB", "BGGR", "GRBG", "GBRG"]


def split_bayer(raw: Tensor, order: BayerOrder) -> Tensor:
    """Split raw frames into planes R, Gr, Gb and B.

    Gr is the green that shares its rows with red.

    Parameters
    ----------
    raw : Tensor of any dtype, shape (..., 2 * height, 2 * width)
        Mosaics.
    order : {"RGGB", "BGGR", "GRBG", "GBRG"}
        Colours of the first two rows.

    Returns
    -------
    Tensor, shape (..., 4, height, width)
        The planes, in this order for every mosaic.

    Raises
    ------
    ShapeError
        The frame has an odd height or width.
    """
    if raw.ndim < 2 or raw.shape[-2] % 2 or raw.shape[-1] % 2:
        raise ShapeError(f"raw must have an even height and width, got {tuple(raw.shape)}")
    return torch.stack(
        [raw[..., row::2, column::2] for row, column in plane_offsets(order)], dim=-3
    )


def merge_bayer(planes: Tensor, order: BayerOrder) -> Tensor:
    """Undo :func:`split_bayer`: planes (..., 4, height, width) to raw frames."""
    _check_channels(planes, 4, "planes")
    height, width = planes.shape[-2:]
    raw = planes.new_empty(*planes.shape[:-3], 2 * height, 2 * width)
    for plane, (row, column) in zip(planes.unbind(-3), plane_offsets(order), strict=True):
        raw[..., row::2, column::2] = plane
    return raw


def planes_to_rgb(planes: Tensor) -> Tensor:
    """Average the two greens: planes (..., 4, height, width) to RGB (..., 3, height, width)."""
    _check_channels(planes, 4, "planes")
    red, green_r, green_b, blue = planes.unbind(-3)
    return torch.stack([red, (green_r + green_b) / 2, blue], dim=-3)


def rgb_to_planes(rgb: Tensor) -> Tensor:
    """Repeat green: RGB (..., 3, height, width) to planes (..., 4, height, width)."""
    _check_channels(rgb, 3, "rgb")
    red, green, blue = rgb.unbind(-3)
    return torch.stack([red, green, green, blue], dim=-3)


def plane_mixing(num_planes: int, colour_matrix: Tensor | None = None) -> Tensor:
    """Give the matrix, shape (planes, 3), that splits linear RGB into a camera's planes.

    Its pseudo-inverse merges planes to RGB; of four Bayer planes that averages the two greens, as
    :func:`planes_to_rgb` does.

    Parameters
    ----------
    num_planes : int
        4 for R, Gr, Gb and B, 3 for RGB, 1 for grey.
    colour_matrix : Tensor, shape (3, 3), optional
        From the camera's RGB to that of the picture.

    Raises
    ------
    ValueError
        No camera has so many planes.
    """
    splits = {
        1: [[1 / 3, 1 / 3, 1 / 3]],
        3: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        4: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    }
    if num_planes not in splits:
        raise ValueError(f"a camera has 1, 3 or 4 planes, got {num_planes}")
    split = torch.tensor(splits[num_planes], dtype=torch.float64)
    if colour_matrix is None:
        return split
    return split @ torch.linalg.inv(colour_matrix.to(split))


def _check_channels(image: Tensor, channels: int, name: str) -> None:
    if image.ndim < 3 or image.shape[-3] != channels:
        raise ShapeError(
            f"{name} must have shape (..., {channels}, height, width), got {tuple(image.shape)}"
        )


def plane_offsets(order: str) -> list[tuple[int, int]]:
    """(row, column) of R, Gr, Gb and B in the mosaic's 2x2 cell."""
    if order not in get_args(BayerOrder):
        known = ", ".join(get_args(BayerOrder))
        raise ValueError(f"unknown Bayer order {order!r}; choose one of: {known}")
    red, blue = divmod(order.index("R"), 2), divmod(order.index("B"), 2)
    return [red, (red[0], blue[1]), (blue[0], red[1]), blue]
