r"""What a camera will see before it is built: from dimensions and light to PSNR and resolution.

Assumptions, each of which a caller can change. The scene is lit diffusely and reflects a share of
the light in all directions, so that its luminance is :math:`L = \rho E / \pi`. A lux of it brings
:math:`4.1 \cdot 10^{15}` photons a second on a square metre, as at 555 nm where the eye sees best;
white light brings more. The scene is one of a mean, a contrast and a correlation that falls
exponentially along rows and columns, which is about what photographs have.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..geometry import SeparableGeometry, transfer_matrices
from ..prediction import capture_noise_std, expected_psnr, measured_share
from ..simulate import VirtualCamera
from ..solvers import SeparableFactors, inverse_filter
from .spectrum import mean_share, overall_share

__all__ = ["PHOTONS_PER_LUX", "Exposure", "LitScene", "Plan", "plan_camera"]

#: Photons a second and square metre of one lux at 555 nm: 1 / (683 lm/W * h c / 555 nm).
PHOTONS_PER_LUX = 4.0906e15


@dataclass(frozen=True)
class LitScene:
    """A scene, the light on it, and what becomes of that.

    Parameters
    ----------
    illuminance_lux : float, optional
        On the scene: 100 in a living room, 500 in an office, 20,000 outdoors in shade.
    reflectance : float, optional
        Share of light that the brightest parts of the scene reflect, in (0, 1].
    mean_level : float, optional
        Mean of the scene over its brightest parts, in (0, 1].
    contrast : float, optional
        Standard deviation of the scene, over its brightest parts.
    correlation_length : float, optional
        Over which the scene's correlation falls to 1/e, over the larger side of the scene.
    quantum_efficiency : float, optional
        Electrons a photon, in (0, 1].
    filter_transmission : float, optional
        Share of light that a pixel's colour filter passes, in (0, 1].

    Raises
    ------
    ValueError
        A property is out of range.
    """

    illuminance_lux: float = 500.0
    reflectance: float = 0.9
    mean_level: float = 0.2
    contrast: float = 0.17
    correlation_length: float = 0.08
    quantum_efficiency: float = 0.6
    filter_transmission: float = 0.3

    def __post_init__(self) -> None:
        for name in ("illuminance_lux", "contrast", "correlation_length"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("reflectance", "mean_level", "quantum_efficiency", "filter_transmission"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in (0, 1], got {getattr(self, name)}")

    def electrons_per_s(self, geometry: SeparableGeometry) -> float:
        """Electrons a second that a scene of 1 everywhere frees in a pixel behind no mask."""
        luminance = self.reflectance * self.illuminance_lux / math.pi
        area_m2 = (1e-6 * geometry.sample_pitch_um * geometry.fill_factor) ** 2
        photons = luminance * _projected_solid_angle(geometry) * PHOTONS_PER_LUX * area_m2
        return photons * self.quantum_efficiency * self.filter_transmission


def _projected_solid_angle(geometry: SeparableGeometry) -> float:
    """Solid angle of the scene as a flat pixel sees it: the integral of the cosine over it.

    Of a rectangle a by b (half sides over the distance) it is the view factor times pi.
    """
    half = math.tan(math.radians(geometry.field_of_view_deg) / 2)
    larger = max(geometry.scene_height, geometry.scene_width)
    a, b = half * geometry.scene_height / larger, half * geometry.scene_width / larger
    root_a, root_b = math.hypot(1, a), math.hypot(1, b)
    return 2 * (a / root_a * math.atan(b / root_a) + b / root_b * math.atan(a / root_b))


@dataclass(frozen=True)
class Exposure:
    """What one exposure time gives.

    Attributes
    ----------
    exposure_s : float
        Exposure time.
    mean_electrons : float
        Electrons in the mean pixel.
    well_share : float
        The same over the full well; over about 0.7 the brightest pixels saturate.
    noise_std : float
        Noise of the levelled capture, black 0 and white 1.
    capture_snr_db : float
        Coded part of the capture over its noise.
    psnr_db : float
        Expected of the linear reconstruction, for a peak of 1.
    std : float
        Root mean square error of the linear reconstruction; the scene's brightest parts are 1.
    measured_share : float
        Share of the scene's samples that the capture decides, in [0, 1].
    resolution_samples : float
        Full width at half maximum of a point in the scene's middle, in scene samples.
    resolution_deg : float
        The same as an angle.
    """

    exposure_s: float
    mean_electrons: float
    well_share: float
    noise_std: float
    capture_snr_db: float
    psnr_db: float
    std: float
    measured_share: float
    resolution_samples: float
    resolution_deg: float


@dataclass(frozen=True, eq=False)
class Plan:
    """Predictions for a camera that need not exist.

    Attributes
    ----------
    electrons_per_s : float
        Electrons a second that a scene of 1 everywhere frees in a pixel behind no mask.
    exposures : list of Exposure
        One for each exposure time.
    std_maps : Tensor, shape (exposures, scene_height, scene_width)
        Expected error of each scene sample; its mean square is exact, its course over the scene
        leaves out how spectral coefficients of a scene correlate.
    """

    electrons_per_s: float
    exposures: list[Exposure]
    std_maps: Tensor

    def record(self) -> dict[str, Any]:
        """Give the predictions as JSON data, without the maps."""
        return {
            "electrons_per_s": self.electrons_per_s,
            "exposures": [vars(exposure) for exposure in self.exposures],
        }


def plan_camera(camera: VirtualCamera, scene: LitScene, exposures_s: Sequence[float]) -> Plan:
    """Predict what a separable-mask camera will see.

    Parameters
    ----------
    camera : VirtualCamera
        Mask, geometry and sensor; how much light it gets is the scene's affair.
    scene : LitScene
        The scene and its light.
    exposures_s : sequence of float
        Exposure times, over 0.

    Returns
    -------
    Plan
        One prediction for each exposure time, of Tikhonov's reconstruction with the best penalty.

    Raises
    ------
    ValueError
        There is no exposure time, or one is not positive.
    """
    if not exposures_s or not min(exposures_s) > 0:
        raise ValueError(f"exposures_s must hold positive times, got {list(exposures_s)}")
    electrons = scene.electrons_per_s(camera.geometry)
    camera = replace(camera, electrons_per_s=electrons)
    # For one second; gains and light grow with the exposure.
    factors = SeparableFactors.of(camera.operator(exposure_s=1.0, dtype=torch.float64).centred())
    mean_light = scene.mean_level * electrons * _flat_light(camera)
    prior = _prior_variance(factors, scene)
    predicted = [
        _predict(camera, factors, prior, mean_light, exposure_s) for exposure_s in exposures_s
    ]
    return Plan(
        electrons_per_s=electrons,
        exposures=[exposure for exposure, _ in predicted],
        std_maps=torch.stack([std for _, std in predicted]),
    )


def _prior_variance(factors: SeparableFactors, scene: LitScene) -> Tensor:
    """Mean square of each of the scene's coefficients, shape (modes_left, modes_right)."""
    larger = max(factors.scene_shape[-2:])
    energies, sums = [], []
    for vectors in (factors.v_left, factors.v_right):
        position = torch.arange(vectors.shape[-2], dtype=vectors.dtype)
        distance = (position[:, None] - position).abs()
        covariance = torch.exp(-distance / (scene.correlation_length * larger))
        energies.append((vectors * (covariance @ vectors)).sum(0))
        sums.append(vectors.sum(0).square())
    return scene.contrast**2 * torch.outer(*energies) + scene.mean_level**2 * torch.outer(*sums)


