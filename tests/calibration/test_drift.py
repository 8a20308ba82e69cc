"""Drift of a virtual camera: consistent captures pass, motions are found and corrected."""

import dataclasses
import math

import pytest
import torch

from barelens.calibration import (
    CalibrationError,
    Camera,
    Crop,
    Drift,
    check_camera,
    correct_camera,
    recalibrate,
)
from barelens.calibration.motion import move_planes
from barelens.imaging import Sensor, SeparableGeometry, VirtualCamera, m_sequence
from barelens.imaging.bayer import merge_bayer, split_bayer


@pytest.fixture(scope="module")
def bench():
    geometry = SeparableGeometry(136, 146, 60, 60, field_of_view_deg=11, wavelength_nm=550.0)
    profile = m_sequence(6, repeats=2)
    virtual = VirtualCamera(geometry, profile, profile, sensor=Sensor(bit_depth=14))
    generator = torch.Generator().manual_seed(0)
    rough = torch.rand(1, 3, 15, 15, generator=generator)
    scene = torch.nn.functional.interpolate(rough, virtual.fine_scene_size)[0]
    exposure_s = virtual.auto_exposure(scene)
    operator = virtual.operator(exposure_s=exposure_s)
    camera = Camera(
        name="virtual",
        frame_shape=(272, 292),
        white_level=virtual.sensor.white_level_dn,
        black_level=virtual.sensor.black_level_dn,
        bayer="RGGB",
        crop=Crop(8, 8, 120, 130),
        mean_removal=True,
        phi_left=operator.phi_left[8:-8],
        phi_right=operator.phi_right[8:-8],
    )
    light = split_bayer(virtual.light(scene).double(), "RGGB")

    def take(undo: Drift, seed: int = 1):
        """Capture of a shadow from which undoing the drift was already taken away."""
        moved = merge_bayer(move_planes(light, undo).clamp_min(0), "RGGB")
        return virtual.sensor.expose(
            moved * virtual.electrons_per_s, exposure_s=exposure_s, seed=seed
        )

    return camera, take


def test_a_capture_of_the_camera_itself_is_consistent(bench):
    camera, take = bench
    for seed in range(3):
        report = check_camera(camera, take(Drift(), seed))
        assert report.consistent
        assert report.whitened_residual == pytest.approx(1, abs=0.03)
        assert report.drift == Drift()


def _undone(drift: Drift) -> Drift:
    """The motion that takes one back: points go through one and then the other unmoved."""
    angle = math.radians(drift.rotation_deg)
    cos, sin = math.cos(angle) / drift.scale, math.sin(angle) / drift.scale
    down, right = drift.shift_down_px, drift.shift_right_px
    return Drift(
        shift_down_px=-(cos * down - sin * right),
        shift_right_px=-(sin * down + cos * right),
        scale=1 / drift.scale,
        rotation_deg=-drift.rotation_deg,
    )


@pytest.mark.parametrize("scale", [0.99, 1.01])
def test_scale_is_recovered_to_a_tenth(bench, scale):
    camera, take = bench
    report = check_camera(camera, take(Drift(scale=1 / scale)))
    assert not report.consistent
    assert report.drift.scale == pytest.approx(scale, abs=1e-3)
    assert abs(report.drift.rotation_deg) < 0.03
    assert report.whitened_after < 0.2 * (report.whitened_residual - 1) + 1


def test_rotation_is_recovered_to_a_tenth(bench):
    camera, take = bench
    report = check_camera(camera, take(Drift(rotation_deg=-0.6)))
    assert not report.consistent
    assert report.drift.rotation_deg == pytest.approx(0.6, abs=0.06)
    assert report.drift.scale == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("shift", [(3.0, -2.0), (-1.0, 3.0)])
