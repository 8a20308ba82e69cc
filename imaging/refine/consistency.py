r"""Making an imagined picture agree with what was measured, as far as the noise lets it.

In the singular vectors of a separable camera everything is diagonal: a scene's coefficient
:math:`X_{ij}` reaches the capture as :math:`s_{ij} X_{ij}` plus noise. Against an estimate whose
error is :math:`\sigma_t`, the measurement :math:`C = U_L^T Y U_R / s` deserves the share
:math:`G = s^2 / (s^2 + \sigma_n^2 / \sigma_t^2)`, and the picture becomes

.. math:: X + V_L \left[ G \circ (C - V_L^T X V_R) \right] V_R^T .
"""

import torch
from torch import Tensor

from ..bayer import plane_mixing
from ..shapes import ShapeError, check_shape
from ..solvers import SeparableFactors

__all__ = ["RangeConsistency"]

#: Bands of gains in which an error is estimated: fewer miss its shape, more fit the noise.
NUM_BANDS = 8


class RangeConsistency:
    r"""Noise-aware range-space consistency with captures of an exact separable camera.

    Parameters
    ----------
    factors : SeparableFactors
        The camera.
    capture : Tensor, shape (batch, planes, sensor_height, sensor_width)
        Prepared captures.
    noise_std : float or Tensor, shape (batch, planes) or broadcastable to it
        Noise of captures, at least 0.
    colour_matrix : Tensor, shape (3, 3), optional
        From the camera's RGB to that of pictures.

    Raises
    ------
    ShapeError
        The capture has another shape.
    ValueError
        The noise is negative.

    References
    ----------
    Wang, Yu & Zhang, "Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model",
    ICLR 2023. Kawar et al., "Denoising Diffusion Restoration Models", NeurIPS 2022.
    """

    def __init__(
        self,
        factors: SeparableFactors,
        capture: Tensor,
        noise_std: float | Tensor,
        colour_matrix: Tensor | None = None,
    ) -> None:
        check_shape(capture, factors.capture_shape, "capture")
        if capture.ndim != 4:
            raise ShapeError(
                "capture must have shape (batch, planes, height, width), "
                f"got {tuple(capture.shape)}"
            )
        noise = torch.as_tensor(noise_std, dtype=capture.dtype, device=capture.device)
        if not bool((noise >= 0).all()):
            raise ValueError(f"noise_std must be at least 0, got {noise_std}")
        self.factors = factors
        self.noise_std = noise.expand(capture.shape[:2])
        self._capture = factors.spectral(capture)
        self._bands = _gain_bands(factors.gains)
        split = plane_mixing(capture.shape[1], colour_matrix)
        self._split = split.to(capture)
        self._merge = torch.linalg.pinv(split).to(capture)
        # Each green plane stands for half of what is known of green.
        same_colour = plane_mixing(capture.shape[1])
        self._repeats = (same_colour @ same_colour.mT > 0).sum(1).to(capture)

    def __call__(self, rgb: Tensor, error_std: float | Tensor | None = None) -> Tensor:
        """Bring pictures (batch, 3, height, width) of linear light into line with the capture.

        Corrections of the two greens are averaged, which is exact where both planes have the same
        transfer matrices, and a step towards both where they differ.

        Parameters
        ----------
        rgb : Tensor, shape (batch, 3, *scene size)
            Linear light in units of the scene.
        error_std : float or Tensor, optional
            The pictures' own error, over 0, broadcastable to (batch, planes, modes_left,
            modes_right), as from :meth:`error_std`; by default so large that the measurement
            decides wherever it says anything.

        Returns
        -------
        Tensor, the same shape
            The corrected pictures; what no capture holds is as it was.
        """
        correction = self._correction(self._mix(self._split, rgb), error_std, self._repeats)
        return rgb + self._mix(self._merge, correction)

    def planes(self, scene: Tensor, error_std: float | Tensor | None = None) -> Tensor:
        """Do the same to scene planes (batch, planes, height, width), each by itself."""
        return scene + self._correction(scene, error_std, torch.ones_like(self._repeats))

    def error_std(self, rgb: Tensor) -> Tensor:
        r"""Estimate the error of pictures from how they contradict the measurement.

        In a band of similar gains, an error of variance :math:`e^2` leaves residuals
        :math:`r_{ij}` of variance :math:`\sigma_n^2 + s_{ij}^2 e^2`; each band's :math:`e^2` is the
        weighted least-squares fit of that. Weak gains bury their error in noise, so a band's is
        taken to be no larger than that of any stronger band.

        Parameters
        ----------
        rgb : Tensor, shape (batch, 3, *scene size)
            Linear light in units of the scene.

        Returns
        -------
        Tensor, shape (batch, planes, modes_left, modes_right)
            Over 0; tiny where the noise explains everything.
        """
        residual = self._residual(self._mix(self._split, rgb))
        power, noise = self.factors.gains.square(), self.noise_std.square()[..., None, None]
        excess = power * (residual.square() - noise)
        tiny = torch.finfo(residual.dtype).tiny
        variance = torch.full_like(residual, tiny)
        bound = torch.full_like(self.noise_std, torch.inf)
        for band in range(NUM_BANDS):
            inside = self._bands == band
            weight = (power.square() * inside).sum((-2, -1))
            fitted = (excess * inside).sum((-2, -1)) / weight.clamp_min(tiny)
            bound = torch.where(weight > 0, torch.minimum(bound, fitted), bound).clamp_min(tiny)
            variance = torch.where(inside, bound[..., None, None], variance)
        return variance.sqrt()

    def whitened_residual(self, rgb: Tensor) -> Tensor:
        """Root mean square of what the pictures leave unexplained, over the noise.

        Returns
        -------
        Tensor, shape (batch, planes)
            About 1 for a picture that explains its capture; infinite without noise.
        """
        residual = self._residual(self._mix(self._split, rgb))
        energy = residual.square().sum((-2, -1)) + self._capture.unreachable
        return (energy / self.factors.capture_dof).sqrt() / self.noise_std

    def _residual(self, planes: Tensor) -> Tensor:
        check_shape(planes, self.factors.scene_shape, "scene")
        factors = self.factors
        return self._capture.coefficients - factors.gains * factors.decompose(planes)

    def _correction(
        self, planes: Tensor, error_std: float | Tensor | None, repeats: Tensor
    ) -> Tensor:
        """Give the change of each plane; planes of one colour share what is known of it."""
        noise, gains = self.noise_std[..., None, None], self.factors.gains
        penalty = torch.zeros_like(noise)
        if error_std is not None:
            error = torch.as_tensor(error_std, dtype=noise.dtype, device=noise.device)
            penalty = (noise / error).square() / repeats[:, None, None]
        # G / s, written so that a mode that was not measured gives 0 and not 0/0.
        weight = torch.where(gains > 0, gains / (gains.square() + penalty), 0.0)
        return self.factors.synthesise(weight * self._residual(planes))

    @staticmethod
    def _mix(matrix: Tensor, channels: Tensor) -> Tensor:
        return torch.einsum("ij,bjhw->bihw", matrix, channels)


def _gain_bands(gains: Tensor) -> Tensor:
    """Sort gains into bands from 0, the strongest, to NUM_BANDS - 1; those of zero get NUM_BANDS.

    Bands grow in size like rings of equal width in two dimensions.
    """
    rank = gains.flatten(-2).argsort(-1, descending=True).argsort(-1).reshape(gains.shape)
    measured = (gains > 0).sum((-2, -1), keepdim=True)
    ring = (NUM_BANDS * ((rank + 0.5) / measured.clamp_min(1)).sqrt()).long()
    return torch.where(gains > 0, ring, NUM_BANDS)
