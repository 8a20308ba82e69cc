"""Longer jobs: many captures at once, and calibration from an uploaded set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ...calibration import (
    CalibrationError,
    Camera,
    CaptureFolder,
    FrameFormat,
    PatternSet,
    VirtualBench,
    capture_patterns,
    fit_camera,
)
from ...calibration.report import render_report
from ...imaging.bayer import BayerOrder
from ..pipeline import LinearPipeline, LinearSettings
from ..pipeline_files import reconstruct_file
from ..virtual_camera import VirtualSettings, build_virtual_camera
from .bundle import pack
from .choices import MAX_BATCH
from .uploads import UploadError, read_capture, unpack

__all__ = ["PRACTICE", "BatchResult", "Calibrated", "calibrate", "make_practice_set", "run_batch"]

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class BatchResult:
    """How a batch went.

    Attributes
    ----------
    done : dict of str to float
        Mean residual of each capture that was reconstructed, by its file's name.
    failed : dict of str to str
        What is wrong with each of the others.
    """

    done: dict[str, float]
    failed: dict[str, str]


def run_batch(
    captures: Sequence[Path],
    camera: Camera,
    settings: LinearSettings,
    out: Path,
    progress: Progress = lambda share, text: None,
) -> BatchResult:
    """Reconstruct uploaded captures of one camera and pack all results into one zip.

    A capture that cannot be used is passed over and named.

    Raises
    ------
    UploadError
        There are too many, or none.
    ValueError
        The method does not fit the camera.
    """
    if not 1 <= len(captures) <= MAX_BATCH:
        raise UploadError(f"a batch takes 1 to {MAX_BATCH} captures, got {len(captures)}")
    pipeline = LinearPipeline(camera, settings)
    done: dict[str, float] = {}
    failed: dict[str, str] = {}
    with TemporaryDirectory() as folder:
        for number, path in enumerate(captures):
            progress(number / len(captures), f"{path.name}, {number + 1} of {len(captures)}")
            try:
                if path.name in done or path.name in failed:
                    raise UploadError(f"{path.name}: a second file of this name")
                read_capture(path)
                record = reconstruct_file(path, pipeline, Path(folder), trust_picture=True)
            except (ValueError, TypeError, OSError, ImportError) as error:
                failed[path.name] = str(error).replace(str(path), path.name)
                continue
            residual = record["solution"]["residual"]
            values = residual if isinstance(residual, list) else [residual]
            done[path.name] = sum(values) / len(values)
        if done:
            progress(1.0, "Packing")
            pack(out, Path(folder))
    return BatchResult(done, failed)


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A camera fitted to captures.

    Attributes
    ----------
    camera : Camera
        The record.
    report : str
        The page about it, HTML that asks for nothing from outside.
    problems : list of str
        What is wrong with captures that were not used.
    """

    camera: Camera
    report: str
    problems: list[str]


def calibrate(
    archive: Path,
    *,
    white_level: float,
    black_level: float = 0.0,
    bayer: BayerOrder | None = None,
    progress: Progress = lambda share, text: None,
) -> Calibrated:
    """Fit a camera to an uploaded zip of captures of calibration patterns.

    Parameters
    ----------
    archive : Path
        Captures named after their patterns, and the patterns' manifest.json.
    white_level, black_level, bayer
        As in :class:`~barelens.calibration.FrameFormat`.
    progress : callable, optional
        Told the share that is done, and what is being done.

    Raises
    ------
    UploadError, CalibrationError
        The zip cannot be read, or holds no calibration set.
    """
    if not white_level > black_level:
        raise CalibrationError(
            f"white level must be above the black level {black_level:g}, got {white_level:g}"
        )
    with TemporaryDirectory() as folder:
        progress(0.0, "Unpacking")
        unpack(archive, Path(folder))
        frame = FrameFormat(white_level, black_level, bayer)
        try:
            source = CaptureFolder(Path(folder), frame)
            total, seen = 4 * source.patterns.order, 0

            def advance() -> None:
                nonlocal seen
                seen += 1
                progress(0.9 * min(1.0, seen / total), f"Capture {min(seen, total)} of {total}")

            camera, fitted = fit_camera(source, frame, name="your camera", progress=advance)
        except (CalibrationError, OSError) as error:
            text = str(error).replace(f"{folder}/", "").replace(folder, "The zip")
            raise CalibrationError(text) from None
    progress(0.95, "Writing the report")
    return Calibrated(camera, render_report(camera), list(fitted.problems.values()))


#: The camera of the practice set: small, so that a set is a few megabytes and fits in seconds.
PRACTICE = VirtualSettings(
    order=6, sensor_size=(160, 200), scene_size=(32, 32), field_of_view_deg=5.0
)


def make_practice_set(out: Path, progress: Progress = lambda share, text: None) -> FrameFormat:
    """Write a zip of a virtual camera's calibration captures, to try :func:`calibrate` with.

    Returns
    -------
    FrameFormat
        The levels and the mosaic of its frames.
    """
    virtual = build_virtual_camera(PRACTICE)
    patterns = PatternSet(64, 64, *PRACTICE.scene_size)
    bench = VirtualBench(virtual, patterns)
    total, taken = sum(1 for _ in patterns.patterns()), 0

    def advance() -> None:
        nonlocal taken
        taken += 1
        progress(taken / total, f"Capture {taken} of {total}")

    with TemporaryDirectory() as folder:
        capture_patterns(
            patterns, bench, bench, Path(folder), frames=1, settle_frames=0, progress=advance
        )
        pack(out, Path(folder))
    sensor = virtual.sensor
    return FrameFormat(sensor.white_level_dn, sensor.black_level_dn, PRACTICE.bayer)
