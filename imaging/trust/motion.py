"""What a small motion of the shadow adds to captures that no scene explains."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..prediction import measured_share
from ..solvers import SeparableFactors

__all__ = ["MotionBasis", "neighbour_overlap"]

_DIRECTIONS = 4  # kept along each axis, the strongest first
_ROUNDING = 1e-6  # of the largest gain, below which a direction is rounding


@dataclass(frozen=True, eq=False)
class MotionBasis:
    """Directions into which captures leave a camera's range when its shadow moves.

    A shadow that moves is nearly a scene that moves, so that most of the change stays within the
    range. What leaves it comes from the edges of the field and is confined to a few directions:
    looking there alone finds motions that drown in the noise of the whole capture.

    Attributes
    ----------
    factors : SeparableFactors
        The camera.
    left, right : Tensor, shape (..., sensor, directions)
        Orthonormal, orthogonal to the range; zero where there are fewer directions.
    """

    factors: SeparableFactors
    left: Tensor
    right: Tensor

    @classmethod
    def of(cls, factors: SeparableFactors) -> "MotionBasis":
        """Find the directions; two singular value decompositions."""
        return cls(
            factors,
            _leaving(factors.u_left, factors.gains[..., :, 0], factors.mean_free),
            _leaving(factors.u_right, factors.gains[..., 0, :], factors.mean_free),
        )

    def energy(
        self,
        capture: Tensor,
        noise_std: Tensor,
        prior_std: Tensor,
        neighbour_correlation: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Energy in these directions over the noise variance, its mean and its degrees of freedom.

        Along the other axis only what the camera sees well is looked at, since it is there that
        a motion shows.
        """
        factors = self.factors
        share = measured_share(factors.gains, noise_std, prior_std)
        energy = torch.zeros_like(noise_std)
        mean, dof = torch.zeros_like(noise_std), torch.zeros_like(noise_std)
        for rows, directions, modes, seen, overlaps in (
            (capture, self.left, factors.u_right, share.amax(-2) > 0.5, self._overlaps[0]),
            (capture.mT, self.right, factors.u_left, share.amax(-1) > 0.5, self._overlaps[1]),
        ):
            parts = ((directions.mT @ rows) @ modes).square() * seen[..., None, :]
            present = directions.square().sum(-2)
            energy = energy + parts.sum((-2, -1)) / noise_std.square()
            freedom = present.sum(-1) * seen.sum(-1)
            dof = dof + freedom
            if neighbour_correlation == 0:
                mean = mean + freedom
                continue
            widened = [1 + 2 * neighbour_correlation * overlap for overlap in overlaps]
            mean = mean + (present * widened[0]).sum(-1) * (seen * widened[1]).sum(-1)
        return energy, mean, dof

    @cached_property
    def _overlaps(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Of the directions down with the modes right, and the other way round."""
        return (
            (neighbour_overlap(self.left), neighbour_overlap(self.factors.u_right)),
            (neighbour_overlap(self.right), neighbour_overlap(self.factors.u_left)),
        )


def neighbour_overlap(vectors: Tensor) -> Tensor:
    """Correlation of neighbouring entries of each vector, shape (..., modes)."""
    return (vectors[..., 1:, :] * vectors[..., :-1, :]).sum(-2)


def _leaving(vectors: Tensor, gains: Tensor, mean_free: bool) -> Tensor:
    """Directions (..., sensor, directions) of the shadow's derivative outside its own range."""
    shadow = vectors * (gains / gains[..., :1])[..., None, :]
    (moved,) = torch.gradient(shadow, dim=-2)
    if mean_free:
        moved = moved - moved.mean(-2, keepdim=True)
    moved = moved - vectors @ (vectors.mT @ moved)
    directions, strength, _ = torch.linalg.svd(moved, full_matrices=False)
    kept = strength[..., :_DIRECTIONS] > _ROUNDING
    return torch.where(kept[..., None, :], directions[..., :_DIRECTIONS], 0.0).contiguous()
