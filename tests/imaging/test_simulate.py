"""The virtual camera: its captures can be reconstructed and are no inverse crime."""

import pytest
import torch

from barelens.imaging import (
    MeanRemoval,
    Sensor,
    SeparableGeometry,
    ShapeError,
    Tikhonov,
    VirtualCamera,
    m_sequence,
    physical_mask,
)
from barelens.imaging.bayer import planes_to_rgb, rgb_to_planes, split_bayer
from barelens.imaging.metrics import correlation


def _camera(**changes):
    geometry = SeparableGeometry(120, 140, 48, 40, field_of_view_deg=14, wavelength_nm=550.0)
    profile = m_sequence(6, repeats=2)
    return VirtualCamera(geometry, profile, profile, **changes)


def _scene(camera):
    height, width = camera.fine_scene_size
    y = torch.linspace(-1, 1, height, dtype=torch.float64)[:, None]
    x = torch.linspace(-1, 1, width, dtype=torch.float64)
    disc = ((x - 0.2).square() + y.square() < 0.3).double()
    stripes = 0.5 + 0.4 * torch.sin(9 * x + 4 * y)
    return torch.stack([disc, stripes, 0.7 * (y > 0.1) * (x < 0.1)]).clamp(0, 1)


def test_noiseless_light_differs_from_the_coarse_operator_but_little():
    camera = _camera(oversampling=4)
    scene = _scene(camera)
    light = split_bayer(camera.light(scene), camera.bayer)
    coarse = rgb_to_planes(torch.nn.functional.avg_pool2d(scene, 4))
    removal = MeanRemoval(tuple(light.shape))
    predicted = camera.operator(dtype=torch.float64).centred().forward(coarse)
    difference = (removal.forward(light) - predicted).norm() / predicted.norm()
    assert 1e-4 < difference < 0.05


def test_light_is_that_of_the_physical_mask():
    # Nothing of the separable algebra: sum over the 2-D mask, feature by feature.
    camera = _camera(oversampling=1)
    profile = camera.profile_left
    flat = torch.ones(3, *camera.fine_scene_size, dtype=torch.float64)
    light = camera.light(flat)
    share = float(physical_mask(profile, profile).mean())
    assert light.min() >= 0
    assert float(light.mean()) == pytest.approx(share, abs=0.15)
    left, right = camera._fine
    half = (
        left.coded.sum(-1)[:, None] * right.coded.sum(-1)
        + left.open.sum(-1)[:, None] * right.open.sum(-1)
    ) / 2
    torch.testing.assert_close(light[0::2, 0::2], half)


def test_noisy_captures_reconstruct_to_the_scene_in_its_own_units():
    camera = _camera(sensor=Sensor(full_well_e=2e6, bit_depth=16))
    scene = _scene(camera)
    exposure_s = camera.auto_exposure(scene)
    raw = camera.capture(scene, exposure_s=exposure_s, seed=0)
    assert raw.shape == (240, 280)
    capture = split_bayer(camera.sensor.to_linear(raw, dtype=torch.float64), camera.bayer)
    operator = camera.operator(exposure_s=exposure_s, dtype=torch.float64).centred()
    rgb = planes_to_rgb(Tikhonov(operator)(capture))
    truth = torch.nn.functional.avg_pool2d(scene, 2)
    assert float(correlation(rgb, truth)) > 0.95
    assert float((rgb * truth).sum() / truth.square().sum()) == pytest.approx(1, abs=0.05)


def test_auto_exposure_fills_most_of_the_well_and_saturates_nothing():
    camera = _camera()
    raw = camera.capture(_scene(camera), seed=1)
    assert 0.7 < float(raw.max()) / camera.sensor.white_level_dn < 0.9
    assert torch.equal(raw, camera.capture(_scene(camera), seed=1))


def test_bad_scenes_are_named():
    camera = _camera()
    with pytest.raises(ShapeError, match="scene must have shape"):
        camera.capture(torch.zeros(3, 5, 5), seed=0)
    with pytest.raises(TypeError, match="scene must have a real floating-point dtype"):
        camera.capture(torch.zeros(3, *camera.fine_scene_size, dtype=torch.int32), seed=0)
    with pytest.raises(ValueError, match="scene is black"):
        camera.capture(torch.zeros(3, *camera.fine_scene_size), seed=0)
    with pytest.raises(ValueError, match="electrons_per_s must be positive"):
        _camera(electrons_per_s=0.0)
