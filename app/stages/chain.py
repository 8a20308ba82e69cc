"""The stages in their order: linear, measured or invented, refined, people."""

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ...calibration import Camera
from ...imaging.display import to_display
from ...imaging.metrics import align_gain, psnr
from ...imaging.refine import RefinerSettings, resize
from ...imaging.trust import overlay_invented
from ...pose import with_support
from ...pose.panels import draw_output, known_panels
from ..json_numbers import json_numbers
from ..people_files import support_record
from ..pipeline import LinearPipeline, LinearSettings, Method
from ..refining import RefiningPipeline
from ..trust_picture import draw_error
from .choices import PANELS, STAGES, DemoSettings
from .models import people_model, refiner
from .outcome import Outcome
from .panel import Panel
from .sources import Source

__all__ = ["find_people", "judge", "linear_settings", "reconstruct", "refine", "run"]


def run(
    source: Source, settings: DemoSettings, stages: Collection[str] = tuple(STAGES)
) -> Iterator[Outcome]:
    """Do one stage after the other.

    A stage that cannot be done here, for want of weights or because it does not fit the camera,
    is passed over and says why.

    Parameters
    ----------
    source : Source
        The capture.
    settings : DemoSettings
        How to treat it.
    stages : collection of str
        Of :data:`~barelens.app.stages.choices.STAGES`; the linear reconstruction comes always.

    Yields
    ------
    Outcome
        What is known after each stage.
    """
    if unknown := set(stages) - set(STAGES):
        raise ValueError(f"stages must be of {', '.join(STAGES)}, got {', '.join(unknown)}")
    outcome = reconstruct(source, settings)
    yield outcome
    advance: dict[str, Callable[[Outcome], Outcome]] = {
        "trust": judge,
        "refine": refine,
        "people": find_people,
    }
    for stage in STAGES:
        if stage in stages:
            try:
                outcome = advance[stage](outcome)
            except (FileNotFoundError, ImportError, ValueError) as error:
                outcome = outcome.skipping(stage, str(error))
            yield outcome


def linear_settings(settings: DemoSettings) -> LinearSettings:
    """Turn a visitor's settings into the pipeline's."""
    try:
        penalty: float | str = float(settings.penalty)
    except ValueError:
        penalty = settings.penalty
    method: Method = settings.method  # type: ignore[assignment]
    return LinearSettings(method=method, penalty=penalty, iterations=settings.iterations)


@lru_cache(maxsize=4)
def _pipeline(camera: Camera, settings: LinearSettings) -> LinearPipeline:
    """Keep what can be computed once; bundled cameras are the same object at each call."""
    return LinearPipeline(camera, settings)


def reconstruct(source: Source, settings: DemoSettings) -> Outcome:
    """Reconstruct a capture.

    Raises
    ------
    CaptureError, ShapeError, ValueError
        The capture or the method does not fit the camera.
    """
    started = time.perf_counter()
    pipeline = _pipeline(source.camera, linear_settings(settings))
    levels = pipeline.check(source.raw)
    scene = pipeline(source.raw)
    picture, display = to_display(scene.rgb)
    record: dict[str, Any] = {
        "settings": pipeline.settings_record,
        "levels": asdict(levels),
        "solution": scene.numbers,
        "display": display.record(),
    }
    if source.truth is not None:
        record["psnr_db"] = _psnr(scene.rgb, source.truth)
    panels = []
    if source.truth is not None:
        truth, _ = to_display(source.truth)
        panels.append(Panel("truth", truth, "The scene itself, which is known here"))
    size = (picture.shape[0], picture.shape[1])
    outcome = Outcome(
        source=source,
        settings=settings,
        scene=scene,
        capture=Panel("capture", _shown(source.raw, size), "The raw capture, as the sensor saw it"),
        linear=Panel("linear", picture, "The linear reconstruction: only what was measured"),
    )
    return outcome.adding("linear", time.perf_counter() - started, *panels, record=record)


def _psnr(image: Tensor, truth: Tensor) -> float:
    """PSNR in dB of a linear image, once gain and offset, which no capture tells, are put right."""
    return float(psnr(align_gain(image, truth).image, truth, data_range=1.0))


