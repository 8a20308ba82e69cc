"""Intervals that hold what they state: calibrated on captures whose scenes are known."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..imaging.files import read_image, read_raw
from ..imaging.metrics import align_gain
from ..imaging.trust import Conformal, fit_conformal
from .pipeline import LinearPipeline
from .virtual_camera import fit_picture

__all__ = ["KnownErrors", "calibrate_intervals", "left_out_coverage", "measure_errors"]


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
    raw = read_raw(capture)
    pipeline.check(raw)
    scene = pipeline(raw)
    penalty = scene.numbers.get("penalty")
    weight = None if penalty is None else torch.tensor(penalty)
    std = pipeline.trust(raw, scene.planes, weight).std.cpu()
    light = fit_picture(read_image(picture, encoding="srgb"), (std.shape[0], std.shape[1]))
    truth = light if scene.rgb.shape[0] == 3 else light.mean(0, keepdim=True)
    found = align_gain(scene.rgb[:, None], truth[:, None])
    if not bool((found.gain > 0).all()):
        raise ValueError(f"{capture}: its reconstruction is nothing like {picture}")
    error = found.image[:, 0] - truth
    return KnownErrors(error, found.gain[:, None, None] * std)


def calibrate_intervals(
    known: Sequence[KnownErrors], *, coverage: float = 0.9, bins: int = 1
) -> Conformal:
    """Fit the scale of intervals; see :func:`~barelens.imaging.trust.fit_conformal`."""
    error, std = (_joined(getattr(each, name) for each in known) for name in ("error", "std"))
    return fit_conformal(error, torch.zeros_like(error), std, coverage=coverage, bins=bins)


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


def _joined(parts: Iterable[Tensor]) -> Tensor:
    return torch.cat([part.flatten() for part in parts])
