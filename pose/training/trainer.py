"""The state of a training, one step of it, and its checkpoints."""

import json
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ...imaging.files import atomic_path
from ..sapiens import MultiTaskModel
from .augment import Batch, BatchMaker
from .initial import start_from, start_informed
from .losses import losses
from .settings import Stage, TrainingSettings
from .store import PeopleStore

__all__ = ["Trainer"]

_MOST_SKIPPED = 20  # steps in a row without a finite loss, before it is given up
_FORMAT = "barelens.training"


class Trainer:
    """A training that can be stopped after any step and resumed without a trace.

    Parameters
    ----------
    settings : TrainingSettings
        How to train.
    people : PeopleStore
        Whom to learn from.
    device : torch.device or str, optional
        Where to compute.

    Attributes
    ----------
    step : int
        Steps done.
    model, average : MultiTaskModel
        The model in training, and the running average of its weights.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        people: PeopleStore,
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        self.settings = settings
        self.device = torch.device(device)
        self.model = MultiTaskModel(settings.config, seed=settings.seed).to(self.device).train()
        self.average = MultiTaskModel(settings.config, seed=settings.seed).to(self.device).eval()
        self.average.requires_grad_(False)
        self.step = 0
        self.skipped = 0
        self._optimizer = _optimizer(self.model, settings)
        self._batches = [_batches(settings, stage, people) for stage in settings.stages]
        start_informed(self.model, self._batches[0])
        self.average.load_state_dict(self.model.state_dict())

    def start_from(self, path: str | os.PathLike[str]) -> list[str]:
        """Begin with the weights of a trained model; return the names of those that do not fit.

        Raises
        ------
        ValueError
            Steps are done already, or the file is of other keypoints or parts.
        """
        if self.step:
            raise ValueError(f"a training starts from weights at step 0, this is at {self.step}")
        left = start_from(self.model, path)
        self.average.load_state_dict(self.model.state_dict())
        return left

    def advance(self) -> dict[str, float]:
        """Do one step and return its losses by name, and ``gradient``, the gradient's length.

        A step whose loss or gradient is not finite changes no weights.

        Raises
        ------
        ValueError
            All steps are done.
        FloatingPointError
            Twenty steps in a row had none that is.
        """
        if self.step >= self.settings.steps:
            raise ValueError(f"the training has only {self.settings.steps} steps")
        stage = self.settings.stage_of(self.step)
        batch = self._batches[stage].training(self.step).to(self.device)
        for group in self._optimizer.param_groups:
            group["lr"] = self.settings.learning_rate_at(self.step)
        each, total = self._backward(batch)
        gradient = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        if bool(torch.isfinite(total.detach()) & torch.isfinite(gradient)):
            self._optimizer.step()
            self._follow()
            self.skipped = 0
        else:
            self.skipped += 1
            if self.skipped >= _MOST_SKIPPED:
                raise FloatingPointError(
                    f"the loss was not finite in {self.skipped} steps up to {self.step}: resume "
                    "with a lower learning_rate or without bfloat16"
                )
        self.step += 1
        found = {name: float(loss.detach()) for name, loss in each.items()}
        return {"loss": float(total.detach()), **found, "gradient": float(gradient)}

    def _backward(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """Compute losses and their gradients."""
        settings = self.settings
        plain = sdpa_kernel(SDPBackend.MATH) if self.device.type == "cpu" else nullcontext()
        with plain:  # with few tokens a processor is quicker without flash attention
            with torch.autocast(self.device.type, torch.bfloat16, enabled=settings.bfloat16):
                outputs = self.model(batch.pixels)
            each = losses(outputs, batch)
            total = torch.stack([getattr(settings.weights, n) * loss for n, loss in each.items()])
            self._optimizer.zero_grad()
            torch.autograd.backward(total.sum())
        return each, total.sum()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all state to a safetensors file, whole or not at all."""
        from safetensors.torch import save_file

        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"average.{name}": t for name, t in self.average.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            for key, value in self._optimizer.state[parameter].items():
                tensors[f"optimizer.{key}.{name}"] = value
        metadata = {
            "format": _FORMAT,
            "step": str(self.step),
            "settings": json.dumps(self.settings.record()),
        }
        with atomic_path(path) as temporary:
            save_file(
                {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
                temporary,
                metadata,
            )

    def load(self, path: str | os.PathLike[str]) -> None:
        """Go on from a file that :meth:`save` wrote.

        Raises
        ------
        ValueError
            The file is no such file, or of a training whose settings would not have led here;
            stages may be longer or shorter than they were then, as long as they did the same.
        """
        tensors, metadata = _read(Path(path))
        earlier = TrainingSettings.from_record(json.loads(metadata["settings"]))
        self.step = int(metadata["step"])
        if not earlier.shares_past(self.settings, self.step):
            raise ValueError(
                f"{path} is of a training with other settings; use them, or another folder"
            )
        self.model.load_state_dict(_below(tensors, "model."))
        self.average.load_state_dict(_below(tensors, "average."))
        for name, parameter in self.model.named_parameters():
            state = {
                key: tensors[f"optimizer.{key}.{name}"] for key in ("step", "exp_avg", "exp_avg_sq")
            }
            if self.step:
                self._optimizer.state[parameter] = {
                    # The count of steps stays on the processor, as the optimizer has it.
                    key: value if key == "step" else value.to(self.device)
                    for key, value in state.items()
                }

    @torch.no_grad()
    def _follow(self) -> None:
        # Young averages forget sooner, or they would keep the initial weights.
        decay = min(self.settings.ema_decay, (1 + self.step) / (10 + self.step))
        for mean, weight in zip(self.average.parameters(), self.model.parameters(), strict=True):
            mean.lerp_(weight, 1 - decay)


def _optimizer(model: nn.Module, settings: TrainingSettings) -> torch.optim.AdamW:
    plain: list[nn.Parameter] = []
    decaying: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (plain if parameter.ndim < 2 or name.endswith("pos_embed") else decaying).append(parameter)
    groups = [
        {"params": decaying, "weight_decay": settings.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98), fused=True)


def _batches(settings: TrainingSettings, stage: Stage, people: PeopleStore) -> BatchMaker:
    return BatchMaker(
        people,
        size=stage.size,
        grid=settings.config.map_grid(stage.size),
        batch_size=stage.batch_size,
        # Stages must not begin with the same people, changed alike.
        seed=1000 * settings.seed + settings.stages.index(stage),
        plain_steps=settings.plain_steps,
    )


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, Any] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if metadata.get("format") != _FORMAT:
        raise ValueError(f"{path} is not the state of a training")
    return tensors, metadata


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
