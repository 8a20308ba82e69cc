"""Captures inside other files: tar shards, arrays and object stores."""

import tarfile
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor

from ...imaging.files import FileError, read_raw
from ...imaging.files.decode import SUFFIXES
from ...imaging.files.read import MAX_PIXELS

__all__ = [
    "ARRAY_SUFFIXES",
    "SHARD_SUFFIXES",
    "array_rows",
    "read_encoded",
    "read_remote",
    "remote_files",
    "shard_members",
    "wanted",
]

SHARD_SUFFIXES = (".tar", ".tar.gz", ".tgz")
ARRAY_SUFFIXES = (".zarr", ".h5", ".hdf5")

_MAX_BYTES = 8 * MAX_PIXELS


def shard_members(path: str, pattern: str | None) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """Read the captures of a tar archive one after the other, as stored and not yet decoded.

    Raises
    ------
    FileError
        The archive is damaged; what comes before the damage is given.
    """
    with _opened(path) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r|*") as archive:
                for member in archive:
                    if not member.isfile() or not wanted(member.name, pattern):
                        continue
                    if member.size > _MAX_BYTES:
                        raise FileError(f"{path}: {member.name} has {member.size} bytes, too many")
                    file = archive.extractfile(member)
                    content = b"" if file is None else file.read()
                    origin = f"{path}/{member.name}"
                    yield member.name, partial(read_encoded, content, origin)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise FileError(f"{path}: cannot be read as a tar archive: {error}") from error


def _opened(path: str) -> Any:
    if "://" not in path:
        return Path(path).open("rb")
    import fsspec

    return fsspec.open(path, "rb")


def wanted(name: str, pattern: str | None) -> bool:
    """Whether a file holds captures: shards and arrays do, others by pattern or by suffix."""
    path = PurePosixPath(name)
    if name.endswith((*SHARD_SUFFIXES, *ARRAY_SUFFIXES)):
        return True
    return path.match(pattern) if pattern else path.suffix.lower() in SUFFIXES


def read_encoded(content: bytes, origin: str) -> Tensor:
    """Decode a file that is in memory, as :func:`~barelens.imaging.files.read_raw` reads one.

    Raises
    ------
    FileError
        The content cannot be read in full; the message begins with ``origin``.
    """
    with tempfile.TemporaryDirectory(prefix="barelens-") as folder:
        path = Path(folder, "capture").with_suffix(PurePosixPath(origin).suffix)
        path.write_bytes(content)
        try:
            return read_raw(path)
        except FileError as error:
            raise FileError(str(error).replace(str(path), origin)) from None


def remote_files(url: str, pattern: str | None) -> tuple[str, list[str]]:
    """List the captures in a folder or glob of an object store: its URL, and names below it."""
    from fsspec.core import url_to_fs

    store, root = url_to_fs(url)
    if any(wildcard in root for wildcard in "*?["):
        found, base = store.glob(root), root
        while any(wildcard in base for wildcard in "*?["):
            base = base.rpartition("/")[0]
    elif store.isfile(root):
        found, base = [root], root.rpartition("/")[0]
    else:
        found, base = store.find(root), root.rstrip("/")
    below = sorted(name.removeprefix(base).lstrip("/") for name in found)
    prefix = store.unstrip_protocol(base).rstrip("/") + "/"
    return prefix, [name for name in below if wanted(name, pattern)]


def read_remote(url: str) -> Tensor:
    """Read a raw frame from an object store."""
    with _opened(url) as stream:
        return read_encoded(stream.read(), url)


def array_rows(path: str) -> Any:
    """Open the array of captures of a Zarr store or an HDF5 file.

    Returns
    -------
    array
        With a length and rows; opened for reading.

    Raises
    ------
    FileError
        The file is damaged, or has not exactly one array of captures.
    ImportError
        The format needs a package that is not installed.
    """
    trimmed = path.rstrip("/")
    opened = _open_zarr(trimmed) if trimmed.endswith(".zarr") else _open_hdf5(trimmed)
    if hasattr(opened, "shape"):
        return opened
    arrays = {name: value for name, value in opened.items() if hasattr(value, "shape")}
    if len(arrays) != 1:
        names = ", ".join(sorted(arrays)) or "none"
        raise FileError(f"{path}: must have exactly one array of captures, has: {names}")
    return next(iter(arrays.values()))


def _open_zarr(path: str) -> Any:
    try:
        import zarr
    except ImportError as error:
        raise ImportError(f"{path} needs zarr to be read: pip install zarr") from error
    try:
        opened = zarr.open(path, mode="r")
        return opened if hasattr(opened, "shape") else dict(opened.arrays())
    except Exception as error:  # each store has its own
        raise FileError(f"{path}: cannot be read as Zarr: {error}") from error


def _open_hdf5(path: str) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f"{path} needs h5py to be read: pip install h5py") from error
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise FileError(f"{path}: cannot be read as HDF5: {error}") from error
