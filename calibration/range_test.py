"""What a camera can have made of any scene, and how much of a capture lies outside, in noise."""

import torch
from torch import Tensor

from ..imaging import MeanRemoval
from ..imaging.solvers import SeparableFactors

__all__ = ["RangeTest", "estimate_noise_std"]


class RangeTest:
    """How much of a capture a camera cannot have made, against its noise."""

    def __init__(self, factors: SeparableFactors, planes: Tensor, noise_std: Tensor) -> None:
        self._factors = factors
        squares = factors.gains.square()
        self.noise_std = noise_std
        energy = factors.analyse(planes).square().sum((-2, -1), keepdim=True)
        # A mode counts as reachable as far as the capture's mean signal there exceeds noise.
        signal = energy / squares.sum((-2, -1), keepdim=True)
        weight = self.noise_std.square()[..., None, None] / signal.clamp_min(1e-30)
        self._rejected = weight / (squares + weight)
        free = factors.capture_dof - (1 - self._rejected.square()).sum((-2, -1))
        self._free = free.expand(planes.shape[:-2])
        self.spread = float((2 / self._free.sum()).sqrt())

    def whitened(self, planes: Tensor) -> float:
        """Energy outside the range over the energy that noise leaves there."""
        rest = self.residual(planes).square().sum((-2, -1)) / self.noise_std.square()
        return float(rest.sum() / self._free.sum())

    def residual(self, planes: Tensor) -> Tensor:
        """Capture less what its regularised scene explains, (planes, height, width)."""
        planes = MeanRemoval(tuple(planes.shape)).forward(planes)
        factors = self._factors
        explained = (1 - self._rejected) * factors.analyse(planes)
        return planes - factors.u_left @ explained @ factors.u_right.mT

    def gain(self, planes: Tensor) -> float:
        """Energy of the capture over that of the explained part."""
        planes = MeanRemoval(tuple(planes.shape)).forward(planes)
        explained = planes - self.residual(planes)
        return float((planes * explained).sum() / explained.square().sum().clamp_min(1e-30))


def estimate_noise_std(planes: Tensor) -> Tensor:
    """Noise of each plane from second differences both ways, in which smooth shadows vanish.

    References
    ----------
    Immerkær, "Fast Noise Variance Estimation", Computer Vision and Image Understanding, 1996.
    """
    kernel = torch.tensor([[1.0, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=planes.dtype)
    filtered = torch.nn.functional.conv2d(planes[:, None], kernel[None, None])[:, 0]
    return (filtered.square().mean((-2, -1)) / 36).sqrt()
