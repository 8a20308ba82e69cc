"""``barelens calibrate intervals``."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .messages import complain, parse_penalty, tracked, user_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..intervals import KnownErrors

__all__ = ["intervals"]


def intervals(
    captures: list[Path] = typer.Argument(help="Raw captures of scenes that are known, 2 or more."),
    reference: list[Path] = typer.Option(
        ..., help="Picture of the scene of each capture, in the same order; repeat the option."
    ),
    camera: Path = typer.Option(..., help="The camera record."),
    out: Path = typer.Option(..., help="The file to write (.json); never overwritten."),
    coverage: float = typer.Option(0.9, help="Share of true values that intervals are to hold."),
    bins: int = typer.Option(1, help="Classes of expected error with a scale of their own."),
    method: str = typer.Option("auto", help="As for `barelens reconstruct`."),
    penalty: str = typer.Option("gcv", help="As for `barelens reconstruct`."),
    refined: bool = typer.Option(False, help="For refined pictures in place of linear ones."),
    model: str | None = typer.Option(None, help="Their refiner, as for `barelens refine`."),
    steps: int | None = typer.Option(None, help="As for `barelens refine`."),
    samples: int = typer.Option(1, help="As for `barelens refine`."),
) -> None:
    """Calibrate expected errors on captures of known scenes, so that intervals hold what they say.

    `barelens reconstruct --intervals FILE` then gives every sample an interval, and `barelens
    refine --intervals FILE` every pixel where --refined was given here. It holds for scenes, light
    and settings like those of the calibration, and up to the gain and the offset of each colour,
    which captures do not tell. How often it holds is said for each capture with intervals that
    were calibrated on all others.
    """
    from ..intervals import calibrate_intervals, left_out_coverage

    with user_errors():
        if out.exists():
            raise ValueError(f"{out} exists; choose another --out")
        if len(captures) != len(reference):
            raise ValueError(
                f"every capture needs its --reference, got {len(captures)} captures and "
                f"{len(reference)} pictures"
            )
        if len(captures) < 2:
            raise ValueError("intervals need 2 captures or more: one at a time is left out")
        if not refined and (model is not None or steps is not None or samples != 1):
            raise ValueError("--model, --steps and --samples need --refined")
        measure = _measurer(
            camera, method, penalty, model=model, steps=steps, samples=samples, refined=refined
        )
        pairs = list(zip(captures, reference, strict=True))
        known = [measure(*pair) for pair in tracked(pairs, "Reconstructing", len(captures))]
        shares = left_out_coverage(known, coverage=coverage, bins=bins)
        of = "refined" if refined else "linear"
        fitted = calibrate_intervals(known, coverage=coverage, bins=bins, of=of)
        fitted.save(out)
    for path, share in zip(captures, shares, strict=True):
        typer.echo(f"{path.name}: {share:.1%} within the intervals of the others")
    if max(abs(share - coverage) for share in shares) > 0.1:
        complain("the captures differ a lot: more of them make intervals that hold on average")
    scales = ", ".join(f"{scale:.3g}" for scale in fitted.scales)
    typer.echo(f"{coverage:.0%} lie within {scales} times the expected error; written to {out}")


def _measurer(
    camera: Path,
    method: str,
    penalty: str,
    *,
    model: str | None,
    steps: int | None,
    samples: int,
    refined: bool,
) -> "Callable[[Path, Path], KnownErrors]":
    """Prepare what finds the errors of a capture's reconstruction from a picture of its scene."""
    from ...calibration import Camera
    from ..intervals import measure_errors, measure_refined_errors
    from ..pipeline import LinearPipeline, LinearSettings
    from ..refining import RefiningPipeline
    from .refine import load_refiner, refiner_settings

    settings = LinearSettings(
        method=method,  # type: ignore[arg-type]
        penalty=parse_penalty(penalty),
    )
    record = Camera.load(camera)
    if not refined:
        return partial(measure_errors, LinearPipeline(record, settings))
    refiner = load_refiner(model, base=None, tiny_vae=None, dtype="float32", device="cpu")
    chosen = refiner_settings(refiner, consistency=None, size=None, steps=steps)
    pipeline = RefiningPipeline(record, refiner, chosen, linear_settings=settings, samples=samples)
    return partial(measure_refined_errors, pipeline)
