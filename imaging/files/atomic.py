"""Files that appear whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["atomic_path"]


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path that takes the final path's place when the block ends well.

    The temporary file lies in the same folder and has the same suffix, so that writers that go by
    the suffix work. It is flushed to the disk and then moved over ``path`` in one step. When the
    block raises, it is removed, and a file that was at ``path`` before stays as it was.

    Parameters
    ----------
    path : path
        Where the file shall be; its folder must exist.

    Yields
    ------
    Path
        Where to write it.

    Raises
    ------
    FileNotFoundError
        The folder does not exist, or the block wrote nothing.
    """
    final = Path(path)
    temporary = final.with_name(f".barelens-{secrets.token_hex(8)}{final.suffix}")
    try:
        yield temporary
        _flush(temporary, os.O_RDWR)
        temporary.replace(final)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # elsewhere a folder cannot be opened
        _flush(final.parent, os.O_RDONLY)


def _flush(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
