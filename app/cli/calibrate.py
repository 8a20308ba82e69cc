"""``barelens calibrate patterns | capture | fit | check``."""

from pathlib import Path

import typer

from .messages import complain, parse_size, tracked, user_errors

__all__ = ["capture", "check", "fit", "patterns"]

_SHOWN_PROBLEMS = 10


def patterns(
    out: Path = typer.Option(..., help="Folder for the pictures and their manifest."),
    screen: str = typer.Option("1080x1920", help="Pixels of the screen, HEIGHTxWIDTH."),
    scene: str = typer.Option("256x256", help="Samples of the scene, HEIGHTxWIDTH."),
) -> None:
    """Write the pictures that a screen shows to calibrate a separable camera.

    Hadamard rows and columns with their complements, white, black, a grid of points and a cross
    to align by, and manifest.json, which names them all. Captures are named after their pictures.
    """
    from ...calibration import PatternSet, write_patterns

    with user_errors():
        chosen = PatternSet(*parse_size(screen, "screen"), *parse_size(scene, "scene"))
        total = 1 + sum(1 for _ in chosen.patterns())
        for _ in tracked(write_patterns(out, chosen), "Drawing", total):
            pass
    typer.echo(f"{total - 1} pictures and a manifest in {out}")


def capture(
    out: Path = typer.Option(..., help="Folder for the captures; an earlier run is continued."),
    screen: str = typer.Option("1080x1920", help="Pixels of the screen, HEIGHTxWIDTH."),
    scene: str = typer.Option("256x256", help="Samples of the scene, HEIGHTxWIDTH."),
    camera: int = typer.Option(0, help="Number of the camera for OpenCV."),
    white_level: float = typer.Option(255, help="Largest count of its frames."),
    exposure: float | None = typer.Option(None, help="Exposure in the driver's units."),
    frames: int = typer.Option(4, help="Frames averaged into a capture."),
    virtual: bool = typer.Option(False, help="Use a virtual camera in place of hardware."),
) -> None:
    """Show every pattern full screen and grab it, going on where an earlier run stopped."""
    from ...calibration import PatternSet, VirtualBench, capture_patterns
    from ...calibration.capture import OpenCVGrabber, OpenCVScreen
    from ...imaging import SeparableGeometry, VirtualCamera, m_sequence

    with user_errors():
        shown = PatternSet(*parse_size(screen, "screen"), *parse_size(scene, "scene"))
        if virtual:
            profile = m_sequence(8, repeats=2)
            geometry = SeparableGeometry(
                500, 620, shown.scene_height, shown.scene_width, wavelength_nm=550.0
            )
            bench = VirtualBench(VirtualCamera(geometry, profile, profile), shown)
            display, grabber = bench, bench
        else:
            display = OpenCVScreen()  # type: ignore[assignment]
            grabber = OpenCVGrabber(  # type: ignore[assignment]
                camera, white_level=white_level, exposure=exposure
            )
        total = sum(1 for _ in shown.patterns())
        steps = tracked(range(total), "Capturing", total)
        next(steps)
        result = capture_patterns(
            shown,
            display,
            grabber,
            out,
            frames=frames,
            progress=lambda: next(steps, None),  # type: ignore[arg-type]
        )
    for name, share in result.saturated.items():
        complain(f"{name}: saturated in {share:.2%} of its pixels; shorten the exposure")
    typer.echo(f"{result.taken} captures taken, {result.skipped} found, in {out}")


def fit(
    folder: Path = typer.Argument(help="Captures named after their patterns, with the manifest."),
    out: Path = typer.Option(..., help="The camera record to write."),
    white_level: float = typer.Option(..., help="Count at which the sensor saturates."),
    black_level: float = typer.Option(0.0, help="Count without light."),
    bayer: str | None = typer.Option(None, help="RGGB, BGGR, GRBG or GBRG; none if left out."),
    rotation_deg: float | None = typer.Option(None, help="Estimated if left out."),
    pixel_pitch_um: float | None = typer.Option(None, help="For the record."),
    name: str = typer.Option("separable camera", help="Name of the camera."),
) -> None:
    """Fit a camera record to captures of calibration patterns.

    Missing, damaged and saturated captures are reported and survived: a complement stands in for
    its pattern, and what is lost altogether is filled from the rest.
    """
    from ...calibration import CaptureFolder, FrameFormat, fit_camera

    with user_errors():
        frame = FrameFormat(white_level, black_level, bayer)  # type: ignore[arg-type]
        source = CaptureFolder(folder, frame)
        total = 4 * source.patterns.order
        steps = tracked(range(total), "Fitting", total)
        next(steps)
        camera, report = fit_camera(
            source,
            frame,
            name=name,
            rotation_deg=rotation_deg,
            pixel_pitch_um=pixel_pitch_um,
            progress=lambda: next(steps, None),  # type: ignore[arg-type]
        )
        for _ in steps:
            pass
        camera.save(out)
    _report_problems(report.problems)
    for side, side_fit in (("left", report.left), ("right", report.right)):
        kept = "with structure" if side_fit.structure else "as measured"
        typer.echo(
            f"{side}: predicts held-out patterns to {min(side_fit.held_out.values()):.1%} "
            f"({kept}), {len(side_fit.rejected)} outliers, {len(side_fit.lost)} patterns lost"
        )
    typer.echo(f"turned by {camera.rotation_deg:+.3f} degrees; written to {out}")


def check(
    camera: Path = typer.Argument(help="The camera record."),
    capture: Path = typer.Argument(help="A raw capture of any scene with detail."),
    out: Path | None = typer.Option(None, help="Write a corrected record here."),
) -> None:
    """Ask whether a capture fits a camera, and if not, how the camera has moved."""
    from ...calibration import Camera, Drift, check_camera, correct_camera
    from ...imaging.capture_checks import check_capture
    from ...imaging.files import read_raw

    with user_errors():
        record = Camera.load(camera)
        raw = read_raw(capture)
        check_capture(raw, white_level=record.white_level, expected_shape=record.frame_shape)
        report = check_camera(record, raw)
        verdict = "consistent" if report.consistent else "NOT consistent"
        typer.echo(f"{verdict}: residual {report.whitened_residual:.3f} times that of noise")
        if report.drift != Drift():
            typer.echo(
                f"best explained by a shadow moved by {report.drift.describe()}; "
                f"residual then {report.whitened_after:.3f}"
            )
        elif not report.consistent:
            typer.echo(
                "no motion explains it: the matrices themselves are off, light comes from "
                "elsewhere, or this is another camera"
            )
            if out is not None:
                raise ValueError("nothing to correct; no record written")
        if out is not None:
            correct_camera(record, report.drift).save(out)
            typer.echo(f"corrected record written to {out}")


def _report_problems(problems: dict[str, str]) -> None:
    for line in list(problems.values())[:_SHOWN_PROBLEMS]:
        complain(line)
    if len(problems) > _SHOWN_PROBLEMS:
        complain(f"and {len(problems) - _SHOWN_PROBLEMS} captures more that cannot be used")
