r"""Automatic choice of the Tikhonov penalty, from the capture alone.

With the capture's coefficients :math:`c`, the gains :math:`s` and the filter
:math:`f = s^2 / (s^2 + \lambda)`, the squared residual is :math:`\sum ((1 - f) c)^2` plus the
energy that no scene can produce. Every rule below needs those two numbers and :math:`\sum f`, so a
whole search costs less than a reconstruction by an iterative solver.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Gains", "PenaltyRule", "SpectralCapture", "choose_penalty", "inverse_filter"]

PenaltyRule = Literal["gcv", "sure", "discrepancy"]

_DECADES = 10  # search from the largest squared gain this many decades down
_GOLDEN = (5**0.5 - 1) / 2
_STEPS = 3 * (_DECADES + 1)  # of the coarse search


def inverse_filter(gains: Tensor, penalty: Tensor) -> Tensor:
    """Give Tikhonov's filter, from a capture's coefficients to a scene's; penalties (...)."""
    return gains / (gains.square() + penalty[..., None, None])


class Gains:
    """What all captures of a camera share, computed once.

    Parameters
    ----------
    values : Tensor, shape (..., modes_left, modes_right)
        Gains of the camera.
    """

    def __init__(self, values: Tensor) -> None:
        self.squares = values.square()
        self.modes = (values > 0).sum((-2, -1))
        self.largest = values.amax((-2, -1)).square()

    def effective_parameters(self, penalty: Tensor) -> Tensor:
        """Trace of the influence matrix for penalties of shape (...)."""
        return (self.squares / (self.squares + penalty[..., None, None])).sum((-2, -1))

    def log_range(self) -> tuple[Tensor, Tensor]:
        """Natural logarithms of the smallest and largest penalty searched, shape (...)."""
        largest = self.largest.log()
        return largest - _DECADES * 2.302585, largest + 2.302585

    @cached_property
    def coarse(self) -> list[tuple[Tensor, Tensor]]:
        """Penalties of the coarse search with their effective parameters, shape (...) each."""
        low, high = self.log_range()
        width = (high - low) / _STEPS
        penalties = [(low + k * width).exp() for k in range(_STEPS + 1)]
        return [(penalty, self.effective_parameters(penalty)) for penalty in penalties]


@dataclass(frozen=True, eq=False)
class SpectralCapture:
    """A capture in the singular vectors of its camera.

    Attributes
    ----------
    coefficients : Tensor, shape (..., modes_left, modes_right)
        The capture's coefficients.
    unreachable : Tensor, shape (...)
        Energy outside the camera's range.
    dof : int
        Independent samples in the capture.
    camera : Gains
        What depends on the gains alone.
    """

    coefficients: Tensor
    unreachable: Tensor
    dof: int
    camera: Gains

    def item(self, index: int) -> "SpectralCapture":
        """One capture of a batch."""
        return replace(
            self, coefficients=self.coefficients[index], unreachable=self.unreachable[index]
        )

    def residual_energy(self, penalty: Tensor) -> Tensor:
        """Squared residual of the Tikhonov solution for penalties of shape (...)."""
        weight = penalty[..., None, None]
        rejected = weight / (self.camera.squares + weight)
        return (rejected * self.coefficients).square_().sum((-2, -1)) + self.unreachable

    def effective_parameters(self, penalty: Tensor) -> Tensor:
        """Trace of the influence matrix: how many parameters the solution really fits."""
        return self.camera.effective_parameters(penalty)

    def noise_variance(self) -> Tensor:
        """Variance a sample, from the energy outside the camera's range, shape (...).

        Raises
        ------
        ValueError
            The camera has as many modes as the capture has samples, so nothing is left over to
            estimate from.
        """
        modes = self.camera.modes
        if bool((modes >= self.dof).any()):
            raise ValueError(
                f"noise_std cannot be estimated from a capture of {self.dof} samples behind a "
                f"camera of {int(modes.max())} modes; pass noise_std"
            )
        return self.unreachable / (self.dof - modes)


def choose_penalty(
    capture: SpectralCapture, rule: PenaltyRule, *, noise_std: float | Tensor | None = None
) -> Tensor:
    """Choose one penalty for each item and channel.

    Parameters
    ----------
    capture : SpectralCapture
        Coefficients of shape (..., modes_left, modes_right).
    rule : {"gcv", "sure", "discrepancy"}
        Generalised cross-validation (Golub, Heath & Wahba 1979) needs no noise level. Stein's
        unbiased risk estimate (Stein 1981) minimises the expected error of the predicted capture;
        the discrepancy principle (Morozov 1966) makes the residual as large as the noise.
    noise_std : float or Tensor, shape (...), optional
        Standard deviation of the capture's noise for the last two rules; estimated from the
        energy outside the camera's range by default, which counts model error as noise.

    Returns
    -------
    Tensor, shape (...)
        Penalties in squared units of the gains.

    Raises
    ------
    ValueError
        The rule is unknown, or the noise level is missing and cannot be estimated.
    """
    if rule == "gcv":
        return _minimise(partial(_gcv, capture), capture)
    if rule not in ("sure", "discrepancy"):
        raise ValueError(f"unknown penalty rule {rule!r}; choose gcv, sure or discrepancy")
    if noise_std is None:
        variance = capture.noise_variance()
    else:
        like = capture.unreachable
        variance = torch.as_tensor(noise_std, dtype=like.dtype, device=like.device).square()
        variance = variance.expand_as(like)
    if rule == "sure":
        return _minimise(partial(_sure, capture, variance), capture)
    return _discrepancy(capture, variance)


def _gcv(capture: SpectralCapture, penalty: Tensor, parameters: Tensor) -> Tensor:
    return capture.residual_energy(penalty) / (capture.dof - parameters).square()


def _sure(
    capture: SpectralCapture, variance: Tensor, penalty: Tensor, parameters: Tensor
) -> Tensor:
    return capture.residual_energy(penalty) + 2 * variance * parameters


def _log_range(capture: SpectralCapture) -> tuple[Tensor, Tensor]:
    low, high = capture.camera.log_range()
    return low.expand_as(capture.unreachable), high.expand_as(capture.unreachable)


def _minimise(criterion: Callable[[Tensor, Tensor], Tensor], capture: SpectralCapture) -> Tensor:
    """Minimise over log-penalty, item by item: a coarse grid, then golden-section search."""
    low, high = _log_range(capture)
    width = (high - low) / _STEPS
    values = torch.stack([criterion(*step) for step in capture.camera.coarse])
    best = low + values.argmin(0) * width

    def at(logarithm: Tensor) -> Tensor:
        penalty = logarithm.exp()
        return criterion(penalty, capture.effective_parameters(penalty))

    low, high = best - width, best + width
    for _ in range(12):
        first, second = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        left = at(first) < at(second)
        low, high = torch.where(left, low, first), torch.where(left, second, high)
    return ((low + high) / 2).exp()


def _discrepancy(capture: SpectralCapture, variance: Tensor) -> Tensor:
    """Bisect for the penalty whose residual energy equals the noise energy."""
    low, high = _log_range(capture)
    wanted = capture.dof * variance
    for _ in range(30):
        middle = (low + high) / 2
        too_small = capture.residual_energy(middle.exp()) < wanted
        low, high = torch.where(too_small, middle, low), torch.where(too_small, high, middle)
    return ((low + high) / 2).exp()
