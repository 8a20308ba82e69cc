"""Predictions before a camera is built are what the simulated camera then does."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from barelens.imaging import SeparableGeometry, Tikhonov, VirtualCamera, m_sequence
from barelens.imaging.trust import LitScene, plan_camera


@pytest.fixture(scope="module")
def small_camera():
    sequence = m_sequence(7, repeats=2)
    geometry = SeparableGeometry(120, 140, 48, 48, sample_pitch_um=21.2)
    return VirtualCamera(geometry, sequence, sequence)


def test_planned_light_is_what_the_virtual_camera_gets(small_camera):
    """Mean electrons of a flat scene, counted by the simulated sensor."""
    scene = LitScene(illuminance_lux=100, mean_level=0.5)
    plan = plan_camera(small_camera, scene, [0.01])
    camera = replace(small_camera, electrons_per_s=plan.electrons_per_s)
    flat = torch.full((3, *camera.fine_scene_size), 0.5, dtype=torch.float64)
    raw = camera.capture(flat, exposure_s=0.01, seed=0).double()
    electrons = (raw.mean() - camera.sensor.black_level_dn) / camera.sensor.dn_per_e
    assert plan.exposures[0].mean_electrons == pytest.approx(float(electrons), rel=0.01)


def test_light_falls_as_physics_wants(small_camera):
    geometry = small_camera.geometry
    dim, bright = (LitScene(illuminance_lux=lux).electrons_per_s(geometry) for lux in (10, 1000))
    assert bright == pytest.approx(100 * dim)
    # A small square field of view: luminance times solid angle.
    narrow = SeparableGeometry(120, 140, 48, 48, field_of_view_deg=2.0)
    lit = LitScene(
        illuminance_lux=np.pi, reflectance=1, quantum_efficiency=1, filter_transmission=1
    )
    solid_angle = np.radians(2.0) ** 2
    expected = 4.0906e15 * solid_angle * (1e-6 * 5.3) ** 2
    assert lit.electrons_per_s(narrow) == pytest.approx(expected, rel=2e-3)
    # A field of nearly everything: a hemisphere seen under the cosine is pi.
    wide = SeparableGeometry(120, 140, 48, 48, field_of_view_deg=179.9)
    assert lit.electrons_per_s(wide) == pytest.approx(expected * np.pi / solid_angle, rel=1e-3)


def test_planned_psnr_is_that_of_such_scenes(small_camera):
    """Scenes drawn with the planned mean, contrast and correlation, reconstructed."""
    lit = LitScene(illuminance_lux=100, mean_level=0.5, contrast=0.1)
    exposure = plan_camera(small_camera, lit, [0.02]).exposures[0]
    operator = small_camera.operator(exposure_s=0.02, dtype=torch.float64)
    gain = LitScene.electrons_per_s(lit, small_camera.geometry) / small_camera.electrons_per_s
    operator = (type(operator)(gain * operator.phi_left, operator.phi_right)).centred()
    generator = torch.Generator().manual_seed(0)
    distance = (torch.arange(48)[:, None] - torch.arange(48)).abs()
    covariance = torch.exp(-distance.double() / (lit.correlation_length * 48))
    root = torch.linalg.cholesky(covariance)
    white = torch.randn(40, 48, 48, generator=generator, dtype=torch.float64)
    scenes = lit.mean_level + lit.contrast * root @ white @ root.mT
    noise = torch.randn(40, 120, 140, generator=generator, dtype=torch.float64)
    captures = operator.forward(scenes) + exposure.noise_std * noise
    largest = float(Tikhonov(operator, 1.0).factors.gains.max()) ** 2
    errors = [
        float((Tikhonov(operator, largest * 10 ** (-k / 4))(captures) - scenes).square().mean())
        for k in range(4, 28)
    ]
    assert -10 * np.log10(min(errors)) == pytest.approx(exposure.psnr_db, abs=0.3)


def test_more_light_sees_more(small_camera):
    times = [1e-4, 1e-3, 1e-2, 1e-1]
    plan = plan_camera(small_camera, LitScene(), times)
    for name in ("psnr_db", "measured_share", "capture_snr_db", "mean_electrons"):
        values = [getattr(exposure, name) for exposure in plan.exposures]
        assert values == sorted(values), name
    widths = [exposure.resolution_samples for exposure in plan.exposures]
    assert widths == sorted(widths, reverse=True)
    assert plan.std_maps.shape == (4, 48, 48)
    mean = plan.std_maps.square().mean((-2, -1)).sqrt().tolist()
    assert mean == pytest.approx([exposure.std for exposure in plan.exposures])


def test_wrong_plans_are_named(small_camera):
    with pytest.raises(ValueError, match="exposures_s must hold positive times"):
        plan_camera(small_camera, LitScene(), [])
    with pytest.raises(ValueError, match=r"mean_level must be in \(0, 1\], got 0"):
        LitScene(mean_level=0)
    with pytest.raises(ValueError, match="contrast must be positive"):
        LitScene(contrast=0)
