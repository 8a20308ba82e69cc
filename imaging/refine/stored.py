"""Tensor files of a refiner's folder."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ..files import atomic_path

__all__ = ["read_tensors", "write_tensors"]


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file: its tensors and its metadata.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {path.parent}")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file, complete or not at all."""
    from safetensors.torch import save

    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = save(stored, None if metadata is None else dict(metadata))
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
