"""Keeping count of a run: what is to be done, what is done, how fast, and what went wrong."""

import re
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from .captures import Capture
from .journal import Journal
from .manifest import MANIFEST_NAME, write_manifest
from .work import finished_columns, settings_hash

__all__ = ["Ledger", "Outcome", "Progress"]

_LEFT_OVER = re.compile(r"\.barelens-[0-9a-f]{16}(\.\w+)?")

ProgressWatch = Callable[["Progress"], None]
ErrorWatch = Callable[[str, Exception], None]


@dataclass(frozen=True, eq=False)
class Outcome:
    """How one capture ended: with columns of the manifest, or with an error.

    ``found`` says that its results were there already.
    """

    name: str
    origin: str
    columns: dict[str, Any] = field(default_factory=dict)
    error: Exception | None = None
    found: bool = False


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes
    ----------
    done, failed, skipped : int
        Captures that this run finished, that failed, and that an earlier run had finished.
    total : int or None
        Captures in all, where that is known.
    seconds : float
        Since the run began.
    """

    done: int = 0
    failed: int = 0
    skipped: int = 0
    total: int | None = None
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Captures a second, without those skipped."""
        return (self.done + self.failed) / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Expected time to the end, where the total is known."""
        if self.total is None or self.rate == 0:
            return None
        return max(self.total - self.done - self.failed - self.skipped, 0) / self.rate


class Ledger:
    """The journal of a folder of results, with what the run at hand adds to it.

    Entering it locks the folder and clears away what a killed run left half-written; leaving it
    writes the manifest.

    Parameters
    ----------
    out : Path
        The folder; made if missing.
    settings : dict
        All that decides what comes out.
    total : int or None
        Captures in all, where that is known.
    on_progress, on_error : callable, optional
        As in :meth:`~barelens.app.batch.Pipeline.run`.

    Raises
    ------
    BlockingIOError
        Another run writes into the folder.
    """

    def __init__(
        self,
        out: Path,
        settings: dict[str, Any],
        *,
        total: int | None = None,
        on_progress: ProgressWatch | None = None,
        on_error: ErrorWatch | None = None,
    ) -> None:
        self.out = out
        self._settings = settings
        self._hash = settings_hash(settings)
        self._total = total
        self._on_progress, self._on_error = on_progress, on_error or _warn
        self._counts = {"done": 0, "failed": 0, "skipped": 0}
        self._started = time.monotonic()
        self._in_flight: dict[str, str] = {}
        out.mkdir(parents=True, exist_ok=True)
        self._journal = Journal(out)

    def __enter__(self) -> "Ledger":
        for path in self.out.rglob(".barelens-*"):
            if _LEFT_OVER.fullmatch(path.name):
                path.unlink(missing_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._journal as journal:
            write_manifest(self.out / MANIFEST_NAME, journal)

    @property
    def progress(self) -> Progress:
        """The counts of this run so far."""
        seconds = time.monotonic() - self._started
        return Progress(**self._counts, total=self._total, seconds=seconds)

    def pending(self, captures: Iterable[Capture]) -> Iterator[Capture]:
        """Yield the captures that are still to be done."""
        for capture in captures:
            first = self._in_flight.get(capture.name)
            row = self._journal.get(capture.name)
            if first is None and row is not None:
                first = row["origin"]
            if first is not None and first != capture.origin:
                self._fail(capture.origin, _collision(capture, first))
            elif capture.name in self._in_flight or self._is_done(capture, row):
                self._count("skipped")
            else:
                self._in_flight[capture.name] = capture.origin
                yield capture

    def record(self, outcome: Outcome) -> None:
        """Enter how a capture ended."""
        self._in_flight.pop(outcome.name, None)
        if outcome.found and self._has(outcome.name, self._journal.get(outcome.name)):
            self._count("skipped")
            return
        error = None if outcome.error is None else _message(outcome)
        self._enter(outcome.name, outcome.origin, outcome.columns, error)
        if outcome.error is None:
            self._count("done")
        else:
            self._fail(outcome.origin, outcome.error)

    def _is_done(self, capture: Capture, row: dict[str, Any] | None) -> bool:
        if self._has(capture.name, row):
            return True
        columns = finished_columns(self._settings, self.out / capture.name)
        if columns is None:
            return False
        # The earlier run was killed between the capture's record and its row, or made previews too.
        self._enter(capture.name, capture.origin, columns, None)
        return True

    def _has(self, name: str, row: dict[str, Any] | None) -> bool:
        """Whether a row says that results were made with these settings, and they are there."""
        if row is None or row["error"] is not None or row["settings_hash"] != self._hash:
            return False
        last = "refined" if "refining" in self._settings else "linear"
        return (self.out / f"{name}.{last}.json").is_file()

    def _enter(self, name: str, origin: str, columns: dict[str, Any], error: str | None) -> None:
        row = {
            **columns,
            "name": name,
            "origin": origin,
            "settings_hash": self._hash,
            "camera_digest": self._settings["camera"],
            "finished": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "error": error,
        }
        self._journal.put(row)

    def _fail(self, origin: str, error: Exception) -> None:
        self._on_error(origin, error)
        self._count("failed")

    def _count(self, what: str) -> None:
        self._counts[what] += 1
        if self._on_progress is not None:
            self._on_progress(self.progress)


def _warn(origin: str, error: Exception) -> None:
    warnings.warn(f"{origin} failed: {error}", RuntimeWarning, stacklevel=2)


def _message(outcome: Outcome) -> str:
    return " ".join(str(outcome.error).split()) or type(outcome.error).__name__


def _collision(capture: Capture, first: str) -> ValueError:
    return ValueError(f"{first} and {capture.origin} would both be written as {capture.name}")
