"""Checkpoints that are there whole or not at all."""

import json
import os
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...files import write_json

__all__ = ["Checkpoint", "latest_checkpoint", "save_checkpoint"]

_PREFIX = "step-"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state of a run after a number of steps.

    Attributes
    ----------
    step : int
        Steps done.
    weights : mapping of str to Tensor
        Trained parameters.
    optimizer, average : mapping
        State of the optimizer and of the running mean.
    state : mapping
        JSON data: the settings, what went wrong so far, sizes that were adapted.
    """

    step: int
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    average: Mapping[str, Any]
    state: Mapping[str, Any]


def save_checkpoint(folder: Path, checkpoint: Checkpoint, *, keep: int) -> Path:
    """Write a checkpoint beside the others, then remove all but the newest.

    It is written under a temporary name and renamed once it is complete and on the disk, so that
    a run that is killed meanwhile leaves the one before.

    Parameters
    ----------
    folder : Path
        Where checkpoints lie; made if missing.
    checkpoint : Checkpoint
        What to write.
    keep : int
        How many to keep, at least 1.

    Returns
    -------
    Path
        The checkpoint's folder.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".step-*"):
        shutil.rmtree(leftover)
    final = folder / f"{_PREFIX}{checkpoint.step:08d}"
    temporary = folder / f".{final.name}"
    temporary.mkdir()
    weights = {
        name: value.detach().cpu().contiguous() for name, value in checkpoint.weights.items()
    }
    save_file(weights, temporary / "weights.safetensors")
    torch.save(dict(checkpoint.optimizer), temporary / "optimizer.pt")
    torch.save(dict(checkpoint.average), temporary / "average.pt")
    write_json(temporary / "state.json", {"step": checkpoint.step, **checkpoint.state})
    for file in temporary.iterdir():
        _flush(file)
    if final.exists():
        shutil.rmtree(final)
    temporary.rename(final)
    for old in _all(folder)[:-keep]:
        shutil.rmtree(old)
    return final


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _all(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(f"{_PREFIX}*") if (path / "state.json").is_file())


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """Read the newest checkpoint of a folder; None where there is none.

    Raises
    ------
    ValueError
        It is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    damage = (
        *(OSError, ValueError, KeyError, RuntimeError, EOFError),
        *(SafetensorError, pickle.UnpicklingError),
    )
    found = _all(folder)
    if not found:
        return None
    path = found[-1]
    try:
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        return Checkpoint(
            step=int(state.pop("step")),
            weights=load_file(path / "weights.safetensors"),
            optimizer=torch.load(path / "optimizer.pt", map_location="cpu", weights_only=True),
            average=torch.load(path / "average.pt", map_location="cpu", weights_only=True),
            state=state,
        )
    except damage as error:
        raise ValueError(f"{path} is a damaged checkpoint: {error}; delete it") from None
