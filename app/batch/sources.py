"""Where captures come from: what a source is, and what lies there."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from torch import Tensor

from .captures import Array, File, Part, Rows, Shard, Source, Values
from .containers import ARRAY_SUFFIXES, SHARD_SUFFIXES, remote_files, wanted

__all__ = ["check_apart", "open_paths", "open_source"]


def open_source(captures: Any, *, frame_ndim: int, pattern: str | None = None) -> Source:
    """Find the captures of a source; nothing but listings is read yet.

    Parameters
    ----------
    captures : any
        One frame or a batch of frames as a tensor or array; an open Zarr array or HDF5 dataset;
        a path: file, folder (searched in depth), glob pattern, ``.zarr``, ``.h5``, ``.tar`` shard,
        or any of these behind an fsspec URL such as ``s3://bucket/folder`` (not HDF5); a sequence
        of paths; or anything to iterate over that gives frames, batches (as a DataLoader does,
        alone or first in a tuple) or pairs (name, frame).
    frame_ndim : int
        Number of axes of one frame.
    pattern : str, optional
        Which captures of folders and shards to take, such as ``*.capture.png``.

    Returns
    -------
    Source
        The stream; captures of paths are named after their files.

    Raises
    ------
    FileNotFoundError
        A path leads nowhere.
    TypeError
        The source is none of these.
    """
    if _is_paths(captures):
        return open_paths(captures, pattern=pattern)
    if isinstance(captures, Tensor | np.ndarray):
        batch = captures[None] if captures.ndim == frame_ndim else captures
        if batch.ndim != frame_ndim + 1:
            raise TypeError(
                f"captures must have {frame_ndim} axes, or one more for a batch, "
                f"got shape {tuple(captures.shape)}"
            )
        return Source([Rows(batch)], len(batch))
    if hasattr(captures, "shape") and hasattr(captures, "__getitem__"):
        return Source([Rows(captures)], captures.shape[0])
    if isinstance(captures, Iterable):
        return Source([Values(captures, frame_ndim)], None)
    raise TypeError(f"captures must be frames, paths or an iterable, got {type(captures).__name__}")


def open_paths(paths: Any, *, pattern: str | None = None) -> Source:
    """Find the captures of a path or URL, or of several, as :func:`open_source` does.

    Raises
    ------
    FileNotFoundError
        A path leads nowhere.
    TypeError
        These are no paths.
    """
    if not _is_paths(paths):
        raise TypeError(f"captures must be paths or URLs, got {type(paths).__name__}")
    found = [_find(path, pattern) for path in _listed(paths)]
    if len(found) == 1:
        return found[0]
    counts = [source.count for source in found]
    count = None if None in counts else sum(number or 0 for number in counts)
    return Source([part for source in found for part in source.parts], count)


def check_apart(captures: Any, out: Path) -> None:
    """Require that results do not go where captures are looked for.

    Raises
    ------
    ValueError
        ``out`` lies in one of the folders.
    """
    for path in _listed(captures) if _is_paths(captures) else ():
        if Path(path).is_dir() and out.resolve().is_relative_to(Path(path).resolve()):
            raise ValueError(f"out must not lie in the folder of captures {path}, got {out}")


def _is_paths(captures: Any) -> bool:
    if isinstance(captures, str | os.PathLike):
        return True
    return isinstance(captures, Sequence) and all(
        isinstance(path, str | os.PathLike) for path in captures
    )


def _listed(paths: Any) -> list[str]:
    alone = isinstance(paths, str | os.PathLike)
    return [os.fspath(path) for path in ([paths] if alone else paths)]


def _find(path: str, pattern: str | None) -> Source:
    """List what one path stands for."""
    if path.rstrip("/").endswith((*ARRAY_SUFFIXES, *SHARD_SUFFIXES)):
        part = _container(path, PurePosixPath(path).name, path, pattern)
        return Source([part], part.count)
    if "://" in path:
        return _listing(*remote_files(path, pattern), path, pattern)
    if Path(path).is_dir():
        root = Path(path)
        below = sorted(str(file.relative_to(root)) for file in _walk(root, pattern))
        return _listing(f"{root}/", below, path, pattern)
    if glob.has_magic(path) and not Path(path).exists():
        root = Path(*_leading(Path(path).parts))
        matches = glob.iglob(path, recursive=True)  # noqa: PTH207 - absolute patterns too
        below = sorted(str(Path(name).relative_to(root)) for name in matches)
        return _listing(f"{root}/", below, path, pattern)
    return Source([File(path, Path(path).stem, path)], 1)


@dataclass(frozen=True)
class _Listing:
    """Captures, shards and arrays below one place, of which only names are kept."""

    prefix: str
    origins: Sequence[str]
    pattern: str | None

    def __iter__(self) -> Iterator[Part]:
        for origin in self.origins:
            path = self.prefix + origin
            if origin.endswith((*SHARD_SUFFIXES, *ARRAY_SUFFIXES)):
                yield _container(path, origin, origin, self.pattern)
            else:
                yield File(path, PurePosixPath(origin).with_suffix("").as_posix(), origin)


def _listing(prefix: str, origins: Sequence[str], path: str, pattern: str | None) -> Source:
    if not origins:
        raise FileNotFoundError(f"no captures at {path}")
    plain = not any(name.endswith((*SHARD_SUFFIXES, *ARRAY_SUFFIXES)) for name in origins)
    return Source(_Listing(prefix, origins, pattern), len(origins) if plain else None)


def _container(path: str, name: str, origin: str, pattern: str | None) -> "Array | Shard":
    """Make the part of a file that holds many captures, whose names begin with its own."""
    for suffix in (*SHARD_SUFFIXES, *ARRAY_SUFFIXES):
        name = name.removesuffix(suffix)
    if path.rstrip("/").endswith(ARRAY_SUFFIXES):
        return Array(path, name, origin)
    return Shard(path, name, origin, pattern)


def _walk(root: Path, pattern: str | None) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        for name in [name for name in folders if name.endswith(".zarr")]:
            folders.remove(name)  # an array, not a folder of captures
            yield Path(folder, name)
        for name in names:
            if not name.startswith(".") and wanted(name, pattern):
                yield Path(folder, name)


def _leading(parts: Sequence[str]) -> Iterator[str]:
    """Give the parts of a pattern before its first wildcard."""
    for part in parts[:-1]:
        if glob.has_magic(part):
            return
        yield part
