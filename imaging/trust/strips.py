"""What a fit leaves of captures in strips of three columns, where neighbours are compared."""

from functools import cached_property

import torch
from torch import Tensor

from ..solvers import SeparableFactors
from .motion import neighbour_overlap
from .noise import noise_of_differences, second_difference

__all__ = ["Strips"]


class Strips:
    """Strips of three columns, a sixth to a quarter of the sensor, which is enough at less cost.

    A strip's columns stand side by side with those of all others: shape (..., height, 3 * strips),
    first columns first.

    Parameters
    ----------
    factors : SeparableFactors
        The camera.
    """

    def __init__(self, factors: SeparableFactors) -> None:
        self._factors = factors
        width = factors.capture_shape[-1]
        self._step = max(12, min(18, width // 26))
        self.count = len(range(0, width - 2, self._step))

    def of(self, capture: Tensor, *, centred: bool = False) -> Tensor:
        """Cut strips out of captures (..., *capture_shape), without means of a mean-free camera.

        ``centred`` says that captures have none.
        """
        strips = self.cut(capture)
        if self._factors.mean_free and not centred:
            strips.sub_(capture.mean(-1, keepdim=True))
            strips.sub_(strips.mean(-2, keepdim=True))
        return strips

    def cut(self, image: Tensor) -> Tensor:
        """Cut strips out as they are, whatever the image's height."""
        end = (self.count - 1) * self._step + 1
        return torch.cat([image[..., k : k + end : self._step] for k in range(3)], dim=-1)

    def left(self, strips: Tensor, fitted: Tensor) -> Tensor:
        """Give what fitted coefficients leave of strips."""
        return strips - self._factors.u_left @ (fitted @ self._across)

    def noise_std(self, left: Tensor, rejected: Tensor, known: float) -> Tensor:
        """Noise from second differences of what a fit left, which takes smooth noise, shape (...).

        ``rejected`` is the share of each coefficient that was not fitted, ``known`` the
        correlation of neighbours' noise.
        """
        first, second, third = left.chunk(3, dim=-1)
        differences = second_difference(first - 2 * second + third).abs()
        kept = 1 - ((1 - rejected.square()) * self._roughness).sum((-2, -1))
        return noise_of_differences(differences.flatten(-2), known) / kept.sqrt()

    def structure(
        self, left: Tensor, rejected: Tensor, expected: Tensor, misfit: Tensor, known: float
    ) -> Tensor:
        """Largest correlation of neighbours, down or right, in standard deviations.

        White noise that lost its projection on the fitted modes, and its means, is no longer quite
        white; what that does to the mean is a trace over the modes. Of the variance only the
        average is accounted for, which is enough where a fit takes less than half of the samples.
        """
        lost = 1 - rejected.square()
        height, width = self._factors.capture_shape[-2:]
        kept = expected / (height * width)  # of each sample's variance, on average
        scores = []
        for products, (down, across), means in (
            (
                left[..., 1:, :] * left[..., :-1, :],
                self._overlaps[0],
                (1 - 1 / height) * (1 - 1 / width) * 3 * self.count,
            ),
            (
                left[..., self.count :] * left[..., : -self.count],
                self._overlaps[1],
                (1 - 1 / height) * (height / width) * 2 * self.count,
            ),
        ):
            pairs = products.shape[-2:].numel()
            removed = (lost * down[..., :, None] * across[..., None, :]).sum((-2, -1))
            removed = removed + (means if self._factors.mean_free else 0.0)
            found = products.sum((-2, -1)) / misfit.square()
            scores.append((found + removed - known * kept * pairs) / (kept * pairs**0.5))
        return torch.maximum(scores[0], scores[1])

    @cached_property
    def _across(self) -> Tensor:
        """Strips of the vectors along rows, shape (..., modes, 3 * strips)."""
        return self.cut(self._factors.u_right.mT)

    @cached_property
    def _overlaps(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """What neighbours in strips, down and right, share of each vector, left and right."""
        left, right = self._factors.u_left, self._across
        neighbours = right[..., self.count :] * right[..., : -self.count]
        return (
            (neighbour_overlap(left), right.square().sum(-1)),
            (left.square().sum(-2), neighbours.sum(-1)),
        )

    @cached_property
    def _roughness(self) -> Tensor:
        """Share of each mode in the noise's second differences."""
        factors = self._factors
        left = second_difference(factors.u_left).square().sum(-2)
        right = second_difference(factors.u_right).square().sum(-2)
        samples = (factors.capture_shape[-2] - 2) * (factors.capture_shape[-1] - 2)
        return left[..., :, None] * right[..., None, :] / (36 * samples)
