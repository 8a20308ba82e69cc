"""What a run has finished, kept so that it survives being killed at any moment."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["JOURNAL_NAME", "Journal"]

JOURNAL_NAME = "manifest.sqlite"


class Journal:
    """One row a capture in an SQLite file that one process at a time may open.

    SQLite's write-ahead log makes every row whole or absent, whenever the process ends.

    Parameters
    ----------
    folder : Path
        The folder of results.

    Raises
    ------
    BlockingIOError
        Another run writes into the folder.
    ValueError
        The journal is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / JOURNAL_NAME
        self._database = sqlite3.connect(self.path, isolation_level=None, timeout=1.0)
        try:
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS captures (name TEXT PRIMARY KEY, row TEXT NOT NULL) "
                "WITHOUT ROWID"
            )
            self._database.execute("BEGIN IMMEDIATE")  # takes the lock, which outlives the commit
            self._database.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._database.close()
            raise BlockingIOError(f"{folder}: another run writes here ({error})") from None
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise ValueError(f"{self.path} is no journal of a batch: {error}") from None

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._database.close()

    def get(self, name: str) -> dict[str, Any] | None:
        """Give the row of a capture, if it has one."""
        found = self._database.execute("SELECT row FROM captures WHERE name = ?", (name,))
        row = found.fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, row: dict[str, Any]) -> None:
        """Set the row of the capture ``row["name"]``; it is safe once this returns."""
        self._database.execute(
            "INSERT OR REPLACE INTO captures VALUES (?, ?)",
            (row["name"], json.dumps(row, allow_nan=False)),
        )

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for (row,) in self._database.execute("SELECT row FROM captures ORDER BY name"):
            yield json.loads(row)

    def __len__(self) -> int:
        return int(self._database.execute("SELECT COUNT(*) FROM captures").fetchone()[0])
