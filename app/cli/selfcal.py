"""``barelens calibrate selfcal``: a record from ordinary captures."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .messages import complain, tracked, user_errors

if TYPE_CHECKING:
    from torch import Tensor

    from ...calibration import Crop

__all__ = ["selfcal"]


def selfcal(
    captures: list[Path] = typer.Argument(help="Raw captures of ordinary scenes, at least 2."),
    out: Path = typer.Option(..., help="The camera record to write; never overwritten."),
    reference: list[Path] = typer.Option(
        [], help="Picture of the scene of each capture, in the same order; repeat the option."
    ),
    start: Path | None = typer.Option(
        None, help="Without pictures: the camera record to bring up to date."
    ),
    white_level: float | None = typer.Option(None, help="Count at which the sensor saturates."),
    black_level: float = typer.Option(0.0, help="Count without light."),
    bayer: str | None = typer.Option(None, help="RGGB, BGGR, GRBG or GBRG; none if left out."),
    encoding: str = typer.Option(
        "srgb", help="Of the pictures: srgb as shown on a screen, or linear light."
    ),
    crop: str | None = typer.Option(
        None, help="Window of a turned plane, TOP,LEFT,HEIGHT,WIDTH; all that turning leaves."
    ),
    rotation_deg: float | None = typer.Option(None, help="Estimated if left out."),
    pixel_pitch_um: float | None = typer.Option(None, help="For the record."),
    name: str = typer.Option("self-calibrated camera", help="Name of the camera."),
) -> None:
    """Calibrate a separable camera from a handful of ordinary captures.

    With a picture of each scene no pattern is shown and the mask need not be known: slopes, flips,
    turn, both profiles and the gains of all colours are fitted together, held back as predicts
    pairs best that were left out. Without pictures a record, or the camera as designed, is moved
    to where the captures show its shadow, if left-out captures agree.
    """
    with user_errors():
        if out.exists():
            raise ValueError(f"{out} exists; choose another --out")
        if bool(reference) == (start is not None):
            raise ValueError(
                "give either a --reference picture for every capture, or the camera to --start from"
            )
        if start is not None:
            return _move(captures, start, out)
        if white_level is None:
            raise ValueError("--white-level is needed with pictures")
        if encoding not in ("srgb", "linear"):
            raise ValueError(f"--encoding must be srgb or linear, got {encoding!r}")
        if len(captures) != len(reference):
            raise ValueError(
                f"every capture needs its --reference, got {len(captures)} captures and "
                f"{len(reference)} pictures"
            )
        from ...calibration import FrameFormat, self_calibrate
        from ...imaging.files import read_image

        frame = FrameFormat(white_level, black_level, bayer)  # type: ignore[arg-type]
        camera, report = self_calibrate(
            _read(captures, white_level, frame.saturated_limit),
            [read_image(path, encoding=encoding) for path in reference],  # type: ignore[arg-type]
            frame,
            name=name,
            crop=_parse_crop(crop),
            rotation_deg=rotation_deg,
            pixel_pitch_um=pixel_pitch_um,
            provenance={
                "captures": [path.name for path in captures],
                "pictures": [path.name for path in reference],
            },
            progress=complain,
        )
        camera.save(out)
    for path, found in zip(captures, report.held_out_correlation, strict=True):
        typer.echo(f"{path.name}: correlation {found:.3f} with its picture when left out")
    place = report.placement
    typer.echo(
        f"slopes {place.slope_left:+.4f} and {place.slope_right:+.4f}, turned by "
        f"{place.rotation_deg:+.3f} degrees; written to {out}"
    )


def _move(captures: list[Path], start: Path, out: Path) -> None:
    """Bring a record up to date from captures of unknown scenes."""
    from ...calibration import Camera, recalibrate

    record = Camera.load(start)
    raws = _read(captures, record.white_level, 0.001)
    steps = tracked(range(len(raws)), "Following", len(raws))
    next(steps)
    camera, report = recalibrate(
        record,
        raws,
        progress=lambda: next(steps, None),  # type: ignore[arg-type]
    )
    for path, before, after in zip(captures, report.before, report.after, strict=True):
        typer.echo(f"{path.name}: residual {before:.3f} times that of noise, then {after:.3f}")
    if not report.kept:
        raise ValueError(
            "no motion of the camera explains captures that it was not taken from; nothing written"
        )
    camera.save(out)
    typer.echo(f"moved by {report.drift.describe()}; written to {out}")


def _read(captures: list[Path], white_level: float, saturated_limit: float) -> "list[Tensor]":
    """Read raw captures, all of which must be usable."""
    from ...imaging.capture_checks import check_capture
    from ...imaging.files import read_raw

    raws = [read_raw(path) for path in captures]
    for path, raw in zip(captures, raws, strict=True):
        try:
            check_capture(raw, white_level=white_level, saturated_limit=saturated_limit)
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from None
    return raws


def _parse_crop(text: str | None) -> "Crop | None":
    from ...calibration import Crop

    if text is None:
        return None
    try:
        return Crop(*(int(part) for part in text.split(",")))
    except (TypeError, ValueError):
        raise ValueError(f"--crop must be TOP,LEFT,HEIGHT,WIDTH, got {text!r}") from None
