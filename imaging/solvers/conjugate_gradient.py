"""Conjugate gradients on the normal equations, for any linear operator."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..operators import LinearOperator
from .iteration import Progress, batch_shape, check_iterations, per_item
from .solution import Solution, item_norm

__all__ = ["conjugate_gradient", "solve_symmetric"]


def conjugate_gradient(
    operator: LinearOperator,
    capture: Tensor,
    *,
    penalty: float = 0.0,
    iterations: int = 100,
    tolerance: float = 1e-6,
    start: Tensor | None = None,
) -> Solution:
    r"""Minimise :math:`\|A x - y\|^2 + \lambda \|x\|^2` by conjugate gradients (CGLS).

    Parameters
    ----------
    operator : LinearOperator
        The camera :math:`A`.
    capture : Tensor, shape (..., *capture_shape)
        Captures :math:`y`; each item of the batch has its own step sizes.
    penalty : float, optional
        :math:`\lambda \ge 0`, in squared units of the operator.
    iterations : int, optional
        Most iterations.
    tolerance : float, optional
        An item stops when the gradient has shrunk by this factor; 0 runs all iterations.
    start : Tensor, shape (..., *scene_shape), optional
        First guess; zero by default.

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
    Hestenes & Stiefel, "Methods of conjugate gradients for solving linear systems", 1952;
    Björck, "Numerical Methods for Least Squares Problems", 1996, algorithm 7.4.1.
    """
    batch = batch_shape(operator, capture)
    check_iterations(iterations, tolerance)
    if penalty < 0:
        raise ValueError(f"penalty must be at least 0, got {penalty}")
    ndim = len(operator.scene_shape)
    scene = capture.new_zeros(*batch, *operator.scene_shape) if start is None else start
    residual = capture - operator.forward(scene) if start is not None else capture.clone()
    gradient = operator.adjoint(residual) - penalty * scene
    direction = gradient
    energy = item_norm(gradient, ndim).square()
    first = item_norm(operator.adjoint(capture), ndim)
    progress = Progress.of(operator, capture, tolerance)
    progress.record(item_norm(residual, len(operator.capture_shape)))
    tiny = torch.finfo(capture.dtype).tiny
    for _ in range(iterations):
        image = operator.forward(direction)
        curvature = item_norm(image, len(operator.capture_shape)).square()
        curvature = curvature + penalty * item_norm(direction, ndim).square()
        # An item that is solved exactly has no direction left; its step must be 0, not 0/0.
        step = torch.where(energy > 0, energy / curvature.clamp_min(tiny), 0.0)
        step = torch.where(progress.active, step, 0.0)
        scene = scene + per_item(step, ndim) * direction
        residual = residual - per_item(step, len(operator.capture_shape)) * image
        progress.record(item_norm(residual, len(operator.capture_shape)))
        gradient = operator.adjoint(residual) - penalty * scene
        previous, energy = energy, item_norm(gradient, ndim).square()
        ratio = energy / previous.clamp_min(tiny)
        direction = gradient + per_item(ratio, ndim) * direction
        if not progress.advance(energy.sqrt() / first.clamp_min(tiny)):
            break
    return progress.finish(scene)


def solve_symmetric(
    apply: Callable[[Tensor], Tensor],
    target: Tensor,
    start: Tensor,
    *,
    item_ndim: int,
    iterations: int,
) -> Tensor:
    """Solve ``apply(x) = target`` for a symmetric positive definite map, item by item.

    Parameters
    ----------
    apply : callable
        The map, on (..., *item).
    target, start : Tensor, shape (..., *item)
        Right-hand side and first guess.
    item_ndim : int
        Number of trailing axes that make an item.
    iterations : int
        Iterations; few suffice from a warm start.
    """
    axes = tuple(range(-item_ndim, 0))
    tiny = torch.finfo(target.dtype).tiny
    solution = start
    residual = target - apply(start)
    direction = residual
    energy = residual.square().sum(axes, keepdim=True)
    for _ in range(iterations):
        image = apply(direction)
        step = energy / (direction * image).sum(axes, keepdim=True).clamp_min(tiny)
        solution = solution + step * direction
        residual = residual - step * image
        previous, energy = energy, residual.square().sum(axes, keepdim=True)
        direction = residual + energy / previous.clamp_min(tiny) * direction
    return solution
