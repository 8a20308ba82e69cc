"""Tensors and settings in files, read without running anything the files contain."""

import json
import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...imaging.files import atomic_path
from .keys import unwrap_state

__all__ = ["FORMATS", "PICKLES", "CheckpointError", "read_state_dict", "write_state_dict"]

#: Formats of our own with the latest version of each.
FORMATS = {"barelens.human": 1, "barelens.multitask": 1}
PICKLES = (".pth", ".pt", ".bin", ".ckpt")


class CheckpointError(ValueError):
    """A checkpoint cannot be read, or may not be."""


def read_state_dict(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and the metadata of a checkpoint file, or of an index of shards.

    Raises
    ------
    CheckpointError
        See :func:`load_checkpoint`.
    """
    path = Path(path)
    if path.name.endswith(".index.json"):
        shards = sorted(set(json.loads(path.read_text())["weight_map"].values()))
        state: dict[str, Tensor] = {}
        for shard in shards:
            state |= read_state_dict(path.parent / Path(shard).name)[0]
        return state, {}
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in PICKLES:
        return _read_pickle(path), {}
    raise CheckpointError(f"{path} must end in .safetensors or {', '.join(PICKLES)}")


def write_state_dict(
    path: str | os.PathLike[str],
    state: Mapping[str, Tensor],
    format: str,
    **records: Mapping[str, Any],
) -> None:
    """Write tensors as safetensors in a format of our own, whole or not at all.

    Parameters
    ----------
    path : path
        Where to write.
    state : mapping of str to Tensor
        They keep their dtype.
    format : str
        One of :data:`FORMATS`.
    records
        JSON data for the file's metadata, each under its name.
    """
    from safetensors.torch import save_file

    metadata = {"format": format, "format_version": str(FORMATS[format])}
    metadata |= {name: json.dumps(record, allow_nan=False) for name, record in records.items()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            _check_version(path, metadata)
            return {name: file.get_tensor(name) for name in file.keys()}, metadata
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a whole safetensors file: {error}") from error


def _check_version(path: Path, metadata: Mapping[str, str]) -> None:
    known = FORMATS.get(metadata.get("format", ""))
    if known is not None and int(metadata["format_version"]) > known:
        raise CheckpointError(
            f"{path} has format version {metadata['format_version']}; this release reads up to "
            f"{known}. Upgrade barelens to open it."
        )


def _read_pickle(path: Path) -> dict[str, Tensor]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(
                "/code/" in name or name.endswith("constants.pkl") for name in archive.namelist()
            ):
                raise CheckpointError(
                    f"{path} is a TorchScript archive, which holds code as well as weights; "
                    "get the plain .pth or .safetensors file of the same model."
                )
    try:
        checkpoint = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds Python objects beside tensors, and reading them could run code. If you "
            "trust its origin, convert it once where nothing else is at stake: "
            "state = torch.load(path, weights_only=False)['state_dict']; "
            "safetensors.torch.save_file(state, 'model.safetensors')"
        ) from error
    except (RuntimeError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} is not a whole checkpoint: {error}") from error
    if not isinstance(checkpoint, Mapping):
        raise CheckpointError(f"{path} must hold a state dict, got {type(checkpoint).__name__}")
    try:
        return unwrap_state(checkpoint)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
