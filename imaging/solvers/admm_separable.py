"""ADMM for separable cameras, where every linear step is a product with two small matrices."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .admm_settings import AdmmSettings
from .factors import SeparableFactors
from .iteration import Progress
from .solution import Solution, item_norm
from .total_variation import FiniteDifference, shrink

__all__ = ["admm_separable", "cosine_transform", "noise_weight"]

#: Brings the coupling, which is relative to the largest squared gain elsewhere, to the mean one.
_MEAN_COUPLING = 10.0
#: How far each split follows its new value; between 1.5 and 1.8 is Boyd et al.'s advice.
_RELAXATION = 1.7
#: Iterations after which the coupling is balanced anew; a last one keeps convergence certain.
_BALANCED_AFTER = (20, 30, 45, 65, 90, 120, 160, 200, 250)
#: Fitted once, to 32 simulated captures of drawn cameras: on average within 0.3 dB of the weight
#: that is best for each of them.
_NOISE_STRENGTH = 1.8


def admm_separable(factors: SeparableFactors, capture: Tensor, settings: AdmmSettings) -> Solution:
    r"""Split the scene v = x seen by the camera, the slopes u = D x and the feasible scene w = x.

    The data term is diagonal in the camera's singular vectors, and what remains,
    :math:`1 + 1 + D^T D`, in the discrete cosine transform, because differences end at the border.
    Both are orthogonal and separable: an iteration costs eight products of small matrices a
    channel and no inner iteration. It starts from a Tikhonov reconstruction. Long runs balance the
    coupling of each image, so that no split lags behind.

    Parameters
    ----------
    factors : SeparableFactors
        The camera.
    capture : Tensor, shape (..., *capture_shape)
        Captures.
    settings : AdmmSettings
        See :func:`admm_tv`.

    References
    ----------
    Boyd et al., "Distributed Optimization and Statistical Learning via the Alternating Direction
    Method of Multipliers", 2011, 3.4.3; Wohlberg, "ADMM Penalty Parameter Selection by Residual
    Balancing", 2017.
    """
    shape, ndim = factors.scene_shape, len(factors.scene_shape)
    axis = -ndim - 1
    gradient = FiniteDifference(shape)
    left, left_values = cosine_transform(shape[-2], capture)
    right, right_values = cosine_transform(shape[-1], capture)
    inverse = 1 / (2 + left_values[:, None] + right_values)
    camera = _DataTerm(factors, capture, left, right)

    coupling = _coupling(factors, settings).expand(*camera.coefficients.shape[:-2], 1, 1)
    scene = settings.feasible(camera.tikhonov(coupling))
    seen = _Split(left @ scene @ right.mT)
    slopes, feasible = _Split(gradient.forward(scene)), _Split(scene)
    best = scene

    def fitted(spectrum: Tensor) -> Tensor:
        return camera.prox(spectrum, coupling)

    def shrunk(slopes: Tensor) -> Tensor:
        threshold = settings.threshold(scene, coupling, axis)
        return shrink(slopes, threshold, settings.kind, axis)

    progress = Progress(item_norm(capture, len(factors.capture_shape)), settings.tolerance)
    progress.record(progress.capture_norm)
    for iteration in range(settings.iterations):
        asked = gradient.adjoint(slopes.asked) + feasible.asked
        spectrum = inverse * (seen.asked + left @ asked @ right.mT)
        scene = left.mT @ spectrum @ right

        seen.follow(spectrum, fitted)
        slopes.follow(gradient.forward(scene), shrunk)
        feasible.follow(scene, settings.feasible)

        moved = progress.keep(feasible.value, best, ndim)
        change = settings.relative_change(moved, best, ndim)
        best = moved
        progress.record(camera.residual(camera.modes))
        if not progress.advance(change):
            break
        if iteration + 1 in _BALANCED_AFTER:
            factor = _imbalance(seen, slopes, feasible, axis)
            coupling = coupling * factor
            seen.dual, feasible.dual = seen.dual / factor, feasible.dual / factor
            slopes.dual = slopes.dual / factor.unsqueeze(axis)
    # The history is that of the unconstrained split; its last entry that of the scene returned.
    progress.residuals.pop()
    progress.record(camera.residual(factors.decompose(best)))
    return progress.finish(best)


def noise_weight(factors: SeparableFactors, noise_std: Tensor) -> Tensor:
    """Choose the weight of :func:`admm_tv` from the noise alone.

    White noise of a capture reaches a back-projected pixel with the camera's root mean square gain,
    which is what the slopes of the penalty have to hold.

    Parameters
    ----------
    factors : SeparableFactors
        The camera.
    noise_std : Tensor, shape (...)
        Noise of each image of captures, over 0.

    Returns
    -------
    Tensor, shape (...)
        Weight of each image.
    """
    return _NOISE_STRENGTH * noise_std * _mean_power(factors)[..., 0, 0].sqrt()


def cosine_transform(size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Give the orthonormal DCT-II and what squared differences become in it.

    References
    ----------
    Strang, "The Discrete Cosine Transform", SIAM Review 41, 1999.
    """
    index = torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(torch.pi / size * index[:, None] * (index + 0.5)) * (2 / size) ** 0.5
    matrix[0] *= 0.5**0.5
    values = 4 * torch.sin(torch.pi / (2 * size) * index).square()
    return matrix.to(like), values.to(like)


