"""``barelens reconstruct``."""

from pathlib import Path

import typer

from .messages import check_device, check_names, complain, fail, parse_penalty, tracked, user_errors

__all__ = ["reconstruct"]


def reconstruct(
    captures: list[Path] = typer.Argument(help="Raw captures: PNG, TIFF, NPY, NPZ or DNG."),
    camera: Path = typer.Option(..., help="The camera record."),
    out: Path = typer.Option(..., help="Folder for the results; made if missing."),
    method: str = typer.Option(
        "auto", help="auto, tikhonov (separable cameras), cg, fista or admm."
    ),
    penalty: str = typer.Option(
        "gcv", help="gcv, sure, discrepancy, or a weight relative to the largest squared gain."
    ),
    tv_weight: float = typer.Option(1e-4, help="Weight of ADMM's total variation, relative."),
    iterations: int = typer.Option(100, help="Most iterations of the iterative methods."),
    saturated_limit: float = typer.Option(0.01, help="Largest share of saturated pixels."),
    fill_defects: bool = typer.Option(
        False, help="Replace saturated pixels and missing rows by what the rest predicts."
    ),
    device: str = typer.Option("cpu", help="cpu, cuda, cuda:1, ..."),
    intervals: Path | None = typer.Option(
        None, help="From `barelens calibrate intervals`: gives every sample an interval."
    ),
    trust: bool = typer.Option(False, help="Draw what was measured and how far it may be off."),
) -> None:
    """Reconstruct scenes from raw captures, one after the other.

    For each capture NAME three files are written: NAME.linear.tif (16-bit linear light),
    NAME.linear.png (for the screen) and NAME.linear.json (settings, penalty, residual, versions,
    and how far the scene can be trusted, which `barelens inspect` shows); with --trust also
    NAME.trust.png, and NAME.linear.measured.tif, by which `barelens human` says of people in
    NAME.linear.png how much of them was measured. With --intervals NAME.linear.interval.tif holds
    half the width of the interval around each sample, in the scene's units.
    A capture that cannot be used is reported and the rest go on; the exit code is then 1.
    """
    from ...calibration import Camera
    from ...imaging.trust import Conformal
    from ..pipeline import LinearPipeline, LinearSettings
    from ..pipeline_files import reconstruct_file

    with user_errors():
        settings = LinearSettings(
            method=method,  # type: ignore[arg-type]
            penalty=parse_penalty(penalty),
            tv_weight=tv_weight,
            iterations=iterations,
            saturated_limit=saturated_limit,
            fill_defects=fill_defects,
        )
        check_names(captures)
        pipeline = LinearPipeline(
            Camera.load(camera),
            settings,
            device=check_device(device),
            intervals=None if intervals is None else Conformal.load(intervals),
        )
        out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for path in tracked(captures, "Reconstructing", len(captures)):
        try:
            record = reconstruct_file(path, pipeline, out, trust_picture=trust)
        except (ValueError, TypeError, OSError, ImportError) as error:
            complain(error if str(path) in str(error) else f"{path}: {error}")
            failed += 1
            continue
        residual = record["solution"]["residual"]
        values = residual if isinstance(residual, list) else [residual]
        typer.echo(
            f"{path} -> {out / record['files']['picture']}  "
            f"residual {', '.join(f'{value:.3f}' for value in values)}"
        )
    if failed:
        fail(f"{failed} of {len(captures)} captures failed")
