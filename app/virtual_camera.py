"""Virtual lensless cameras by a few numbers, the records they would have, and pictures for them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..calibration import Camera
from ..imaging.bayer import BayerOrder
from ..imaging.geometry import SeparableGeometry
from ..imaging.masks import m_sequence, mura, random_profile
from ..imaging.sensor import Sensor
from ..imaging.simulate import VirtualCamera

__all__ = [
    "VirtualSettings",
    "build_virtual_camera",
    "camera_record",
    "capture_settings",
    "fit_picture",
]


@dataclass(frozen=True)
class VirtualSettings:
    """Dimensions and noise of a virtual camera with a separable mask and a Bayer sensor.

    Attributes
    ----------
    mask : {"m-sequence", "mura", "random"}
        Kind of mask.
    order : int
        Order of the m-sequence, 2 to 12.
    features : int
        Features of one period of a mura, which must be prime, or of a random mask.
    feature_um, mask_distance_mm, scene_distance_mm, field_of_view_deg : float
        As in :class:`~barelens.imaging.SeparableGeometry`.
    wavelength_nm : float or None
        For the blur by diffraction; None for pure geometry.
    pixel_pitch_um : float
        Distance of neighbouring pixels.
    sensor_size, scene_size : (int, int)
        (height, width) in pixels of the sensor, both even, and in samples of the scene.
    bayer : {"RGGB", "BGGR", "GRBG", "GBRG"}
        Colours of the first two rows.
    bit_depth, full_well_e, read_noise_e
        As in :class:`~barelens.imaging.Sensor`.
    mask_seed : int
        Seed of a random mask.
    """

    mask: str = "m-sequence"
    order: int = 8
    features: int = 251
    feature_um: float = 30.0
    mask_distance_mm: float = 1.95
    scene_distance_mm: float = math.inf
    field_of_view_deg: float = 36.0
    wavelength_nm: float | None = 550.0
    pixel_pitch_um: float = 5.3
    sensor_size: tuple[int, int] = (1000, 1240)
    scene_size: tuple[int, int] = (256, 256)
    bayer: BayerOrder = "RGGB"
    bit_depth: int = 12
    full_well_e: float = 20_000.0
    read_noise_e: float = 3.0
    mask_seed: int = 0


def build_virtual_camera(settings: VirtualSettings) -> VirtualCamera:
    """Build the camera.

    Raises
    ------
    ValueError
        A setting is out of range.
    """
    height, width = settings.sensor_size
    if height % 2 or width % 2:
        raise ValueError(f"sensor must have even sides, got {height}x{width}")
    left, right = _profiles(settings)
    return VirtualCamera(
        SeparableGeometry(
            sensor_height=height // 2,
            sensor_width=width // 2,
            scene_height=settings.scene_size[0],
            scene_width=settings.scene_size[1],
            sample_pitch_um=2 * settings.pixel_pitch_um,
            feature_um=settings.feature_um,
            mask_distance_mm=settings.mask_distance_mm,
            scene_distance_mm=settings.scene_distance_mm,
            field_of_view_deg=settings.field_of_view_deg,
            wavelength_nm=settings.wavelength_nm,
        ),
        left,
        right,
        sensor=Sensor(
            bit_depth=settings.bit_depth,
            full_well_e=settings.full_well_e,
            read_noise_e=settings.read_noise_e,
        ),
        bayer=settings.bayer,
    )


def _profiles(settings: VirtualSettings) -> tuple[Tensor, Tensor]:
    if settings.mask == "m-sequence":
        profile = m_sequence(settings.order, repeats=2)
        return profile, profile
    if settings.mask == "mura":
        profile = mura(settings.features, repeats=2)
        return profile, profile
    if settings.mask == "random":
        seed = 2 * settings.mask_seed
        return (
            random_profile(2 * settings.features, seed=seed),
            random_profile(2 * settings.features, seed=seed + 1),
        )
    raise ValueError(f"unknown mask {settings.mask!r}; choose m-sequence, mura or random")


def camera_record(camera: VirtualCamera, pixel_pitch_um: float) -> Camera:
    """Describe a virtual camera as a real one's record would."""
    geometry, sensor = camera.geometry, camera.sensor
    operator = camera.operator()
    return Camera(
        name="virtual camera",
        frame_shape=(2 * geometry.sensor_height, 2 * geometry.sensor_width),
        white_level=sensor.white_level_dn,
        black_level=sensor.black_level_dn,
        bayer=camera.bayer,
        mean_removal=True,
        phi_left=operator.phi_left,
        phi_right=operator.phi_right,
        pixel_pitch_um=pixel_pitch_um,
        geometry=_dimensions(camera),
        provenance={"method": "computed from geometry by barelens simulate"},
    )


def capture_settings(camera: VirtualCamera, *, exposure_s: float, seed: int) -> dict[str, object]:
    """Give all that made a capture, besides the picture, as JSON data."""
    return {
        "geometry": _dimensions(camera),
        "sensor": vars(camera.sensor),
        "bayer": camera.bayer,
        "oversampling": camera.oversampling,
        "electrons_per_s": camera.electrons_per_s,
        "exposure_s": exposure_s,
        "seed": seed,
    }


def _dimensions(camera: VirtualCamera) -> dict[str, object]:
    """Give the geometry as JSON data, which has no infinity: null is infinitely far."""
    return {
        name: None if value == math.inf else value for name, value in vars(camera.geometry).items()
    }


def fit_picture(light: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut a picture to a size's proportions around its centre and resize it.

    Parameters
    ----------
    light : Tensor of float32, shape (3 or 1, height, width)
        Linear light; grey becomes RGB.
    size : (int, int)
        (height, width) wanted.

    Returns
    -------
    Tensor of float32, shape (3, *size)
        Averages where it shrinks, linear interpolation where it grows.
    """
    import cv2

    light = light.expand(3, *light.shape[-2:])
    height, width = light.shape[-2:]
    zoom = max(size[0] / height, size[1] / width)
    cut = max(1, min(height, round(size[0] / zoom))), max(1, min(width, round(size[1] / zoom)))
    top, left = (height - cut[0]) // 2, (width - cut[1]) // 2
    part = light[:, top : top + cut[0], left : left + cut[1]].permute(1, 2, 0).contiguous()
    # Neither of the two can overshoot into darkness.
    mode = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
    resized = cv2.resize(part.numpy(), (size[1], size[0]), interpolation=mode)
    return torch.from_numpy(resized).permute(2, 0, 1)
