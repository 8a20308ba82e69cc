"""Measuring a refiner on pairs of captures and pictures, as DifuzCam was measured."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ..imaging.metrics import psnr, ssim
from ..imaging.refine import Refiner, RefinerSettings, resize
from ..imaging.refine.difuzcam import PREPARATIONS, Pair, Preparation, square_picture

__all__ = ["PUBLISHED", "Evaluation", "Scores", "evaluate_pair", "preparation_for", "summarise"]

#: DifuzCam's results on FlatNet's data.
PUBLISHED = {"psnr_db": 20.43, "ssim": 0.612, "lpips": 0.237}

#: Both pictures are brought to this size before they are compared.
COMPARED_SIZE = (256, 256)

PerceptualDistance = Callable[..., Tensor]


@dataclass(frozen=True)
class Scores:
    """How close one picture comes to its reference.

    Attributes
    ----------
    name : str
        Of the pair.
    psnr_db, ssim : float
        On sRGB pictures of 256x256.
    lpips : float or None
        On the same, where it could be computed.
    """

    name: str
    psnr_db: float
    ssim: float
    lpips: float | None


@dataclass(frozen=True)
class Evaluation:
    """Means over all pairs.

    Attributes
    ----------
    pairs : int
        How many.
    psnr_db, ssim, lpips : float, float, float or None
        Means of each picture's.
    psnr_db_error, ssim_error, lpips_error : float, float, float or None
        Standard errors of the means; None of a single pair.
    """

    pairs: int
    psnr_db: float
    ssim: float
    lpips: float | None
    psnr_db_error: float | None
    ssim_error: float | None
    lpips_error: float | None

    def record(self) -> dict[str, Any]:
        """Give the means, and the published ones, as JSON data."""
        return {**asdict(self), "published": PUBLISHED}


def preparation_for(refiner: Refiner) -> Preparation:
    """Choose the preparation of captures that fits a model's learned transform.

    Raises
    ------
    ValueError
        The model sees no captures, or captures of another camera.
    """
    if refiner.capture_size is None:
        raise ValueError("difuzcam needs a model that sees captures through a learned transform")
    try:
        return PREPARATIONS[refiner.capture_size]
    except KeyError:
        known = " or ".join(f"{height}x{width}" for height, width in PREPARATIONS)
        height, width = refiner.capture_size
        raise ValueError(
            f"difuzcam needs a model for captures of {known}, this one takes {height}x{width}"
        ) from None


def evaluate_pair(
    pair: Pair,
    refiner: Refiner,
    settings: RefinerSettings,
    *,
    preparation: Preparation,
    dark: Tensor | None = None,
    perceptual: PerceptualDistance | None = None,
) -> Scores:
    """Refine one capture and compare the picture with its reference.

    Parameters
    ----------
    pair : Pair
        Capture and reference.
    refiner : Refiner
        A model that sees captures.
    settings : RefinerSettings
        How to sample.
    preparation : Preparation
        From raw frames to what the model takes.
    dark : Tensor, optional
        A frame without light, to take off.
    perceptual : callable, optional
        :class:`~barelens.imaging.perceptual.LPIPS`.

    Raises
    ------
    ShapeError
        The capture has another size than the camera's.
    """
    device = refiner.sample.device
    capture = preparation(pair.capture, dark)[None].to(device)
    picture = (refiner.from_capture(capture, settings) + 1) / 2
    reference = square_picture(pair.picture, picture.shape[-1])[None].to(device)
    image, reference = (
        resize(item.clamp(0, 1), COMPARED_SIZE).clamp(0, 1) for item in (picture, reference)
    )
    distance = None if perceptual is None else float(perceptual(image, reference, data_range=1.0))
    return Scores(
        name=pair.name,
        psnr_db=float(psnr(image, reference, data_range=1.0)),
        ssim=float(ssim(image, reference, data_range=1.0)),
        lpips=distance,
    )


def summarise(scores: Iterable[Scores]) -> Evaluation:
    """Average the scores.

    Raises
    ------
    ValueError
        There are none.
    """
    found = list(scores)
    if not found:
        raise ValueError("no pair could be evaluated")
    means: dict[str, Any] = {}
    for name in ("psnr_db", "ssim", "lpips"):
        values = [getattr(item, name) for item in found]
        means[name], means[f"{name}_error"] = _mean_and_error(values)
    return Evaluation(pairs=len(found), **means)


def _mean_and_error(values: list[float | None]) -> tuple[float | None, float | None]:
    known = torch.tensor([value for value in values if value is not None], dtype=torch.float64)
    if len(known) < len(values):
        return None, None
    error = float(known.std() / len(known) ** 0.5) if len(known) > 1 else None
    return float(known.mean()), error
