"""Checkpoints on disk and on the hub, read without running anything they contain."""

import json
import os
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...imaging.files import atomic_path
from .build import Family, from_state_dict, infer_family
from .keys import split_state, unwrap_state
from .licence import show_licence
from .model import HumanModel
from .vit import VisionTransformer

__all__ = ["CheckpointError", "load_checkpoint", "read_state_dict", "save_checkpoint"]

FORMAT = "barelens.human"
FORMAT_VERSION = 1
_PICKLES = (".pth", ".pt", ".bin", ".ckpt")


class CheckpointError(ValueError):
    """A checkpoint cannot be read, or may not be."""


def load_checkpoint(
    source: str | os.PathLike[str],
    *,
    family: Family | None = None,
    task: str | None = None,
    config: Mapping[str, Any] | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> nn.Module:
    """Load a model from a file, a folder or the Hugging Face hub.

    Parameters
    ----------
    source : path or str
        A ``.safetensors`` file, a ``.pth`` file with tensors only, a folder with one of either
        (or shards and their index, and a ``config.json`` if there is one), or a hub id such as
        ``"facebook/sapiens2-pose-0.4b"``, for which huggingface_hub must be installed.
    family, task, config
        As for :func:`from_state_dict`; told from the file where not given.
    device : device
        Where the tensors go.
    dtype : dtype, optional
        For example ``torch.bfloat16``; as stored where not given.

    Returns
    -------
    Module, in evaluation mode
        As from :func:`from_state_dict`.

    Raises
    ------
    CheckpointError
        The file is damaged, holds more than tensors, or was written by a later release.
    FileNotFoundError
        There is no such file, or no checkpoint in the folder.
    """
    path = _find(source)
    state, metadata = read_state_dict(path)
    settings = _read_config(path, metadata, config)
    ours = metadata.get("format") == FORMAT
    if not ours:
        show_licence(infer_family(split_state(state).backbone), stacklevel=2)
    model = from_state_dict(state, family, task, settings, copy=False)
    return model.to(device=device) if dtype is None else _cast(model.to(device=device), dtype)


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
    if path.suffix in _PICKLES:
        return _read_pickle(path), {}
    raise CheckpointError(f"{path} must end in .safetensors or {', '.join(_PICKLES)}")


def save_checkpoint(path: str | os.PathLike[str], model: HumanModel) -> None:
    """Save a model of ours, a first-generation backbone with any heads, as safetensors.

    Parameters
    ----------
    path : path
        Where to write; the settings go into the file's metadata.
    model : HumanModel
        The model; its tensors keep their dtype.

    Raises
    ------
    TypeError
        The backbone is of another kind.
    """
    from safetensors.torch import save_file

    if not isinstance(model.backbone, VisionTransformer):
        raise TypeError(
            f"model must have a VisionTransformer backbone, got {type(model.backbone).__name__}"
        )
    record = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "config": json.dumps(asdict(model.backbone.config)),
    }
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, temporary, record)


def _find(source: str | os.PathLike[str]) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    if path.is_dir():
        return _find_in(path)
    name = os.fspath(source)
    # Not "no suffix": hub ids have dots too, as in facebook/sapiens2-pose-0.4b.
    is_file = path.suffix in (".safetensors", *_PICKLES)
    if name.count("/") == 1 and not is_file and not name.startswith((".", "/", "~")):
        return _find_in(_download(name))
    raise FileNotFoundError(f"no checkpoint at {path}")


def _find_in(folder: Path) -> Path:
    for pattern in ("model.safetensors", "*.index.json", "*.safetensors", "*.pth", "*.pt"):
        found = sorted(folder.glob(pattern))
        if len(found) > 1:
            names = ", ".join(file.name for file in found)
            raise CheckpointError(f"{folder} holds several checkpoints, name one of: {names}")
        if found:
            return found[0]
    raise FileNotFoundError(f"{folder} holds no .safetensors, .pth or .pt file")


def _download(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ImportError(
            f"{name!r} is no file or folder, and loading from the hub needs huggingface_hub: "
            "pip install huggingface_hub"
        ) from error
    patterns = ["*.safetensors", "*.safetensors.index.json", "*.pth", "config.json", "LICENSE*"]
    # Second-generation repositories hold the same tensors once more under this name.
    twice = ["sapiens2_*.safetensors"]
    return Path(snapshot_download(name, allow_patterns=patterns, ignore_patterns=twice))


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            if metadata.get("format") == FORMAT:
                _check_version(path, metadata)
            return {name: file.get_tensor(name) for name in file.keys()}, metadata
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a whole safetensors file: {error}") from error


def _check_version(path: Path, metadata: Mapping[str, str]) -> None:
    version = int(metadata["format_version"])
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {version}; this release reads up to {FORMAT_VERSION}. "
            "Upgrade barelens to open it."
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


def _read_config(
    path: Path, metadata: Mapping[str, str], config: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    if config is not None:
        return config
    if "config" in metadata:
        return json.loads(metadata["config"])
    beside = path.with_name("config.json")
    return json.loads(beside.read_text()) if beside.is_file() else None


def _cast(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Cast parameters only: the rotary periods belong to the rotations, not to the weights."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model
