"""How far an image is from a reference. Nothing here rescales an image unasked."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .shapes import ShapeError, check_floating

__all__ = [
    "Alignment",
    "align_gain",
    "correlation",
    "mse",
    "nmse",
    "psnr",
    "ssim",
]

_IMAGE = (-3, -2, -1)  # channels, height, width


def mse(image: Tensor, reference: Tensor) -> Tensor:
    """Mean squared error.

    Parameters
    ----------
    image, reference : Tensor, shape (..., channels, height, width)
        Two images, or batches of equal shape.

    Returns
    -------
    Tensor, shape (...)
        In squared units of the images.

    Raises
    ------
    ShapeError, TypeError
        The shapes differ or have fewer than three axes, or a dtype is not floating point.
    """
    check_pair(image, reference)
    return (image - reference).square().mean(_IMAGE)


def nmse(image: Tensor, reference: Tensor) -> Tensor:
    """Squared error over the energy of the reference, ``||image - reference||² / ||reference||²``.

    Parameters
    ----------
    image, reference : Tensor, shape (..., channels, height, width)
        Two images, or batches of equal shape.

    Returns
    -------
    Tensor, shape (...)
        At least 0; infinite or NaN where the reference is zero.

    Raises
    ------
    ShapeError, TypeError
        As in :func:`mse`.
    """
    check_pair(image, reference)
    return (image - reference).square().sum(_IMAGE) / reference.square().sum(_IMAGE)


def psnr(image: Tensor, reference: Tensor, *, data_range: float) -> Tensor:
    """Peak signal-to-noise ratio in decibels.

    Parameters
    ----------
    image, reference : Tensor, shape (..., channels, height, width)
        Two images, or batches of equal shape.
    data_range : float
        From the lowest to the highest value an image can have, such as 1 or 255.

    Returns
    -------
    Tensor, shape (...)
        In dB, infinite where the two are equal.

    Raises
    ------
    ShapeError, TypeError
        As in :func:`mse`.
    ValueError
        ``data_range`` is not positive.
    """
    check_range(data_range)
    return 10 * torch.log10(data_range**2 / mse(image, reference))


def correlation(image: Tensor, reference: Tensor, *, per_channel: bool = False) -> Tensor:
    """Pearson correlation, which does not see gain and offset.

    Parameters
    ----------
    image, reference : Tensor, shape (..., channels, height, width)
        Two images, or batches of equal shape.
    per_channel : bool, optional
        Whether to correlate each channel by itself.

    Returns
    -------
    Tensor, shape (...) or (..., channels)
        In [-1, 1], NaN where an image is constant.

    Raises
    ------
    ShapeError, TypeError
        As in :func:`mse`.
    """
    check_pair(image, reference)
    axes = _IMAGE[1:] if per_channel else _IMAGE
    image = image - image.mean(axes, keepdim=True)
    reference = reference - reference.mean(axes, keepdim=True)
    energies = image.square().sum(axes) * reference.square().sum(axes)
    return (image * reference).sum(axes) / energies.sqrt()


def ssim(image: Tensor, reference: Tensor, *, data_range: float) -> Tensor:
    """Structural similarity, with the Gaussian window of the paper and the mean over channels.

    The window has 11 x 11 taps and a standard deviation of 1.5; only where it lies within the
    image does it count. This is scikit-image's ``structural_similarity`` with
    ``gaussian_weights=True, sigma=1.5, use_sample_covariance=False``.

    Parameters
    ----------
    image, reference : Tensor, shape (..., channels, height, width)
        Two images, or batches of equal shape, of at least 11 x 11 pixels.
    data_range : float
        From the lowest to the highest value an image can have, such as 1 or 255.

    Returns
    -------
    Tensor, shape (...)
        At most 1, which equal images have.

    Raises
    ------
    ShapeError, TypeError
        As in :func:`mse`, or the images are smaller than the window.
    ValueError
        ``data_range`` is not positive.

    References
    ----------
    Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity",
    IEEE Transactions on Image Processing, 2004.
    """
    check_range(data_range)
    check_pair(image, reference)
    if min(image.shape[-2:]) < 2 * _SSIM_RADIUS + 1:
        raise ShapeError(
            f"image must be at least {2 * _SSIM_RADIUS + 1} pixels high and wide for SSIM, "
            f"got {tuple(image.shape)}"
        )
    moments = (image, reference, image.square(), reference.square(), image * reference)
    mean_x, mean_y, square_x, square_y, product = _window_mean(torch.stack(moments)).unbind()
    variance_x, variance_y = square_x - mean_x.square(), square_y - mean_y.square()
    covariance = product - mean_x * mean_y
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return (luminance * structure).mean(_IMAGE)


_SSIM_RADIUS = 5


def _window_mean(maps: Tensor) -> Tensor:
    """Gaussian mean over the window, shape (..., height - 10, width - 10)."""
    weights = [math.exp(-0.5 * (tap / 1.5) ** 2) for tap in range(-_SSIM_RADIUS, _SSIM_RADIUS + 1)]
    # Not a convolution: GPUs round its operands to 10 bits, and variances are small differences.
    for axis in (-2, -1):
        size = maps.shape[axis] - 2 * _SSIM_RADIUS
        blurred = torch.zeros_like(maps.narrow(axis, 0, size))
        for tap, weight in enumerate(weights):
            blurred = blurred.add(maps.narrow(axis, tap, size), alpha=weight / sum(weights))
        maps = blurred
    return maps


@dataclass(frozen=True, eq=False)
class Alignment:
    """An image brought to the exposure of a reference, ``gain * image + offset``.

    Attributes
    ----------
    image : Tensor, shape (..., channels, height, width)
        The aligned image.
    gain, offset : Tensor, shape (...)
        One of each for all channels of an image.
    """

    image: Tensor
    gain: Tensor
    offset: Tensor


def align_gain(image: Tensor, reference: Tensor, *, offset: bool = True) -> Alignment:
    """Fit the gain, and the offset, that bring an image closest to a reference.

    A reconstruction's exposure is often unknown. Calling this says openly that a metric after it
    does not measure exposure; no metric here does it by itself.

    Parameters
    ----------
    image, reference : Tensor, shape (..., channels, height, width)
        Two images, or batches of equal shape.
    offset : bool, optional
        Whether to fit an offset too.

    Returns
    -------
    Alignment
        The least-squares fit; a constant image gets the gain 0 with an offset, as does a zero one
        without.

    Raises
    ------
    ShapeError, TypeError
        As in :func:`mse`.
    """
    check_pair(image, reference)
    image_mean, reference_mean = (
        tensor.mean(_IMAGE, keepdim=True) if offset else tensor.new_zeros(())
        for tensor in (image, reference)
    )
    centred = image - image_mean
    energy = centred.square().sum(_IMAGE, keepdim=True)
    product = (centred * (reference - reference_mean)).sum(_IMAGE, keepdim=True)
    gain = product / energy.clamp_min(torch.finfo(energy.dtype).tiny)
    shift = (reference_mean - gain * image_mean).expand_as(gain)
    return Alignment(gain * image + shift, gain[..., 0, 0, 0], shift[..., 0, 0, 0])


def check_pair(image: Tensor, reference: Tensor) -> None:
    """Require two floating-point images of one shape (..., channels, height, width).

    Raises
    ------
    ShapeError, TypeError
        The shapes differ or have fewer than three axes, or a dtype is not floating point.
    """
    check_floating(image, "image")
    check_floating(reference, "reference")
    if image.shape != reference.shape or image.ndim < 3:
        raise ShapeError(
            "image and reference must have one shape (..., channels, height, width), "
            f"got {tuple(image.shape)} and {tuple(reference.shape)}"
        )


def check_range(data_range: float) -> None:
    """Require a positive data range.

    Raises
    ------
    ValueError
        ``data_range`` is not positive.
    """
    if not data_range > 0:
        raise ValueError(f"data_range must be positive, got {data_range}")
