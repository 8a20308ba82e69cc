"""Models and datasets by folder or by their name on the Hugging Face hub."""

from collections.abc import Sequence
from pathlib import Path

__all__ = ["fetch_dataset", "fetch_model"]


def fetch_model(name: str | Path) -> Path:
    """Give the folder of a model, downloading it where the name is that of a hub repository.

    Only configuration, tokenizer and safetensors files are downloaded, nothing that could be
    executed.

    Raises
    ------
    FileNotFoundError
        There is no such folder, and the name cannot be one on the hub.
    OSError
        The hub does not have it, or cannot be reached.
    """
    return _fetch(name, "model", ["*.json", "*.txt", "*.safetensors"])


def fetch_dataset(name: str | Path, split: str) -> Path:
    """Give the folder of a dataset, downloading one part of it from the hub where need be.

    Raises
    ------
    FileNotFoundError, OSError
        As for :func:`fetch_model`.
    """
    return _fetch(name, "dataset", [f"*{split}*"])


def _fetch(name: str | Path, kind: str, patterns: Sequence[str]) -> Path:
    folder = Path(name)
    if folder.is_dir():
        return folder
    if isinstance(name, Path) or len(folder.parts) != 2 or not name[0].isalnum():
        raise FileNotFoundError(f"no {kind} at {name}: no such folder, nor a name on the hub")
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, repo_type=kind, allow_patterns=list(patterns)))
