"""Where the shadow falls: slopes, flips, turn and a first profile from known scenes.

Scenes brought to the size that they have on the sensor turn a capture into a convolution. Its
kernel is found in the frequency domain, and only at the right size does one product of two profiles
serve all captures.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .alternating import Evidence, ProfileFit, fit_profiles
from .errors import CalibrationError
from .shadow import ShadowBasis

__all__ = ["Placement", "find_placement", "first_profile"]

_SLOPES = (0.1, 2.0)  # sensor samples for one scene sample: the range that is searched
_TURNS_DEG = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5)
_WIENER = 1e-2  # spectrum of the scenes below which their kernel is not trusted, relative
_CLEAR = 6.0  # the best placement must stand out of the others by this factor
_RIDGE = 1e-5
_ROUNDS = 8


@dataclass(frozen=True)
class Placement:
    """Geometry of one camera and scene.

    Attributes
    ----------
    slope_left, slope_right : float
        Sensor samples that the shadow moves from one scene sample to the next; negative where the
        scene is seen upside down or mirrored.
    rotation_deg : float
        How far planes are to be turned.
    """

    slope_left: float
    slope_right: float
    rotation_deg: float


def find_placement(turned: Callable[[float], Evidence], rotation_deg: float | None) -> Placement:
    """Search slopes, flips and turn, then refine them together.

    Parameters
    ----------
    turned : callable
        Gives the pairs, of one plane each, with the captures turned by an angle in degrees.
    rotation_deg : float or None
        The turn, where it is known.

    Returns
    -------
    Placement
        The geometry.

    Raises
    ------
    CalibrationError
        No placement stands out: the captures do not show these scenes.
    """
    angle = rotation_deg or 0.0
    evidence = turned(angle)
    reach = 1.5 / max(evidence.scenes.shape[-2:])  # moves a shadow at the edge by 0.75 samples
    grid = torch.arange(_SLOPES[0], _SLOPES[1], 2 * reach).tolist()
    contrasts: dict[tuple[float, float], float] = {}
    for slope in grid:
        ways = [(down * slope, right * slope) for down in (1, -1) for right in (1, -1)]
        scores = torch.tensor([_agreement(evidence, *way)[0] for way in ways])
        # Enlarged scenes agree by their lack of detail alone, whichever way they are turned.
        contrasts.update(zip(ways, (scores - scores.median()).tolist(), strict=True))
    slopes = max(contrasts, key=lambda way: contrasts[way])
    typical = float(torch.tensor(list(contrasts.values())).abs().median())
    if contrasts[slopes] < _CLEAR * typical:
        raise CalibrationError(
            "captures and pictures do not belong together: at no size, flip or turn do the "
            "captures look like the pictures behind a separable mask"
        )
    if rotation_deg is None:
        angle = max(_TURNS_DEG, key=lambda turn: _agreement(turned(turn), *slopes)[0])
        evidence = turned(angle)
    near = torch.linspace(-2, 2, 5).mul(reach).tolist()
    slopes = max(
        ((slopes[0] + down, slopes[1] + right) for down in near for right in near),
        key=lambda pair: _agreement(evidence, *pair)[0],
    )
    return _refine(turned, Placement(*slopes, angle), fixed_turn=rotation_deg is not None)


def _agreement(evidence: Evidence, slope_left: float, slope_right: float) -> tuple[float, Tensor]:
    """How well each capture's kernel agrees with that of the others, and the right profile."""
    scenes, captures = evidence.scenes[:, 0], evidence.captures[:, 0]
    size = [
        max(2, round(abs(slope) * length))
        for slope, length in zip((slope_left, slope_right), scenes.shape[-2:], strict=True)
    ]
    scenes = torch.nn.functional.interpolate(
        scenes[:, None].float(), size, mode="bilinear", antialias=True
    )[:, 0]
    flips = [axis for axis, slope in ((-2, slope_left), (-1, slope_right)) if slope < 0]
    scenes = (scenes - scenes.mean((-2, -1), keepdim=True)).flip(flips)
    padded = [
        _fast_length(a + b) for a, b in zip(captures.shape[-2:], scenes.shape[-2:], strict=True)
    ]
    seen, shown = torch.fft.rfft2(captures.float(), padded), torch.fft.rfft2(scenes, padded)
    weight = 1 / (_flattened(shown) * _flattened(seen).sqrt())
    kernels = torch.fft.irfft2(shown.conj() * seen * weight, padded)
    together = kernels.sum(0)
    agreement = 0.0
    for kernel in kernels:
        left, right = _leading_profiles(together - kernel)
        agreement += float(left @ kernel @ right)
    scale = kernels.square().sum().sqrt().clamp_min(1e-30)
    return agreement / float(scale), _leading_profiles(together)[1].double()


