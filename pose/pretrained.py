"""Models of transformers from a folder or the hub, and pictures prepared for them.

The processors of transformers need torchvision for some models; the few steps that matter here,
to resize and to normalise, are done on tensors instead, by the settings that come with a model.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["PictureRules", "load_pretrained", "same_size_batches"]

_IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
_MODES = {2: "bilinear", 3: "bicubic"}  # by Pillow's numbers
_SETTINGS = "preprocessor_config.json"
_ALL_SETTINGS = "processor_config.json"


@dataclass(frozen=True)
class PictureRules:
    """How a model wants its pictures, in the words of transformers' image processors.

    Attributes
    ----------
    size : mapping of str to int
        ``height`` and ``width``, or ``shortest_edge`` and ``longest_edge``.
    keep_aspect_ratio : bool
        With a height and a width: scale both sides by the factor of these two that is nearer 1.
    multiple : int
        Of which both sides must be, where proportions are kept.
    mode : "bilinear" or "bicubic"
        How to interpolate; where a picture shrinks it is averaged as well.
    mean, deviation : tuple of float
        Of red, green and blue in [0, 1].
    """

    size: Mapping[str, int] = field(default_factory=lambda: {"height": 640, "width": 640})
    keep_aspect_ratio: bool = False
    multiple: int = 1
    mode: str = "bilinear"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    deviation: tuple[float, ...] = (1.0, 1.0, 1.0)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "PictureRules":
        """Read what an image processor's configuration says.

        Raises
        ------
        ValueError
            It asks for an interpolation other than bilinear or bicubic.
        """
        resample = int(settings.get("resample") or 2)
        if resample not in _MODES:
            raise ValueError(f"resample must be 2 (bilinear) or 3 (bicubic), got {resample}")
        normalise = settings.get("do_normalize", True)
        statistics = _IMAGENET | {k: settings[k] for k in _IMAGENET if settings.get(k)}
        chosen: dict[str, Any] = {
            "keep_aspect_ratio": bool(settings.get("keep_aspect_ratio")),
            "multiple": int(settings.get("ensure_multiple_of") or 1),
            "mode": _MODES[resample],
        }
        if settings.get("size"):
            chosen["size"] = _as_size(settings["size"])
        if normalise:
            chosen["mean"] = tuple(statistics["image_mean"])
            chosen["deviation"] = tuple(statistics["image_std"])
        return cls(**chosen)

    def fitted_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that a picture of a given height and width is resized to."""
        if "shortest_edge" in self.size:
            return _within_edges(height, width, **self.size)
        target = (self.size["height"], self.size["width"])
        if not self.keep_aspect_ratio:
            return target
        down, across = target[0] / height, target[1] / width
        scale = across if abs(1 - across) < abs(1 - down) else down
        return self._rounded(scale * height), self._rounded(scale * width)

    def __call__(self, image: Tensor) -> Tensor:
        """Map a picture (3, height, width) in 0..255 to pixels of the model's size."""
        size = self.fitted_size(image.shape[1], image.shape[2])
        wide = image.float()[None]
        if size != tuple(image.shape[1:]):
            wide = F.interpolate(wide, size, mode=self.mode, align_corners=False, antialias=True)
        # As an 8-bit picture, which is what the models were trained with.
        levels = wide[0].round().clamp(0, 255) / 255
        mean, deviation = (
            torch.tensor(values, device=image.device)[:, None, None]
            for values in (self.mean, self.deviation)
        )
        return (levels - mean) / deviation

    def _rounded(self, side: float) -> int:
        return max(round(side / self.multiple), 1) * self.multiple


def load_pretrained(
    source: str | os.PathLike[str],
    kind: str,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> tuple[Any, PictureRules]:
    """Load a model of transformers and the rules for its pictures.

    Parameters
    ----------
    source : path or str
        A folder, from which nothing is downloaded, or a hub id.
    kind : str
        Class of transformers to load with, such as ``"AutoModelForObjectDetection"``.
    device, dtype
        Where and in which precision to compute; float32 where not given.
    defaults : mapping, optional
        Settings of the image processor where the source has none of its own.

    Returns
    -------
    model : Module
        In evaluation mode. Only safetensors are read, which can run no code.
    rules : PictureRules

    Raises
    ------
    ImportError
        transformers is not installed.
    OSError
        There is no such model.
    """
    try:
        import transformers
    except ImportError as error:
        raise ImportError(f"{kind} needs transformers: pip install 'barelens[human]'") from error
    local = Path(source).is_dir()
    model = getattr(transformers, kind).from_pretrained(
        source, local_files_only=local, use_safetensors=True, dtype=dtype or torch.float32
    )
    settings = dict(defaults or {}) | _read_settings(source, local)
    return model.to(device).eval(), PictureRules.from_settings(settings)


def same_size_batches(
    images: Sequence[Tensor], rules: PictureRules, batch_size: int
) -> Iterator[list[int]]:
    """Yield numbers of pictures that are fitted to one size, so many at once at most.

    Pictures are never padded to a common size: what is found in one must not depend on others.
    """
    sizes: dict[tuple[int, int], list[int]] = {}
    for number, image in enumerate(images):
        sizes.setdefault(rules.fitted_size(image.shape[1], image.shape[2]), []).append(number)
    for numbers in sizes.values():
        for first in range(0, len(numbers), batch_size):
            yield numbers[first : first + batch_size]


def _read_settings(source: str | os.PathLike[str], local: bool) -> dict[str, Any]:
    from transformers.utils.hub import cached_file

    for name in (_SETTINGS, _ALL_SETTINGS):
        path = cached_file(
            os.fspath(source),
            name,
            local_files_only=local,
            _raise_exceptions_for_missing_entries=False,
        )
        if path is not None:
            record: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
            return record if name == _SETTINGS else record.get("image_processor", {})
    return {}


def _as_size(size: Any) -> dict[str, int]:
    if isinstance(size, int):
        return {"height": size, "width": size}
    return {name: int(value) for name, value in size.items() if value}


def _within_edges(
    height: int, width: int, shortest_edge: int, longest_edge: int | None = None
) -> tuple[int, int]:
    """Bring the shorter side to one length unless the longer would pass another."""
    short, long = sorted((height, width))
    wanted = float(shortest_edge)
    if longest_edge is not None and long / short * wanted > longest_edge:
        wanted = longest_edge * short / long
    sides = round(wanted), math.floor(wanted * long / short + 1e-9)
    return sides if height <= width else (sides[1], sides[0])
