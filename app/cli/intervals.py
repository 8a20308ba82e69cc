"""``barelens calibrate intervals``."""

from pathlib import Path

import typer

from .messages import complain, parse_penalty, tracked, user_errors

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
) -> None:
    """Calibrate expected errors on captures of known scenes, so that intervals hold what they say.

    `barelens reconstruct --intervals FILE` then gives every sample an interval. It holds for
    scenes, light and settings like those of the calibration, and up to the gain and the offset of
    each colour, which captures do not tell. How often it holds is said for each capture with
    intervals that were calibrated on all others.
    """
    from ...calibration import Camera
    from ..intervals import calibrate_intervals, left_out_coverage, measure_errors
    from ..pipeline import LinearPipeline, LinearSettings

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
        settings = LinearSettings(
            method=method,  # type: ignore[arg-type]
            penalty=parse_penalty(penalty),
        )
        pipeline = LinearPipeline(Camera.load(camera), settings)
        pairs = list(zip(captures, reference, strict=True))
        known = [
            measure_errors(pipeline, *pair)
            for pair in tracked(pairs, "Reconstructing", len(captures))
        ]
        options = {"coverage": coverage, "bins": bins}
        shares = left_out_coverage(known, **options)  # type: ignore[arg-type]
        fitted = calibrate_intervals(known, **options)  # type: ignore[arg-type]
        fitted.save(out)
    for path, share in zip(captures, shares, strict=True):
        typer.echo(f"{path.name}: {share:.1%} within the intervals of the others")
    if max(abs(share - coverage) for share in shares) > 0.1:
        complain("the captures differ a lot: more of them make intervals that hold on average")
    scales = ", ".join(f"{scale:.3g}" for scale in fitted.scales)
    typer.echo(f"{coverage:.0%} lie within {scales} times the expected error; written to {out}")
