"""Pictures through a simulated lensless camera and back, as a model will meet reconstructions."""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor
from torch.nn import functional as F

from ...imaging import (
    Sensor,
    SeparableGeometry,
    Tikhonov,
    VirtualCamera,
    m_sequence,
)
from ...imaging.bayer import planes_to_rgb, split_bayer
from ...imaging.display import to_display
from ...imaging.files.colour import srgb_to_linear

__all__ = ["LenslessView"]


@dataclass(frozen=True, eq=False)
class LenslessView:
    """A virtual lensless camera before a screen, with its reconstruction.

    Its scene is simulated at twice the samples of the reconstruction, through the physical mask,
    onto a sensor with noise and a Bayer mosaic; see :class:`~barelens.imaging.VirtualCamera`.

    Parameters
    ----------
    size : (int, int)
        Height and width of the pictures.
    sensor_size : (int, int), optional
        Height and width of one Bayer plane of the sensor.
    full_well_e : float, optional
        Electrons of a full pixel; fewer make more noise.
    """

    size: tuple[int, int] = (256, 192)
    sensor_size: tuple[int, int] = (250, 250)
    full_well_e: float = 20_000.0

    @cached_property
    def camera(self) -> VirtualCamera:
        """The virtual camera."""
        profile = m_sequence(8, repeats=2)
        geometry = SeparableGeometry(
            *self.sensor_size,
            *self.size,
            field_of_view_deg=44.0,
            mask_distance_mm=1.95,
            wavelength_nm=550.0,
        )
        return VirtualCamera(
            geometry, profile, profile, sensor=Sensor(full_well_e=self.full_well_e)
        )

    @cached_property
    def _inverse(self) -> Tikhonov:
        return Tikhonov(self.camera.operator().centred())

    def __call__(self, image: Tensor, *, seed: int) -> Tensor:
        """Photograph a picture without a lens and reconstruct it by Tikhonov with GCV.

        Parameters
        ----------
        image : Tensor of uint8, shape (3, *size)
            Display-encoded RGB.
        seed : int
            Of the sensor's noise.

        Returns
        -------
        Tensor of uint8, shape (3, *size)
            Display-encoded RGB, white at its brightest 0.5 %.
        """
        light = srgb_to_linear(image.float() / 255)
        fine = F.interpolate(light[None], scale_factor=2, mode="bilinear", align_corners=False)
        raw = self.camera.capture(fine[0], seed=seed)
        sensor = self.camera.sensor
        levelled = (raw.float() - sensor.black_level_dn) / (
            sensor.white_level_dn - sensor.black_level_dn
        )
        planes = split_bayer(levelled, self.camera.bayer)
        scene = planes_to_rgb(self._inverse(planes))
        picture, _ = to_display(scene)
        return picture.permute(2, 0, 1).contiguous()
