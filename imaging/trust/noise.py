"""What the tests of trust stand on: the noise of a capture, the spread of its scene, its gaps."""

import numpy as np
import torch
from torch import Tensor

from ..operators import MeanRemoval
from ..prediction import measured_share
from ..shapes import check_floating, check_shape
from ..solvers import SeparableFactors, SpectralCapture, choose_penalty, inverse_filter

__all__ = ["estimate_noise_std", "estimate_prior_std", "fill_missing"]

_ENOUGH = 2**16  # samples for a median
_NORMAL_QUARTILE = 0.6744897501960817  # median of |n| for standard normal n


def estimate_noise_std(
    capture: Tensor, *, valid: Tensor | None = None, neighbour_correlation: float = 0.0
) -> Tensor:
    """Noise of captures from second differences both ways, in which smooth shadows vanish.

    The median of their moduli is taken, which a few saturated pixels or missing rows do not move.
    Given a residual instead of a capture, not even sharp shadows disturb it.

    Parameters
    ----------
    capture : Tensor, shape (..., height, width)
        White noise over something smooth, at least 3x3.
    valid : Tensor of bool, broadcastable to the capture, optional
        False where a sample is not to be used.
    neighbour_correlation : float, optional
        Correlation of neighbouring samples' noise, below 3/4: a quarter where a frame was turned.

    Returns
    -------
    Tensor, shape (...)
        Standard deviation a sample; NaN where no 3x3 samples are valid.

    Raises
    ------
    TypeError
        The capture is not floating point.

    References
    ----------
    Immerkær, "Fast Noise Variance Estimation", Computer Vision and Image Understanding, 1996.
    """
    check_floating(capture, "capture")
    # A median of so many is exact to half a percent; one of all would cost a reconstruction.
    step = max(1, capture.shape[-2] * capture.shape[-1] // _ENOUGH)
    difference = second_difference(second_difference(capture.mT, step).mT).abs()
    if valid is not None:
        left, middle, right = _neighbours(valid.expand(capture.shape).mT, step)
        above, here, below = _neighbours((left & middle & right).mT)
        difference = difference.where(above & here & below, torch.nan)
    return noise_of_differences(difference.flatten(-2), neighbour_correlation)


def noise_of_differences(flat: Tensor, neighbour_correlation: float = 0.0) -> Tensor:
    """Noise from moduli of second differences both ways, shape (..., samples), without NaN."""
    kept = 1 - 4 / 3 * neighbour_correlation  # of a second difference's variance, on each axis
    return _median(flat) / (6 * kept * _NORMAL_QUARTILE)


def _median(flat: Tensor) -> Tensor:
    """Median of what is not NaN along the last axis; NumPy finds it ten times as fast as torch."""
    rows = flat.detach().cpu().numpy().reshape(-1, flat.shape[-1])
    medians = np.full(len(rows), np.nan, rows.dtype)
    for index, row in enumerate(rows):
        known = row[~np.isnan(row)]
        if len(known):
            middle = (len(known) - 1) // 2
            medians[index] = np.partition(known, middle)[middle]
    return torch.from_numpy(medians).to(flat.device).reshape(flat.shape[:-1])


def second_difference(rows: Tensor, step: int = 1) -> Tensor:
    """Difference of neighbours' differences along the last axis but one, at every so many."""
    above, here, below = _neighbours(rows, step)
    return above - 2 * here + below


def _neighbours(rows: Tensor, step: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    return rows[..., :-2:step, :], rows[..., 1:-1:step, :], rows[..., 2::step, :]


def estimate_prior_std(
    factors: SeparableFactors,
    capture: Tensor,
    noise_std: float | Tensor,
    *,
    spectral: SpectralCapture | None = None,
) -> Tensor:
    """Root mean square of the scene, as the reconstruction with the least estimated risk has it.

    Parameters
    ----------
    factors : SeparableFactors
        The camera.
    capture : Tensor, shape (..., *capture_shape)
        Captures.
    noise_std : float or Tensor, shape (...)
        Noise a sample.
    spectral : SpectralCapture, optional
        ``factors.spectral(capture)``, where it is known already.

    Returns
    -------
    Tensor, shape (...)
        In units of scenes. Where noise alone is left it is that of a scene at a tenth of the
        noise, so that it is never zero.
    """
    if spectral is None:
        spectral = factors.spectral(capture)
    gains, coefficients = factors.gains, spectral.coefficients
    inverse = inverse_filter(gains, choose_penalty(spectral, "sure", noise_std=noise_std))
    samples = factors.scene_shape[-2] * factors.scene_shape[-1]
    scene = (inverse * coefficients).square().sum((-2, -1)) / samples
    noise = torch.as_tensor(noise_std).to(coefficients).square()
    weakest = 0.01 * noise * samples / gains.square().sum((-2, -1))
    return torch.maximum(scene, weakest).sqrt()


def fill_missing(
    factors: SeparableFactors,
    capture: Tensor,
    valid: Tensor,
    noise_std: float | Tensor,
    prior_std: float | Tensor,
    *,
    iterations: int = 10,
) -> Tensor:
    """Fill saturated or missing samples with what the rest of the capture predicts there.

    Each pass reconstructs the filled capture and predicts it anew. It ends at the reconstruction
    from valid samples alone, fast where few are missing; of a mean-free camera the means of rows
    and columns are free, so that those which bad samples have spoilt do no harm.

    Parameters
    ----------
    factors : SeparableFactors
        The camera.
    capture : Tensor, shape (..., *capture_shape)
        Captures; samples that are not valid may hold anything finite.
    valid : Tensor of bool, broadcastable to the capture
        False where a sample is to be filled.
    noise_std, prior_std : float or Tensor, shape (...)
        Of a capture's samples and of its scene's.
    iterations : int, optional
        Number of passes.

    Returns
    -------
    Tensor, shape of the capture
        Valid samples as they were.

    Raises
    ------
    ShapeError
        The capture is not one of this camera.
    ValueError
        No sample is valid.
    """
    check_shape(capture, factors.capture_shape, "capture")
    if not bool(valid.any()):
        raise ValueError("valid must hold true samples, got none")
    share = measured_share(factors.gains, noise_std, prior_std)
    removal = MeanRemoval(factors.capture_shape)
    filled = torch.where(valid, capture, 0.0)
    for _ in range(iterations):
        predicted = factors.u_left @ (share * factors.analyse(filled)) @ factors.u_right.mT
        if factors.mean_free:
            rest = filled - predicted
            predicted = predicted + rest - removal.forward(rest)
        filled = torch.where(valid, capture, predicted)
    return filled
