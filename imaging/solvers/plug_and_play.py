"""Plug-and-play reconstruction: any denoiser as the prior, any linear operator as the camera."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..operators import LinearOperator, SeparableOperator, operator_norm
from .conjugate_gradient import solve_symmetric
from .factors import SeparableFactors
from .iteration import Progress, batch_shape, check_iterations
from .solution import Solution, item_norm

__all__ = ["Denoiser", "plug_and_play"]

#: Maps a noisy scene (..., *scene_shape) and its noise's standard deviation to a clean one.
Denoiser = Callable[[Tensor, float], Tensor]

#: Minimises 0.5 ||A x - y||^2 + 0.5 c ||x - t||^2, given the target t and a first guess.
DataStep = Callable[[Tensor, Tensor], Tensor]


def plug_and_play(
    operator: LinearOperator,
    capture: Tensor,
    denoiser: Denoiser,
    *,
    noise_std: float,
    coupling: float = 0.01,
    iterations: int = 30,
    tolerance: float = 0.0,
    inner_iterations: int = 10,
) -> Solution:
    r"""Reconstruct by ADMM with a denoiser in place of a regulariser's proximal map.

    Each iteration solves :math:`\min_x \|A x - y\|^2 + c \|x - (z - u)\|^2`, exactly for a
    :class:`SeparableOperator` and by conjugate gradients otherwise, and then denoises
    :math:`x + u`.

    Parameters
    ----------
    operator : LinearOperator
        The camera :math:`A`.
    capture : Tensor, shape (..., *capture_shape)
        Captures :math:`y`.
    denoiser : callable
        Maps (scene (..., *scene_shape), noise_std) to a denoised scene of the same shape.
    noise_std : float
        Strength handed to the denoiser, in units of the scene.
    coupling : float, optional
        :math:`c`, relative to the squared norm of the operator. Small values trust the capture.
    iterations : int, optional
        Most iterations.
    tolerance : float, optional
        An item stops when an iteration changes it by less than this fraction; 0 runs all.
    inner_iterations : int, optional
        Conjugate gradients an iteration, where they are used.

    Returns
    -------
    Solution
        The denoised scenes. What a denoiser adds is not measured; the residuals say how well it
        still explains the capture.

    Raises
    ------
    ShapeError, ValueError
        The capture does not fit, a setting is out of range, or the denoiser changes the shape.

    References
    ----------
    Venkatakrishnan, Bouman & Wohlberg, "Plug-and-Play Priors for Model Based Reconstruction",
    GlobalSIP, 2013.
    """
    batch_shape(operator, capture)
    check_iterations(iterations, tolerance)
    if coupling <= 0:
        raise ValueError(f"coupling must be positive, got {coupling}")
    ndim = len(operator.scene_shape)
    data_step = _data_step(operator, capture, coupling, inner_iterations)
    denoised = torch.zeros_like(operator.adjoint(capture))
    scene, dual = denoised, denoised
    progress = Progress.of(operator, capture, tolerance)
    progress.record(progress.capture_norm)
    for _ in range(iterations):
        scene = data_step(denoised - dual, scene)
        moved = denoiser(scene + dual, noise_std)
        if moved.shape != scene.shape:
            raise ValueError(
                f"denoiser must keep the shape {tuple(scene.shape)}, got {tuple(moved.shape)}"
            )
        dual = dual + scene - moved
        moved = progress.keep(moved, denoised, ndim)
        tiny = torch.finfo(moved.dtype).tiny
        change = item_norm(moved - denoised, ndim) / item_norm(moved, ndim).clamp_min(tiny)
        denoised = moved
        progress.record(
            item_norm(operator.forward(denoised) - capture, len(operator.capture_shape))
        )
        if not progress.advance(change):
            break
    return progress.finish(denoised)


def _data_step(
    operator: LinearOperator, capture: Tensor, coupling: float, inner_iterations: int
) -> DataStep:
    """Make the solver of the quadratic half of each iteration."""
    if isinstance(operator, SeparableOperator):
        return _separable_data_step(operator, capture, coupling)
    norm = operator_norm(operator, dtype=capture.dtype, device=capture.device)
    weight = coupling * norm**2
    data = operator.adjoint(capture)

    def step(target: Tensor, start: Tensor) -> Tensor:
        return solve_symmetric(
            lambda scene: operator.normal(scene) + weight * scene,
            data + weight * target,
            start,
            item_ndim=len(operator.scene_shape),
            iterations=inner_iterations,
        )

    return step


def _separable_data_step(operator: SeparableOperator, capture: Tensor, coupling: float) -> DataStep:
    """Solve in the singular vectors, where only the target's coefficients change."""
    factors = SeparableFactors.of(operator)
    squares = factors.gains.square()
    weight = coupling * squares.amax()
    measured = factors.gains * factors.analyse(capture)

    def step(target: Tensor, start: Tensor) -> Tensor:
        # What the factors do not span keeps the target's value.
        inside = factors.decompose(target)
        correction = (measured + weight * inside) / (squares + weight) - inside
        return target + factors.synthesise(correction)

    return step
