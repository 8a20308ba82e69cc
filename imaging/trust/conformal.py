"""Conformal calibration: widening or narrowing intervals until they hold what they state."""

import json
import math
import os
from dataclasses import dataclass

import torch
from torch import Tensor

from ..files import FileError, write_json
from ..shapes import ShapeError, check_floating

__all__ = ["Conformal", "fit_conformal"]

_FORMAT = "barelens.conformal"
_VERSION = 1


@dataclass(frozen=True)
class Conformal:
    """How many predicted standard deviations an interval must reach to cover what it states.

    Attributes
    ----------
    coverage : float
        Share of true values that intervals are to hold, in (0, 1).
    edges : tuple of float
        Inner borders of the bins of standard deviation, ascending; none for one bin.
    scales : tuple of float
        Half width of an interval over the standard deviation, for each bin.
    samples : int
        Values the calibration rests on.
    """

    coverage: float
    edges: tuple[float, ...]
    scales: tuple[float, ...]
    samples: int

    def half_width(self, std: Tensor) -> Tensor:
        """Half width of the intervals for standard deviations of any shape, in their units."""
        edges = torch.tensor(self.edges, dtype=std.dtype, device=std.device)
        scales = torch.tensor(self.scales, dtype=std.dtype, device=std.device)
        return scales[torch.bucketize(std, edges, right=True)] * std

    def covered(self, picture: Tensor, truth: Tensor, std: Tensor) -> Tensor:
        """Share of true values within the intervals around a picture, over its last two axes."""
        return ((picture - truth).abs() <= self.half_width(std)).double().mean((-2, -1))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the calibration as JSON."""
        record = {"format": _FORMAT, "format_version": _VERSION, **vars(self)}
        write_json(path, record)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Conformal":
        """Read a calibration.

        Raises
        ------
        FileError
            The file is no calibration, is damaged or of a newer version.
        """
        try:
            with open(path, encoding="utf-8") as file:  # noqa: PTH123 - any path-like
                record = json.load(file)
            if record.get("format") != _FORMAT or record.get("format_version") != _VERSION:
                raise ValueError("no conformal calibration that this release reads")
            return cls(
                coverage=float(record["coverage"]),
                edges=tuple(float(edge) for edge in record["edges"]),
                scales=tuple(float(scale) for scale in record["scales"]),
                samples=int(record["samples"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FileError(f"{path}: {error}") from None


def fit_conformal(
    picture: Tensor, truth: Tensor, std: Tensor, *, coverage: float = 0.9, bins: int = 1
) -> Conformal:
    """Calibrate predicted standard deviations on pictures whose truth is known.

    The scale of a bin is the quantile of ``|picture - truth| / std`` with the correction for
    finite samples, ``ceil((n + 1) coverage) / n``. New values that are exchangeable with those of
    the calibration are then covered with at least the stated probability. Samples of one picture
    are alike, so that the coverage of a single picture varies about it.

    Parameters
    ----------
    picture, truth : Tensor, of equal shapes
        Validation pictures and what they should be.
    std : Tensor, of the same shape
        Predicted standard deviation, over 0: closed form or spread of samples.
    coverage : float, optional
        Share to be covered, in (0, 1).
    bins : int, optional
        Bins of standard deviation with as many samples each, each with a scale of its own.

    Returns
    -------
    Conformal
        The calibration.

    Raises
    ------
    ShapeError, TypeError
        The arguments differ in shape, or are not floating point.
    ValueError
        The coverage or the number of bins is out of range, a standard deviation is not positive,
        or there are too few samples.

    References
    ----------
    Lei et al., "Distribution-Free Predictive Inference for Regression", JASA, 2018.
    """
    check_floating(picture, "picture")
    if not picture.shape == truth.shape == std.shape:
        raise ShapeError(
            "picture, truth and std must have one shape, "
            f"got {tuple(picture.shape)}, {tuple(truth.shape)} and {tuple(std.shape)}"
        )
    if not 0 < coverage < 1:
        raise ValueError(f"coverage must be in (0, 1), got {coverage}")
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    if not bool((std > 0).all()):
        raise ValueError(f"std must be positive, got {float(std.min())}")
    flat = std.flatten()
    order = flat.argsort()
    scores = ((picture - truth).abs().flatten() / flat)[order]
    groups = scores.tensor_split(bins)
    scales = tuple(_quantile(group, coverage) for group in groups)
    starts = torch.tensor([len(group) for group in groups]).cumsum(0)[:-1]
    return Conformal(
        coverage=coverage,
        edges=tuple(flat[order[starts]].tolist()),
        scales=scales,
        samples=len(scores),
    )


def _quantile(scores: Tensor, coverage: float) -> float:
    rank = math.ceil((len(scores) + 1) * coverage)
    if rank > len(scores):
        raise ValueError(
            f"a coverage of {coverage} needs more than {len(scores)} validation samples a bin"
        )
    return float(scores.kthvalue(rank).values)
