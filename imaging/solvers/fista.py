"""FISTA: accelerated proximal gradients, for any linear operator."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..operators import LinearOperator, operator_norm
from .iteration import Progress, batch_shape, check_iterations, per_item
from .solution import Solution, item_norm
from .total_variation import TotalVariationKind, tv_prox

__all__ = ["ProximalMap", "fista", "nonnegative_prox", "tv_regulariser"]

#: Maps scenes and their step sizes, which broadcast, to proximal points of the regulariser.
ProximalMap = Callable[[Tensor, Tensor], Tensor]

_NORM_MARGIN = 1.01  # power iteration approaches the norm from below


def nonnegative_prox(scene: Tensor, step: Tensor) -> Tensor:
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

    def prox(scene: Tensor, step: Tensor) -> Tensor:
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

    FISTA with the momentum of the proximal optimised gradient method, whose worst case is half
    that of the classical momentum at the same cost an iteration.

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
    Problems", SIAM Journal on Imaging Sciences, 2009; Taylor, Hendrickx & Glineur, "Exact
    Worst-Case Performance of First-Order Methods for Composite Convex Optimization", SIAM Journal
    on Optimization, 2017; Kim & Fessler, "Adaptive Restart of the Optimized Gradient Method for
    Convex Optimization", Journal of Optimization Theory and Applications, 2018.
    """
    batch = batch_shape(operator, capture)
    check_iterations(iterations, tolerance)
    if norm is None:
        norm = _NORM_MARGIN * operator_norm(operator, dtype=capture.dtype, device=capture.device)
    step = 1 / norm**2 if norm else 1.0
    ndim, capture_ndim = len(operator.scene_shape), len(operator.capture_shape)
    axes = tuple(range(-ndim, 0))
    scene = capture.new_zeros(*batch, *operator.scene_shape) if start is None else start
    residual = -capture if start is None else operator.forward(scene) - capture
    descended, mixed, composite = scene, scene, scene
    momentum, stretch = capture.new_ones(batch), capture.new_ones(batch)
    progress = Progress.of(operator, capture, tolerance)
    progress.record(item_norm(residual, capture_ndim))
    for iteration in range(iterations):
        following = _next_momentum(momentum, last=iteration == iterations - 1)
        inertia = per_item((momentum - 1) / following, ndim)
        pull = per_item(momentum / following, ndim)
        memory = inertia / per_item(stretch, ndim)
        stretch = (2 * momentum + following - 1) / following
        previous, descended = descended, torch.sub(scene, operator.adjoint(residual), alpha=step)
        # On along the descent and past the scene, and back along the last proximal step.
        mixed = (
            ((1 + inertia + pull) * descended)
            .addcmul_(previous, inertia, value=-1)
            .addcmul_(scene, pull + memory, value=-1)
            .addcmul_(mixed, memory)
        )
        moved = mixed if prox is None else prox(mixed, step * per_item(stretch, ndim))
        moved = progress.keep(moved, scene, ndim)
        if restart:
            reached = descended + (moved - mixed) / per_item(stretch, ndim)
            uphill = ((scene - reached) * (reached - composite)).sum(axes) > 0
            following = torch.where(uphill, 1.0, following)
            composite = reached
        momentum = following
        change = _relative_change(moved, scene, ndim) if tolerance else None
        scene, residual = moved, operator.forward(moved) - capture
        progress.record(item_norm(residual, capture_ndim))
        if not progress.advance(change):
            break
    return progress.finish(scene)


def _next_momentum(momentum: Tensor, *, last: bool) -> Tensor:
    return (1 + (1 + (8 if last else 4) * momentum.square()).sqrt()) / 2


def _relative_change(moved: Tensor, scene: Tensor, ndim: int) -> Tensor:
    tiny = torch.finfo(scene.dtype).tiny
    return item_norm(moved - scene, ndim) / item_norm(moved, ndim).clamp_min(tiny)
