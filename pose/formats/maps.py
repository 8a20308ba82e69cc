"""Depth and normals in 16-bit PNG files that carry their own scale."""

import json
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...imaging.files import FileError, atomic_path
from ...imaging.shapes import ShapeError

__all__ = ["read_depth_png", "read_normal_png", "write_depth_png", "write_normal_png"]

_KEYWORD = b"barelens"
_VERSION = 1
_HIGHEST = 65535
_MILLIMETRE = 1e-3


def write_depth_png(
    path: str | os.PathLike[str],
    depth: Tensor,
    *,
    metric: bool,
    mask: Tensor | None = None,
) -> None:
    """Write depth to a 16-bit grey PNG file.

    A value v of the file stands for ``offset + v * scale``, and 0 for "nothing known here".
    Metric depth is in millimetres (scale 0.001 m, offset 0); relative depth, which has no scale
    of its own, fills 1 to 65535. Scale and offset stand as JSON in a text chunk of the file.

    Parameters
    ----------
    path : path
        Where to write.
    depth : Tensor of a floating-point dtype, shape (height, width)
        Metres, or relative; NaN where nothing is known.
    metric : bool
        Which of the two.
    mask : Tensor of bool, shape (height, width), optional
        Where depth is to be kept.

    Raises
    ------
    ValueError
        Metric depth is not within 0.001 to 65.535 m.
    """
    if depth.ndim != 2 or (mask is not None and mask.shape != depth.shape):
        raise ShapeError(
            f"depth and mask must have one shape (height, width), got {tuple(depth.shape)} and "
            f"{None if mask is None else tuple(mask.shape)}"
        )
    values = depth.detach().double().cpu()
    known = torch.isfinite(values) if mask is None else torch.isfinite(values) & mask.cpu()
    kept = values[known]
    scale, offset = _MILLIMETRE, 0.0
    if not metric and kept.numel():
        extent = float(kept.max() - kept.min())
        scale = extent / (_HIGHEST - 1) if extent > 0 else 1.0
        offset = float(kept.min()) - scale  # so that the lowest is 1
    levels = torch.where(known, ((values - offset) / scale).round(), 0)
    if kept.numel() and not (levels[known].min() >= 1 and levels.max() <= _HIGHEST):
        raise ValueError(
            "metric depth must be within 0.001 to 65.535 m, got "
            f"{kept.min():.5g} to {kept.max():.5g}"
        )
    record = {"map": "depth", "unit": "metre" if metric else "relative"}
    _write(path, levels.numpy(), record | {"scale": scale, "offset": offset})


def read_depth_png(path: str | os.PathLike[str]) -> tuple[Tensor, bool]:
    """Read what :func:`write_depth_png` wrote.

    Returns
    -------
    depth : Tensor of float64, shape (height, width)
        To half a step of the file; NaN where nothing is known.
    metric : bool
        Whether it is in metres.
    """
    levels, record = _read(path, "depth")
    values = torch.from_numpy(levels.astype(np.float64))
    depth = torch.where(values > 0, values * record["scale"] + record["offset"], torch.nan)
    return depth, record["unit"] == "metre"


def write_normal_png(
    path: str | os.PathLike[str], normals: Tensor, *, mask: Tensor | None = None
) -> None:
    """Write unit normals to a 16-bit RGB PNG file.

    Red, green and blue are x, y and z; a value v stands for ``(v - 32768) / 32767``. Black
    (0, 0, 0) stands for "nothing known here".

    Parameters
    ----------
    path : path
        Where to write.
    normals : Tensor of a floating-point dtype, shape (3, height, width)
        Components in [-1, 1]; NaN or all zero where nothing is known.
    mask : Tensor of bool, shape (height, width), optional
        Where normals are to be kept.

    Raises
    ------
    ValueError
        A component lies outside [-1, 1].
    """
    if normals.ndim != 3 or normals.shape[0] != 3:
        raise ShapeError(f"normals must have shape (3, height, width), got {tuple(normals.shape)}")
    values = normals.detach().double().cpu()
    known = torch.isfinite(values).all(dim=0) & (values != 0).any(dim=0)
    if mask is not None:
        known &= mask.cpu()
    values = torch.where(known, values, 0)
    if values.abs().max() > 1 + 1e-5:  # what rounding to bfloat16 and back may add is more
        raise ValueError(f"normals must lie in [-1, 1], got {float(values.abs().max()):.5g}")
    levels = torch.where(known, (values.clamp(-1, 1) * 32767).round() + 32768, 0)
    record = {"map": "normal", "unit": "unit vector", "scale": 1 / 32767, "offset": -32768 / 32767}
    _write(path, levels.permute(1, 2, 0).numpy(), record)


def read_normal_png(path: str | os.PathLike[str]) -> Tensor:
    """Read what :func:`write_normal_png` wrote: float64, (3, height, width), 0 where unknown."""
    levels, record = _read(path, "normal")
    values = torch.from_numpy(levels.astype(np.float64)).permute(2, 0, 1)
    normals = values * record["scale"] + record["offset"]
    return torch.where((values > 0).any(dim=0), normals, 0)


def _write(
    path: str | os.PathLike[str], levels: NDArray[np.float64], record: Mapping[str, Any]
) -> None:
    import cv2

    pixels = levels.astype(np.uint16)
    if pixels.ndim == 3:
        pixels = pixels[..., ::-1]  # cv2 takes blue first
    done, encoded = cv2.imencode(".png", np.ascontiguousarray(pixels))
    if not done:
        raise FileError(f"{path}: cannot encode the map as PNG")
    text = json.dumps({"format": "barelens.map", "format_version": _VERSION, **record})
    content = encoded.tobytes()
    header_end = 8 + 12 + 13  # signature, and the IHDR chunk that goes first
    with atomic_path(path) as temporary:
        temporary.write_bytes(
            content[:header_end]
            + _chunk(b"tEXt", _KEYWORD + b"\0" + text.encode("ascii"))
            + content[header_end:]
        )


def _read(path: str | os.PathLike[str], wanted: str) -> tuple[NDArray[Any], dict[str, Any]]:
    import cv2

    content = Path(path).read_bytes()
    record = _find_record(content)
    if record is None or record.get("map") != wanted:
        raise FileError(f"{path} holds no {wanted} map of barelens")
    if record["format_version"] > _VERSION:
        raise FileError(
            f"{path} has format version {record['format_version']}; this release reads up to "
            f"{_VERSION}. Upgrade barelens to open it."
        )
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise FileError(f"{path} is not a whole 16-bit PNG file")
    return (pixels if pixels.ndim == 2 else pixels[..., ::-1].copy()), record


def _find_record(content: bytes) -> dict[str, Any] | None:
    start = 8
    while start + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, start)
        body = content[start + 8 : start + 8 + length]
        if content[start + 4 : start + 8] == b"tEXt" and body.startswith(_KEYWORD + b"\0"):
            record: dict[str, Any] = json.loads(body[len(_KEYWORD) + 1 :])
            return record
        start += length + 12
    return None


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