def _flattened(spectra: Tensor) -> Tensor:
    """Power of all pairs at each frequency, lifted where there is too little to divide by."""
    power = spectra.abs().square().sum(0)
    return power + _WIENER * power.mean()


def _leading_profiles(kernel: Tensor) -> tuple[Tensor, Tensor]:
    """First singular vectors by power iteration from the strongest row."""
    right = kernel[kernel.square().sum(1).argmax()]
    for _ in range(10):
        left = torch.nn.functional.normalize(kernel @ right, dim=0)
        right = torch.nn.functional.normalize(kernel.mT @ left, dim=0)
    return left, right


def _fast_length(length: int) -> int:
    from scipy.fft import next_fast_len

    return next_fast_len(length, real=True)


def first_profile(evidence: Evidence, slope_left: float, basis: ShadowBasis) -> Tensor:
    """Give a rough right profile (basis.size,) of the first plane from its kernel."""
    _, profile = _agreement(evidence, slope_left, basis.slope)
    # The kernel counts from the edge of the scene, the basis from its middle.
    places = basis.positions - abs(basis.slope) * basis.scene / 2 + 0.5
    below = places.floor()
    share = places - below
    first = below.long() % profile.numel()
    return (1 - share) * profile[first] + share * profile[(first + 1) % profile.numel()]


def _refine(
    turned: Callable[[float], Evidence], start: Placement, *, fixed_turn: bool
) -> Placement:
    """Lower the misfit of alternating least squares in slopes and turn together."""
    from scipy.optimize import minimize

    evidence = turned(start.rotation_deg)
    height, width = evidence.captures.shape[-2:]
    down, across = evidence.scenes.shape[-2:]
    # One sample of motion at the far edge is the unit of every parameter.
    units = torch.tensor([2 / down, 2 / across, 57.3 * 2 / max(height, width)])
    units = units[: 2 if fixed_turn else 3].double()

    def fit(place: Placement, profile: Tensor, known: ShadowBasis, rounds: int) -> ProfileFit:
        right = ShadowBasis(width, across, place.slope_right)
        return fit_profiles(
            turned(place.rotation_deg),
            ShadowBasis(height, down, place.slope_left),
            right,
            known.moved(profile, right),
            ridge=_RIDGE,
            rounds=rounds,
        )

    basis = ShadowBasis(width, across, start.slope_right)
    profile = first_profile(evidence, start.slope_left, basis)
    settled = fit(start, profile, basis, 3 * _ROUNDS).right

    def moved(step: NDArray[np.float64]) -> Placement:
        moves = [*(torch.from_numpy(step) * units).tolist(), 0.0][:3]
        return Placement(
            start.slope_left + moves[0], start.slope_right + moves[1], start.rotation_deg + moves[2]
        )

    simplex = torch.cat([torch.zeros(1, len(units)), torch.eye(len(units))]).double().numpy()
    found = minimize(
        lambda step: fit(moved(step), settled, basis, _ROUNDS).misfit,
        simplex[0],
        method="Nelder-Mead",
        options={"initial_simplex": simplex, "xatol": 0.02, "fatol": 1e-5, "maxfev": 80},
    )
    return moved(found.x)
