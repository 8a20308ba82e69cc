"""Cameras to train on: drawn at random, or a real one's operator with its errors."""

import math
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ...bayer import planes_to_rgb, rgb_to_planes, split_bayer
from ...geometry import SeparableGeometry
from ...masks import m_sequence, random_profile
from ...operators import SeparableOperator
from ...sensor import Sensor
from ...simulate import VirtualCamera
from ...solvers import SeparableFactors
from ...solvers.penalty import choose_penalty, inverse_filter
from ..measurement import Measurement
from ..record import StartKind
from ..start import Start

__all__ = [
    "Observation",
    "OperatorCamera",
    "SimulatedCamera",
    "TrainingCamera",
    "draw_camera",
    "observe",
]

OVERSAMPLING = 2


@dataclass(frozen=True, eq=False)
class Observation:
    """What a camera and linear reconstruction make of one scene.

    Attributes
    ----------
    capture : Tensor, shape (1, 4, sensor_height, sensor_width)
        The prepared capture, planes R, Gr, Gb and B.
    factors : SeparableFactors
        The camera, in units of the scene.
    planes : Tensor, shape (1, 4, height, width)
        Tikhonov's reconstruction.
    noise_std, prior_std : Tensor, shape (1, 4)
        The noise that the capture shows, and the prior that the penalty stands for.
    """

    capture: Tensor
    factors: SeparableFactors
    planes: Tensor
    noise_std: Tensor
    prior_std: Tensor

    @property
    def rgb(self) -> Tensor:
        """The reconstruction as linear RGB, shape (1, 3, height, width)."""
        return planes_to_rgb(self.planes)

    @property
    def measurement(self) -> Measurement:
        """What was measured."""
        return Measurement(self.capture, self.factors, self.noise_std, self.prior_std)

    def start(self, kind: StartKind) -> Start:
        """Give what a refiner starts from."""
        return Start.of(kind, self.rgb, self.measurement)


def observe(
    capture: Tensor, factors: SeparableFactors, *, penalty_factor: float = 1.0
) -> Observation:
    """Reconstruct a prepared capture (4, height, width) as ``barelens refine`` does.

    The penalty is that of generalised cross-validation, times a factor.
    """
    capture = capture[None]
    spectral = factors.spectral(capture)
    penalty = choose_penalty(spectral, "gcv") * penalty_factor
    noise_std = spectral.noise_variance().sqrt()
    inverse = inverse_filter(factors.gains, penalty)
    return Observation(
        capture=capture,
        factors=factors,
        planes=factors.synthesise(inverse * spectral.coefficients),
        noise_std=noise_std,
        prior_std=noise_std / penalty.sqrt(),
    )


class TrainingCamera(Protocol):
    """A camera that captures scenes of a finer raster than it is reconstructed on."""

    @property
    def scene_side(self) -> int:
        """Side of the square scenes that :meth:`observe` takes."""
        ...

    def observe(self, scene: Tensor, *, seed: int) -> Observation:
        """Capture and reconstruct a scene (3, scene_side, scene_side) of linear light."""
        ...


class SimulatedCamera:
    """A virtual camera whose reconstruction may be slightly wrong about its dimensions.

    Parameters
    ----------
    camera : VirtualCamera
        What captures; its scene is square.
    assumed : SeparableGeometry, optional
        The dimensions that reconstruction believes in; the true ones where left out.
    """

    def __init__(self, camera: VirtualCamera, assumed: SeparableGeometry | None = None) -> None:
        self.camera = camera
        believed = replace(camera, geometry=assumed) if assumed else camera
        self._factors = SeparableFactors.of(believed.operator().centred())

    @property
    def scene_side(self) -> int:
        """Side of the scenes to capture."""
        return self.camera.fine_scene_size[0]

    def observe(self, scene: Tensor, *, seed: int) -> Observation:
        """Capture and reconstruct a scene of linear light."""
        rng = np.random.default_rng(seed)
        # Dimmer than the best exposure, by up to four times: noisier captures.
        exposure_s = self.camera.auto_exposure(scene) * float(np.exp(-rng.uniform(0, 1.4)))
        return self.observe_at(
            scene, exposure_s=exposure_s, seed=seed, penalty_factor=_penalty_factor(rng)
        )

    def observe_at(
        self, scene: Tensor, *, exposure_s: float, seed: int, penalty_factor: float = 1.0
    ) -> Observation:
        """Capture with a given exposure time and reconstruct."""
        camera, sensor = self.camera, self.camera.sensor
        raw = camera.capture(scene, exposure_s=exposure_s, seed=seed)
        capture = split_bayer(sensor.to_linear(raw), camera.bayer)
        span = sensor.white_level_dn - sensor.black_level_dn
        unit = camera.electrons_per_s * exposure_s * sensor.dn_per_e / span
        factors = replace(self._factors, gains=self._factors.gains * unit)
        return observe(capture, factors, penalty_factor=penalty_factor)