def test_shift_is_recovered_to_a_tenth_of_three_pixels(bench, shift):
    camera, take = bench
    report = check_camera(camera, take(Drift(-shift[0], -shift[1])))
    assert not report.consistent
    assert report.drift.shift_down_px == pytest.approx(shift[0], abs=0.3)
    assert report.drift.shift_right_px == pytest.approx(shift[1], abs=0.3)
    assert abs(report.drift.rotation_deg) < 0.03
    assert report.drift.scale == pytest.approx(1, abs=1e-3)


def test_all_at_once_is_recovered_to_a_tenth(bench):
    camera, take = bench
    wanted = Drift(3.0, -3.0, 1.01, 0.3)
    report = check_camera(camera, take(_undone(wanted)))
    assert report.drift.shift_down_px == pytest.approx(3.0, abs=0.3)
    assert report.drift.shift_right_px == pytest.approx(-3.0, abs=0.3)
    assert report.drift.scale == pytest.approx(1.01, abs=1e-3)
    assert report.drift.rotation_deg == pytest.approx(0.3, abs=0.03)


def test_corrected_camera_explains_the_capture(bench):
    camera, take = bench
    raw = take(Drift(scale=1 / 1.01, rotation_deg=-0.3))
    before = check_camera(camera, raw)
    after = check_camera(correct_camera(camera, before.drift), raw)
    assert abs(after.whitened_residual - 1) < 0.2 * abs(before.whitened_residual - 1)


def test_captures_of_unknown_scenes_bring_a_camera_up_to_date(bench):
    camera, take = bench
    raws = [take(_undone(Drift(2.0, -3.0, 1.01, 0.3)), seed) for seed in (1, 2)]
    moved, report = recalibrate(camera, raws)
    assert report.kept
    assert report.drift.scale == pytest.approx(1.01, abs=1e-3)
    assert min(report.before) > 2
    assert report.after == pytest.approx([1, 1], abs=0.1)
    assert check_camera(moved, raws[0]).whitened_residual == pytest.approx(1, abs=0.1)


def test_what_no_motion_explains_is_not_called_one(bench):
    camera, take = bench
    other = dataclasses.replace(camera, phi_left=camera.phi_left.flip(-2))
    report = check_camera(other, take(Drift()))
    assert not report.consistent
    assert report.drift == Drift()
    assert report.whitened_after == report.whitened_residual


def test_a_camera_that_fits_is_left_alone(bench):
    camera, take = bench
    same, report = recalibrate(camera, [take(Drift(), seed) for seed in (1, 2)])
    assert same is camera
    assert report.drift == Drift()
    with pytest.raises(CalibrationError, match="at least 2 captures"):
        recalibrate(camera, [take(Drift())])


def test_no_drift_corrects_nothing(bench):
    camera, _ = bench
    same = correct_camera(camera, Drift())
    torch.testing.assert_close(same.phi_left, camera.phi_left)
    assert same.window == camera.window


def test_moving_back_and_forth_keeps_a_smooth_plane():
    y = torch.linspace(-2, 2, 60, dtype=torch.float64)[:, None]
    x = torch.linspace(-2, 2, 70, dtype=torch.float64)
    plane = torch.exp(-(y.square() + x.square()))[None]
    there = move_planes(plane, Drift(2.0, -1.0))
    back = move_planes(there, Drift(-2.0, 1.0))
    inside = (slice(None), slice(5, -5), slice(5, -5))  # borders move in from nowhere
    torch.testing.assert_close(back[inside], plane[inside], rtol=0, atol=1e-6)
    assert not torch.allclose(there, plane, atol=1e-2)


def test_a_diffuser_camera_cannot_be_checked():
    camera = Camera(name="d", frame_shape=(20, 20), white_level=1.0, psf=torch.rand(20, 20))
    with pytest.raises(CalibrationError, match="a separable one is needed"):
        check_camera(camera, torch.rand(20, 20))
    with pytest.raises(CalibrationError, match="a separable one is needed"):
        correct_camera(camera, Drift())
    assert dataclasses.replace(camera, name="e").name == "e"
