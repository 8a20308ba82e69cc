r"""Whether a camera can have made a capture at all, of whatever scene.

What no scene explains is noise, or the camera is not the one of the record. A wrong noise level
changes how much there is of it; a wrong camera also leaves it with structure, because the shadow
of a mask is wider than a pixel, and puts it where a motion of the shadow would.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from ..operators import MeanRemoval
from ..prediction import measured_share
from ..shapes import check_shape
from ..solvers import SeparableFactors
from .motion import MotionBasis, neighbour_overlap
from .noise import estimate_noise_std, noise_of_differences, second_difference
from .statistics import ChiSquare, normal_p_value

__all__ = ["CameraFit", "CameraTest", "CameraVerdict"]

CameraVerdict = Literal["fits", "miscalibrated", "noise understated", "noise overstated"]

#: How far the scene is freed: a prior so wide that its pull on the residual is below the noise.
_LOOSENED = 10.0


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
    coefficients : Tensor, shape (..., modes_left, modes_right)
        The captures in the camera's singular vectors.
    rejected : Tensor, shape (..., modes_left, modes_right)
        Share of each that was not fitted.
    """

    level: ChiSquare
    structure: Tensor
    motion: ChiSquare
    noise_std: Tensor
    misfit_std: Tensor
    coefficients: Tensor
    rejected: Tensor

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
        width = factors.capture_shape[-1]
        starts = torch.arange(0, width - 2, max(12, min(18, width // 26)))
        self._columns = (starts[:, None] + torch.arange(3)).flatten()

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
        coefficients: Tensor | None = None,
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
        coefficients : Tensor, shape (..., modes_left, modes_right), optional
            ``factors.analyse(capture)``, where it is known already.

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
        lead = capture.shape[:-2]
        prior = torch.as_tensor(prior_std).to(capture).expand(lead)
        if coefficients is None:
            coefficients = factors.analyse(capture)
        if factors.mean_free:
            capture = MeanRemoval(factors.capture_shape).forward(capture)
        if noise_std is None:
            rough = estimate_noise_std(
                capture, valid=valid, neighbour_correlation=neighbour_correlation
            ).clamp_min(least_noise)
            noise = self._refined_noise(capture, coefficients, prior, rough, neighbour_correlation)
            noise = noise.clamp_min(least_noise)
        else:
            noise = torch.as_tensor(noise_std).to(capture).expand(lead)
        rejected = self._rejected(noise, prior)
        strips = self._strips(capture, (1 - rejected) * coefficients)
        fitted = factors.gains.shape[-2] * factors.gains.shape[-1]
        outside = torch.full_like(noise, factors.capture_dof - fitted)
        explained = (1 - rejected.square()) * coefficients.square()
        energy = torch.linalg.vector_norm(capture, dim=(-2, -1)).square()
        energy = energy - explained.sum((-2, -1))
        if valid is not None:
            filled = torch.where(valid, 0.0, self._unexplained(capture, rejected, coefficients))
            energy = energy - filled.square().sum((-2, -1))
            outside = outside - (~valid).expand(capture.shape).sum((-2, -1))
        expected = outside + rejected.square().sum((-2, -1))
        fourth = outside + rejected.square().square().sum((-2, -1))
        misfit = (energy / expected).sqrt()
        widened = (1 + 2 * neighbour_correlation**2) ** 2  # both ways, of an isotropic blur
        moved, still, freedom = self._motion.energy(
            factors, capture, misfit, prior, neighbour_correlation
        )
        return CameraFit(
            level=ChiSquare.of(
                energy / noise.square(), expected, 2 * widened * fourth, uncertainty
            ),
            structure=self._structure(strips, rejected, expected, misfit, neighbour_correlation),
            motion=ChiSquare.of(moved, still, 2 * still.square() / freedom.clamp_min(1)),
            noise_std=noise,
            misfit_std=misfit,
            coefficients=coefficients,
            rejected=rejected,
        )

    def residual(self, capture: Tensor, fit: CameraFit) -> Tensor:
        """Give what no scene explains, to be looked at, shape (..., *capture_shape)."""
        if self.factors.mean_free:
            capture = MeanRemoval(self.factors.capture_shape).forward(capture)
        return self._unexplained(capture, fit.rejected, fit.coefficients)

    def _unexplained(self, centred: Tensor, rejected: Tensor, coefficients: Tensor) -> Tensor:
        factors = self.factors
        return centred - factors.u_left @ ((1 - rejected) * coefficients) @ factors.u_right.mT

    def _rejected(self, noise: Tensor, prior: Tensor) -> Tensor:
        """Share of each coefficient that the fit with a wide prior leaves."""
        return 1 - measured_share(self.factors.gains, noise, _LOOSENED * prior)

    def _refined_noise(
        self, centred: Tensor, coefficients: Tensor, prior: Tensor, noise: Tensor, known: float
    ) -> Tensor:
        """Estimate noise where shadows do not disturb it: in what a first estimate leaves."""
        for _ in range(2):
            rejected = self._rejected(noise, prior)
            strips = self._strips(centred, (1 - rejected) * coefficients)
            differences = second_difference(second_difference(strips).mT).abs().flatten(-3)
            left = noise_of_differences(differences, known)
            noise = left / self._roughness_kept(rejected).sqrt()
        return noise

    def _strips(self, capture: Tensor, fitted: Tensor) -> Tensor:
        """Residual in strips of three columns, (..., strips, height, 3).

        They are a sixth to a quarter of the sensor: neighbours can be compared there at less cost.
        """
        columns = self._columns
        explained = self.factors.u_left @ (fitted @ self.factors.u_right[..., columns, :].mT)
        residual = capture[..., columns] - explained
        return residual.reshape(*residual.shape[:-1], -1, 3).movedim(-2, -3)

    @cached_property
    def _overlaps(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """What neighbours in strips, down and right, share of each vector, left and right."""
        left, right = self.factors.u_left, self.factors.u_right[..., self._columns, :]
        right = right.reshape(*right.shape[:-2], -1, 3, right.shape[-1])
        return (
            (neighbour_overlap(left), right.square().sum((-3, -2))),
            (left.square().sum(-2), (right[..., 1:, :] * right[..., :-1, :]).sum((-3, -2))),
        )

    def _roughness_kept(self, rejected: Tensor) -> Tensor:
        """Share of the noise's second differences that a fit leaves, which takes smooth noise."""
        return 1 - ((1 - rejected.square()) * self._roughness).sum((-2, -1))

    @cached_property
    def _roughness(self) -> Tensor:
        """Share of each mode in the noise's second differences."""
        factors = self.factors
        left = second_difference(factors.u_left).square().sum(-2)
        right = second_difference(factors.u_right).square().sum(-2)
        samples = (factors.capture_shape[-2] - 2) * (factors.capture_shape[-1] - 2)
        return left[..., :, None] * right[..., None, :] / (36 * samples)

    def _structure(
        self, strips: Tensor, rejected: Tensor, expected: Tensor, misfit: Tensor, known: float
    ) -> Tensor:
        """Largest correlation of neighbours, down or right, in standard deviations.

        White noise that lost its projection on the fitted modes, and its means, is no longer quite
        white; what that does to the mean is a trace over the modes. Of the variance only the
        average is accounted for, which is enough where a fit takes less than half of the samples.
        """
        lost = 1 - rejected.square()
        count, height, width = strips.shape[-3], *self.factors.capture_shape[-2:]
        kept = expected / (height * width)  # of each sample's variance, on average
        scores = []
        for products, (left, right), means in (
            (
                strips[..., 1:, :] * strips[..., :-1, :],
                self._overlaps[0],
                (1 - 1 / height) * (1 - 1 / width) * 3 * count,
            ),
            (
                strips[..., :, 1:] * strips[..., :, :-1],
                self._overlaps[1],
                (1 - 1 / height) * (height / width) * 2 * count,
            ),
        ):
            pairs = products.shape[-3:].numel()
            removed = (lost * left[..., :, None] * right[..., None, :]).sum((-2, -1))
            removed = removed + (means if self.factors.mean_free else 0.0)
            found = products.sum((-3, -2, -1)) / misfit.square()
            scores.append((found + removed - known * kept * pairs) / (kept * pairs**0.5))
        return torch.maximum(scores[0], scores[1])
