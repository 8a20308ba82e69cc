"""From settings to weights: people rendered, steps done, progress logged, the model saved."""

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from ...imaging.files import write_json
from ..decode import decode_heatmaps
from ..dense import class_map, normal_map
from ..sapiens import MultiTaskModel, save_multitask
from .augment import BatchMaker
from .losses import fit_maps
from .scores import Scores
from .settings import TrainingSettings
from .store import PeopleStore, render_shards
from .trainer import Trainer

__all__ = ["train_human", "validate"]

_VALIDATED_AT_ONCE = 16

Report = Callable[[Mapping[str, Any]], None]


def train_human(
    settings: TrainingSettings,
    out: str | os.PathLike[str],
    *,
    people: str | os.PathLike[str] | None = None,
    device: torch.device | str = "cpu",
    report: Report = lambda line: None,
) -> Path:
    """Train a model, or go on where an earlier run stopped.

    Parameters
    ----------
    settings : TrainingSettings
        How to train.
    out : path
        Folder for ``state.safetensors``, from which a later run goes on, ``log.jsonl`` and in the
        end ``model.safetensors``; made if missing. Where the settings name initial weights, the
        log says first which layers they do not have, which start from nothing.
    people : path, optional
        Folder for rendered people, by default ``people`` in ``out``.
    device : torch.device or str, optional
        Where to compute.
    report : callable, optional
        Told every line of the log.

    Returns
    -------
    Path
        The model's file: the running average of weights, in float16.

    Raises
    ------
    ValueError
        ``out`` holds the state of a training with other settings, or the initial weights are of
        other keypoints or parts.
    FileNotFoundError
        The settings name initial weights that are not there.
    FloatingPointError
        The loss is no longer finite.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    state, initial = out / "state.safetensors", settings.initial_weights
    if initial and not state.exists() and not Path(initial).is_file():  # not after all rendering
        raise FileNotFoundError(f"initial_weights {initial} are missing: train that model first")
    people = Path(people) if people is not None else out / "people"
    for recipe in (settings.people, settings.validation):
        for done in render_shards(people, recipe):
            report({"rendered": done, "of": recipe.count})
    trainer = Trainer(settings, PeopleStore(people, settings.people), device=device)
    checks = [_plain_people(settings, stage.size, people) for stage in settings.stages]

    def note(line: dict[str, Any]) -> None:
        with (out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def log(line: dict[str, Any]) -> None:
        note(line)
        report(line)

    if state.exists():
        trainer.load(state)
    elif initial:
        note({"initial_weights": initial, "new": trainer.start_from(initial)})
    write_json(out / "settings.json", settings.record())
    scores = _run(trainer, checks, state, log)
    model = out / "model.safetensors"
    card = {"settings": settings.record(), "validation": scores, "step": trainer.step}
    save_multitask(trainer.average, model, card=card, dtype=torch.float16)
    return model


def _run(
    trainer: Trainer, checks: list[BatchMaker], state: Path, log: Callable[[dict[str, Any]], None]
) -> dict[str, float]:
    settings = trainer.settings
    while trainer.step < settings.steps:
        began, first, found = time.monotonic(), trainer.step, list[dict[str, float]]()
        # To the next multiple, so that a resumed run logs the same steps as one in one go.
        last = min((first // settings.log_every + 1) * settings.log_every, settings.steps)
        while trainer.step < last:
            found.append(trainer.advance())
            if trainer.step % settings.checkpoint_every == 0:
                trainer.save(state)
        seconds = round((time.monotonic() - began) / (last - first), 4)
        log({"step": last, **_means(found), "seconds_a_step": seconds})
        if last % settings.validate_every == 0:
            check = checks[settings.stage_of(last - 1)]
            log({"step": last, "validation": validate(trainer.average, check)})
    trainer.save(state)
    scores = validate(trainer.average, checks[-1])
    log({"step": trainer.step, "validation": scores})
    return scores


def _means(found: list[dict[str, float]]) -> dict[str, float]:
    """Average the losses of steps, and count those that had none and were skipped."""
    counted = [losses for losses in found if math.isfinite(losses["loss"])]
    means = {
        name: round(sum(losses[name] for losses in counted) / len(counted), 5)
        for name in (counted[0] if counted else ())
    }
    return {**means, "skipped": len(found) - len(counted)}


def _plain_people(settings: TrainingSettings, size: tuple[int, int], people: Path) -> BatchMaker:
    store = PeopleStore(people, settings.validation)
    return BatchMaker(store, size, settings.config.map_grid(size), _VALIDATED_AT_ONCE, seed=0)


@torch.inference_mode()
def validate(model: MultiTaskModel, people: BatchMaker) -> dict[str, float]:
    """Score a model on stored people, on the grid of its maps and without a flip test."""
    scores = Scores(len(model.config.parts))
    device = next(model.parameters()).device
    for first in range(0, len(people.store), _VALIDATED_AT_ONCE):
        last = min(first + _VALIDATED_AT_ONCE, len(people.store))
        batch = people.plain(range(first, last))
        outputs = model(batch.pixels.to(device))
        outputs = {name: output.float().cpu() for name, output in outputs.items()}
        points = decode_heatmaps(outputs["pose"], people.size)
        # Decoded positions go from 0 to the size, pixels from 0 to the size less 1.
        steps = torch.tensor([people.size[1], people.size[0]])
        positions = points.positions * ((steps - 1) / steps)
        parts = class_map(outputs["parts"], people.grid)
        normals = normal_map(outputs["normals"], people.grid, unit=True)
        depths = fit_maps(outputs["depth"], people.grid)
        for each in range(last - first):
            known = batch.keypoints[each][batch.visibility[each] > 0]
            if len(known):
                side = float((known.amax(dim=0) - known.amin(dim=0)).amax())
                scores.add_keypoints(
                    positions[each], batch.keypoints[each], batch.visibility[each], side
                )
            scores.add_parts(parts[each], batch.parts[each])
            scores.add_normals(normals[each], batch.normals[each])
            depth = torch.where(batch.mask[each], batch.depth[each], torch.nan)
            scores.add_depth(depths[each, 0], depth[0])
    return {name: round(value, 4) for name, value in scores.summary().items()}
