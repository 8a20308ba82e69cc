r"""Whether a camera can have made a capture at all, of whatever scene.

What no scene explains is noise, or the camera is not the one of the record. A wrong noise level
changes how much there is of it; a wrong camera also leaves it with structure, because the shadow
of a mask is wider than a pixel, and puts it where a motion of the shadow would.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..operators import MeanRemoval
from ..prediction import measured_share
from ..shapes import check_shape
from ..solvers import SeparableFactors, SpectralCapture
from .motion import MotionBasis
from .statistics import ChiSquare, normal_p_value
from .strips import Strips

__all__ = ["CameraFit", "CameraTest", "CameraVerdict"]

CameraVerdict = Literal["fits", "miscalibrated", "noise understated", "noise overstated"]

#: How far the scene is freed: a prior so wide that its pull on the residual is below the noise.
_LOOSENED = 10.0

_SETTLED = 0.05  # change of a first estimate of the noise that makes none in the fit


@dataclass(frozen=True, eq=False)
class CameraFit:
    """What a camera leaves unexplained of captures.

    Attributes
    ----------
    level : ChiSquare, shape (...)
        Energy that no scene explains against the stated noise.
    structure : Tensor, shape (...)
        Correlation of neighbours in what is left, in its standard deviations under white noise.
    motion : ChiSquare, shape (...)
        Energy where a motion of the shadow would leave it, against that in all other directions.
    noise_std : Tensor, shape (...)
        The noise that was stated, or estimated.
    misfit_std : Tensor, shape (...)
        Root mean square a sample of what no scene explains, noise included.
    spectral : SpectralCapture
        The captures in the camera's singular vectors.
    rejected : Tensor, shape (..., modes_left, modes_right)
        Share of each coefficient that was not fitted.
    residual : Tensor or None, shape (..., *capture_shape)
        What no scene explains, where it was asked for.
    """

    level: ChiSquare
    structure: Tensor
    motion: ChiSquare
    noise_std: Tensor
    misfit_std: Tensor
    spectral: SpectralCapture
    rejected: Tensor
    residual: Tensor | None = None

    @property
    def miscalibration_p_value(self) -> Tensor:
        """Probability of such structure or motion by chance, shape (...), whatever the noise."""
        # The larger of two scores, and then the better of two tests.
        structure = 2 * normal_p_value(self.structure)
        return (2 * torch.minimum(structure, self.motion.p_value)).clamp_max(1)

    def verdict(self, significance: float = 1e-3) -> list[CameraVerdict]:
        """Name what is wrong with each capture, flattened over the batch."""
        verdicts: list[CameraVerdict] = []
        for wrong, above, below in zip(
            (self.miscalibration_p_value < significance).flatten().tolist(),
            (self.level.p_value < significance).flatten().tolist(),
            (self.level.lower_p_value < significance).flatten().tolist(),
            strict=True,
        ):
            if wrong:
                verdicts.append("miscalibrated")
            elif above:
                verdicts.append("noise understated")
            else:
                verdicts.append("noise overstated" if below else "fits")
        return verdicts


class CameraTest:
    r"""Test whether any scene explains captures of a camera, without knowing the scene.

    The residual of a reconstruction whose prior is ten times as wide as the scene holds noise and
    next to nothing of the scene. With :math:`r_k = 1 - G_k` its energy has the mean
    :math:`\sigma^2 \operatorname{tr}(I - H)^2 = \sigma^2 (N - K + \sum_k r_k^2)` and the variance
    :math:`2 \sigma^4 (N - K + \sum_k r_k^4)` for :math:`N` samples and :math:`K` coefficients.

    Parameters
    ----------
    factors : SeparableFactors
        The camera.

    Raises
    ------
    TypeError
        The camera is not separable.
    """

    def __init__(self, factors: SeparableFactors) -> None:
        if not isinstance(factors, SeparableFactors):
            raise TypeError(
                "a capture is tested against a separable camera's range, got "
                f"{type(factors).__name__}; of other cameras test a picture's residual"
            )
        self.factors = factors
        self._motion = MotionBasis.of(factors)
        self._strips = Strips(factors)

    def __call__(
        self,
        capture: Tensor,
        prior_std: float | Tensor,
        noise_std: float | Tensor | None = None,
        *,
        valid: Tensor | None = None,
        uncertainty: float = 0.0,
        neighbour_correlation: float = 0.0,
        least_noise: float = 0.0,
        spectral: SpectralCapture | None = None,
        centred: bool = False,
        keep_residual: bool = False,
    ) -> CameraFit:
        """Test captures.

        Parameters
        ----------
        capture : Tensor, shape (..., *capture_shape)
            Captures, with :func:`fill_missing` done where samples are missing.
        prior_std : float or Tensor, shape (...)
            Root mean square of the scene.
        noise_std : float or Tensor, shape (...), optional
            Noise of the captures; estimated from second differences of the residual by default,
            and then ``uncertainty`` should say how well.
        valid : Tensor of bool, broadcastable to the capture, optional
            False where samples were filled; they count neither as energy nor as freedom.
        uncertainty : float, optional
            Relative standard deviation of the noise variance.
        neighbour_correlation : float, optional
            Correlation of neighbouring samples' noise that is no misfit, as turning a frame makes.
        least_noise : float, optional
            What an estimate of the noise is raised to, such as that of rounding.
        spectral : SpectralCapture, optional
            ``factors.spectral(capture)``, where it is known already.
        centred : bool, optional
            Whether a mean-free camera's captures have lost their row and column means already.
        keep_residual : bool, optional
            Whether to give the residual as well, which costs as much as a reconstruction.

        Returns
        -------
        CameraFit
            One test for each channel of each capture.

        Raises
        ------
        ShapeError
            The capture is not one of this camera.
        """
        factors = self.factors
        check_shape(capture, factors.capture_shape, "capture")
        prior = torch.as_tensor(prior_std).to(capture).expand(capture.shape[:-2])
        if spectral is None:
            spectral = factors.spectral(capture, centred=centred)
        strips = self._strips.of(capture, centred=centred)
        if noise_std is None:
            noise = self._noise_std(strips, spectral, prior, neighbour_correlation, least_noise)
        else:
            noise = torch.as_tensor(noise_std).to(prior).expand_as(prior)
        rejected = self._rejected(noise, prior)
        explained, residual = (1 - rejected) * spectral.coefficients, None
        if keep_residual or valid is not None:
            residual = capture - factors.u_left @ explained @ factors.u_right.mT
            if factors.mean_free and not centred:
                residual = MeanRemoval.within(residual)
            left = self._strips.cut(residual)
        else:
            left = self._strips.left(strips, explained)
        fitted = factors.gains.shape[-2] * factors.gains.shape[-1]
        outside = torch.full_like(noise, factors.capture_dof - fitted)
        energy = spectral.unreachable + (rejected * spectral.coefficients).square().sum((-2, -1))
        if valid is not None:
            assert residual is not None
            filled = torch.where(valid, 0.0, residual)
            energy = energy - filled.square().sum((-2, -1))
            outside = outside - (~valid).expand(capture.shape).sum((-2, -1))
        expected = outside + rejected.square().sum((-2, -1))
        fourth = outside + rejected.square().square().sum((-2, -1))
        misfit = (energy / expected).sqrt()
        widened = (1 + 2 * neighbour_correlation**2) ** 2  # both ways, of an isotropic blur
        moved, still, freedom = self._motion.energy(capture, misfit, prior, neighbour_correlation)
        return CameraFit(
            level=ChiSquare.of(
                energy / noise.square(), expected, 2 * widened * fourth, uncertainty
            ),
            structure=self._strips.structure(
                left, rejected, expected, misfit, neighbour_correlation
            ),
            motion=ChiSquare.of(moved, still, 2 * still.square() / freedom.clamp_min(1)),
            noise_std=noise,
            misfit_std=misfit,
            spectral=spectral,
            rejected=rejected,
            residual=residual if keep_residual else None,
        )

    def _rejected(self, noise: Tensor, prior: Tensor) -> Tensor:
        """Share of each coefficient that the fit with a wide prior leaves."""
        return 1 - measured_share(self.factors.gains, noise, _LOOSENED * prior)

    def _noise_std(
        self, strips: Tensor, spectral: SpectralCapture, prior: Tensor, known: float, least: float
    ) -> Tensor:
        """Estimate noise where shadows do not disturb it: in what earlier estimates leave."""
        rejected = torch.ones_like(spectral.coefficients)
        noise = self._strips.noise_std(strips, rejected, known).clamp_min(least)
        settled = torch.zeros_like(noise, dtype=torch.bool)
        for _ in range(3):
            rejected = self._rejected(noise, prior)
            left = self._strips.left(strips, (1 - rejected) * spectral.coefficients)
            better = self._strips.noise_std(left, rejected, known).clamp_min(least)
            change = (better / noise - 1).abs()
            noise = torch.where(settled, noise, better)
            settled = settled | (change < _SETTLED)
            if bool(settled.all()):
                break
        return noise
