"""From a raw capture to a refined picture beside the linear scene, and a record of both."""

import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..calibration import Camera
from ..imaging import SeparableFactors, SeparableOperator
from ..imaging.display import side_by_side, to_display
from ..imaging.files import read_raw, write_json, write_png, write_tiff16
from ..imaging.refine import (
    Control,
    Measurement,
    Refined,
    Refiner,
    RefinerSettings,
    annotate,
    load_controlnet,
    resize,
)
from .pipeline import LinearPipeline, LinearScene, LinearSettings
from .pipeline_files import write_reconstruction

__all__ = ["AnnotatorSettings", "RefiningPipeline", "refine_file", "write_refinement"]

RECORD_FORMAT = "barelens.refinement"
RECORD_VERSION = 1


@dataclass(frozen=True)
class AnnotatorSettings:
    """A second ControlNet that is shown an annotation of the linear reconstruction.

    Attributes
    ----------
    name : {"canny", "lineart", "openpose"}
        What to find in it.
    model : str
        Folder or hub id of the ControlNet.
    scale : float
        Factor of what it adds.
    weights : str or None
        Folder or hub id of the annotator's own weights.
    """

    name: str
    model: str
    scale: float = 1.0
    weights: str | None = None


class RefiningPipeline:
    """Refine raw captures of one separable camera.

    Parameters
    ----------
    camera : Camera
        The camera of all captures.
    refiner : Refiner
        The model.
    settings : RefinerSettings, optional
        How to refine; what the model recommends by default.
    linear_settings : LinearSettings, optional
        How to reconstruct what is refined; the method must be Tikhonov's.
    annotator : AnnotatorSettings, optional
        A second ControlNet.

    Raises
    ------
    ValueError
        The camera is not separable, or the method another.
    """

    def __init__(
        self,
        camera: Camera,
        refiner: Refiner,
        settings: RefinerSettings | None = None,
        *,
        linear_settings: LinearSettings | None = None,
        annotator: AnnotatorSettings | None = None,
    ) -> None:
        self.refiner = refiner
        self.settings = settings or refiner.settings
        self.annotator = annotator
        self.linear = LinearPipeline(camera, linear_settings, device=refiner.sample.device)
        operator = self.linear.operator
        if not isinstance(operator, SeparableOperator) or self.linear.method != "tikhonov":
            raise ValueError(
                "refining needs Tikhonov's reconstruction of a separable camera, got "
                f"{self.linear.method} for {camera.name!r}, a {camera.kind} camera"
            )
        self._factors = SeparableFactors.of(operator)
        self._second_controlnet = None
        if annotator is not None:
            self._second_controlnet = load_controlnet(
                annotator.model,
                dtype=next(refiner.parts.unet.parameters()).dtype,
                device=refiner.sample.device,
            )

    def __call__(self, raw: Tensor) -> tuple[LinearScene, Refined]:
        """Refine one raw frame of the camera's frame_shape."""
        scene = self.linear(raw)
        return scene, self.refine(raw, scene)

    def refine(self, raw: Tensor, scene: LinearScene) -> Refined:
        """Refine what was reconstructed from a raw frame."""
        measurement = self.measure(raw, scene)
        linear = scene.rgb[None].to(self.refiner.sample.device)
        return self.refiner(linear, measurement, self.settings, controls=self._controls(linear))

    @property
    def model_record(self) -> dict[str, Any]:
        """What tells the model apart from others, as JSON data."""
        parts = self.refiner.parts
        return {**asdict(parts.record), "dtype": str(next(parts.unet.parameters()).dtype)}

    def measure(self, raw: Tensor, scene: LinearScene) -> Measurement:
        r"""Say what a frame measured: its capture, and the noise and prior of its penalty.

        A penalty :math:`\lambda` stands for the prior :math:`\tau = \sigma / \sqrt\lambda`.
        """
        camera, device = self.linear.camera, self.refiner.sample.device
        noise, penalty = scene.numbers["noise_std"], scene.numbers["penalty"]
        if None in noise:
            raise ValueError("the capture's noise cannot be estimated: the camera loses nothing")
        noise_std = torch.tensor([noise], device=device)
        return Measurement(
            capture=camera.prepare(raw)[None].to(device),
            factors=self._factors,
            noise_std=noise_std,
            prior_std=noise_std / torch.tensor([penalty], device=device).sqrt(),
            colour_matrix=camera.colour_matrix,
        )

    def _controls(self, linear: Tensor) -> list[Control]:
        if self.annotator is None:
            return []
        size = self.refiner.picture_size((linear.shape[-2], linear.shape[-1]), self.settings)
        picture, _ = to_display(resize(linear, size))
        annotation = annotate(self.annotator.name, picture, weights=self.annotator.weights)
        return [Control(self._second_controlnet, annotation, self.annotator.scale)]


def refine_file(path: Path, pipeline: RefiningPipeline, out: Path) -> dict[str, Any]:
    """Refine one file; write the linear scene, the refined picture, both together and a record.

    Besides what :func:`~barelens.app.pipeline_files.reconstruct_file` writes,
    ``NAME.refined.tif`` holds linear light, ``NAME.refined.png`` the picture for the screen,
    ``NAME.both.png`` the linear and the refined picture under one white point, and
    ``NAME.refined.json`` the record.

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
    seconds = time.perf_counter() - started - linear_seconds
    target = out / path.stem
    linear_record = write_reconstruction(
        target, path.name, raw, levels, scene, pipeline.linear, seconds=linear_seconds
    )
    return write_refinement(target, refined, pipeline, linear_record, seconds=seconds)


def write_refinement(
    target: Path,
    refined: Refined,
    pipeline: RefiningPipeline,
    linear_record: dict[str, Any],
    *,
    seconds: float,
) -> dict[str, Any]:
    """Write the part of :func:`refine_file` that comes after the linear reconstruction's files.

    Parameters
    ----------
    target : Path
        Where to write, in an existing folder, without the files' suffixes.
    refined : Refined
        What the model made of it.
    pipeline : RefiningPipeline
        The camera and the model.
    linear_record : dict
        The record of the linear reconstruction.
    seconds : float
        How long refining took.

    Returns
    -------
    dict
        The record.
    """
    out, stem = target.parent, target.name
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
        "display": display.record(),
        "seconds": seconds,
        "versions": {**linear_record["versions"], "diffusers": version("diffusers")},
    }
    write_json(out / f"{stem}.refined.json", record)
    return record
