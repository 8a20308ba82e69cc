"""Models from files, folders and the hub, and models of ours into files."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .build import Family, from_state_dict, infer_family
from .keys import split_state
from .licence import show_licence
from .model import HumanModel
from .multitask import MULTITASK_FORMAT, build_multitask
from .stored import PICKLES, CheckpointError, read_state_dict, write_state_dict
from .vit import VisionTransformer

__all__ = ["load_checkpoint", "save_checkpoint"]

FORMAT = "barelens.human"


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
        For example ``torch.bfloat16``; as stored where not given, but float32 for a
        :class:`MultiTaskModel`, whose files hold half precision to be small.

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
    if metadata.get("format") == MULTITASK_FORMAT:
        return build_multitask(state, metadata, device=device, dtype=dtype)
    settings = _read_config(path, metadata, config)
    if metadata.get("format") != FORMAT:
        show_licence(infer_family(split_state(state).backbone), stacklevel=2)
    model = from_state_dict(state, family, task, settings, copy=False)
    return model.to(device=device) if dtype is None else _cast(model.to(device=device), dtype)


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
    if not isinstance(model.backbone, VisionTransformer):
        raise TypeError(
            f"model must have a VisionTransformer backbone, got {type(model.backbone).__name__}"
        )
    write_state_dict(path, model.state_dict(), FORMAT, config=asdict(model.backbone.config))


def _find(source: str | os.PathLike[str]) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    if path.is_dir():
        return _find_in(path)
    name = os.fspath(source)
    # Not "no suffix": hub ids have dots too, as in facebook/sapiens2-pose-0.4b.
    is_file = path.suffix in (".safetensors", *PICKLES)
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
