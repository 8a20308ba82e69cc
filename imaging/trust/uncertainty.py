r"""How far a reconstruction may be off: in closed form, and as the spread of samples."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..prediction import measured_share
from ..shapes import ShapeError, check_floating
from ..solvers import inverse_filter
from .spectrum import Factors, mean_share
from .windows import check_window, window_mean

__all__ = [
    "ErrorMaps",
    "ReconstructionVariance",
    "local_std",
    "merge_planes_variance",
    "reconstruction_variance",
    "sample_spread",
    "sampled_std",
]


@dataclass(frozen=True, eq=False)
class ReconstructionVariance:
    """Mean squared error of a Tikhonov reconstruction, sample by sample.

    Attributes
    ----------
    noise : Tensor, shape (..., height, width)
        From the noise of the capture; it holds for every scene.
    prior : Tensor, shape (..., height, width)
        From what the capture leaves open; the mean over scenes of the prior.
    """

    noise: Tensor
    prior: Tensor

    @property
    def total(self) -> Tensor:
        """Both."""
        return self.noise + self.prior

    @property
    def std(self) -> Tensor:
        """Root of the total, in units of the scene."""
        return self.total.sqrt()


@dataclass(frozen=True, eq=False)
class ErrorMaps:
    """What Tikhonov's reconstruction with one penalty makes of noise and scene, sample by sample.

    Attributes
    ----------
    noise : Tensor, shape (..., height, width)
        Variance that noise of unit variance leaves.
    prior : Tensor, shape (..., height, width)
        Variance that is missing of a scene of unit variance, in [0, 1].
    """

    noise: Tensor
    prior: Tensor

    @classmethod
    def of(cls, factors: Factors, penalty: Tensor) -> "ErrorMaps":
        """Compute the maps for penalties of shape (...), over 0; four matrix products."""
        inverse = inverse_filter(factors.gains, penalty.to(factors.gains))
        lost = 1 - factors.gains * inverse
        known = mean_share(factors, 1 - lost.square())
        return cls(mean_share(factors, inverse.square()), (1 - known).clamp_min(0))

    def variance(self, noise_std: Tensor, prior_std: Tensor) -> ReconstructionVariance:
        """Give the error's variance at a noise and a strength of the scene, shape (...)."""
        noise, prior = (std.square()[..., None, None] for std in (noise_std, prior_std))
        return ReconstructionVariance(noise * self.noise, prior * self.prior)


def reconstruction_variance(
    factors: Factors,
    noise_std: float | Tensor,
    prior_std: float | Tensor,
    *,
    penalty: Tensor | None = None,
) -> ReconstructionVariance:
    r"""Give the error variance of Tikhonov's reconstruction in closed form.

    With the filter :math:`f = s / (s^2 + \lambda)` and :math:`G = s f` the two parts are
    :math:`V_L^{\circ 2} (f^2 \sigma^2) V_R^{\circ 2\,T}` and
    :math:`\tau^2 (1 - V_L^{\circ 2} (1 - (1 - G)^2) V_R^{\circ 2\,T})`. With
    :math:`\lambda = \sigma^2 / \tau^2` they sum to
    :func:`~barelens.imaging.prediction.posterior_variance`.

    Parameters
    ----------
    factors : SeparableFactors or FourierFactors
        The camera; of a shift-invariant one the result is the same everywhere.
    noise_std : float or Tensor, shape (...)
        Noise of the capture, over 0.
    prior_std : float or Tensor, shape (...)
        Root mean square of the scene, over 0, its samples independent of each other.
    penalty : Tensor, shape (...), optional
        :math:`\lambda` of the reconstruction; the best one, :math:`\sigma^2 / \tau^2`, by default.

    Returns
    -------
    ReconstructionVariance
        Maps of the scene's size.

    Raises
    ------
    ValueError
        A standard deviation is not positive.
    """
    share = measured_share(factors.gains, noise_std, prior_std)
    noise, prior = (torch.as_tensor(std).to(factors.gains) for std in (noise_std, prior_std))
    if penalty is not None:
        return ErrorMaps.of(factors, penalty).variance(noise, prior)
    known = mean_share(factors, 1 - (1 - share).square())
    variance = prior.square()[..., None, None]
    return ReconstructionVariance(
        noise=mean_share(factors, share * (1 - share) * variance),  # f^2 sigma^2, undivided
        prior=variance * (1 - known).clamp_min(0),
    )


