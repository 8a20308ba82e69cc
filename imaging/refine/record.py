"""``refiner.json``: what kind of model a folder holds and how it wants to be run."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ..files import write_json

__all__ = ["FORMAT", "FORMAT_VERSION", "RECORD_FILE", "RefinerRecord", "StartKind"]

FORMAT = "barelens.refiner"
FORMAT_VERSION = 1
RECORD_FILE = "refiner.json"

Conditioning = Literal["capture", "linear"]
Space = Literal["latent", "pixel"]
StartKind = Literal["linear", "total_variation"]
Prediction = Literal["epsilon", "v_prediction", "sample"]


@dataclass(frozen=True)
class RefinerRecord:
    """The record of a refiner's folder.

    Attributes
    ----------
    conditioning : {"capture", "linear"}
        Whether the ControlNet sees captures through a learned transform, made for one camera, or
        :func:`~barelens.imaging.refine.condition`'s description of any camera's reconstruction.
    space : {"latent", "pixel"}
        Whether the UNet works on latents of ``vae/`` or on pictures, as sRGB in [-1, 1], at once.
    prediction : {"epsilon", "v_prediction", "sample"}
        What the UNet predicts.
    start : {"linear", "total_variation"}
        Whether refining starts from the linear reconstruction or from one by total variation, see
        :class:`~barelens.imaging.refine.start.Start`. A model of captures starts from the former.
    patch, residual_scale, smoothing, folded_conditioning
        Of the :class:`~barelens.imaging.refine.pixel_space.PixelSpace` of a pixel-space model.
    size : tuple of int or None
        (height, width) of the pictures it was trained for; None where it takes any size.
    base : str or None
        Folder or hub id of the Stable Diffusion model whose parts the folder leaves out.
    settings : mapping
        Recommended :class:`~barelens.imaging.refine.RefinerSettings`, by name.
    provenance : mapping
        What it was trained on, how and by which version; JSON data.

    Raises
    ------
    ValueError
        An entry is not one of those above.
    """

    conditioning: Conditioning
    space: Space
    prediction: Prediction = "epsilon"
    start: StartKind = "linear"
    patch: int = 1
    residual_scale: float | None = None
    smoothing: float = 0.0
    folded_conditioning: bool = False
    size: tuple[int, int] | None = None
    base: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kind in (
            ("conditioning", Conditioning),
            ("space", Space),
            ("prediction", Prediction),
            ("start", StartKind),
        ):
            if getattr(self, name) not in get_args(kind):
                known = ", ".join(get_args(kind))
                raise ValueError(f"{name} must be one of {known}; got {getattr(self, name)!r}")
        if self.conditioning == "capture" and self.start != "linear":
            raise ValueError("a model of captures has the start 'linear'")
        if self.space == "latent" and (self.patch, self.residual_scale) != (1, None):
            raise ValueError("patch and residual_scale are for the space 'pixel'")
        if self.size is not None:
            object.__setattr__(self, "size", tuple(self.size))
            if len(self.size) != 2 or not min(self.size) > 0:
                raise ValueError(f"size must be (height, width), got {self.size}")

    def save(self, folder: str | Path) -> None:
        """Write ``refiner.json`` into an existing folder."""
        head = {"format": FORMAT, "format_version": FORMAT_VERSION}
        write_json(Path(folder) / RECORD_FILE, {**head, **asdict(self)})

    @classmethod
    def load(cls, folder: str | Path) -> "RefinerRecord":
        """Read ``refiner.json``.

        Raises
        ------
        FileNotFoundError
            The folder has none.
        ValueError
            It is damaged, of another format or of a newer one.
        """
        path = Path(folder) / RECORD_FILE
        if not path.is_file():
            raise FileNotFoundError(f"no refiner at {folder}: it has no {RECORD_FILE}")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            name, version = content.pop("format"), content.pop("format_version")
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ValueError(f"{path} is no record of a refiner: {error}") from None
        if name != FORMAT or not isinstance(version, int):
            raise ValueError(f"{path} has the format {name!r}, not {FORMAT!r}")
        if version > FORMAT_VERSION:
            raise ValueError(
                f"{path} has format version {version}; this release reads up to "
                f"{FORMAT_VERSION}. Upgrade barelens to open it."
            )
        try:
            return cls(**content)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} is no record of a refiner: {error}") from None
