"""All that decides what comes out of a training, as one JSON file."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from ..sapiens import MultiTaskConfig
from ..synthetic import KEYPOINTS, PARTS
from .losses import LossWeights
from .store import PeopleRecipe

__all__ = ["Stage", "TrainingSettings"]


@dataclass(frozen=True)
class Stage:
    """Steps at one size of crops; small ones first make a model learn sooner.

    Attributes
    ----------
    steps : int
        How many.
    size : (int, int)
        Height and width of the crops.
    batch_size : int
        People in a step.
    """

    steps: int
    size: tuple[int, int]
    batch_size: int = 16


@dataclass(frozen=True)
class TrainingSettings:
    """How to train.

    Attributes
    ----------
    model : mapping
        Fields of :class:`~barelens.pose.MultiTaskConfig` other than keypoints and parts.
    people, validation : PeopleRecipe
        Whom to learn from, and on whom to check; of different seeds.
    stages : tuple of Stage
        In their order; the last at the model's own size.
    learning_rate, weight_decay : float
        Of AdamW; norms, biases and positions do not decay.
    warmup_steps, cooldown_steps : int
        The learning rate rises over the first and falls to 0 over the last steps, in straight
        lines, and is constant between: how long that lasts can still be changed on the way.
    plain_steps : int
        Over which backgrounds grow from one plain colour to what they are, so that the model
        first learns what people look like.
    ema_decay : float
        Of the average of weights that is kept in the end.
    clip_norm : float
        Longest gradient.
    bfloat16 : bool
        Whether matrix products are computed in bfloat16.
    weights : LossWeights
        Of the heads.
    seed : int
        Of initial weights, order and augmentation.
    initial_weights : str
        File of a trained model to start from, relative to the working directory; its layers may be
        fewer or of other sizes: those that fit are taken. Empty to start from nothing.
    log_every, validate_every, checkpoint_every : int
        In steps.
    """

    model: Mapping[str, Any]
    people: PeopleRecipe
    validation: PeopleRecipe
    stages: tuple[Stage, ...]
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup_steps: int = 200
    cooldown_steps: int = 1000
    plain_steps: int = 0
    ema_decay: float = 0.998
    clip_norm: float = 1.0
    bfloat16: bool = True
    weights: LossWeights = field(default_factory=LossWeights)
    seed: int = 0
    initial_weights: str = ""
    log_every: int = 50
    validate_every: int = 500
    checkpoint_every: int = 250

    def __post_init__(self) -> None:
        if not self.stages or min(stage.steps for stage in self.stages) < 1:
            raise ValueError(f"stages must hold steps, got {self.stages}")
        if self.stages[-1].size != self.config.image_size:
            raise ValueError(
                f"the last stage must have the model's size {self.config.image_size}, got "
                f"{self.stages[-1].size}"
            )
        patch = self.config.patch_size
        sizes = [stage.size for stage in self.stages]
        if any(side % patch for size in sizes for side in size):
            raise ValueError(f"sizes of stages must be multiples of {patch}, got {sizes}")
        if self.people.seed == self.validation.seed:
            raise ValueError(
                f"people and validation must have different seeds, got {self.people.seed} twice"
            )

    @property
    def config(self) -> MultiTaskConfig:
        """The model's settings."""
        return MultiTaskConfig.from_record({"keypoints": KEYPOINTS, "parts": PARTS, **self.model})

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step, the first being 0."""
        rise = (step + 1) / max(self.warmup_steps, 1)
        fall = (self.steps - step) / max(self.cooldown_steps, 1)
        return self.learning_rate * min(rise, fall, 1.0)

    def shares_past(self, other: "TrainingSettings", steps: int) -> bool:
        """Whether these settings have led to the same after some steps as others would have."""
        if _without_length(self) != _without_length(other):
            return False
        return all(
            self.stage_of(step) == other.stage_of(step)
            and self.learning_rate_at(step) == other.learning_rate_at(step)
            for step in range(steps)
        )

    def stage_of(self, step: int) -> int:
        """Return which stage a step belongs to; the last one where all stages are done."""
        ends = accumulate(stage.steps for stage in self.stages)
        left = [index for index, end in enumerate(ends) if step < end]
        return left[0] if left else len(self.stages) - 1

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "TrainingSettings":
        """Read settings from a JSON file.

        Raises
        ------
        ValueError
            The file is no JSON, or a setting is unknown, missing or wrong.
        """
        try:
            return cls.from_record(json.loads(Path(path).read_text(encoding="utf-8")))
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "TrainingSettings":
        """Read settings from JSON data."""
        fields = dict(record)
        fields["people"] = PeopleRecipe(**_tuples(fields["people"]))
        fields["validation"] = PeopleRecipe(**_tuples(fields["validation"]))
        fields["stages"] = tuple(Stage(**_tuples(stage)) for stage in fields["stages"])
        if "weights" in fields:
            fields["weights"] = LossWeights(**fields["weights"])
        return cls(**fields)

    def record(self) -> dict[str, Any]:
        """Return the settings as JSON data."""
        return json.loads(json.dumps({**asdict(self), "model": dict(self.model)}))


def _without_length(settings: TrainingSettings) -> dict[str, Any]:
    """Return what decides a step, apart from how many there are and when they are reported."""
    record = settings.record()
    for name in ("cooldown_steps", "log_every", "validate_every", "checkpoint_every"):
        del record[name]
    for stage in record["stages"]:
        del stage["steps"]
    return record


def _tuples(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in record.items()}
