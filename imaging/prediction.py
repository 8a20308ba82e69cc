r"""What a camera will see: closed forms for variance and PSNR before any capture.

Everything rests on the model :math:`y = A x + n` with white noise :math:`n` of standard deviation
:math:`\sigma`, and a scene whose samples vary independently about a known mean with standard
deviation :math:`\tau`. In the singular vectors of :math:`A` a capture then knows of a coefficient
of gain :math:`g` the share :math:`w = \tau^2 g^2 / (\sigma^2 + \tau^2 g^2)`; the rest is what the
prior says. Natural scenes are smoother: :func:`component_variance` and
:func:`frequency_variance` give the spectrum of scenes whose neighbours correlate.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .sensor import Sensor
from .shapes import check_floating
from .solvers.factors import SeparableFactors

__all__ = [
    "capture_noise_std",
    "component_variance",
    "expected_psnr",
    "frequency_variance",
    "measured_share",
    "posterior_variance",
    "predict_psnr",
]


def measured_share(gains: Tensor, noise_std: float | Tensor, prior_std: float | Tensor) -> Tensor:
    r"""Share of each spectral coefficient that comes from the capture, not from the prior.

    Parameters
    ----------
    gains : Tensor, shape (..., rows, columns)
        Gain of each coefficient: singular values of a camera, or moduli of a transfer function.
    noise_std : float or Tensor, shape (...)
        Noise of captures, over 0, in units of captures.
    prior_std : float or Tensor, shape (...)
        Standard deviation of scene samples, over 0, in units of scenes.

    Returns
    -------
    Tensor, shape (..., rows, columns)
        From 0, nothing but prior, over 1/2, where signal and noise are equal, to 1.

    Raises
    ------
    TypeError
        The gains are not floating point.
    ValueError
        A standard deviation is not positive.
    """
    check_floating(gains, "gains")
    noise = _per_item(noise_std, gains, "noise_std")
    prior = _per_item(prior_std, gains, "prior_std")
    signal_to_noise = (gains * (prior / noise)).square()
    return signal_to_noise / (1 + signal_to_noise)


def posterior_variance(
    factors: SeparableFactors, noise_std: float | Tensor, prior_std: float | Tensor
) -> Tensor:
    r"""Variance that remains in each scene sample once a capture is known.

    :math:`\tau^2 (1 - V_L^{\circ 2} W V_R^{\circ 2\,T})`, two matrix products. It is the mean
    squared error of Tikhonov's reconstruction about the scene's mean with the penalty
    :math:`\sigma^2 / \tau^2`; components that no capture holds keep the prior's variance.

    Parameters
    ----------
    factors : SeparableFactors
        The camera.
    noise_std : float or Tensor, shape (...)
        Noise of captures, over 0, one for all or one an item and channel.
    prior_std : float or Tensor, shape (...)
        Standard deviation of scene samples, likewise.

    Returns
    -------
    Tensor, shape (..., scene_height, scene_width)
        From 0 to ``prior_std ** 2``.

    Raises
    ------
    ValueError
        A standard deviation is not positive.
    """
    share = measured_share(factors.gains, noise_std, prior_std)
    measured = factors.v_left.square() @ share @ factors.v_right.square().mT
    prior = _per_item(prior_std, factors.gains, "prior_std")
    return prior.square() * (1 - measured).clamp_min(0)


def expected_psnr(variance: Tensor, peak: float = 1.0) -> Tensor:
    r"""PSNR of a reconstruction whose samples have these variances about the truth.

    Parameters
    ----------
    variance : Tensor, shape (..., height, width)
        Mean squared error of each sample, as from :func:`posterior_variance`.
    peak : float, optional
        The scene's range, over 0.

    Returns
    -------
    Tensor, shape (...)
        In dB: :math:`10 \log_{10}(\text{peak}^2 / \text{mean variance})`.

    Raises
    ------
    TypeError
        The variance is not floating point.
    ValueError
        The peak is not positive.
    """
    check_floating(variance, "variance")
    if not peak > 0:
        raise ValueError(f"peak must be positive, got {peak}")
    return 10 * torch.log10(peak**2 / variance.mean((-2, -1)))


def predict_psnr(
    gains: Tensor,
    noise_std: float | Tensor,
    prior_std: float | Tensor,
    *,
    spectrum: Tensor | None = None,
    scene_samples: int | None = None,
    peak: float = 1.0,
) -> Tensor:
    """PSNR from a camera's gains alone, for curves over exposure.

    Without a spectrum it equals ``expected_psnr(posterior_variance(...))`` at the cost of one pass
    over the gains. With one it is that of the best filter that acts on each component alone.

    Parameters
    ----------
    gains : Tensor, shape (..., rows, columns)
        As for :func:`measured_share`.
    noise_std, prior_std : float or Tensor, shape (...)
        As for :func:`measured_share`; more leading axes give more items.
    spectrum : Tensor, shape (..., rows, columns), optional
        Variance of each component over ``prior_std ** 2``; 1 where left out.
    scene_samples : int, optional
        Samples of a scene where the camera has fewer gains than that; what is left over is unseen.
    peak : float, optional
        The scene's range, over 0.

    Returns
    -------
    Tensor, shape (...)
        In dB.

    Raises
    ------
    TypeError, ValueError
        As for :func:`measured_share`, or fewer scene samples than gains.
    """
    modes = gains.shape[-2] * gains.shape[-1]
    samples = modes if scene_samples is None else scene_samples
    if samples < modes:
        raise ValueError(f"scene_samples must be at least the {modes} gains, got {samples}")
    spectrum = torch.ones_like(gains) if spectrum is None else spectrum
    share = measured_share(gains * spectrum.sqrt(), noise_std, prior_std)
    told = (share * spectrum).sum((-2, -1), keepdim=True) / samples
    prior = _per_item(prior_std, gains, "prior_std")
    # One number an item: a picture of one sample.
    return expected_psnr(prior.square() * (1 - told), peak)


def component_variance(factors: SeparableFactors, correlation: float) -> Tensor:
    r"""Variance of a smooth scene's coefficients in a camera's singular vectors.

    The scene's samples have variance 1 and correlate by :math:`\rho^{|i-j| + |k-l|}` over the
    distance in rows and columns; natural pictures have about 0.95.

    Parameters
    ----------
    factors : SeparableFactors
        The camera.
    correlation : float
        That of neighbours, in [0, 1).

    Returns
    -------
    Tensor, shape (..., modes_left, modes_right)
        1 everywhere for a correlation of 0.

    Raises
    ------
    ValueError
        The correlation is out of range.

    References
    ----------
    Jain, "Fundamentals of Digital Image Processing", 1989, section 2.9.
    """
    _check_correlation(correlation)
    left, right = (
        (vectors * (_markov(vectors, correlation) @ vectors)).sum(-2)
        for vectors in (factors.v_left, factors.v_right)
    )
    return left[..., :, None] * right[..., None, :]


def frequency_variance(size: Sequence[int], correlation: float) -> Tensor:
    """Give the same for the discrete Fourier transform of a periodic scene, in its order.

    Parameters
    ----------
    size : sequence of int
        (height, width) of the scene.
    correlation : float
        That of neighbours, in [0, 1).

    Returns
    -------
    Tensor of float64, shape (height, width)
        With a mean of 1.

    Raises
    ------
    ValueError
        The correlation is out of range.
    """
    _check_correlation(correlation)
    sides = []
    for length in size:
        angle = 2 * torch.pi * torch.fft.fftfreq(length, dtype=torch.float64)
        side = 1 / (1 - 2 * correlation * angle.cos() + correlation**2)
        sides.append(side / side.mean())
    return sides[0][:, None] * sides[1]


def capture_noise_std(sensor: Sensor, electrons_per_s: Tensor, *, exposure_s: float) -> Tensor:
    """Noise of captures levelled to black 0 and white 1, below saturation.

    Parameters
    ----------
    sensor : Sensor
        Shot, dark, read and rounding noise.
    electrons_per_s : Tensor of a floating-point dtype
        Electrons that light frees a second in a pixel, at least 0.
    exposure_s : float
        Exposure time, over 0.

    Returns
    -------
    Tensor, the same shape
        Standard deviation in captured light.
    """
    span = sensor.white_level_dn - sensor.black_level_dn
    return sensor.noise_variance(electrons_per_s, exposure_s=exposure_s).sqrt() / span


def _per_item(value: float | Tensor, like: Tensor, name: str) -> Tensor:
    """Give a positive number or one for each item two more axes, in the dtype of the gains."""
    tensor = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    if not bool((tensor > 0).all()):
        raise ValueError(f"{name} must be positive, got {value}")
    return tensor[..., None, None]


def _markov(like: Tensor, correlation: float) -> Tensor:
    """Covariance of a row of samples in which each depends on the one before."""
    index = torch.arange(like.shape[-2], dtype=like.dtype, device=like.device)
    return correlation ** (index[:, None] - index).abs()


def _check_correlation(correlation: float) -> None:
    if not 0 <= correlation < 1:
        raise ValueError(f"correlation must be in [0, 1), got {correlation}")
