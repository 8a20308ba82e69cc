"""DifuzCam's data: pairs of captures and pictures, and how its captures are prepared."""

import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..bayer import split_bayer
from ..files import linear_to_srgb, read_image, read_raw
from ..files.errors import FileError
from ..operators import MeanRemoval
from ..rotation import rotate
from ..shapes import ShapeError
from .resample import resize

__all__ = ["PREPARATIONS", "Pair", "Preparation", "read_pairs", "square_picture"]


@dataclass(frozen=True)
class Preparation:
    """How raw frames of one camera become what a published model takes.

    Attributes
    ----------
    frame_shape : tuple of int
        (height, width) of raw frames, blue first.
    white_level : float
        The count of full light.
    rotation_rad : float
        How far to turn each plane, see :func:`~barelens.imaging.rotation.rotate`.
    top, left, height, width : int
        The part of a turned plane to keep.
    """

    frame_shape: tuple[int, int]
    white_level: float
    rotation_rad: float
    top: int
    left: int
    height: int
    width: int

    def __call__(self, raw: Tensor, dark: Tensor | None = None) -> Tensor:
        """Prepare raw frames.

        Parameters
        ----------
        raw : Tensor of any real dtype, shape (..., *frame_shape)
            Counts.
        dark : Tensor, shape (*frame_shape), optional
            Counts without light, to take off; what is then below zero is zero, as published.

        Returns
        -------
        Tensor of float32, shape (..., 4, height, width)
            Planes R, Gr, Gb and B without row and column means.

        Raises
        ------
        ShapeError
            The frame has another shape.
        """
        if tuple(raw.shape[-2:]) != self.frame_shape:
            raise ShapeError(
                f"raw must have shape (..., {self.frame_shape[0]}, {self.frame_shape[1]}), "
                f"got {tuple(raw.shape)}"
            )
        light = raw.float() / self.white_level
        if dark is not None:
            light = (light - dark.float() / self.white_level).clamp_min(0)
        planes = rotate(split_bayer(light, "BGGR"), math.degrees(self.rotation_rad))
        planes = planes[..., self.top : self.top + self.height, self.left : self.left + self.width]
        return MeanRemoval(tuple(planes.shape[-2:])).forward(planes)


#: By the sensor size that a model's transform takes: FlatNet's data and DifuzCam's own camera.
PREPARATIONS = {
    (500, 620): Preparation((1024, 1280), 65535, 0.00174, 6, 10, 500, 620),
    (952, 1276): Preparation((1944, 2592), 4095, -0.009, 10, 10, 952, 1276),
}


@dataclass(frozen=True, eq=False)
class Pair:
    """A capture and the picture that was shown to the camera.

    Attributes
    ----------
    name : str
        Where it comes from.
    capture : Tensor, shape (height, width)
        The raw frame.
    picture : Tensor of float32, shape (3, height, width)
        sRGB in [0, 1].
    captions : tuple of str
        Descriptions, if there are any.
    """

    name: str
    capture: Tensor
    picture: Tensor
    captions: tuple[str, ...] = ()


def read_pairs(folder: str | Path, split: str = "validation") -> Iterator[Pair]:
    """Stream pairs from a folder in either layout that datasets on the Hugging Face hub have.

    Parquet files are read where a file's or its folder's name holds the split's; their first
    three columns are the picture, its captions and the raw capture, as DifuzCam's code takes
    them. Without any, ``<split>/metadata.jsonl`` names files: ``file_name`` the picture, one
    other key ending in ``_file_name`` the capture, ``text`` the captions.

    Parameters
    ----------
    folder : path
        The dataset, downloaded.
    split : str, optional
        Which part of it.

    Yields
    ------
    Pair
        One after the other; nothing is kept.

    Raises
    ------
    FileNotFoundError
        The folder has neither.
    FileError
        A file cannot be read.
    ImportError
        Parquet files need pyarrow.
    """
    folder = Path(folder)
    tables = sorted(
        path for path in folder.rglob("*.parquet") if split in str(path.relative_to(folder))
    )
    listing = folder / split / "metadata.jsonl"
    if not tables and not listing.is_file():
        raise FileNotFoundError(
            f"{folder} has neither Parquet files named after {split!r} nor {split}/metadata.jsonl"
        )
    if not tables:
        yield from _listed_pairs(listing)
    for table in tables:
        yield from _table_pairs(table)


def square_picture(picture: Tensor, side: int) -> Tensor:
    """Cut the central square of pictures (3, height, width) and resize it, as published."""
    height, width = picture.shape[-2:]
    scale = side / min(height, width)
    size = max(side, round(height * scale)), max(side, round(width * scale))
    resized = resize(picture[None], size)[0]
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    return resized[:, top : top + side, left : left + side]


def _listed_pairs(listing: Path) -> Iterator[Pair]:
    lines = listing.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            (capture,) = (
                value
                for key, value in entry.items()
                if key.endswith("_file_name") and isinstance(value, str)
            )
            picture = entry["file_name"]
        except (ValueError, KeyError, AttributeError) as error:
            raise FileError(
                f"{listing}, line {number}: does not name a picture and one capture"
            ) from error
        yield Pair(
            name=str(picture),
            capture=read_raw(listing.parent / capture),
            picture=_read_srgb(listing.parent / picture),
            captions=_captions(entry.get("text")),
        )


def _table_pairs(table: Path) -> Iterator[Pair]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise ImportError("Parquet files need pyarrow: pip install 'barelens[datasets]'") from error
    try:
        file = ParquetFile(table)
        columns = file.schema_arrow.names
        if len(columns) < 3:
            raise FileError(f"{table}: has the columns {columns}, wanted picture, text, capture")
        with tempfile.TemporaryDirectory() as scratch:
            rows = (row for batch in file.iter_batches(batch_size=8) for row in batch.to_pylist())
            for number, row in enumerate(rows):
                picture, text, capture = (row[column] for column in columns[:3])
                yield Pair(
                    name=f"{table.name}:{number}",
                    capture=read_raw(_unpacked(capture, Path(scratch), "capture")),
                    picture=_read_srgb(_unpacked(picture, Path(scratch), "picture")),
                    captions=_captions(text),
                )
    except ArrowException as error:
        raise FileError(f"{table}: {error}") from None


def _unpacked(cell: Any, scratch: Path, name: str) -> Path:
    """Write an image of a table to a file, for the readers that know all formats."""
    content = cell["bytes"] if isinstance(cell, dict) else cell
    if not isinstance(content, bytes):
        raise FileError(f"a table's {name} must be an image's bytes, got {type(content).__name__}")
    suffix = Path((isinstance(cell, dict) and cell.get("path")) or "x.png").suffix
    path = scratch / f"{name}{suffix}"
    path.write_bytes(content)
    return path


def _read_srgb(path: Path) -> Tensor:
    picture = linear_to_srgb(read_image(path, encoding="srgb", alpha="drop"))
    return picture.expand(3, -1, -1).clamp(0, 1)


def _captions(text: str | Sequence[str] | None) -> tuple[str, ...]:
    if text is None:
        return ()
    return (text,) if isinstance(text, str) else tuple(text)
