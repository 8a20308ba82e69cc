"""The training loop: steps that can be resumed to the bit, and survive what goes wrong."""

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from ..parts import RefinerParts
from .batches import Batch, BatchMaker
from .checkpoints import Checkpoint, latest_checkpoint, save_checkpoint
from .model import TrainingModel, trainable
from .objectives import Objective
from .pairs import PairSource
from .settings import TrainingSettings
from .stopping import stop_on_signals

__all__ = ["Trainer", "TrainingError"]

#: Entries that may differ between a run and its continuation.
_MAY_CHANGE = (
    "steps",
    "edge_weight",
    "cooldown",
    "micro_batch",
    "checkpoint_every",
    "keep_checkpoints",
    "validate_every",
    "validation_pairs",
    "max_bad_steps",
    "tracker",
)


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to do."""


class Trainer:
    """Train a refiner, from where its folder's newest checkpoint left off.

    All that is drawn at random is a function of the seed and the step, so that no state of a
    generator has to be kept: a run that was killed and started again ends with the same weights,
    bit for bit, as one that was not.

    Parameters
    ----------
    parts : RefinerParts
        What to train, from :func:`~barelens.imaging.refine.training.build_parts`. Networks
        without gradients stay as they are.
    objective : Objective
        What to minimise.
    pairs : PairSource
        What to train on.
    settings : TrainingSettings
        How to train.
    out : Path
        Folder of the run: ``checkpoints/`` and ``log.jsonl``.
    validate : callable, optional
        Called with (parts, step) while the running means stand in for the weights; its numbers go
        into the log.
    report : callable, optional
        Called with one line for all that a person should know.

    Raises
    ------
    ImportError
        accelerate is not installed.
    TrainingError
        The folder holds a run of other settings.
    """

    def __init__(
        self,
        parts: RefinerParts,
        objective: Objective,
        pairs: PairSource,
        settings: TrainingSettings,
        out: Path,
        *,
        validate: Callable[[RefinerParts, int], dict[str, float]] | None = None,
        report: Callable[[str], object] = print,
    ) -> None:
        accelerate, ema = _libraries()
        self.parts, self.settings, self.out = parts, settings, out
        self._objective, self._validate = objective, validate
        out.mkdir(parents=True, exist_ok=True)
        self._accelerator = accelerate.Accelerator(
            mixed_precision=settings.mixed_precision,
            cpu=not torch.cuda.is_available(),
            log_with=settings.tracker,
            project_dir=out,
        )
        self._report = report if self._accelerator.is_main_process else lambda line: None
        for module in parts.modules:
            module.to(self._accelerator.device)
        self._plain = TrainingModel(parts)
        self._weights = trainable(self._plain)
        optimizer = torch.optim.AdamW(
            self._weights.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._average = ema(self._weights.values(), decay=settings.ema_decay, use_ema_warmup=True)
        self._batches = BatchMaker(
            pairs,
            settings,
            rank=self._accelerator.process_index,
            world=self._accelerator.num_processes,
        )
        self._micro = settings.micro_batch or settings.batch_size
        self.step, self.bad_steps, self._bad_in_a_row = 0, 0, 0
        self._restore(optimizer)
        self._model, self._optimizer = self._accelerator.prepare(self._plain, optimizer)
        if settings.tracker:
            self._accelerator.init_trackers("barelens-refiner")

    def run(self, until: int | None = None) -> int:
        """Train to a step, by default the settings' last; give the step that was reached.

        A checkpoint is written at the end, also where the run is interrupted or asked to end.
        """
        last = self.settings.steps if until is None else min(until, self.settings.steps)
        with stop_on_signals() as stopping:
            while self.step < last and not self._agreed(stopping()):
                started = time.perf_counter()
                numbers = self._train_step()
                self.step += 1
                numbers["seconds"] = time.perf_counter() - started
                self._log(numbers)
                if self.step % self.settings.validate_every == 0:
                    self._log(self._validated())
                if self.step % self.settings.checkpoint_every == 0:
                    self.save()
        if self.step % self.settings.checkpoint_every:
            self.save()
        return self.step

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes."""
        return bool(self._accelerator.is_main_process)

    def save(self) -> None:
        """Write a checkpoint."""
        self._accelerator.wait_for_everyone()
        if not self._accelerator.is_main_process:
            return
        state = {
            "settings": self.settings.record(),
            "bad_steps": self.bad_steps,
            "bad_in_a_row": self._bad_in_a_row,
            "micro_batch": self._micro,
        }
        average = self._average.state_dict()
        optimizer = self._optimizer.state_dict()
        save_checkpoint(
            self.out / "checkpoints",
            Checkpoint(self.step, self._weights, optimizer, average, state),
            keep=self.settings.keep_checkpoints,
        )

    @contextmanager
    def averaged(self) -> Iterator[RefinerParts]:
        """Let the running means stand in for the weights, within a ``with`` block."""
        self._average.store(self._weights.values())
        self._average.copy_to(self._weights.values())
        try:
            yield self.parts
        finally:
            self._average.restore(self._weights.values())

    def _agreed(self, asked: bool) -> bool:
        """Whether any process was asked to end: all have to end after the same step."""
        if self._accelerator.num_processes == 1:
            return asked
        votes = torch.tensor(float(asked), device=self._accelerator.device)
        return bool(self._accelerator.reduce(votes) > 0)

    def _restore(self, optimizer: torch.optim.Optimizer) -> None:
        found = latest_checkpoint(self.out / "checkpoints")
        if found is None:
            return
        before, now = found.state["settings"], self.settings.record()
        changed = [key for key in now if key not in _MAY_CHANGE and before.get(key) != now[key]]
        if changed:
            raise TrainingError(
                f"{self.out} holds a run with another {', '.join(changed)}; continue it with its "
                "own settings or choose another folder"
            )
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(found.weights[name])
        optimizer.load_state_dict(dict(found.optimizer))
        self._average.load_state_dict(dict(found.average))
        self._average.to(self._accelerator.device)
        self.step, self.bad_steps = found.step, found.state["bad_steps"]
        self._bad_in_a_row = found.state["bad_in_a_row"]
        self._micro = min(self._micro, found.state["micro_batch"])
        self._report(f"continuing after step {self.step}")

    def _train_step(self) -> dict[str, float]:
        batch = self._batches(self.step).to(self._accelerator.device)
        rate = self.settings.rate(self.step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        loss = self._gradient(batch)
        norm = self._accelerator.clip_grad_norm_(self._weights.values(), self.settings.clip_norm)
        if not math.isfinite(loss) or not bool(torch.isfinite(norm)):
            return self._skip(loss)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._average.step(self._weights.values())
        self._bad_in_a_row = 0
        return {"loss": loss, "gradient_norm": float(norm), "learning_rate": rate}

    def _skip(self, loss: float) -> dict[str, float]:
        """Leave the weights as they are where the loss or its gradient is not finite."""
        self._optimizer.zero_grad()
        self.bad_steps += 1
        self._bad_in_a_row += 1
        self._report(f"step {self.step + 1} skipped: loss {loss} or its gradient is not finite")
        if self._bad_in_a_row > self.settings.max_bad_steps:
            raise TrainingError(
                f"{self._bad_in_a_row} steps in a row had no finite loss; the last checkpoint is "
                f"in {self.out / 'checkpoints'}. Lower the learning rate and start anew."
            )
        return {"skipped": 1.0}

    def _gradient(self, batch: Batch) -> float:
        """Accumulate the gradient of a batch; halve the parts where memory runs out."""
        while True:
            try:
                return self._accumulate(batch)
            except torch.OutOfMemoryError:
                self._optimizer.zero_grad()
                self._shrink()

    def _shrink(self) -> None:
        if self._accelerator.num_processes > 1:
            # One process alone must not take other turns than the rest.
            raise TrainingError(
                f"out of memory with micro_batch={self._micro}; set a smaller one for all processes"
            )
        if self._micro == 1:
            raise TrainingError("out of memory with one example; choose a smaller crop or model")
        self._micro = -(-self._micro // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._report(f"out of memory: going on with {self._micro} examples at once")

    def _accumulate(self, batch: Batch) -> float:
        total = 0.0
        starts = range(0, len(batch), self._micro)
        for start in starts:
            part = batch.part(start, start + self._micro)
            waiting = start != starts[-1]
            sync = self._accelerator.no_sync(self._model) if waiting else nullcontext()
            with sync, self._own_randomness(start):
                loss = self._objective(self._model, part).sum() / len(batch)
                self._accelerator.backward(loss)
            total += float(loss.detach())
        return total

    @contextmanager
    def _own_randomness(self, start: int) -> Iterator[None]:
        """Make what networks draw, such as dropout, a function of the step as well."""
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        place = self._accelerator.process_index * self.settings.batch_size + start
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed((self.settings.seed + 1) * 1_000_003 + self.step * 4099 + place)
            yield

    def _validated(self) -> dict[str, float]:
        if self._validate is None or not self._accelerator.is_main_process:
            return {}
        with self.averaged() as parts:
            for network in (parts.unet, parts.controlnet):
                network.eval()
            numbers = self._validate(parts, self.step)
            for network in (parts.unet, parts.controlnet):
                network.train()
        line = ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        self._report(f"step {self.step}: {line}")
        return numbers

    def _log(self, numbers: dict[str, float]) -> None:
        if not numbers or not self._accelerator.is_main_process:
            return
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps({"step": self.step, **numbers}) + "\n")
        if self.settings.tracker:
            self._accelerator.log(numbers, step=self.step)


def _libraries() -> tuple[Any, Any]:
    try:
        import accelerate
        from diffusers.training_utils import EMAModel
    except ImportError as error:
        raise ImportError(
            "training needs accelerate and diffusers: pip install 'barelens[train]'"
        ) from error
    return accelerate, EMAModel
