"""The manifest: one row a capture, as a Parquet file."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from ...imaging.files import atomic_path

__all__ = ["MANIFEST_NAME", "linear_row", "need_pyarrow", "refined_row", "write_manifest"]

MANIFEST_NAME = "manifest.parquet"

_ROWS_AT_ONCE = 10_000
_TEXT = ("name", "origin", "settings_hash", "camera_digest", "method", "finished", "error")
_NUMBERS = ("minimum", "maximum", "mean", "saturated_share", "seconds")
_LISTS = (  # one value for each colour plane
    "residual",
    "penalty",
    "noise_std",
    "effective_parameters",
    "iterations",
    "measured_share",
    "camera_p_value",
    "picture_p_value",
    "refined_residual",
)


def need_pyarrow() -> Any:
    """Import pyarrow, or say how to get it."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError("batches need pyarrow: pip install 'barelens[batch]'") from error
    return pyarrow


def write_manifest(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows to a Parquet file, whole or not at all, a few at a time.

    Columns that a row has no value for are null there.
    """
    pa = need_pyarrow()
    schema = pa.schema(
        [
            *((name, pa.string()) for name in _TEXT),
            *((name, pa.float64()) for name in _NUMBERS),
            *((name, pa.list_(pa.float64())) for name in _LISTS),
        ]
    )
    remaining = iter(rows)
    with atomic_path(path) as temporary, pa.parquet.ParquetWriter(temporary, schema) as writer:
        while chunk := list(islice(remaining, _ROWS_AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(chunk, schema=schema))


def linear_row(record: dict[str, Any]) -> dict[str, Any]:
    """Take from a reconstruction's record what the manifest has of it."""
    solution, trust = record["solution"], record.get("trust", {})
    names = ("residual", "penalty", "noise_std", "effective_parameters", "iterations")
    return {
        "method": record["settings"]["method"],
        "seconds": record["seconds"],
        **record["levels"],
        **{name: _listed(solution.get(name)) for name in names},
        "measured_share": _listed(trust.get("measured", {}).get("of_picture")),
        "camera_p_value": _listed((trust.get("camera") or {}).get("p_value")),
        "picture_p_value": _listed(trust.get("picture", {}).get("p_value")),
    }


def refined_row(record: dict[str, Any]) -> dict[str, Any]:
    """Take from a refinement's record what the manifest has of it."""
    return {"refined_residual": _listed(record["residual"]["refined"])}


def _listed(value: Any) -> list[float | None] | None:
    if value is None or isinstance(value, list):
        return value
    return [value]
