"""Writers: every file appears whole or not at all, and nothing is clipped in silence."""

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..shapes import ShapeError, check_floating
from .atomic import atomic_path
from .read import TIFF16_FORMAT, TIFF16_VERSION

__all__ = ["Clipped", "write_json", "write_png", "write_raw_png16", "write_tiff", "write_tiff16"]


_PIECE = 2**16  # bytes written at once: Linux takes three times as long for more, page for page


@dataclass(frozen=True)
class Clipped:
    """How many values did not fit into a file.

    Attributes
    ----------
    below, above : int
        Values that were stored as the lowest and as the highest level without being there.
    total : int
        Values in all.
    """

    below: int
    above: int
    total: int


def write_tiff(
    path: str | os.PathLike[str], image: Tensor, *, record: Mapping[str, Any] | None = None
) -> None:
    """Write an image to a TIFF file exactly as it is.

    Parameters
    ----------
    path : path
        Where to write.
    image : Tensor of uint8, uint16 or float32, shape (height, width) or (1 or 3, height, width)
        Grey or RGB.
    record : mapping, optional
        JSON data for the description tag.

    Raises
    ------
    ShapeError, TypeError
        The image is of another shape or dtype.
    """
    import tifffile

    if image.dtype not in (torch.uint8, torch.uint16, torch.float32):
        raise TypeError(f"image must be uint8, uint16 or float32, got {image.dtype}")
    array = _grey_or_rgb(image)
    content = io.BytesIO()  # tifffile asks the system dozens of times, of memory at no cost
    tifffile.imwrite(
        content,
        array,
        photometric="rgb" if array.ndim == 3 else "minisblack",
        description=None if record is None else json.dumps(record, allow_nan=False),
        metadata=None,
        software="barelens",
    )
    _write_bytes(path, content.getbuffer())


def write_tiff16(
    path: str | os.PathLike[str], image: Tensor, *, white: float, black: float = 0.0
) -> Clipped:
    """Write linear values to a 16-bit TIFF file that says its scale.

    The values from ``black`` to ``white`` map to 0 to 65535, rounded to the nearest. Both are
    kept as JSON in the description tag, from which
    :func:`~barelens.imaging.files.read_tiff16` recovers the values to half a step. A linear
    reconstruction has values below zero: a negative ``black`` keeps them.

    Parameters
    ----------
    path : path
        Where to write.
    image : Tensor of a floating-point dtype, shape (height, width) or (1 or 3, height, width)
        Linear grey or RGB.
    white, black : float
        The values of the highest and the lowest level.

    Returns
    -------
    Clipped
        How many values lie outside, by more than half a step.

    Raises
    ------
    ShapeError, TypeError
        The image is of another shape or dtype.
    ValueError
        The image is not finite, or ``white`` is not above ``black``.
    """
    check_floating(image, "image")
    if not white > black:
        raise ValueError(f"white must be above black={black}, got {white}")
    values = image.detach().double().cpu().numpy()
    levels = values - black
    levels *= 65535 / (white - black)
    np.rint(levels, out=levels)
    lowest, highest = levels.min(initial=0), levels.max(initial=65535)
    if not np.isfinite(highest - lowest) and not np.isfinite(values).all():
        raise ValueError("image must be finite, got NaN or infinity")
    clipped = Clipped(0, 0, levels.size)
    if lowest < 0 or highest > 65535:
        below, above = np.count_nonzero(levels < 0), np.count_nonzero(levels > 65535)
        clipped = Clipped(int(below), int(above), levels.size)
        levels.clip(0, 65535, out=levels)
    record = {
        "format": TIFF16_FORMAT,
        "format_version": TIFF16_VERSION,
        "black": float(black),
        "white": float(white),
    }
    write_tiff(path, torch.from_numpy(levels.astype(np.uint16)), record=record)
    return clipped


def write_png(path: str | os.PathLike[str], image: Tensor) -> None:
    """Write a display image, as :func:`~barelens.imaging.display.to_display` gives it, to PNG.

    Parameters
    ----------
    path : path
        Where to write.
    image : Tensor of uint8 or uint16, shape (height, width) or (height, width, 3)
        Encoded grey or RGB, channels last.

    Raises
    ------
    ShapeError, TypeError
        The image is of another shape or dtype.
    """
    if image.dtype not in (torch.uint8, torch.uint16):
        raise TypeError(f"image must be uint8 or uint16, got {image.dtype}")
    if image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)) or image.numel() == 0:
        raise ShapeError(
            f"image must have shape (height, width) or (height, width, 3), got {tuple(image.shape)}"
        )
    _write_png(path, image)


def write_raw_png16(path: str | os.PathLike[str], frame: Tensor) -> None:
    """Write a raw sensor frame to a 16-bit PNG, exactly.

    Parameters
    ----------
    path : path
        Where to write.
    frame : Tensor of any integer dtype, shape (height, width)
        Counts in [0, 65535].

    Raises
    ------
    ShapeError, TypeError
        The frame is of another shape or dtype.
    ValueError
        A count does not fit into 16 bits.
    """
    if frame.ndim != 2 or frame.numel() == 0:
        raise ShapeError(f"frame must have shape (height, width), got {tuple(frame.shape)}")
    if frame.is_floating_point() or frame.is_complex() or frame.dtype == torch.bool:
        raise TypeError(f"frame must have an integer dtype, got {frame.dtype}")
    counts = frame.to(torch.int64)
    low, high = int(counts.min()), int(counts.max())
    if low < 0 or high > 65535:
        raise ValueError(f"frame must lie in [0, 65535], got {low} to {high}")
    _write_png(path, counts.to(torch.uint16))


def write_json(path: str | os.PathLike[str], record: Mapping[str, Any]) -> None:
    """Write a record as JSON.

    Parameters
    ----------
    path : path
        Where to write.
    record : mapping
        Plain JSON data.

    Raises
    ------
    TypeError, ValueError
        The record holds what JSON cannot, such as NaN; nothing is written then.
    """
    text = json.dumps(record, indent=2, allow_nan=False, ensure_ascii=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _grey_or_rgb(image: Tensor) -> NDArray[Any]:
    """Array (height, width) or (height, width, 3) of an image with its channels first."""
    if image.ndim not in (2, 3) or image.shape[:-2] not in ((), (1,), (3,)) or image.numel() == 0:
        raise ShapeError(
            "image must have shape (height, width) or (1 or 3, height, width), "
            f"got {tuple(image.shape)}"
        )
    array: NDArray[Any] = image.detach().cpu().numpy()
    if array.ndim == 2:
        return array
    return array[0] if array.shape[0] == 1 else _interleaved(array)


def _interleaved(channels: NDArray[Any]) -> NDArray[Any]:
    import cv2

    return cv2.merge(list(channels))  # eight times as fast as np.moveaxis


def _write_png(path: str | os.PathLike[str], image: Tensor) -> None:
    import cv2

    array = image.cpu().numpy()
    bgr = array if array.ndim == 2 else np.ascontiguousarray(array[..., ::-1])
    encoded, content = cv2.imencode(".png", bgr)
    if not encoded:
        raise OSError(f"{path}: OpenCV could not encode the image as PNG")
    _write_bytes(path, content.data)


def _write_bytes(path: str | os.PathLike[str], content: memoryview) -> None:
    content = content.cast("B")
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        for start in range(0, len(content), _PIECE):
            stream.write(content[start : start + _PIECE])
