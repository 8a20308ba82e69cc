"""``barelens calibrate psf | import | show``: records made from files, and what they hold."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .messages import complain, parse_size, user_errors

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["import_record", "psf", "show"]


def psf(
    captures: list[Path] = typer.Argument(help="Raw captures of one point source."),
    out: Path = typer.Option(..., help="The camera record to write; never overwritten."),
    white_level: float = typer.Option(..., help="Count at which the sensor saturates."),
    black_level: float = typer.Option(0.0, help="Count without light."),
    bayer: str | None = typer.Option(None, help="RGGB, BGGR, GRBG or GBRG; none if left out."),
    background: list[Path] = typer.Option([], help="Captures with the source off; repeatable."),
    saturated_limit: float = typer.Option(0.001, help="Largest share of lit pixels that clip."),
    denoise: bool = typer.Option(False, help="Smooth by non-local means."),
    repeats: bool = typer.Option(False, help="Accept the shadow of a mask that repeats itself."),
    pixel_pitch_um: float | None = typer.Option(None, help="For the record."),
    name: str = typer.Option("diffuser camera", help="Name of the camera."),
) -> None:
    """Make the record of a diffuser camera from captures of a point source.

    Several captures are averaged. Those that cannot be read, clip, or lie elsewhere than most are
    named and left out.
    """
    from ...calibration import FrameFormat, fit_psf

    with user_errors():
        if out.exists():
            raise ValueError(f"{out} exists; choose another --out")
        frame = FrameFormat(white_level, black_level, bayer, saturated_limit)  # type: ignore[arg-type]
        frames, unreadable = _read(captures)
        dark, unreadable_dark = _read(background)
        if background and not dark:
            raise ValueError("no background capture can be read")
        record, report = fit_psf(
            frames,
            frame,
            name=name,
            background=dark,
            denoise=denoise,
            repeats=repeats,
            pixel_pitch_um=pixel_pitch_um,
        )
        record.save(out)
    for line in report.problems.values():
        complain(line)
    height, width = report.support.height, report.support.width
    taken_off = ", ".join(f"{value:.1f}" for value in report.background_dn)
    typer.echo(
        f"averaged {len(report.used)} of {len(captures)} captures; took off a background of "
        f"{taken_off} counts and replaced {report.hot_pixels} hot pixels"
    )
    reach = ", up to the edge of the sensor: it may be cut off" if report.cut_off else ""
    typer.echo(f"PSF of {height}x{width} pixels{reach}; written to {out}")
    if report.problems or unreadable or unreadable_dark:
        raise typer.Exit(1)


def _read(paths: list[Path]) -> tuple[dict[str, "Tensor"], int]:
    """Read raw frames; complain of those that cannot be read, and count them."""
    from ...imaging.files import FileError, read_raw

    frames = {}
    for path in paths:
        name = str(path) if path.name in frames else path.name
        if path.suffix.lower() in (".jpg", ".jpeg"):
            complain(f"{path}: JPEG is 8-bit and lossy; raw captures are needed")
            continue
        try:
            frames[name] = read_raw(path)
        except (FileError, OSError) as error:
            complain(error)
    return frames, len(paths) - len(frames)


def import_record(
    source: Path = typer.Argument(help="FlatCam or FlatNet .mat file, or a picture of a PSF."),
    out: Path = typer.Option(..., help="The camera record to write; never overwritten."),
    white_level: float = typer.Option(65535, help="Count at which the sensor saturates."),
    black_level: float = typer.Option(0.0, help="Count without light in captures."),
    frame: str = typer.Option("1024x1280", help="Pixels of raw frames, for .mat files."),
    bayer: str = typer.Option("BGGR", help="Mosaic of raw frames, for .mat files."),
    rotation_deg: float | None = typer.Option(None, help="In place of a .mat file's angle."),
) -> None:
    """Make a camera record from another project's calibration."""
    from ...calibration import import_flatcam, import_psf

    with user_errors():
        if out.exists():
            raise ValueError(f"{out} exists; choose another --out")
        if source.suffix.lower() == ".mat":
            record = import_flatcam(
                source,
                frame_shape=parse_size(frame, "frame"),
                white_level=white_level,
                black_level=black_level,
                bayer=bayer,  # type: ignore[arg-type]
                rotation_deg=rotation_deg,
            )
        else:
            record = import_psf(source, white_level=white_level, capture_black_level=black_level)
        record.save(out)
    typer.echo(f"written to {out}")


def show(
    camera: Path = typer.Argument(help="A camera record."),
    report: Path | None = typer.Option(None, help="Write a page for people here, as HTML."),
) -> None:
    """Print what a camera record holds, or write it as a page with pictures and predictions."""
    from ...calibration import Camera
    from ...calibration.describe import describe
    from ...calibration.report import write_report

    with user_errors():
        record = Camera.load(camera)
        typer.echo(describe(record))
        if report is not None:
            write_report(report, record)
            typer.echo(f"report written to {report}")