def _flat_light(camera: VirtualCamera) -> Tensor:
    """Light of a scene of 1 everywhere on each pixel, behind the physical 0/1 mask."""
    left, right = transfer_matrices(camera.geometry, camera.profile_left, camera.profile_right)
    coded = torch.outer(left.coded.sum(-1), right.coded.sum(-1))
    return (coded + torch.outer(left.open.sum(-1), right.open.sum(-1))).clamp_min(0) / 2


def _predict(
    camera: VirtualCamera,
    factors: SeparableFactors,
    prior: Tensor,
    electrons_per_s: Tensor,
    exposure_s: float,
) -> tuple[Exposure, Tensor]:
    """Predict one exposure, and its map of expected errors."""
    sensor, geometry = camera.sensor, camera.geometry
    factors = replace(factors, gains=factors.gains * exposure_s)
    noise = capture_noise_std(sensor, electrons_per_s, exposure_s=exposure_s).square().mean().sqrt()
    energy = (factors.gains.square() * prior).sum() / factors.capture_dof
    largest = float(factors.gains.amax().square().log10())
    penalties = torch.logspace(largest - 10, largest, 101, dtype=prior.dtype)
    errors = [_coefficient_errors(factors, prior, noise, penalty) for penalty in penalties]
    best = min(range(len(errors)), key=lambda k: float(errors[k].sum()))
    share = measured_share(factors.gains, penalties[best].sqrt(), 1.0)
    variance = mean_share(factors, errors[best])
    samples = _resolution(factors, share)
    mean_electrons = float(electrons_per_s.mean()) * exposure_s
    exposure = Exposure(
        exposure_s=exposure_s,
        mean_electrons=mean_electrons,
        well_share=mean_electrons * sensor.gain / sensor.full_well_e,
        noise_std=float(noise),
        capture_snr_db=float(10 * torch.log10(energy / noise.square())),
        psnr_db=float(expected_psnr(variance)),
        std=float(variance.mean().sqrt()),
        measured_share=float(overall_share(factors, share)),
        resolution_samples=samples,
        resolution_deg=samples
        * geometry.field_of_view_deg
        / max(geometry.scene_height, geometry.scene_width),
    )
    return exposure, variance.sqrt()


def _coefficient_errors(
    factors: SeparableFactors, prior: Tensor, noise: Tensor, penalty: Tensor
) -> Tensor:
    """Mean squared error of each coefficient of Tikhonov's reconstruction."""
    gains = factors.gains
    inverse = inverse_filter(gains, penalty)
    return (1 - gains * inverse).square() * prior + (inverse * noise).square()


def _resolution(factors: SeparableFactors, share: Tensor) -> float:
    """Full width at half maximum of a point in the middle, in samples, mean of both ways."""
    row, column = factors.scene_shape[-2] // 2, factors.scene_shape[-1] // 2
    point = factors.synthesise(share * torch.outer(factors.v_left[row], factors.v_right[column]))
    widths = [_half_width(point[row], column), _half_width(point[:, column], row)]
    return sum(widths) / 2


def _half_width(profile: Tensor, peak: int) -> float:
    """Full width at half of the value at the peak, interpolated linearly."""
    half = float(profile[peak]) / 2
    width = 0.0
    for side in (profile[peak:], profile[: peak + 1].flip(0)):
        below = (side < half).nonzero()
        if len(below) == 0:
            return math.inf
        end = int(below[0])
        before, after = float(side[end - 1]), float(side[end])
        width += end - 1 + (before - half) / (before - after)
    return width
