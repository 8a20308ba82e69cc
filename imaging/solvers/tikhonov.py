"""Closed-form Tikhonov reconstruction of separable cameras."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..operators import SeparableOperator
from .factors import SeparableFactors
from .penalty import PenaltyRule, SpectralCapture, choose_penalty, inverse_filter

__all__ = ["Tikhonov", "TikhonovSolution"]

_CACHED_VALUES = 2**21


@dataclass(frozen=True, eq=False)
class TikhonovSolution:
    """A Tikhonov reconstruction with the numbers that describe it.

    Attributes
    ----------
    scene : Tensor, shape (..., *scene_shape)
        The reconstruction, neither clipped nor scaled.
    penalty : Tensor, shape (...)
        Penalty of each item and channel, in squared units of the gains.
    relative_penalty : Tensor, shape (...)
        Penalty over the largest squared gain.
    residual : Tensor, shape (...)
        Relative residual ``||A x - y|| / ||y||`` of each item and channel; row and column means
        are left out of a mean-free camera's.
    noise_std : Tensor, shape (...)
        Noise and model error a sample, estimated from what no scene can produce; NaN where the
        camera leaves no such samples.
    effective_parameters : Tensor, shape (...)
        How many parameters the reconstruction fits.
    spectral : SpectralCapture
        The capture in the camera's singular vectors, for whoever asks more of it.
    """

    scene: Tensor
    penalty: Tensor
    relative_penalty: Tensor
    residual: Tensor
    noise_std: Tensor
    effective_parameters: Tensor
    spectral: SpectralCapture


class Tikhonov:
    r"""Reconstruct scenes by :math:`\min_X \|Y - \Phi_L X \Phi_R^T\|^2 + \lambda \|X\|^2`.

    The two singular value decompositions are done once; a frame then costs four small matrix
    products.

    Parameters
    ----------
    operator : SeparableOperator
        The camera. Of a mean-free one (:meth:`SeparableOperator.centred`) raw captures may be
        given with their row and column means.
    penalty : float, Tensor of shape (...) or {"gcv", "sure", "discrepancy"}, optional
        :math:`\lambda > 0` in squared units of the transfer matrices, one for all or one an item
        and channel; or the rule that chooses it for each capture, see :func:`choose_penalty`.
    noise_std : float or Tensor, optional
        Noise of captures for the rules ``"sure"`` and ``"discrepancy"``.
    factors : SeparableFactors, optional
        ``SeparableFactors.of(operator).trimmed()``, where it is known already.

    Raises
    ------
    ValueError
        The penalty is not positive, or its rule is unknown.

    References
    ----------
    Asif et al., "FlatCam: Thin, Lensless Cameras Using Coded Aperture and Computation",
    IEEE Transactions on Computational Imaging, 2017.
    """

    def __init__(
        self,
        operator: SeparableOperator,
        penalty: float | Tensor | PenaltyRule = "gcv",
        *,
        noise_std: float | Tensor | None = None,
        factors: SeparableFactors | None = None,
    ) -> None:
        if not isinstance(operator, SeparableOperator):
            raise TypeError(
                f"operator must be a SeparableOperator, got {type(operator).__name__}; "
                "conjugate_gradient, fista and admm take any operator"
            )
        self.operator = operator
        self.factors = SeparableFactors.of(operator).trimmed() if factors is None else factors
        self.noise_std = noise_std
        self._rule: PenaltyRule | None = None
        self._filter: Tensor | None = None
        if isinstance(penalty, str):
            if penalty not in ("gcv", "sure", "discrepancy"):
                raise ValueError(
                    f"penalty must be a positive number, gcv, sure or discrepancy, got {penalty!r}"
                )
            self._rule = penalty
        else:
            gains = self.factors.gains
            self._penalty = torch.as_tensor(penalty, dtype=gains.dtype, device=gains.device)
            if not bool((self._penalty > 0).all()):
                raise ValueError(f"penalty must be positive, got {penalty}")
            self._filter = inverse_filter(gains, self._penalty)
            self._fitted = self.factors.shared.effective_parameters(self._penalty)

    def __call__(self, capture: Tensor) -> Tensor:
        """Map captures (..., *capture_shape) to scenes (..., *scene_shape)."""
        if _outgrows_cache(capture) and capture.ndim > len(self.factors.capture_shape):
            return torch.stack([self(item) for item in capture])
        if self._filter is not None:
            return self.factors.synthesise(self._filter * self.factors.analyse(capture))
        spectral = self.factors.spectral(capture)
        inverse = inverse_filter(self.factors.gains, self._choose(spectral))
        return self.factors.synthesise(inverse * spectral.coefficients)

    def solve(self, capture: Tensor, *, centred: bool = False) -> TikhonovSolution:
        """Reconstruct captures (..., *capture_shape) and say how well they are explained.

        ``centred`` says that row and column means were removed before, which saves doing it again.
        """
        spectral = self.factors.spectral(capture, centred=centred)
        if self._rule is None:
            penalty = self._penalty.expand(capture.shape[:-2])
        else:
            penalty = self._choose(spectral)
        if self._filter is None:
            inverse = inverse_filter(self.factors.gains, penalty)
            fitted = spectral.effective_parameters(penalty)
        else:
            inverse, fitted = self._filter, self._fitted.expand_as(penalty)
        energy = spectral.coefficients.square().sum((-2, -1)) + spectral.unreachable
        return TikhonovSolution(
            scene=self.factors.synthesise(inverse * spectral.coefficients),
            penalty=penalty,
            relative_penalty=penalty / spectral.camera.largest,
            residual=(spectral.residual_energy(penalty) / energy).sqrt(),
            noise_std=self._noise_std(spectral),
            effective_parameters=fitted,
            spectral=spectral,
        )

    def _choose(self, spectral: SpectralCapture) -> Tensor:
        assert self._rule is not None
        return choose_penalty(spectral, self._rule, noise_std=self.noise_std)

    @staticmethod
    def _noise_std(spectral: SpectralCapture) -> Tensor:
        try:
            return spectral.noise_variance().sqrt()
        except ValueError:
            return torch.full_like(spectral.unreachable, torch.nan)


def _outgrows_cache(capture: Tensor) -> bool:
    """Whether a processor does better item by item: intermediate results then stay in its cache."""
    return capture.device.type == "cpu" and capture.numel() > _CACHED_VALUES
