"""Both profiles of a mask from captures of known scenes, by alternating least squares.

A capture is linear in the left profile while the right one is held, and the other way round. The
light of each picture is known up to a gain and an offset of each colour, which are fitted as well.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .shadow import ShadowBasis

__all__ = ["Evidence", "ProfileFit", "fit_gains", "fit_profiles", "profile_spread"]

_SETTLED = 1e-5  # relative fall of the misfit in one round that ends the rounds


@dataclass(frozen=True, eq=False)
class Evidence:
    """Captures and the scenes that they show.

    Attributes
    ----------
    captures : Tensor, shape (pairs, planes, sensor_height, sensor_width)
        Free of row and column means, float64.
    scenes : Tensor, shape (pairs, planes, scene_height, scene_width)
        Light up to a gain and an offset, float64, of zero mean.
    """

    captures: Tensor
    scenes: Tensor

    def __len__(self) -> int:
        return self.captures.shape[0]

    def pick(self, pairs: list[int]) -> "Evidence":
        """Keep some of the pairs."""
        return Evidence(self.captures[pairs], self.scenes[pairs])


@dataclass(frozen=True, eq=False)
class ProfileFit:
    """Profiles of both sides and how they explain their captures.

    Attributes
    ----------
    left, right : Tensor, shape (coefficients,)
        Spline coefficients.
    phi_left, phi_right : Tensor, shape (planes, sensor, scene)
        Their matrices.
    gains, offsets : Tensor, shape (pairs, planes)
        Of each scene: light is ``gain * scene + offset``.
    misfit : float
        Share of the captures' energy that is left unexplained.
    """

    left: Tensor
    right: Tensor
    phi_left: Tensor
    phi_right: Tensor
    gains: Tensor
    offsets: Tensor
    misfit: float


def fit_profiles(
    evidence: Evidence,
    left: ShadowBasis,
    right: ShadowBasis,
    right_start: Tensor,
    *,
    ridge: float,
    rounds: int,
) -> ProfileFit:
    """Alternate between both sides until the misfit settles.

    Parameters
    ----------
    evidence : Evidence
        The pairs.
    left, right : ShadowBasis
        Where both shadows can be.
    right_start : Tensor, shape (right.size,)
        A first idea of the right profile.
    ridge : float
        Pull of the coefficients to zero, relative to the mean diagonal of one plane's normal
        equations.
    rounds : int
        Most rounds.
    """
    scenes = evidence.scenes
    right_profile, phi_right = right_start, right.matrix(right_start)
    gains = scenes.new_ones(scenes.shape[:2])
    offsets = torch.zeros_like(gains)
    misfit = float("inf")
    for _ in range(rounds):
        light = gains[..., None, None] * scenes + offsets[..., None, None]
        left_profile = _solve(left, light @ phi_right.mT, evidence.captures, ridge)
        phi_left = left.matrix(left_profile)
        through_left = (phi_left @ light).mT
        right_profile = _solve(right, through_left, evidence.captures.mT, ridge)
        phi_right = right.matrix(right_profile)
        gains, offsets, after = fit_gains(evidence, phi_left, phi_right)
        # The profiles keep the overall size, so that gains are 1 on average.
        size = gains.mean()
        balance = (size.abs() * phi_right.norm() / phi_left.norm()).sqrt()
        left_profile, phi_left = left_profile * balance, phi_left * balance
        right_profile, phi_right = (part * size / balance for part in (right_profile, phi_right))
        gains, offsets = gains / size, offsets / size
        settled = misfit - after < _SETTLED * after
        misfit = after
        if settled:
            break
    return ProfileFit(left_profile, right_profile, phi_left, phi_right, gains, offsets, misfit)


def fit_gains(
    evidence: Evidence, phi_left: Tensor, phi_right: Tensor
) -> tuple[Tensor, Tensor, float]:
    """Fit gain and offset of every scene (pairs, planes); also the share left unexplained."""
    captures = evidence.captures
    seen = phi_left @ evidence.scenes @ phi_right.mT
    flat = (phi_left.sum(-1)[..., None] * phi_right.sum(-1)[..., None, :]).expand_as(seen)

    def inner(one: Tensor, other: Tensor) -> Tensor:
        return (one * other).sum((-2, -1))

    cross = inner(seen, flat)
    rows = [[inner(seen, seen), cross], [cross, inner(flat, flat)]]
    normal = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
    tiny = 1e-12 * normal.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    normal = normal + tiny * torch.eye(2, dtype=normal.dtype)
    right_side = torch.stack([inner(seen, captures), inner(flat, captures)], dim=-1)
    found = torch.linalg.solve(normal, right_side)
    explained = (found * right_side).sum()
    misfit = float(1 - explained / captures.square().sum())
    return found[..., 0], found[..., 1], misfit


def profile_spread(
    evidence: Evidence, fit: ProfileFit, left: ShadowBasis, right: ShadowBasis, ridge: float
) -> tuple[Tensor, Tensor]:
    """Give the standard deviation of both matrices, each while the other side is held."""
    captures = evidence.captures
    unexplained = fit.misfit * captures.square().sum()
    variance = unexplained / (captures.numel() - left.size - right.size)
    light = fit.gains[..., None, None] * evidence.scenes + fit.offsets[..., None, None]
    stds = []
    for basis, seen, shown in (
        (left, captures, light @ fit.phi_right.mT),
        (right, captures.mT, (fit.phi_left @ light).mT),
    ):
        normal, _ = _equations(basis, shown, seen, ridge)
        covariance = variance * torch.cholesky_inverse(torch.linalg.cholesky(normal))
        stds.append(basis.spread(covariance))
    return stds[0], stds[1]


def _solve(basis: ShadowBasis, light: Tensor, captures: Tensor, ridge: float) -> Tensor:
    """Profile of one side from light (pairs, planes, scene, other) and captures."""
    normal, right_side = _equations(basis, light, captures, ridge)
    return torch.cholesky_solve(right_side[:, None], torch.linalg.cholesky(normal))[:, 0]


def _equations(
    basis: ShadowBasis, light: Tensor, captures: Tensor, ridge: float
) -> tuple[Tensor, Tensor]:
    """Regularised normal equations of one side."""
    gram = (light @ light.mT).sum(0)
    cross = (light @ captures.mT).sum(0)
    normal, right_side = basis.equations(gram, cross)
    normal.diagonal().add_(ridge * normal.diagonal().mean() / (light.shape[0] * light.shape[1]))
    return normal, right_side
