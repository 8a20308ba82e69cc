"""Intervals that hold what they state: calibrated on captures whose scenes are known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..imaging.files import read_image, read_raw
from ..imaging.metrics import align_gain
from ..imaging.trust import Conformal, fit_conformal_to_pictures
from .pipeline import LinearPipeline, LinearScene
from .refining import RefiningPipeline
from .trust_record import TrustReport
from .virtual_camera import fit_picture

__all__ = [
    "KnownErrors",
    "calibrate_intervals",
    "left_out_coverage",
    "measure_errors",
    "measure_refined_errors",
]


@dataclass(frozen=True, eq=False)
class KnownErrors:
    """Errors of one reconstruction whose scene is known, and those that were expected.

    Attributes
    ----------
    error : Tensor, shape (channels, height, width)
        Reconstruction less truth, once gain and offset of each colour, which no capture tells,
        are put right; in units of the truth.
    std : Tensor, shape (channels, height, width)
        Expected errors in the same units.
    """

    error: Tensor
    std: Tensor


def measure_errors(pipeline: LinearPipeline, capture: Path, picture: Path) -> KnownErrors:
    """Reconstruct a capture and compare it with a picture of its scene.

    Parameters
    ----------
    pipeline : LinearPipeline
        The camera and how to reconstruct.
    capture : Path
        A raw capture.
    picture : Path
        Its scene, sRGB, of which the centre with the scene's proportions is taken.

    Returns
    -------
    KnownErrors
        What was found.

    Raises
    ------
    FileError, CaptureError, ShapeError, ValueError
        A file cannot be used, or the reconstruction does not follow the picture.
    """
    _, scene, report = _linear(pipeline, capture)
    return _compared(scene.rgb, report.std.cpu(), capture, picture)


def measure_refined_errors(pipeline: RefiningPipeline, capture: Path, picture: Path) -> KnownErrors:
    """Refine a capture and compare the refined picture with a picture of its scene.

    Parameters
    ----------
    pipeline : RefiningPipeline
        The camera, the model, and how many samples of it to draw.
    capture, picture : Path
        As for :func:`measure_errors`.

    Returns
    -------
    KnownErrors
        What was found, at the size of the refined picture.

    Raises
    ------
    FileError, CaptureError, ShapeError, ValueError
        As from :func:`measure_errors`.
    """
    raw, scene, report = _linear(pipeline.linear, capture)
    refined = pipeline.refine(raw, scene)
    samples = pipeline.draw_samples(raw, scene, refined)
    image = refined.image[0]
    return _compared(
        image.cpu(), pipeline.trust(raw, image, report.record, samples).std, capture, picture
    )


def calibrate_intervals(
    known: Sequence[KnownErrors], *, coverage: float = 0.9, bins: int = 1, of: str = "linear"
) -> Conformal:
    """Fit intervals to pictures; see :func:`~barelens.imaging.trust.fit_conformal_to_pictures`."""
    fitted = fit_conformal_to_pictures(
        [each.error for each in known],
        [each.std for each in known],
        coverage=coverage,
        bins=bins,
    )
    return replace(fitted, of=of)


def left_out_coverage(
    known: Sequence[KnownErrors], *, coverage: float = 0.9, bins: int = 1
) -> list[float]:
    """Share of each reconstruction's errors that intervals fitted to all the others hold."""
    shares = []
    for index, each in enumerate(known):
        others = [other for place, other in enumerate(known) if place != index]
        fitted = calibrate_intervals(others, coverage=coverage, bins=bins)
        shares.append(
            float(fitted.covered(each.error, torch.zeros_like(each.error), each.std).mean())
        )
    return shares


def _linear(pipeline: LinearPipeline, capture: Path) -> tuple[Tensor, LinearScene, TrustReport]:
    raw = read_raw(capture)
    pipeline.check(raw)
    scene = pipeline(raw)
    return raw, scene, pipeline.judge(raw, scene)


def _compared(rgb: Tensor, std: Tensor, capture: Path, picture: Path) -> KnownErrors:
    light = fit_picture(read_image(picture, encoding="srgb"), (std.shape[0], std.shape[1]))
    truth = light if rgb.shape[0] == 3 else light.mean(0, keepdim=True)
    found = align_gain(rgb[:, None], truth[:, None])
    if not bool((found.gain > 0).all()):
        raise ValueError(f"{capture}: its reconstruction is nothing like {picture}")
    error = found.image[:, 0] - truth
    return KnownErrors(error, (found.gain[:, None, None] * std).expand_as(error))
