"""Conformal calibration: widening or narrowing intervals until they hold what they state."""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from ..files import FileError, write_json
from ..shapes import ShapeError, check_floating

__all__ = ["Conformal", "fit_conformal", "fit_conformal_to_pictures"]

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
    of : {"linear", "refined"}
        The pictures it was fitted to; it says nothing of the others.
    """

    coverage: float
    edges: tuple[float, ...]
    scales: tuple[float, ...]
    samples: int
    of: str = "linear"

    def checked(self, of: str) -> "Conformal":
        """Give the calibration itself if it was fitted to such pictures.

        Raises
        ------
        ValueError
            It was fitted to others.
        """
        if self.of != of:
            raise ValueError(f"intervals were calibrated on {self.of} pictures, not {of} ones")
        return self

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
        record = {"format": _FORMAT, "format_version": _VERSION, **asdict(self)}
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
                of=str(record["of"]),
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


def fit_conformal_to_pictures(
    errors: Sequence[Tensor], stds: Sequence[Tensor], *, coverage: float = 0.9, bins: int = 1
) -> Conformal:
    """Calibrate predicted standard deviations so that a new picture is covered as stated.

    Errors within a picture are alike, so that a few pictures calibrate too narrow intervals: the
    values of a new one are not exchangeable with theirs. Each picture here is therefore met once by
    intervals that were fitted to all others, and what it takes to cover these pictures on average
    widens the intervals of all. From one picture nothing of this can be learnt.

    Parameters
    ----------
    errors : sequence of Tensor
        Error of each picture, of any shapes.
    stds : sequence of Tensor, of the same shapes
        Predicted standard deviations, over 0.
    coverage, bins
        As for :func:`fit_conformal`.

    Returns
    -------
    Conformal
        The calibration.

    Raises
    ------
    ShapeError, TypeError, ValueError
        As from :func:`fit_conformal`; or there is no picture, or not a ``std`` for each.

    References
    ----------
    Barber et al., "Predictive Inference with the Jackknife+", Annals of Statistics, 2021; Dunn,
    Wasserman and Ramdas, "Distribution-Free Prediction Sets for Two-Layer Hierarchical Models",
    JASA, 2023.
    """
    if not errors or len(errors) != len(stds):
        raise ValueError(
            f"errors and stds must hold one or more of each, got {len(errors)} and {len(stds)}"
        )

    def fitted(pictures: Sequence[int]) -> Conformal:
        error, std = (torch.cat([each[k].flatten() for k in pictures]) for each in (errors, stds))
        return fit_conformal(error, torch.zeros_like(error), std, coverage=coverage, bins=bins)

    everyone = range(len(errors))
    whole = fitted(everyone)
    if len(errors) == 1:
        return whole
    missed = [
        errors[k].abs() / fitted([other for other in everyone if other != k]).half_width(stds[k])
        for k in everyone
    ]
    wider = max(1.0, _mean_quantile(missed, coverage))
    return replace(whole, scales=tuple(wider * scale for scale in whole.scales))


def _mean_quantile(pictures: Sequence[Tensor], share: float) -> float:
    """Find what is not exceeded by a share of values, each picture counted alike."""
    values = torch.cat([each.flatten() for each in pictures])
    weights = torch.cat(
        [torch.full((each.numel(),), 1 / each.numel(), dtype=torch.float64) for each in pictures]
    )
    values, order = values.sort()
    reached = weights[order.cpu()].cumsum(0) / len(pictures)
    return float(values[min(int(torch.searchsorted(reached, share)), len(values) - 1)])


def _quantile(scores: Tensor, coverage: float) -> float:
    rank = math.ceil((len(scores) + 1) * coverage)
    if rank > len(scores):
        raise ValueError(
            f"a coverage of {coverage} needs more than {len(scores)} validation samples a bin"
        )
    return float(scores.kthvalue(rank).values)