class OperatorCamera:
    """A calibrated camera's operator, with white noise and an error of the calibration.

    The error is what a wrong estimate of the mask looks like: a shadow of random light and dark
    that moves with the scene as the mask's own does.

    Parameters
    ----------
    operator : SeparableOperator
        The camera, with its means removed; one pair of matrices for all planes or one for each.
    slope : float
        Sensor samples that the mask's shadow moves from one scene sample to the next.
    largest_error : float, optional
        Largest norm of a matrix's error over the norm of the matrix.
    """

    def __init__(
        self, operator: SeparableOperator, *, slope: float, largest_error: float = 0.4
    ) -> None:
        height, width = operator.scene_shape[-2:]
        if height != width or not operator.mean_free:
            raise ValueError("operator must be mean-free and for square scenes")
        self._operator, self._slope, self._largest = operator, slope, largest_error
        self._factors = SeparableFactors.of(operator)

    @property
    def scene_side(self) -> int:
        """Side of the scenes to capture."""
        return OVERSAMPLING * int(self._operator.scene_shape[-1])

    def observe(self, scene: Tensor, *, seed: int) -> Observation:
        """Capture and reconstruct a scene of linear light."""
        rng = np.random.default_rng(seed)
        error = rng.uniform(0, self._largest)
        noise = float(np.exp(rng.uniform(math.log(0.01), math.log(0.3))))
        return self.observe_at(
            scene, noise=noise, error=error, seed=seed, penalty_factor=_penalty_factor(rng)
        )

    def observe_at(
        self,
        scene: Tensor,
        *,
        noise: float,
        error: float = 0.0,
        seed: int,
        penalty_factor: float = 1.0,
    ) -> Observation:
        """Capture with noise and error of given size, over the capture's own, and reconstruct."""
        generator = torch.Generator().manual_seed(seed)
        true = self._operator
        if error:
            left, right = (
                self._with_error(matrix, error, generator)
                for matrix in (true.phi_left, true.phi_right)
            )
            true = SeparableOperator(left, right).centred()
        coarse = functional.avg_pool2d(scene, OVERSAMPLING)
        capture = true.forward(rgb_to_planes(coarse))
        std = noise * float(capture.std())
        capture = capture + std * torch.randn(capture.shape, generator=generator)
        return observe(capture, self._factors, penalty_factor=penalty_factor)

    def _with_error(self, matrix: Tensor, error: float, generator: torch.Generator) -> Tensor:
        """Add a random profile, the same in all planes, sampled where the mask's shadow falls."""
        sensor, scene = matrix.shape[-2:]
        length = math.ceil(sensor + self._slope * scene) + 2
        profile = torch.randn(1, 1, length, generator=generator)
        profile = functional.avg_pool1d(profile, 3, stride=1, padding=1)[0, 0]
        position = torch.arange(sensor)[:, None] + self._slope * torch.arange(scene).flip(0)
        low = position.floor().long()
        part = position - low
        shadow = (1 - part) * profile[low] + part * profile[low + 1]
        size = torch.linalg.matrix_norm(matrix, keepdim=True) / shadow.norm()
        return matrix + error * size * shadow


def _penalty_factor(rng: np.random.Generator) -> float:
    """Penalties from half to three times that of cross-validation, which leaves much noise."""
    return float(np.exp(rng.uniform(-0.7, 1.1)))


def draw_camera(scene_side: int, *, seed: int) -> SimulatedCamera:
    """Draw a separable camera: mask, dimensions, sensor, and an error of its calibration.

    Parameters
    ----------
    scene_side : int
        Side of its square reconstructions; the sensor planes are about twice as large.
    seed : int
        Seed of everything drawn.
    """
    rng = np.random.default_rng(seed)
    sensor_height = round(scene_side * rng.uniform(1.5, 2.2))
    pitch_um = rng.uniform(6, 12)
    order = max(4, round(math.log2(scene_side)) + int(rng.integers(-1, 2)))
    left, right = (
        [m_sequence(order, repeats=2)] * 2
        if rng.random() < 0.6
        else [random_profile(2 ** (order + 1), seed=seed + side) for side in (0, 1)]
    )
    # Features of two to five samples, and a shadow that moves by a third to a whole one.
    distance_mm = rng.uniform(1, 4)
    slope = rng.uniform(0.35, 1.0)
    half_angle = math.atan(slope * pitch_um * scene_side / (2000 * distance_mm))
    geometry = SeparableGeometry(
        sensor_height=sensor_height,
        sensor_width=round(sensor_height * rng.uniform(1.0, 1.35)),
        scene_height=scene_side,
        scene_width=scene_side,
        sample_pitch_um=pitch_um,
        feature_um=pitch_um * rng.uniform(1.5, 4.5),
        mask_distance_mm=distance_mm,
        scene_distance_mm=float(np.exp(rng.uniform(math.log(100), math.log(5000)))),
        field_of_view_deg=math.degrees(2 * half_angle),
        wavelength_nm=550.0 if rng.random() < 0.5 else None,
    )
    sensor = Sensor(
        full_well_e=float(np.exp(rng.uniform(math.log(8e3), math.log(1e5)))),
        read_noise_e=rng.uniform(1, 8),
    )
    camera = VirtualCamera(geometry, left, right, sensor=sensor, oversampling=OVERSAMPLING)
    wrong = distance_mm * (1 + 0.002 * rng.normal())
    assumed = replace(geometry, mask_distance_mm=wrong) if rng.random() < 0.3 else None
    return SimulatedCamera(camera, assumed)