@dataclass(eq=False)
class _Split:
    """A copy of a linear function of the scene, and the scaled dual that makes them agree."""

    value: Tensor
    dual: Tensor = field(init=False)
    original: Tensor = field(init=False)
    step: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.dual = torch.zeros_like(self.value)

    @property
    def asked(self) -> Tensor:
        """What the scene's function should be."""
        return self.value - self.dual

    def follow(self, original: Tensor, prox: Callable[[Tensor], Tensor]) -> None:
        """Bring the copy near the scene's function, as its term of the objective wants it."""
        pushed = torch.lerp(self.value, original, _RELAXATION) + self.dual
        value = prox(pushed)
        self.original, self.step = original, value - self.value
        self.value, self.dual = value, pushed - value


class _DataTerm:
    """Half the squared misfit to captures, of scenes given as cosine spectra."""

    def __init__(
        self, factors: SeparableFactors, capture: Tensor, left: Tensor, right: Tensor
    ) -> None:
        self._factors, self._power = factors, factors.gains.square()
        # The camera's scene-side vectors, transformed.
        self._left, self._right = left @ factors.v_left, right @ factors.v_right
        self.coefficients = self.modes = factors.analyse(capture)
        reached = factors.u_left @ self.coefficients @ factors.u_right.mT
        self._unreached = item_norm(capture - reached, len(factors.capture_shape))

    def tikhonov(self, penalty: Tensor) -> Tensor:
        """Reconstruct with a penalty, shape (..., *scene_shape)."""
        gains = self._factors.gains
        return self._factors.synthesise(gains / (self._power + penalty) * self.coefficients)

    def prox(self, spectrum: Tensor, coupling: Tensor) -> Tensor:
        """Bring spectra near the captures; ``modes`` then holds their coefficients."""
        gains, modes = self._factors.gains, self._left.mT @ spectrum @ self._right
        change = gains / (self._power + coupling) * (self.coefficients - gains * modes)
        self.modes = modes + change
        return spectrum + self._left @ change @ self._right.mT

    def residual(self, modes: Tensor) -> Tensor:
        """Norm of the misfit of each item's scene, given by its coefficients."""
        misfit = self._factors.gains * modes - self.coefficients
        return torch.hypot(item_norm(misfit, len(self._factors.scene_shape)), self._unreached)


def _coupling(factors: SeparableFactors, settings: AdmmSettings) -> Tensor:
    """Strength that holds the splits together, shape (..., 1, 1), in squared units of the gains."""
    mean = _mean_power(factors)
    tiny = torch.finfo(mean.dtype).tiny
    return (_MEAN_COUPLING * settings.coupling * mean).clamp_min(tiny)


def _mean_power(factors: SeparableFactors) -> Tensor:
    """Mean squared gain over all modes of a scene, shape (..., 1, 1)."""
    height, width = factors.scene_shape[-2:]
    return factors.gains.square().sum((-2, -1), keepdim=True) / (height * width)


def _imbalance(seen: _Split, slopes: _Split, feasible: _Split, axis: int) -> Tensor:
    """Give how much stronger the coupling of each image should be, shape (..., 1, 1).

    The square root of the ratio of what splits differ by from the scene to what they still move,
    both relative.
    """

    def energy(part: Callable[[_Split], Tensor]) -> Tensor:
        seen_part, slopes_part, feasible_part = (
            part(split).square().sum((-2, -1), keepdim=True) for split in (seen, slopes, feasible)
        )
        return seen_part + slopes_part.sum(axis) + feasible_part

    tiny = torch.finfo(seen.value.dtype).tiny
    originals = energy(lambda split: split.original).clamp_min(tiny)
    gap = energy(lambda split: split.original - split.value) / originals
    step = energy(lambda split: split.step) / energy(lambda split: split.dual).clamp_min(tiny)
    return (gap.clamp_min(tiny) / step.clamp_min(tiny)).pow(0.25).clamp(0.1, 10)
