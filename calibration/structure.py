"""The structure that geometry gives a transfer matrix, used to take noise out of a measured one.

A real camera keeps to one moving shadow only nearly. Its matrix is therefore estimated as the
structured one plus what the measurement shows beyond noise.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .shadow import ShadowBasis

__all__ = ["Structure", "fit_structure", "shrink_to_structure"]

_KNOTS_PER_SAMPLE = 2  # of the sensor: finer than any shadow's detail behind a pixel


@dataclass(frozen=True, eq=False)
class Structure:
    """A shift-invariant matrix.

    Attributes
    ----------
    matrix : Tensor, shape (planes, sensor, scene)
        The structured matrix, mean-free along the sensor.
    slope : float
        Sensor samples that the shadow moves from one scene sample to the next.
    residual : float
        What it leaves of the measured matrix, relative.
    """

    matrix: Tensor
    slope: float
    residual: float


def fit_structure(phi: Tensor) -> Structure:
    """Fit the profile and the slope to a measured, mean-free matrix (planes, sensor, scene)."""
    from scipy.optimize import minimize_scalar

    start = _coarse_slope(phi)
    # A whole field must not drift by more than about a sample from the coarse estimate.
    width = 4.0 / phi.shape[-1]
    best = minimize_scalar(
        lambda slope: _fit_profile(phi, slope)[1],
        bounds=(start - width, start + width),
        method="bounded",
        options={"xatol": 1e-3 / phi.shape[-1]},
    )
    matrix, residual = _fit_profile(phi, float(best.x))
    return Structure(matrix=matrix, slope=float(best.x), residual=residual)


def shrink_to_structure(phi: Tensor, phi_std: Tensor, structure: Structure) -> Tensor:
    """Combine a measured matrix with its structure by how far noise alone explains the difference.

    In each plane the difference has the variance of noise plus that of true departures from the
    structure; the best linear estimate keeps the latter's share.
    """
    difference = phi - structure.matrix
    total = difference.square().mean((-2, -1), keepdim=True)
    noise = phi_std.square().mean((-2, -1), keepdim=True)
    share = ((total - noise) / total.clamp_min(1e-300)).clamp(0, 1)
    return structure.matrix + share * difference


def _coarse_slope(phi: Tensor) -> float:
    """Slope from the lag at which far columns correlate best, refined from near to far."""
    sensor, scene = phi.shape[-2:]
    spectra = torch.fft.rfft(phi, n=2 * sensor, dim=-2)
    slope = 0.0
    reach = 1
    lags = torch.fft.fftfreq(2 * sensor, 1 / (2 * sensor))
    while reach < scene:
        cross = (spectra[..., reach:] * spectra[..., :-reach].conj()).sum(-1).sum(0)
        correlation = torch.fft.irfft(cross, n=2 * sensor)
        near = (lags - slope * reach).abs() <= max(2.0, 0.25 * sensor if reach == 1 else 2.0)
        lag = float(lags[torch.where(near, correlation, -torch.inf).argmax()])
        slope = lag / reach
        if abs(slope) * 2 * reach > sensor / 2:
            break
        reach *= 2
    return slope


def _fit_profile(phi: Tensor, slope: float) -> tuple[Tensor, float]:
    """Least-squares spline profile of each plane through all entries of its matrix."""
    basis = ShadowBasis(phi.shape[-2], phi.shape[-1], slope, knots_per_sample=_KNOTS_PER_SAMPLE)
    profiles = basis.fit(phi, ridge=1e-9)
    matrix = torch.cat([basis.matrix(profile) for profile in profiles]).to(phi.dtype)
    residual = float((matrix - phi).norm() / phi.norm())
    return matrix, residual
