r"""The structure that geometry gives a transfer matrix, used to take noise out of a measured one.

The shadow of a mask moves over the sensor as the scene point moves, so that
:math:`\Phi[i, j] \approx p(i - a j)` with one profile :math:`p` and one slope :math:`a`. A real
camera keeps to it only nearly. Its matrix is therefore estimated as the structured one plus what
the measurement shows beyond noise.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Structure", "fit_structure", "shrink_to_structure"]

_KNOT_SPACING = 0.5  # in sensor samples: finer than any shadow's detail behind a pixel


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
    """Least-squares cubic spline through all entries at their positions on the mask's shadow."""
    from scipy.interpolate import BSpline
    from scipy.sparse import identity
    from scipy.sparse.linalg import splu

    planes, sensor, scene = phi.shape
    position = np.arange(sensor)[:, None] - slope * np.arange(scene)
    knots = np.arange(
        position.min() - 4 * _KNOT_SPACING, position.max() + 5 * _KNOT_SPACING, _KNOT_SPACING
    )
    design = BSpline.design_matrix(position.ravel(), knots, 3)
    normal = (design.T @ design).tocsc()
    ridge = 1e-9 * normal.diagonal().max()
    solver = splu((normal + ridge * identity(normal.shape[0])).tocsc())
    values: NDArray[np.float64] = phi.reshape(planes, -1).double().numpy().T
    offset = np.zeros_like(values)
    for _ in range(3):  # columns were measured without their means, which the profile has
        fitted = design @ solver.solve(design.T @ (values + offset))
        columns = fitted.reshape(sensor, scene, planes)
        offset = np.broadcast_to(columns.mean(0), columns.shape).reshape(fitted.shape)
    matrix = torch.from_numpy((fitted - offset).T.copy()).reshape(phi.shape)
    residual = float((matrix - phi).norm() / phi.norm())
    return matrix, residual
