"""Files of a refined picture: a capture in; linear scene, refined picture and a record out."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor

from ..imaging.display import side_by_side, to_display
from ..imaging.files import read_raw, write_json, write_png, write_tiff, write_tiff16
from ..imaging.refine import Refined, resize
from ..imaging.trust import overlay_invented
from .pipeline import LinearScene
from .pipeline_files import write_reconstruction
from .refining import RefiningPipeline

__all__ = ["refine_file", "write_refinement"]

RECORD_FORMAT = "barelens.refinement"
RECORD_VERSION = 1


def refine_file(path: Path, pipeline: RefiningPipeline, out: Path) -> dict[str, Any]:
    """Refine one file; write the linear scene, the refined picture, both together and a record.

    Besides what :func:`~barelens.app.pipeline_files.reconstruct_file` writes,
    ``NAME.refined.tif`` holds linear light, ``NAME.refined.png`` the picture for the screen,
    ``NAME.both.png`` the linear and the refined picture under one white point,
    ``NAME.refined.measured.tif`` the share of each pixel's contrast that the sensor measured,
    ``NAME.invented.png`` that as an overlay, and ``NAME.refined.json`` the record. Where several
    samples are drawn ``NAME.refined.std.tif`` holds the expected error, and where the pipeline has
    calibrated intervals ``NAME.refined.interval.tif`` half their width around each pixel.

    Parameters
    ----------
    path : Path
        A raw capture.
    pipeline : RefiningPipeline
        The camera and the model.
    out : Path
        An existing folder.

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
    levels = pipeline.linear.check(raw)
    started = time.perf_counter()
    scene = pipeline.linear(raw)
    linear_seconds = time.perf_counter() - started
    refined = pipeline.refine(raw, scene)
    samples = pipeline.draw_samples(raw, scene, refined)
    seconds = time.perf_counter() - started - linear_seconds
    target = out / path.stem
    linear_record = write_reconstruction(
        target, path.name, raw, levels, scene, pipeline.linear, seconds=linear_seconds
    )
    return write_refinement(
        target, raw, scene, refined, pipeline, linear_record, samples=samples, seconds=seconds
    )


def write_refinement(
    target: Path,
    raw: Tensor,
    scene: LinearScene,
    refined: Refined,
    pipeline: RefiningPipeline,
    linear_record: Mapping[str, Any],
    *,
    samples: Tensor | None = None,
    seconds: float,
) -> dict[str, Any]:
    """Write the part of :func:`refine_file` that comes after the linear reconstruction's files.

    Parameters
    ----------
    target : Path
        Where to write, in an existing folder, without the files' suffixes.
    raw : Tensor, shape frame_shape
        The raw frame.
    scene : LinearScene
        The linear reconstruction.
    refined : Refined
        What the model made of it.
    pipeline : RefiningPipeline
        The camera and the model.
    linear_record : mapping
        The record of the linear reconstruction. Without measures of trust there are none of the
        refined picture either.
    samples : Tensor, shape (samples, 3, height, width), optional
        What :meth:`~barelens.app.refining.RefiningPipeline.draw_samples` drew.
    seconds : float
        How long refining took.

    Returns
    -------
    dict
        The record.
    """
    out, stem = target.parent, target.name
    linear_trust, prompt = linear_record.get("trust"), None
    if linear_trust and refined.settings.prompt:
        refined, prompt = pipeline.audit_prompt(raw, scene, refined, linear_trust)
    image, white = refined.image[0].cpu(), float(refined.white[0])
    names = {
        "refined": f"{stem}.refined.tif",
        "picture": f"{stem}.refined.png",
        "both": f"{stem}.both.png",
        "linear": f"{stem}.linear.json",
    }
    picture, display = to_display(image, white=white)
    grown = resize(refined.linear, (image.shape[-2], image.shape[-1]))[0].cpu()
    linear_picture, _ = to_display(grown, white=white)
    lowest, highest = float(image.min()), float(image.max())
    write_tiff16(out / names["refined"], image, black=min(lowest, 0.0), white=max(highest, white))
    write_png(out / names["picture"], picture)
    write_png(out / names["both"], side_by_side([linear_picture, picture], ["linear", "refined"]))
    trust = None
    if linear_trust:
        report = pipeline.trust(raw, image, linear_trust, samples)
        trust = report.record
        if samples is not None:
            names["std"] = f"{stem}.refined.std.tif"
            write_tiff(out / names["std"], report.std)
        if report.half_width is not None:
            names["interval"] = f"{stem}.refined.interval.tif"
            write_tiff(out / names["interval"], report.half_width)
        names["measured"] = f"{stem}.refined.measured.tif"
        names["invented"] = f"{stem}.invented.png"
        write_tiff(out / names["measured"], report.measured_share)
        write_png(out / names["invented"], overlay_invented(picture, report.measured_share))
    record = {
        "format": RECORD_FORMAT,
        "format_version": RECORD_VERSION,
        "capture": linear_record["capture"],
        "files": names,
        "camera": linear_record["camera"],
        "model": pipeline.model_record,
        "settings": asdict(refined.settings),
        "annotator": pipeline.annotator and asdict(pipeline.annotator),
        "white": white,
        "residual": {
            "linear": refined.linear_residual[0].tolist(),
            "imagined": refined.imagined_residual[0].tolist(),
            "refined": refined.residual[0].tolist(),
        },
        **({"trust": trust} if trust else {}),
        **({"prompt": prompt} if prompt else {}),
        "display": display.record(),
        "seconds": seconds,
        "versions": {**linear_record["versions"], "diffusers": version("diffusers")},
    }
    write_json(out / f"{stem}.refined.json", record)
    return record
