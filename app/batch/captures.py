"""Captures in files, shards, arrays and memory: every kind becomes one stream of names."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ...imaging.files import read_raw
from .containers import array_rows, read_remote, shard_members

__all__ = ["Array", "Capture", "File", "Part", "Rows", "Shard", "Source", "Values"]


@dataclass(frozen=True)
class Capture:
    """A capture that has not been read yet.

    Attributes
    ----------
    name : str
        Where its results go below the folder of results, without suffix; ``/`` makes folders.
    origin : str
        What it was made from, for messages and for the manifest.
    read : callable
        Gives the raw frame, from any thread.
    """

    name: str
    origin: str
    read: Callable[[], Tensor]


class Part(Protocol):
    """One file, shard or array of a source; those of paths can be pickled."""

    @property
    def origin(self) -> str:
        """What to call it in messages."""
        ...

    @property
    def count(self) -> int | None:
        """How many captures it has, where that is known without reading it."""
        ...

    def __iter__(self) -> Iterator[Capture]: ...


@dataclass(frozen=True)
class Source:
    """Captures from anywhere.

    Attributes
    ----------
    parts : iterable of Part
        What holds them.
    count : int or None
        How many captures there are, where that is known.
    """

    parts: Iterable[Part]
    count: int | None

    def __iter__(self) -> Iterator[Capture]:
        for part in self.parts:
            try:
                yield from map(_inside, part)
            except (ValueError, OSError, EOFError) as error:  # a damaged container
                name = PurePosixPath(part.origin).name or "source"
                yield Capture(name, part.origin, partial(_fail, error))


@dataclass(frozen=True)
class File:
    """One file, local or behind a URL."""

    path: str
    name: str
    origin: str
    count: int | None = 1

    def __iter__(self) -> Iterator[Capture]:
        read = read_remote if "://" in self.path else read_raw
        yield Capture(self.name, self.origin, partial(read, self.path))


@dataclass(frozen=True)
class Shard:
    """A tar archive, local or behind a URL, such as WebDataset's."""

    path: str
    name: str
    origin: str
    pattern: str | None
    count: int | None = None

    def __iter__(self) -> Iterator[Capture]:
        for member, read in shard_members(self.path, self.pattern):
            yield Capture(f"{self.name}/{_stem(member)}", f"{self.origin}/{member}", read)


@dataclass(frozen=True)
class Array:
    """A Zarr or HDF5 array of captures."""

    path: str
    name: str
    origin: str

    @property
    def count(self) -> int | None:
        """How many rows it has; None where it is damaged."""
        try:
            return int(array_rows(self.path).shape[0])
        except ValueError:  # which is said once its turn comes
            return None

    def __iter__(self) -> Iterator[Capture]:
        yield from _rows(array_rows(self.path), self.name)


@dataclass(frozen=True)
class Values:
    """Frames in memory: anything to iterate over, frame by frame or batch by batch."""

    values: Iterable[Any]
    frame_ndim: int
    origin: str = "capture"
    count: int | None = None

    def __iter__(self) -> Iterator[Capture]:
        number = 0
        for value in self.values:
            names, frames = _named_frames(value, self.frame_ndim)
            for name, frame in zip(names, frames, strict=True):
                name = f"{self.origin}-{number:08d}" if name is None else name
                yield Capture(name, name, partial(_tensor, frame))
                number += 1


@dataclass(frozen=True)
class Rows:
    """An open array of captures."""

    rows: Any

    origin: str = "capture"

    @property
    def count(self) -> int | None:
        """How many rows it has."""
        return int(self.rows.shape[0])

    def __iter__(self) -> Iterator[Capture]:
        yield from _rows(self.rows, self.origin)


def _rows(rows: Any, prefix: str) -> Iterator[Capture]:
    for index in range(rows.shape[0]):
        name = f"{prefix}-{index:08d}"
        yield Capture(name, name, partial(_row, rows, index))


def _row(rows: Any, index: int) -> Tensor:
    return _tensor(rows[index])


def _tensor(frame: Any) -> Tensor:
    return frame if isinstance(frame, Tensor) else torch.from_numpy(np.ascontiguousarray(frame))


def _named_frames(value: Any, frame_ndim: int) -> tuple[list[str | None], list[Any]]:
    """Take one element of a stream apart: a frame, a batch, or either with names before it."""
    names: Any = None
    if isinstance(value, tuple | list) and value:
        if isinstance(value[0], str) or (
            isinstance(value[0], tuple | list) and all(isinstance(n, str) for n in value[0])
        ):
            names, value = value[0], value[1]
        else:
            value = value[0]
    if not isinstance(value, Tensor | np.ndarray) or value.ndim not in (frame_ndim, frame_ndim + 1):
        shape = getattr(value, "shape", type(value).__name__)
        raise ValueError(f"a stream must give frames of {frame_ndim} axes or batches, got {shape}")
    frames = [value] if value.ndim == frame_ndim else list(value)
    if names is None:
        return [None] * len(frames), frames
    return [names] if isinstance(names, str) else list(names), frames


def _stem(origin: str) -> str:
    """Take the suffix off."""
    return PurePosixPath(origin).with_suffix("").as_posix()


def _inside(capture: Capture) -> Capture:
    """Refuse a name, as an archive may have it, that leads out of the folder of results."""
    path = PurePosixPath(capture.name)
    if (
        path.parts
        and not path.is_absolute()
        and ".." not in path.parts
        and "\0" not in capture.name
    ):
        return capture
    error = ValueError(f"{capture.name!r} is no name for a result: it leads out of its folder")
    number = hashlib.sha256(capture.name.encode()).hexdigest()[:16]
    return Capture(f"refused-{number}", capture.origin, partial(_fail, error))


def _fail(error: Exception) -> Tensor:
    raise error
