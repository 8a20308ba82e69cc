r"""Cameras in the basis where each scene coefficient has one gain, separable or shift-invariant."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..operators import ConvolutionOperator, LinearOperator, SeparableOperator
from ..operators.convolution import from_spectrum, to_spectrum
from ..shapes import check_floating, check_shape
from ..solvers import SeparableFactors

__all__ = [
    "Factors",
    "FourierFactors",
    "factorise",
    "filter_scene",
    "mean_share",
    "overall_share",
]


@dataclass(frozen=True, eq=False)
class FourierFactors:
    """A shift-invariant camera by its transfer function.

    The sensor's edge is left out of account: a scene counts as seen as if the sensor were as large
    as the FFT grid. Of scenes well inside the field this is close, near its rim too hopeful.

    Attributes
    ----------
    gains : Tensor, shape (..., rows, columns // 2 + 1)
        Moduli of the transfer function.
    grid : tuple of int
        Size of the FFT grid, (rows, columns).
    scene_shape : tuple of int
        Trailing shape of scenes.
    """

    gains: Tensor
    grid: tuple[int, int]
    scene_shape: tuple[int, ...]

    def decompose(self, scene: Tensor) -> Tensor:
        """Coefficients of scenes (..., *scene_shape), shape (..., rows, columns // 2 + 1)."""
        check_floating(scene, "scene")
        check_shape(scene, self.scene_shape, "scene")
        return to_spectrum(scene, self.grid)

    def synthesise(self, coefficients: Tensor) -> Tensor:
        """Scenes with the given coefficients, shape (..., *scene_shape)."""
        height, width = self.scene_shape[-2:]
        return from_spectrum(coefficients, self.grid, (height, width))


#: A camera whose gains are known one by one.
Factors = SeparableFactors | FourierFactors


def factorise(operator: LinearOperator) -> Factors:
    """Find the basis in which a camera has one gain for each scene coefficient that it sees.

    Parameters
    ----------
    operator : LinearOperator
        A separable or a shift-invariant camera.

    Returns
    -------
    SeparableFactors or FourierFactors
        Exact for the first, approximate at the edge of the field for the second.

    Raises
    ------
    TypeError
        The operator is of another kind.
    """
    if isinstance(operator, SeparableOperator):
        return SeparableFactors.of(operator).trimmed()
    if isinstance(operator, ConvolutionOperator):
        return FourierFactors(operator.transfer.abs(), operator.grid, operator.scene_shape)
    raise TypeError(
        "what a camera measured can be told of a SeparableOperator or a ConvolutionOperator, "
        f"got {type(operator).__name__}"
    )


def filter_scene(factors: Factors, picture: Tensor, weights: Tensor) -> Tensor:
    """Multiply each spectral coefficient of pictures (..., *scene_shape) with a weight.

    What no coefficient stands for, because the camera does not see it, is left out.
    """
    return factors.synthesise(weights * factors.decompose(picture))


def mean_share(factors: Factors, weights: Tensor) -> Tensor:
    """Share of each sample's own change that spectral weights let pass, (..., height, width).

    This is the diagonal of the filter: with measured shares as weights it says how much of each
    sample the camera determines, whatever the picture.
    """
    if isinstance(factors, SeparableFactors):
        return factors.v_left.square() @ weights @ factors.v_right.square().mT
    # A half spectrum holds all columns but the first and (of even grids) the last one twice.
    twice = torch.full(weights.shape[-1:], 2.0).to(weights)
    twice[0] = 1
    if factors.grid[1] % 2 == 0:
        twice[-1] = 1
    mean = (weights * twice).sum((-2, -1)) / (factors.grid[0] * factors.grid[1])
    return mean[..., None, None].expand(*mean.shape, *factors.scene_shape[-2:])


def overall_share(factors: Factors, weights: Tensor) -> Tensor:
    """Mean of :func:`mean_share` over the scene, shape (...), without its map."""
    if isinstance(factors, SeparableFactors):  # each vector has unit norm
        height, width = factors.scene_shape[-2:]
        return weights.sum((-2, -1)) / (height * width)
    return mean_share(factors, weights)[..., 0, 0]
