"""The file of a camera record: settings and tensors in one safetensors file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..imaging.files import atomic_path
from .errors import CalibrationError

__all__ = ["FORMAT", "FORMAT_VERSION", "read_record", "write_record"]

FORMAT = "barelens.camera"
FORMAT_VERSION = 1


def write_record(path: Path, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write a record, complete or not at all.

    Raises
    ------
    CalibrationError
        The settings hold what JSON cannot.
    """
    from safetensors.torch import save

    try:
        text = json.dumps(settings, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CalibrationError(f"the record holds what JSON cannot: {error}") from None
    plain = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"format": FORMAT, "format_version": str(FORMAT_VERSION), "settings": text}
    content = save(plain, metadata)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def read_record(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the settings and the tensors of a record; nothing in the file is ever executed.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    CalibrationError
        The file is no camera record, is damaged, or is of a newer format.
    """
    tensors, metadata = _read(path)
    if metadata.get("format") != FORMAT:
        raise CalibrationError(f"{path} is a safetensors file but not a camera record")
    version = metadata.get("format_version", "")
    if not version.isdigit() or int(version) > FORMAT_VERSION:
        raise CalibrationError(
            f"{path} has format version {version}; this release reads up to "
            f"{FORMAT_VERSION}. Upgrade barelens to open it."
        )
    try:
        return dict(json.loads(metadata["settings"])), tensors
    except (KeyError, TypeError, ValueError) as error:
        raise CalibrationError(f"{path} is a damaged camera record: {error}") from None


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"no camera record at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            return tensors, dict(file.metadata() or {})
    except SafetensorError as error:
        raise CalibrationError(f"{path} is no camera record: {error}") from None
