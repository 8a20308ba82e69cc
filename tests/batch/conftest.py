"""A toy camera and its captures."""

import pytest
import torch

from barelens.calibration import Camera
from barelens.imaging.files import write_raw_png16

SENSOR, SCENE = (24, 30), (8, 10)


@pytest.fixture(scope="session")
def camera():
    rng = torch.Generator().manual_seed(0)
    return Camera(
        "toy",
        frame_shape=SENSOR,
        white_level=65535.0,
        phi_left=torch.rand(SENSOR[0], SCENE[0], generator=rng) / SCENE[0],
        phi_right=torch.rand(SENSOR[1], SCENE[1], generator=rng) / SCENE[1],
    )


@pytest.fixture(scope="session")
def frames(camera):
    """Raw frames of random scenes, shape (12, *SENSOR), 16 bits."""
    rng = torch.Generator().manual_seed(1)
    light = camera.operator().forward(torch.rand(12, *SCENE, generator=rng))
    light = light + 1e-3 * torch.randn(light.shape, generator=rng)
    return (light.clamp(0, 0.99) * 65535).round().to(torch.int32).to(torch.uint16)


@pytest.fixture
def write_frames(frames):
    """Write frames as PNG files, over and over where there are more files than frames."""

    def write(folder, number, prefix="frame"):
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(number):
            write_raw_png16(folder / f"{prefix}-{index:04d}.png", frames[index % len(frames)])
        return folder

    return write
