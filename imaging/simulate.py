"""Captures of a virtual separable camera, simulated without committing an inverse crime.

The scene is finer than the reconstruction's, the mask is the physical 0/1 one with its constant
part, and the sensor adds its noise and rounds to counts. Reconstruction sees none of that: it is
handed the coarse ±1 operator.
"""

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from .bayer import BayerOrder, merge_bayer, rgb_to_planes
from .geometry import SeparableGeometry, Transfer, transfer_matrices
from .operators import SeparableOperator
from .sensor import Sensor
from .shapes import ShapeError, check_floating

__all__ = ["VirtualCamera"]


@dataclass(frozen=True, eq=False)
class VirtualCamera:
    """A separable-mask camera that exists in numbers only.

    Parameters
    ----------
    geometry : SeparableGeometry
        Dimensions; its sensor sizes are those of one Bayer plane.
    profile_left, profile_right : Tensor, shape (features,)
        Mask profiles of -1 and 1 along height and width.
    sensor : Sensor, optional
        Noise and levels.
    bayer : {"RGGB", "BGGR", "GRBG", "GBRG"}, optional
        Colours of the mosaic's first two rows.
    oversampling : int, optional
        How many times finer than the reconstruction's the simulated scene is, at least 1.
    electrons_per_s : float, optional
        Electrons a second that a scene of 1 everywhere frees in a pixel behind no mask.
    """

    geometry: SeparableGeometry
    profile_left: Tensor
    profile_right: Tensor
    sensor: Sensor = field(default_factory=Sensor)
    bayer: BayerOrder = "RGGB"
    oversampling: int = 2
    electrons_per_s: float = 1e6

    def __post_init__(self) -> None:
        if not self.electrons_per_s > 0:
            raise ValueError(f"electrons_per_s must be positive, got {self.electrons_per_s}")

    @property
    def fine_scene_size(self) -> tuple[int, int]:
        """(height, width) of the scenes that :meth:`capture` takes."""
        factor = self.oversampling
        return factor * self.geometry.scene_height, factor * self.geometry.scene_width

    @cached_property
    def _fine(self) -> tuple[Transfer, Transfer]:
        return transfer_matrices(
            self.geometry, self.profile_left, self.profile_right, oversampling=self.oversampling
        )

    def light(self, scene: Tensor) -> Tensor:
        """Light on the sensor through the physical mask, without noise.

        Parameters
        ----------
        scene : Tensor of a floating-point dtype, shape (..., 3, *fine_scene_size)
            Linear RGB, at least 0; 1 is white.

        Returns
        -------
        Tensor, shape (..., 2 * sensor_height, 2 * sensor_width)
            Bayer mosaics of light, where 1 is what a white scene gives behind no mask.

        Raises
        ------
        ShapeError, TypeError
            The scene has another shape or an integer dtype.
        """
        check_floating(scene, "scene")
        wanted = (3, *self.fine_scene_size)
        if tuple(scene.shape[-3:]) != wanted:
            raise ShapeError(f"scene must have shape (..., {wanted}), got {tuple(scene.shape)}")
        left, right = self._fine
        planes = rgb_to_planes(scene)
        coded = left.coded.to(planes) @ planes @ right.coded.to(planes).mT
        constant = left.open.to(planes) @ planes @ right.open.to(planes).mT
        return merge_bayer((coded + constant) / 2, self.bayer)

    def capture(self, scene: Tensor, *, exposure_s: float | None = None, seed: int) -> Tensor:
        """Take a picture: raw counts as a file would hold them.

        Parameters
        ----------
        scene : Tensor, shape (..., 3, *fine_scene_size)
            Linear RGB, at least 0.
        exposure_s : float, optional
            Exposure time; by default what :meth:`auto_exposure` chooses.
        seed : int
            Seed of the noise.

        Returns
        -------
        Tensor of int32, shape (..., 2 * sensor_height, 2 * sensor_width)
            Counts.
        """
        light = self.light(scene)
        if exposure_s is None:
            exposure_s = self._exposure(light)
        return self.sensor.expose(
            # Rounding can leave the darkest pixels a hair below zero.
            light.clamp_min(0) * self.electrons_per_s,
            exposure_s=exposure_s,
            seed=seed,
        )

    def auto_exposure(self, scene: Tensor) -> float:
        """Choose the exposure time that fills 80 % of the well in the brightest pixel."""
        return self._exposure(self.light(scene))

    def _exposure(self, light: Tensor) -> float:
        brightest = float(light.max())
        if not brightest > 0:
            raise ValueError("scene is black: no exposure time fills the well")
        return 0.8 * self.sensor.full_well_e / self.sensor.gain / (brightest * self.electrons_per_s)

    def operator(
        self, *, exposure_s: float | None = None, dtype: torch.dtype = torch.float32
    ) -> SeparableOperator:
        """Give the operator for reconstruction: coarse, ±1, for captures levelled to 0 and 1.

        With an exposure time, scene values come out in units of the simulated scene; without
        one, in units of the capture. It keeps means: see :meth:`SeparableOperator.centred`.
        """
        left, right = transfer_matrices(self.geometry, self.profile_left, self.profile_right)
        scale = 0.5
        if exposure_s is not None:
            sensor = self.sensor
            span = sensor.white_level_dn - sensor.black_level_dn
            scale *= self.electrons_per_s * exposure_s * sensor.dn_per_e / span
        return SeparableOperator((scale * left.coded).to(dtype), right.coded.to(dtype))