def merge_planes_variance(planes: ReconstructionVariance) -> ReconstructionVariance:
    """Variance of RGB from that of the planes R, Gr, Gb and B.

    The two greens have noise of their own but one scene: their noise averages out, what neither
    saw does not. Where their matrices differ the prior's part is an upper bound, else exact.

    Parameters
    ----------
    planes : ReconstructionVariance of shape (..., 4, height, width)
        Variance of each plane.

    Returns
    -------
    ReconstructionVariance of shape (..., 3, height, width)
        Of :func:`~barelens.imaging.bayer.planes_to_rgb`'s result.

    Raises
    ------
    ShapeError
        There are not four planes.
    """
    if planes.noise.ndim < 3 or planes.noise.shape[-3] != 4 or planes.prior.shape[-3] != 4:
        raise ShapeError(
            f"planes must have shape (..., 4, height, width), got {tuple(planes.noise.shape)}"
        )
    red, green_r, green_b, blue = planes.noise.unbind(-3)
    noise = torch.stack([red, (green_r + green_b) / 4, blue], dim=-3)
    red, green_r, green_b, blue = planes.prior.unbind(-3)
    green = ((green_r.sqrt() + green_b.sqrt()) / 2).square()
    return ReconstructionVariance(noise, torch.stack([red, green, blue], dim=-3))


def local_std(variance: ReconstructionVariance, scene: Tensor, *, window: int = 9) -> Tensor:
    """Predict the error around each sample from the finest detail that was reconstructed there.

    Natural scenes are no white noise: where the reconstruction is flat, what it misses is small,
    and at edges it is large. The contrast of the reconstruction within a window stands for what
    it misses, and the noise of the capture adds to it. The scale is left to
    :func:`~barelens.imaging.trust.fit_conformal`.

    Parameters
    ----------
    variance : ReconstructionVariance of shape (..., height, width)
        Only its noise is used.
    scene : Tensor, shape (..., height, width)
        The reconstruction.
    window : int, optional
        Odd side of the window, in samples.

    Returns
    -------
    Tensor, shape (..., height, width)
        In units of the scene.

    Raises
    ------
    ValueError
        The window is even or not positive.
    """
    check_window(window)
    fine = scene - window_mean(scene, window)
    return (variance.noise + window_mean(fine.square(), window)).sqrt()


def sample_spread(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread of samples, such as a diffusion model draws with different seeds.

    Parameters
    ----------
    samples : Tensor, shape (samples, ..., height, width)
        Two or more pictures of one capture.

    Returns
    -------
    mean, std : Tensor, shape (..., height, width)
        The unbiased standard deviation says how far samples are from each other, not how far they
        are from the truth: calibrate it with :func:`~barelens.imaging.trust.fit_conformal`.

    Raises
    ------
    ShapeError
        There are fewer than two samples.
    TypeError
        They are not floating point.
    """
    check_floating(samples, "samples")
    if samples.ndim < 3 or samples.shape[0] < 2:
        raise ShapeError(
            f"samples must have shape (2 or more, ..., height, width), got {tuple(samples.shape)}"
        )
    std, mean = torch.std_mean(samples, dim=0)
    return mean, std


def sampled_std(
    variance: ReconstructionVariance, picture: Tensor, samples: Tensor, *, window: int = 9
) -> Tensor:
    """Predict the error of a picture that a generative model drew, from further such pictures.

    The spread of samples tells where the model has a choice, but not where it errs with
    confidence; :func:`local_std` stands for that. The scale is left to
    :func:`~barelens.imaging.trust.fit_conformal_to_pictures`.

    Parameters
    ----------
    variance : ReconstructionVariance of shape (..., height, width)
        Only its noise is used.
    picture : Tensor, shape (..., height, width)
        The picture whose error is asked for.
    samples : Tensor, shape (samples, ..., height, width)
        Two or more pictures of the same capture, this one among them.
    window : int, optional
        Odd side of the window of local detail, in samples of the scene.

    Returns
    -------
    Tensor, shape (..., height, width)
        In units of the scene.

    Raises
    ------
    ShapeError, TypeError, ValueError
        As from :func:`sample_spread` and :func:`local_std`.
    """
    _, spread = sample_spread(samples)
    return torch.hypot(local_std(variance, picture, window=window), spread)
