"""Files of a linear reconstruction: a capture in; the scene, its picture and a record out."""

import platform
import time
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..imaging.capture_checks import CaptureLevels
from ..imaging.display import to_display
from ..imaging.files import read_raw, write_json, write_png, write_tiff, write_tiff16
from .pipeline import LinearPipeline, LinearScene
from .trust_picture import draw_trust

__all__ = ["reconstruct_file", "write_reconstruction"]

RECORD_FORMAT = "barelens.reconstruction"
RECORD_VERSION = 1


def reconstruct_file(
    path: Path, pipeline: LinearPipeline, out: Path, *, trust_picture: bool = False
) -> dict[str, Any]:
    """Reconstruct one file and write its scene, its picture and its record.

    ``NAME.linear.tif`` holds linear light in 16 bits with its scale in the description,
    ``NAME.linear.png`` a picture for the screen, ``NAME.linear.json`` the record. Each is written
    complete or not at all, the record last. Where the pipeline has calibrated intervals,
    ``NAME.linear.interval.tif`` holds half their width around each sample.

    Parameters
    ----------
    path : Path
        A raw capture.
    pipeline : LinearPipeline
        The camera and how to reconstruct.
    out : Path
        An existing folder.
    trust_picture : bool, optional
        Whether to write ``NAME.trust.png`` as well: what was measured, and how far it may be off;
        and ``NAME.linear.measured.tif``, the share of each pixel's contrast that was measured.

    Returns
    -------
    dict
        The record.

    Raises
    ------
    FileError, CaptureError, ShapeError
        The capture cannot be read or used.
    """
    raw = read_raw(path)
    levels = pipeline.check(raw)
    started = time.perf_counter()
    scene = pipeline(raw)
    seconds = time.perf_counter() - started
    return write_reconstruction(
        out / path.stem,
        path.name,
        raw,
        levels,
        scene,
        pipeline,
        seconds=seconds,
        trust_picture=trust_picture,
    )


def write_reconstruction(
    target: Path,
    capture: str,
    raw: Tensor,
    levels: CaptureLevels,
    scene: LinearScene,
    pipeline: LinearPipeline,
    *,
    seconds: float,
    preview: bool = True,
    trust: bool = True,
    trust_picture: bool = False,
) -> dict[str, Any]:
    """Write what :func:`reconstruct_file` writes of a capture that is reconstructed already.

    Parameters
    ----------
    target : Path
        Where to write, in an existing folder, without the files' suffixes.
    capture : str
        What the record calls the capture.
    raw : Tensor, shape frame_shape
        The raw frame.
    levels : CaptureLevels
        Its counts.
    scene : LinearScene
        What was reconstructed from it.
    pipeline : LinearPipeline
        By what.
    seconds : float
        How long the reconstruction took.
    preview : bool, optional
        Whether to write the picture for the screen, which takes longer than all other files; one
        that is there from before is removed otherwise.
    trust : bool, optional
        Whether to say in the record how far the scene can be trusted, which takes longer than
        reconstructing it.
    trust_picture : bool, optional
        Whether to draw that as well; needs ``trust`` and ``preview``.

    Returns
    -------
    dict
        The record.
    """
    out, stem = target.parent, target.name
    lowest, highest = (float(value) for value in scene.rgb.aminmax())
    names, display = {"linear": f"{stem}.linear.tif"}, {}
    picture_path = out / f"{stem}.linear.png"
    write_tiff16(out / names["linear"], scene.rgb, black=min(lowest, 0.0), white=highest)
    if preview:
        names["picture"] = picture_path.name
        picture, shown = to_display(scene.rgb)
        write_png(picture_path, picture)
        display = {"display": shown.record()}
    else:
        picture_path.unlink(missing_ok=True)
    report = None
    if trust:
        report = pipeline.judge(raw, scene)
        if report.half_width is not None:
            names["interval"] = f"{stem}.linear.interval.tif"
            write_tiff(out / names["interval"], report.half_width.float().cpu())
        if trust_picture:
            names["trust"] = f"{stem}.trust.png"
            write_png(out / names["trust"], draw_trust(picture, report))
            names["measured"] = f"{stem}.linear.measured.tif"
            write_tiff(out / names["measured"], report.measured_share.float().cpu())
    record = {
        "format": RECORD_FORMAT,
        "format_version": RECORD_VERSION,
        "capture": capture,
        "files": names,
        "camera": pipeline.camera_record,
        "settings": pipeline.settings_record,
        "levels": asdict(levels),
        "solution": scene.numbers,
        **({"trust": report.record} if report else {}),
        **display,
        "seconds": seconds,
        "versions": _versions(pipeline.device),
    }
    write_json(out / f"{stem}.linear.json", record)
    return record


_version = cache(version)  # which reads files


def _versions(device: torch.device) -> dict[str, str]:
    return {
        "barelens": _version("barelens"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": str(device),
    }
