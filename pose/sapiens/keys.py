"""Reading keys: parts of a state dict, and settings under whatever name a configuration uses."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .tasks import TASKS

__all__ = ["Parts", "as_size", "count_layers", "lookup", "split_state", "unwrap_state"]

_HEAD_ATTRIBUTES = ("head", "decode_head", *(f"{task}_head" for task in TASKS))
_WRAPPERS = ("module.", "_orig_mod.", "model.")
# Leftovers of training that no forward pass uses.
_NOT_USED = ("data_preprocessor.", "auxiliary_head.", "neck.", "mask_token", "backbone.mask_token")


@dataclass(frozen=True)
class Parts:
    """A state dict taken apart.

    Attributes
    ----------
    backbone : dict
        Tensors of the backbone, without prefix.
    heads : dict of str to dict
        Tensors of each head, without prefix, by attribute.
    """

    backbone: dict[str, Tensor]
    heads: dict[str, dict[str, Tensor]]


def unwrap_state(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Find the tensors in a checkpoint, without prefixes that wrappers of a model add.

    Raises
    ------
    ValueError
        There is no state dict in it.
    """
    for name in ("state_dict", "model_state_dict", "model"):
        if isinstance(checkpoint.get(name), Mapping):
            checkpoint = checkpoint[name]
    state = {name: value for name, value in checkpoint.items() if isinstance(value, Tensor)}
    if not state:
        found = ", ".join(map(str, list(checkpoint)[:5])) or "nothing"
        raise ValueError(f"checkpoint must hold a state dict of tensors, got keys: {found}")
    for prefix in _WRAPPERS:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return {name: value for name, value in state.items() if not name.startswith(_NOT_USED)}


def split_state(state: Mapping[str, Tensor]) -> Parts:
    """Take a state dict apart into backbone and heads.

    Pretrained encoders have no prefix: without any ``backbone.`` key all that belongs to no head
    is the backbone.
    """
    prefixed = any(name.startswith("backbone.") for name in state)
    backbone: dict[str, Tensor] = {}
    heads: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        attribute, _, rest = name.partition(".")
        if attribute in _HEAD_ATTRIBUTES and rest:
            heads.setdefault(attribute, {})[rest] = tensor
        else:
            # A key that belongs nowhere stays, and strict loading names it.
            backbone[name.removeprefix("backbone.") if prefixed else name] = tensor
    return Parts(backbone, heads)


def count_layers(state: Mapping[str, Tensor], stem: str) -> int:
    """Count the layers ``<stem>.0``, ``<stem>.1``, ... of a state dict."""
    numbers = {
        int(name[len(stem) + 1 :].split(".")[0]) for name in state if name.startswith(f"{stem}.")
    }
    if numbers != set(range(len(numbers))):
        raise ValueError(f"the state dict has gaps in {stem}: {sorted(numbers)}")
    return len(numbers)


def lookup(config: Mapping[str, Any] | None, *names: str) -> Any:
    """Return the first setting of one of the names, at any depth of a configuration, or None."""
    settings = dict(_flatten(config or {}))
    return next((settings[name] for name in names if settings.get(name) is not None), None)


def _flatten(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield settings, deeper ones first, so that an outer one of the same name wins."""
    for value in config.values():
        if isinstance(value, Mapping):
            yield from _flatten(value)
    for name, value in config.items():
        if not isinstance(value, Mapping):
            yield str(name).lower(), value


def as_size(value: Any) -> tuple[int, int] | None:
    """Read (height, width) from a pair or from one number for a square."""
    if value is None:
        return None
    if isinstance(value, torch.Tensor):
        value = value.tolist()
    if isinstance(value, list | tuple):
        height, width = value
        return int(height), int(width)
    return int(value), int(value)
