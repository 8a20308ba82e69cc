"""FISTA: accelerated proximal gradients, for any linear operator."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..operators import LinearOperator, operator_norm
from .iteration import Progress, batch_shape, check_iterations, per_item
from .solution import Solution, item_norm
from .total_variation import TotalVariationKind, tv_prox

__all__ = ["ProximalMap", "fista", "nonnegative_prox", "tv_regulariser"]

#: Maps a scene and a step size to the proximal point of the regulariser times the step.
ProximalMap = Callable[[Tensor, float], Tensor]

_NORM_MARGIN = 1.01  # power iteration approaches the norm from below


def nonnegative_prox(scene: Tensor, step: float) -> Tensor:
    """Proximal map of the constraint that a scene has no negative light."""
    return scene.clamp_min(0)


def tv_regulariser(
    weight: float,
    *,
    kind: TotalVariationKind = "isotropic",
    nonnegative: bool = True,
    iterations: int = 10,
) -> ProximalMap:
    """Make the proximal map of total variation, warm-started from call to call.

    Parameters
    ----------
    weight : float
        Weight of the total variation in the objective, above 0.
    kind : {"isotropic", "anisotropic"}, optional
        Form of the total variation.
    nonnegative : bool, optional
        Whether negative light is excluded.
    iterations : int, optional
        Inner iterations a call.
    """
    if weight <= 0:
        raise ValueError(f"weight must be positive, got {weight}")
    dual: Tensor | None = None

    def prox(scene: Tensor, step: float) -> Tensor:
        nonlocal dual
        start = dual if dual is not None and dual.shape[1:] == scene.shape else None
        scene, dual = tv_prox(
            scene,
            weight * step,
            kind=kind,
            nonnegative=nonnegative,
            iterations=iterations,
            dual=start,
        )
        return scene

    return prox


def fista(
    operator: LinearOperator,
    capture: Tensor,
    prox: ProximalMap | None = nonnegative_prox,
    *,
    iterations: int = 100,
    tolerance: float = 0.0,
    norm: float | None = None,
    start: Tensor | None = None,
    restart: bool = True,
) -> Solution:
    r"""Minimise :math:`\tfrac12 \|A x - y\|^2 + r(x)` by accelerated proximal gradients.

    Parameters
    ----------
    operator : LinearOperator
        The camera :math:`A`.
    capture : Tensor, shape (..., *capture_shape)
        Captures :math:`y`; no item of the batch influences another.
    prox : callable or None, optional
        Proximal map of :math:`r`, see :func:`nonnegative_prox` (the default) and
        :func:`tv_regulariser`; None for plain least squares.
    iterations : int, optional
        Most iterations.
    tolerance : float, optional
        An item stops when an iteration changes it by less than this fraction; 0 runs all.
    norm : float, optional
        Norm of the operator, or an upper bound; measured by power iteration by default.
    start : Tensor, shape (..., *scene_shape), optional
        First guess; zero by default.
    restart : bool, optional
        Whether an item whose momentum points uphill loses it, which makes convergence linear
        where the problem allows it.

    Returns
    -------
    Solution
        Scenes and how each item ended.

    References
    ----------
    Beck & Teboulle, "A Fast Iterative Shrinkage-Thresholding Algorithm for Linear Inverse
    Problems", SIAM Journal on Imaging Sciences, 2009; O'Donoghue & Candès, "Adaptive Restart for
    Accelerated Gradient Schemes", 2015.
    """
    batch = batch_shape(operator, capture)
    check_iterations(iterations, tolerance)
    if norm is None:
        norm = _NORM_MARGIN * operator_norm(operator, dtype=capture.dtype, device=capture.device)
    step = 1 / norm**2 if norm else 1.0
    ndim, capture_ndim = len(operator.scene_shape), len(operator.capture_shape)
    scene = capture.new_zeros(*batch, *operator.scene_shape) if start is None else start
    residual = -capture if start is None else operator.forward(scene) - capture
    ahead, ahead_residual = scene, residual
    momentum = capture.new_ones(batch)
    progress = Progress.of(operator, capture, tolerance)
    progress.record(item_norm(residual, capture_ndim))
    for _ in range(iterations):
        moved = torch.sub(ahead, operator.adjoint(ahead_residual), alpha=step)
        if prox is not None:
            moved = prox(moved, step)
        moved = progress.keep(moved, scene, ndim)
        moved_residual = operator.forward(moved) - capture
        progress.record(item_norm(moved_residual, capture_ndim))
        change = moved - scene
        following = (1 + (1 + 4 * momentum.square()).sqrt()) / 2
        weight = (momentum - 1) / following
        if restart:
            uphill = ((ahead - moved) * change).sum(tuple(range(-ndim, 0))) > 0
            weight = torch.where(uphill, 0.0, weight)
            following = torch.where(uphill, 1.0, following)
        # A is linear: its image of the extrapolated point needs no further application.
        ahead = moved + per_item(weight, ndim) * change
        ahead_residual = moved_residual + per_item(weight, capture_ndim) * (
            moved_residual - residual
        )
        scene, residual, momentum = moved, moved_residual, following
        if not progress.advance(_relative_change(change, scene, ndim) if tolerance else None):
            break
    return progress.finish(scene)


def _relative_change(change: Tensor, scene: Tensor, ndim: int) -> Tensor:
    tiny = torch.finfo(scene.dtype).tiny
    return item_norm(change, ndim) / item_norm(scene, ndim).clamp_min(tiny)
