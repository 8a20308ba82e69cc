"""Where captures come from: bundled, uploaded, or a picture through a virtual camera."""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ... import data
from ...calibration import Camera
from ...imaging.files import read_image, read_raw
from ...imaging.masks import physical_mask
from ...imaging.simulate import VirtualCamera
from ..virtual_camera import (
    VirtualSettings,
    build_virtual_camera,
    camera_record,
    capture_settings,
    fit_picture,
)
from .choices import CAMERAS, EXAMPLES
from .panel import Panel
from .uploads import read_camera, read_capture

__all__ = [
    "Source",
    "bundled_camera",
    "bundled_picture",
    "example",
    "mask_panel",
    "photograph",
    "uploaded",
]

#: Small enough to be made and undone in a second on two cores.
VIRTUAL_SIZES: dict[str, Any] = {"sensor_size": (500, 620), "scene_size": (160, 160)}


@dataclass(frozen=True, eq=False)
class Source:
    """A raw capture and its camera.

    Attributes
    ----------
    name : str
        For the names of files.
    raw : Tensor, shape frame_shape of the camera
        Counts as stored.
    camera : Camera
        What took it.
    truth : Tensor or None, shape (3, height, width)
        Linear light of the scene, of the reconstruction's size, where it is known.
    record : dict
        Where it comes from; JSON data.
    """

    name: str
    raw: Tensor
    camera: Camera
    truth: Tensor | None = None
    record: dict[str, Any] = field(default_factory=dict)


@lru_cache(maxsize=len(CAMERAS))
def bundled_camera(key: str) -> Camera:
    """Load a camera of :data:`~barelens.app.stages.choices.CAMERAS`."""
    if key not in CAMERAS:
        raise ValueError(f"camera must be one of {', '.join(CAMERAS)}, got {key!r}")
    return Camera.load(data.path(CAMERAS[key][1]))


def example(key: str) -> Source:
    """Give a bundled real capture."""
    if key not in EXAMPLES:
        raise ValueError(f"example must be one of {', '.join(EXAMPLES)}, got {key!r}")
    chosen = EXAMPLES[key]
    return Source(
        name=key,
        raw=read_raw(data.path(chosen.capture)),
        camera=bundled_camera(chosen.camera),
        record={"kind": "bundled", "capture": chosen.capture},
    )


def uploaded(capture: Path, camera: Path | str) -> Source:
    """Give an uploaded raw capture of a bundled camera, by its key, or of an uploaded record."""
    return Source(
        name=capture.stem,
        raw=read_capture(capture),
        camera=bundled_camera(camera) if isinstance(camera, str) else read_camera(camera),
        record={"kind": "uploaded", "capture": capture.name},
    )


def photograph(light: Tensor, settings: VirtualSettings, *, seed: int) -> Source:
    """Take a capture of a picture with a virtual camera.

    Parameters
    ----------
    light : Tensor of float32, shape (3 or 1, height, width)
        Linear light.
    settings : VirtualSettings
        The camera.
    seed : int
        Of the sensor's noise.
    """
    camera, record = _virtual(settings)
    scene = fit_picture(light, camera.fine_scene_size)
    exposure = camera.auto_exposure(scene)
    return Source(
        name="virtual",
        raw=camera.capture(scene, exposure_s=exposure, seed=seed),
        camera=record,
        truth=_at_scene_size(scene, camera),
        record={
            "kind": "virtual camera",
            "virtual_camera": capture_settings(camera, exposure_s=exposure, seed=seed),
        },
    )


@lru_cache(maxsize=4)
def _virtual(settings: VirtualSettings) -> tuple[VirtualCamera, Camera]:
    """Build a camera and its record once for several pictures."""
    camera = build_virtual_camera(settings)
    return camera, camera_record(camera, settings.pixel_pitch_um)


def _at_scene_size(scene: Tensor, camera: VirtualCamera) -> Tensor:
    return torch.nn.functional.avg_pool2d(scene[None], camera.oversampling)[0]


def bundled_picture() -> Tensor:
    """Give the picture of the virtual camera's example: linear light, (3, height, width)."""
    import skimage.data

    folder = Path(skimage.data.__file__).parent
    return read_image(folder / "astronaut.png", encoding="srgb")


def mask_panel(settings: VirtualSettings) -> Panel:
    """Draw the mask of a virtual camera."""
    camera, _ = _virtual(settings)
    mask = physical_mask(camera.profile_left, camera.profile_right)
    picture = (255 * mask).to(torch.uint8)[..., None].expand(-1, -1, 3).contiguous()
    return Panel("mask", picture, "The mask: light passes where it is white")
