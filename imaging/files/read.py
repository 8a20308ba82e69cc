"""Readers: raw frames exactly as stored, pictures as linear light."""

import json
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .colour import srgb_to_linear
from .decode import decode
from .errors import FileError

__all__ = ["MAX_PIXELS", "TIFF16_FORMAT", "TIFF16_VERSION", "read_image", "read_raw", "read_tiff16"]

MAX_PIXELS = 400_000_000
TIFF16_FORMAT = "barelens.tiff16"
TIFF16_VERSION = 1


def read_raw(
    path: str | os.PathLike[str], *, name: str | None = None, max_pixels: int = MAX_PIXELS
) -> Tensor:
    """Read a sensor frame or an array exactly as stored: no scaling, turning or decoding.

    Formats by suffix: 8 and 16-bit PNG, TIFF of one page, JPEG, NPY, NPZ, and DNG and other
    camera raws through rawpy (``pip install 'barelens[raw]'``), of which the visible mosaic is
    read. A truncated file is always an error, and so is a PNG or NPZ with any damage, since these
    have checksums.

    Parameters
    ----------
    path : path
        The file.
    name : str, optional
        Which array of an NPZ file; may be left out where there is only one.
    max_pixels : int, optional
        Most pixels, in TIFF, NPY and NPZ most values, to accept; checked before decoding.

    Returns
    -------
    Tensor, shape (height, width) or (channels, height, width)
        Values in the dtype of the file: 16-bit files give ``torch.uint16``, which torch can
        index, compare for equality and convert, but not compute with; convert it first, as in
        ``raw.to(torch.float32)``. Colour is RGB. NPY and NPZ keep any shape.

    Raises
    ------
    FileError
        The file cannot be read in full, is too large, or holds what no sensor gives: opacity, a
        colour table, several pages.
    ImportError
        The format needs a package that is not installed.
    """
    path = Path(path)
    stored = decode(path, max_pixels=max_pixels, name=name)
    if stored.alpha or stored.palette:
        what = "an alpha channel" if stored.alpha else "a colour table"
        raise FileError(f"{path}: has {what}, a sensor frame has none")
    return _to_tensor(path, stored.array)


def read_image(
    path: str | os.PathLike[str],
    *,
    encoding: Literal["srgb", "linear"],
    alpha: Literal["refuse", "drop"] = "refuse",
    max_pixels: int = MAX_PIXELS,
) -> Tensor:
    """Read a picture as linear light.

    Integers are divided by the largest of their type, so that a 16-bit file keeps its 65536
    levels. A JPEG is turned upright as its EXIF orientation says.

    Parameters
    ----------
    path : path
        The file, in any format of :func:`read_raw` except camera raws, which are mosaics.
    encoding : {"srgb", "linear"}
        What the stored values are: sRGB, as in nearly every PNG and JPEG, or linear light.
    alpha : {"refuse", "drop"}, optional
        What to do with an alpha channel.
    max_pixels : int, optional
        Most pixels to accept.

    Returns
    -------
    Tensor of float32, shape (3, height, width) or (1, height, width)
        Linear RGB or grey; in [0, 1] for integer files, as stored for floating-point ones.

    Raises
    ------
    FileError
        The file cannot be read in full, or is no picture.
    ValueError
        An option is not one of those named.
    """
    if encoding not in ("srgb", "linear"):
        raise ValueError(f"encoding must be 'srgb' or 'linear', got {encoding!r}")
    if alpha not in ("refuse", "drop"):
        raise ValueError(f"alpha must be 'refuse' or 'drop', got {alpha!r}")
    path = Path(path)
    stored = decode(path, max_pixels=max_pixels, upright=True)
    if stored.mosaic:
        raise FileError(f"{path}: is a camera raw, a mosaic and no picture; read_raw reads it")
    array = stored.array
    if stored.alpha:
        if alpha == "refuse":
            raise FileError(f"{path}: has an alpha channel; alpha='drop' ignores it")
        array = array[:-1]
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or array.shape[0] not in (1, 3):
        raise FileError(f"{path}: has shape {array.shape}, wanted (1 or 3, height, width)")
    values = _unit_scaled(path, array)
    return srgb_to_linear(values) if encoding == "srgb" else values


def read_tiff16(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Tensor:
    """Read linear values back from a file of :func:`~barelens.imaging.files.write_tiff16`.

    Parameters
    ----------
    path : path
        The file.
    max_pixels : int, optional
        Most pixels to accept.

    Returns
    -------
    Tensor of float32, shape (height, width) or (3, height, width)
        Values in the units that were written, to half a step of ``(white - black) / 65535``.

    Raises
    ------
    FileError
        The file cannot be read, or does not say its scale.
    """
    path = Path(path)
    stored = decode(path, max_pixels=max_pixels)
    black, white = _tiff16_scale(path, stored.description)
    if stored.array.dtype != np.uint16:
        raise FileError(f"{path}: has dtype {stored.array.dtype}, wanted uint16")
    step = (white - black) / 65535
    return torch.from_numpy(black + stored.array.astype(np.float64) * step).float()


def _tiff16_scale(path: Path, description: str) -> tuple[float, float]:
    try:
        record = json.loads(description)
        is_ours = record["format"] == TIFF16_FORMAT
        version = int(record["format_version"])
        scale = float(record["black"]), float(record["white"])
    except (ValueError, KeyError, TypeError):
        is_ours = False
    if not is_ours:
        raise FileError(f"{path}: does not say its scale; write_tiff16 files do")
    if version > TIFF16_VERSION:
        raise FileError(
            f"{path}: has format version {version}; this release reads up to {TIFF16_VERSION}. "
            "Upgrade barelens to open it."
        )
    return scale


def _unit_scaled(path: Path, array: NDArray[Any]) -> Tensor:
    if array.dtype.kind == "f":
        return _to_tensor(path, array).float()
    if array.dtype not in (np.uint8, np.uint16):
        raise FileError(f"{path}: has dtype {array.dtype}, wanted uint8, uint16 or floating point")
    return torch.from_numpy(array.astype(np.float32)) / float(np.iinfo(array.dtype).max)


def _to_tensor(path: Path, array: NDArray[Any]) -> Tensor:
    if array.dtype.kind not in "buif" or array.dtype.itemsize > 8:
        raise FileError(f"{path}: has dtype {array.dtype}, wanted integers or floating point")
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return torch.from_numpy(np.ascontiguousarray(native).reshape(array.shape))
