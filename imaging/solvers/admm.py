"""ADMM with total variation and non-negativity, for any linear operator."""

import torch
from torch import Tensor

from ..operators import ConvolutionOperator, LinearOperator, SeparableOperator, operator_norm
from .admm_fourier import admm_convolution
from .admm_separable import admm_separable
from .admm_settings import AdmmSettings
from .conjugate_gradient import solve_symmetric
from .factors import SeparableFactors
from .iteration import Progress, batch_shape
from .solution import Solution, item_norm
from .total_variation import FiniteDifference, TotalVariationKind, shrink

__all__ = ["admm_tv"]


def admm_tv(
    operator: LinearOperator,
    capture: Tensor,
    *,
    weight: float | Tensor,
    kind: TotalVariationKind = "isotropic",
    nonnegative: bool = True,
    iterations: int = 100,
    tolerance: float = 0.0,
    coupling: float = 0.3,
    inner_iterations: int = 8,
) -> Solution:
    r"""Minimise :math:`\tfrac12 \|A x - y\|^2 + w\, TV(x)`, with :math:`x \ge 0`, by ADMM.

    The linear step is exact for a :class:`ConvolutionOperator`, in the Fourier domain with the crop
    to the sensor split off, and for a :class:`SeparableOperator`, in its singular vectors and the
    cosine transform. Other operators take a few warm-started conjugate gradients an iteration.

    Parameters
    ----------
    operator : LinearOperator
        The camera :math:`A`.
    capture : Tensor, shape (..., *capture_shape)
        Captures :math:`y`; no item of the batch influences another.
    weight : float or Tensor
        :math:`w > 0`, weight of the total variation; a tensor holds one for each image of the
        batch and its channels, or broadcasts to that.
    kind : {"isotropic", "anisotropic"}, optional
        Form of the total variation; channels are not coupled.
    nonnegative : bool, optional
        Whether negative light is excluded.
    iterations : int, optional
        Most iterations.
    tolerance : float, optional
        An item stops when an iteration changes it by less than this fraction; 0 runs all.
    coupling : float, optional
        Strength that holds the split variables together, relative to the operator. It changes the
        speed of convergence, not the minimum.
    inner_iterations : int, optional
        Conjugate gradients an iteration, where they are used.

    Returns
    -------
    Solution
        Scenes and how each item ended.

    Raises
    ------
    ShapeError, ValueError
        The capture does not fit the operator, or a setting is out of range.

    References
    ----------
    Boyd et al., "Distributed Optimization and Statistical Learning via the Alternating Direction
    Method of Multipliers", 2011; Antipa et al., "DiffuserCam: lensless single-exposure 3D
    imaging", Optica, 2018; Almeida & Figueiredo, "Deconvolving images with unknown boundaries
    using the alternating direction method of multipliers", 2013.
    """
    batch_shape(operator, capture)
    settings = AdmmSettings(weight, kind, nonnegative, iterations, tolerance, coupling)
    if isinstance(operator, ConvolutionOperator):
        return admm_convolution(operator, capture, settings)
    if isinstance(operator, SeparableOperator):
        return admm_separable(SeparableFactors.of(operator), capture, settings)
    return _admm_general(operator, capture, settings, inner_iterations)


def _admm_general(
    operator: LinearOperator, capture: Tensor, settings: AdmmSettings, inner_iterations: int
) -> Solution:
    """Split u = D x and w = x; the scene's quadratic is solved by conjugate gradients."""
    norm = operator_norm(operator, dtype=capture.dtype, device=capture.device)
    coupling = settings.coupling * norm**2
    gradient = FiniteDifference(operator.scene_shape)
    ndim = len(operator.scene_shape)
    axis = -ndim - 1

    def quadratic(scene: Tensor) -> Tensor:
        return operator.normal(scene) + coupling * (gradient.normal(scene) + scene)

    data = operator.adjoint(capture)
    scene = torch.zeros_like(data)
    threshold = settings.threshold(scene, coupling, axis)
    feasible, feasible_dual = scene, torch.zeros_like(data)
    differences = gradient.forward(scene)
    differences_dual = torch.zeros_like(differences)
    progress = Progress.of(operator, capture, settings.tolerance)
    progress.record(progress.capture_norm)
    for _ in range(settings.iterations):
        target = data + coupling * (
            gradient.adjoint(differences - differences_dual) + feasible - feasible_dual
        )
        scene = solve_symmetric(
            quadratic, target, scene, item_ndim=ndim, iterations=inner_iterations
        )
        slopes = gradient.forward(scene)
        differences = shrink(slopes + differences_dual, threshold, settings.kind, axis)
        differences_dual = differences_dual + slopes - differences
        moved = settings.feasible(scene + feasible_dual)
        feasible_dual = feasible_dual + scene - moved
        moved = progress.keep(moved, feasible, ndim)
        change = settings.relative_change(moved, feasible, ndim)
        feasible = moved
        progress.record(
            item_norm(operator.forward(feasible) - capture, len(operator.capture_shape))
        )
        if not progress.advance(change):
            break
    return progress.finish(feasible)
