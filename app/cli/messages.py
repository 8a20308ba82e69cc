"""What the commands say on the error stream, and how they end."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, TypeVar

import typer

__all__ = [
    "check_device",
    "check_names",
    "complain",
    "fail",
    "parse_penalty",
    "parse_size",
    "tracked",
    "user_errors",
]

Item = TypeVar("Item")


def complain(message: object) -> None:
    """Print one line on the error stream."""
    typer.echo(f"barelens: {' '.join(str(message).split())}", err=True)


def fail(message: object) -> NoReturn:
    """Print one line on the error stream and exit with 1."""
    complain(message)
    raise typer.Exit(1)


@contextmanager
def user_errors() -> Iterator[None]:
    """End with one line, not a traceback, where the user's input is at fault."""
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError) as error:
        fail(error)


def tracked(items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
    """Yield items behind a progress bar on the error stream; none where that is no terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(items, label, total=total, console=console, disable=not console.is_terminal)


def check_names(paths: Iterable[Path]) -> None:
    """Require different names, because results are named after their sources."""
    seen: dict[str, Path] = {}
    for path in paths:
        if path.stem in seen:
            raise ValueError(
                f"{seen[path.stem]} and {path} would both be written as {path.stem}; "
                "give them different folders"
            )
        seen[path.stem] = path


def parse_size(text: str, name: str) -> tuple[int, int]:
    """Parse HEIGHTxWIDTH."""
    try:
        height, width = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise ValueError(f"{name} must be HEIGHTxWIDTH, such as 256x256, got {text!r}") from None
    return height, width


def parse_penalty(text: str) -> float | str:
    """Parse a weight, or keep the name of the rule that chooses one."""
    try:
        return float(text)
    except ValueError:
        return text


def check_device(name: str) -> str:
    """Require a device that this machine has."""
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {name!r} cannot be used: {reason}") from None
    return name