def _shown(raw: Tensor, size: tuple[int, int]) -> Tensor:
    """Shrink a raw frame to a picture, from its darkest to its brightest value."""
    light = raw.float()
    light = light[None] if light.ndim == 2 else light
    if light.shape[0] not in (1, 3):
        light = light.mean(0, keepdim=True)
    small = torch.nn.functional.interpolate(light[None], size, mode="area")[0]
    return to_display(small, black=float(small.min()))[0]


def judge(outcome: Outcome) -> Outcome:
    """Say what of the linear reconstruction was measured, and how far it may be off."""
    started = time.perf_counter()
    source, scene = outcome.source, outcome.scene
    pipeline = _pipeline(source.camera, linear_settings(outcome.settings))
    report = pipeline.judge(source.raw, scene)
    overlay = Panel(
        "invented",
        overlay_invented(outcome.linear.picture, report.measured_share),
        "Grey was measured, orange was invented: left to an assumption about pictures",
    )
    error = Panel("error", draw_error(report.std), "How far each place may be off, dark is best")
    return outcome.adding(
        "trust",
        time.perf_counter() - started,
        overlay,
        error,
        record=report.record,
        trust=report,
        measured_share=report.measured_share.float().cpu(),
    )


def refine(outcome: Outcome) -> Outcome:
    """Refine the linear reconstruction with the diffusion model that ships with barelens.

    Raises
    ------
    FileNotFoundError, ImportError
        There is no such model here.
    ValueError
        The camera is not separable.
    """
    started = time.perf_counter()
    model = refiner()
    pipeline = RefiningPipeline(
        outcome.source.camera,
        model,
        _refiner_settings(model.settings, outcome.settings),
        linear_settings=linear_settings(outcome.settings),
    )
    refined = pipeline.refine(outcome.source.raw, outcome.scene)
    image, white = refined.image[0].cpu(), float(refined.white[0])
    grown = resize(refined.linear, (image.shape[-2], image.shape[-1]))[0].cpu()
    record = {
        "model": pipeline.model_record,
        "settings": asdict(refined.settings),
        "white": white,
        "residual": {
            "linear": json_numbers(refined.linear_residual[0]),
            "imagined": json_numbers(refined.imagined_residual[0]),
            "refined": json_numbers(refined.residual[0]),
        },
    }
    truth = outcome.source.truth
    if truth is not None:
        own_size = resize(refined.image, (truth.shape[-2], truth.shape[-1]))[0].cpu()
        record["psnr_db"] = _psnr(own_size, truth)
    picture = to_display(image, white=white)[0]
    panels = [
        Panel("before", to_display(grown, white=white)[0], "The linear reconstruction"),
        Panel("refined", picture, "Refined: partly imagined by a model"),
    ]
    share = None
    if outcome.trust is not None:
        report = pipeline.trust(outcome.source.raw, image, outcome.trust.record)
        share, record["trust"] = report.measured_share, report.record
        overlay = overlay_invented(picture, share)
        panels.append(Panel("refined_invented", overlay, "What of the refined picture is invented"))
    return outcome.adding(
        "refine",
        time.perf_counter() - started,
        *panels,
        record=record,
        refined=refined,
        measured_share=share,
    )


def _refiner_settings(advised: RefinerSettings, chosen: DemoSettings) -> RefinerSettings:
    return RefinerSettings(
        **{**asdict(advised), "seed": chosen.seed, "imagination": chosen.imagination}
    )


def find_people(outcome: Outcome) -> Outcome:
    """Look for people in the refined picture, or in the linear one where there is none.

    Raises
    ------
    FileNotFoundError
        There is no model for people here.
    """
    started = time.perf_counter()
    panel = outcome.panel("refined") or outcome.linear
    found = people_model()(panel.picture.movedim(-1, 0).contiguous()).to("cpu")
    if outcome.measured_share is not None:
        found = with_support(found, outcome.measured_share)
    drawn = [
        Panel(key, draw_output(panel.picture, found, panels=[key]), f"People: {PANELS[key]}")
        for key in known_panels(found)
        if key in PANELS
    ]
    return outcome.adding(
        "people",
        time.perf_counter() - started,
        *drawn,
        record={
            "picture": panel.key,
            "people": len(found.people),
            "panels": [p.key for p in drawn],
            **support_record(found),
        },
        people=found,
    )
