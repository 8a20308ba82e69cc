"""``barelens refine``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .messages import (
    check_device,
    check_names,
    complain,
    fail,
    parse_penalty,
    parse_size,
    tracked,
    user_errors,
)

if TYPE_CHECKING:
    from ...imaging.refine import Refiner, RefinerSettings

__all__ = ["load_refiner", "refine", "refiner_settings"]


def refine(
    captures: list[Path] = typer.Argument(help="Raw captures: PNG, TIFF, NPY, NPZ or DNG."),
    camera: Path = typer.Option(..., help="The camera record."),
    out: Path = typer.Option(..., help="Folder for the results; made if missing."),
    model: str | None = typer.Option(
        None,
        help="A refiner's folder or hub id, or the folder of DifuzCam's own ControlNet; "
        "by default the refiner that ships with barelens.",
    ),
    base: str | None = typer.Option(None, help="Stable Diffusion, folder or hub id."),
    tiny_vae: str | None = typer.Option(None, help="An AutoencoderTiny in place of the VAE."),
    steps: int | None = typer.Option(None, help="Evaluations of the networks."),
    scheduler: str | None = typer.Option(None, help="unipc, ddim, dpm++, lcm or tcd."),
    seed: int | None = typer.Option(None, help="Seed of all noise."),
    strength: float | None = typer.Option(
        None, help="1 starts from noise, less from the linear reconstruction."
    ),
    imagination: float | None = typer.Option(
        None, help="From 0, only what was measured, to 1, as the model imagines it."
    ),
    consistency: str | None = typer.Option(
        None, help="Steps that return to the measurement: each, none, or the last so many."
    ),
    conditioning_scale: float | None = typer.Option(None, help="Weight of the ControlNet."),
    guidance_scale: float | None = typer.Option(None, help="Weight of the prompt; 1 for none."),
    prompt: str | None = typer.Option(None, help="What the picture shows."),
    negative_prompt: str | None = typer.Option(None, help="What it does not show."),
    prompt_keeps_measured: bool = typer.Option(
        False, help="Let the prompt change only what was not measured."
    ),
    wrong_prompt: str | None = typer.Option(
        None, help="What it does not show either: the record compares what both prompts change."
    ),
    samples: int = typer.Option(
        1, help="Pictures to draw of each capture; how far they differ goes into the errors."
    ),
    intervals: Path | None = typer.Option(
        None, help="From `barelens calibrate intervals --refined`: gives every pixel an interval."
    ),
    size: str | None = typer.Option(None, help="Size of the picture, HEIGHTxWIDTH."),
    tile: int | None = typer.Option(None, help="Side of tiles, for large fields."),
    tile_overlap: int | None = typer.Option(None, help="Pixels that tiles share."),
    penalty: str = typer.Option("gcv", help="Of the linear reconstruction, as reconstruct has it."),
    annotator: str | None = typer.Option(None, help="canny, lineart or openpose."),
    annotator_model: str | None = typer.Option(None, help="A ControlNet for the annotation."),
    annotator_scale: float = typer.Option(1.0, help="Weight of that ControlNet."),
    dtype: str = typer.Option("float32", help="float32, bfloat16 or float16."),
    channels_last: bool = typer.Option(False, help="Lay images out channel by channel."),
    compiled: bool = typer.Option(False, "--compile", help="Compile the networks first."),
    device: str = typer.Option("cpu", help="cpu, cuda, cuda:1, ..."),
) -> None:
    """Refine captures with a diffusion model, tied to what was measured.

    A refined picture is no measurement. Beside NAME.refined.tif, .png and .json, the linear
    reconstruction is written as by `barelens reconstruct`, NAME.both.png shows the two, and
    NAME.invented.png where the refined one was measured and where invented; the record says whether
    it can be true, how far it may be off, and what a prompt changed. With --samples
    NAME.refined.std.tif holds the expected error of each pixel, with --intervals
    NAME.refined.interval.tif half the width of its interval. Options left out are what the model
    recommends.
    """
    from ...calibration import Camera
    from ...imaging.trust import Conformal
    from ..pipeline import LinearSettings
    from ..refining import AnnotatorSettings, RefiningPipeline
    from ..refining_files import refine_file

    with user_errors():
        check_names(captures)
        record = Camera.load(camera)
        second = None
        if annotator is not None and annotator_model is not None:
            second = AnnotatorSettings(annotator, annotator_model, annotator_scale)
        elif annotator is not None or annotator_model is not None:
            raise ValueError("annotator and annotator-model must be given together")
        refiner = load_refiner(
            model,
            base=base,
            tiny_vae=tiny_vae,
            dtype=dtype,
            device=device,
            channels_last=channels_last,
            compiled=compiled,
        )
        pipeline = RefiningPipeline(
            record,
            refiner,
            refiner_settings(
                refiner,
                consistency=consistency,
                size=size,
                steps=steps,
                scheduler=scheduler,
                seed=seed,
                strength=strength,
                imagination=imagination,
                conditioning_scale=conditioning_scale,
                guidance_scale=guidance_scale,
                prompt=prompt,
                negative_prompt=negative_prompt,
                tile=tile,
                tile_overlap=tile_overlap,
            ),
            linear_settings=LinearSettings(penalty=parse_penalty(penalty)),
            annotator=second,
            prompt_keeps_measured=prompt_keeps_measured,
            wrong_prompt=wrong_prompt,
            samples=samples,
            intervals=None if intervals is None else Conformal.load(intervals),
        )
        out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for path in tracked(captures, "Refining", len(captures)):
        try:
            result = refine_file(path, pipeline, out)
        except (ValueError, TypeError, OSError, ImportError) as error:
            complain(error if str(path) in str(error) else f"{path}: {error}")
            failed += 1
            continue
        typer.echo(f"{path} -> {out / result['files']['both']}  {_residuals(result['residual'])}")
    if failed:
        fail(f"{failed} of {len(captures)} captures failed")


def load_refiner(
    model: str | None, *, base: str | None, tiny_vae: str | None, dtype: str, **options: Any
) -> "Refiner":
    """Load a refiner's folder or hub id, DifuzCam's own ControlNet, or the bundled refiner."""
    import torch

    from ... import data
    from ...imaging.refine import DEFAULT_BASE, Refiner, RefinerParts
    from ...imaging.refine.fetch import fetch_model

    dtypes = {name: getattr(torch, name) for name in ("float32", "bfloat16", "float16")}
    if dtype not in dtypes:
        raise ValueError(f"unknown dtype {dtype!r}; choose one of: {', '.join(dtypes)}")
    check_device(options["device"])
    folder = data.path("refiner/refiner.json").parent if model is None else fetch_model(model)
    published = _published_controlnet(folder)
    if published is None:
        parts = RefinerParts.load(folder, base=base, tiny_vae=tiny_vae, dtype=dtypes[dtype])
    else:
        parts = RefinerParts.load_published(
            published, base=base or DEFAULT_BASE, tiny_vae=tiny_vae, dtype=dtypes[dtype]
        )
    return Refiner(parts, **options)


def _published_controlnet(folder: Path) -> Path | None:
    """Find DifuzCam's ControlNet in a folder that is no refiner's."""
    from ...imaging.refine.control import PUBLISHED_FILE
    from ...imaging.refine.record import RECORD_FILE

    if (folder / RECORD_FILE).is_file():
        return None
    return next((path.parent for path in sorted(folder.rglob(PUBLISHED_FILE))), None)


def refiner_settings(
    refiner: "Refiner", *, consistency: str | None, size: str | None, **given: Any
) -> "RefinerSettings":
    """Put the options that were given over what the model recommends."""
    from dataclasses import replace

    chosen = {name: value for name, value in given.items() if value is not None}
    if consistency is not None:
        chosen["consistency_steps"] = _consistency_steps(consistency)
    if size is not None:
        chosen["size"] = parse_size(size, "size")
    return replace(refiner.settings, **chosen)


def _consistency_steps(text: str) -> int | None:
    if text in ("each", "none"):
        return None if text == "each" else 0
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"consistency must be each, none or a number, got {text!r}") from None


def _residuals(residual: dict[str, list[float]]) -> str:
    """Say the mean residual of each kind of picture, in units of the noise."""
    means = {name: sum(values) / len(values) for name, values in residual.items()}
    return "residual " + ", ".join(f"{name} {mean:.3f}" for name, mean in means.items())
