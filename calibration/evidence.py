r"""How well a pair of transfer matrices accounts for a capture of an unknown scene.

Scenes are taken as Gaussian with neighbours correlated as in photographs,
:math:`\rho^{|j - j'|}` along both axes. The probability of the capture is then known in closed
form, with the noise and the scene's overall size already at their best. What such a scene cannot
hold are edges of the field that have moved: they tell a shift of the shadow from one of the scene.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..imaging import MeanRemoval

__all__ = ["ScenePrior", "SideModes", "choose_prior", "doubt", "side_modes"]

_CORRELATIONS = (0.5, 0.8, 0.9, 0.95, 0.98)
_NOISE_RATIOS = tuple(10.0**-exponent for exponent in range(2, 9))


@dataclass(frozen=True)
class ScenePrior:
    """What is taken for granted of scene and noise.

    Attributes
    ----------
    correlation : float
        Of neighbouring scene samples.
    noise_ratio : float
        Variance of noise over that of the strongest component of the capture.
    """

    correlation: float
    noise_ratio: float


@dataclass(frozen=True, eq=False)
class SideModes:
    """Components of one side: vectors (..., sensor, modes) and gains (..., modes)."""

    vectors: Tensor
    gains: Tensor


def side_modes(phi: Tensor, correlation: float) -> SideModes:
    """Decompose a matrix (..., sensor, scene) that acts on scenes with correlated neighbours."""
    index = torch.arange(phi.shape[-1], dtype=phi.dtype)
    covariance = correlation ** (index[:, None] - index).abs()
    centred = phi - phi.mean(-2, keepdim=True)
    vectors, gains, _ = torch.linalg.svd(
        centred @ torch.linalg.cholesky(covariance), full_matrices=False
    )
    return SideModes(vectors, gains)


def doubt(left: SideModes, right: SideModes, planes: Tensor, noise_ratio: float) -> float:
    """Twice the negative log of the probability of planes (planes, height, width), but a constant.

    The planes have no row and column means.
    """
    height, width = planes.shape[-2:]
    squares = (left.gains[..., :, None] * right.gains[..., None, :]).square()
    floor = noise_ratio * squares.amax((-2, -1), keepdim=True)
    rejected = floor / (squares + floor)
    seen = (left.vectors.mT @ planes @ right.vectors).square()
    energy = planes.square().sum((-2, -1)) - ((1 - rejected) * seen).sum((-2, -1))
    determinant = -rejected.log().sum((-2, -1))
    return float(((height - 1) * (width - 1) * energy.log() + determinant).sum())


def choose_prior(phi_left: Tensor, phi_right: Tensor, planes: Tensor) -> ScenePrior:
    """Choose the prior under which planes are most probable."""
    best = (float("inf"), ScenePrior(_CORRELATIONS[0], _NOISE_RATIOS[0]))
    planes = MeanRemoval(tuple(planes.shape)).forward(planes)
    for correlation in _CORRELATIONS:
        left, right = side_modes(phi_left, correlation), side_modes(phi_right, correlation)
        for noise_ratio in _NOISE_RATIOS:
            value = doubt(left, right, planes, noise_ratio)
            best = min(best, (value, ScenePrior(correlation, noise_ratio)), key=lambda b: b[0])
    return best[1]
