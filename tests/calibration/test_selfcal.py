"""Self-calibration: profiles and geometry of a virtual camera from captures and pictures."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from barelens.calibration import CalibrationError, Camera, Crop, FrameFormat, self_calibrate
from barelens.calibration.alternating import Evidence, fit_gains, fit_profiles, profile_spread
from barelens.calibration.shadow import ShadowBasis
from barelens.imaging import (
    Sensor,
    SeparableGeometry,
    Tikhonov,
    VirtualCamera,
    m_sequence,
)
from barelens.imaging.files import srgb_to_linear
from barelens.imaging.metrics import psnr

skimage_data = pytest.importorskip("skimage.data")


def photograph(name: str, size: int) -> torch.Tensor:
    picture = torch.from_numpy(getattr(skimage_data, name)().copy()).float() / 255
    if picture.ndim == 2:
        picture = picture[..., None].expand(-1, -1, 3)
    side = min(picture.shape[:2])
    light = srgb_to_linear(picture[:side, :side].permute(2, 0, 1))
    return torch.nn.functional.interpolate(light[None], (size, size), mode="area")[0]


@pytest.fixture(scope="module")
def bench():
    geometry = SeparableGeometry(100, 110, 40, 40, field_of_view_deg=9, wavelength_nm=550.0)
    profile = m_sequence(6, repeats=2)
    virtual = VirtualCamera(geometry, profile, profile, sensor=Sensor(bit_depth=12))
    size = virtual.fine_scene_size[0]
    exposure_s = virtual.auto_exposure(torch.ones(3, size, size))

    def pair(name: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        scene = photograph(name, size)
        raw = virtual.capture(scene, exposure_s=exposure_s, seed=seed)
        return raw, torch.nn.functional.avg_pool2d(scene, virtual.oversampling)

    pairs = [pair(n, k) for k, n in enumerate(("chelsea", "coffee", "rocket", "camera"))]
    sensor = virtual.sensor
    frame = FrameFormat(sensor.white_level_dn, sensor.black_level_dn, "RGGB")
    operator = virtual.operator(exposure_s=exposure_s)
    return geometry, frame, operator, pairs, pair("astronaut", 9)


@pytest.fixture(scope="module")
def calibrated(bench):
    _, frame, _, pairs, _ = bench
    raws, pictures = zip(*pairs, strict=True)
    # Pictures come with gains and offsets of their own, as when they were scaled for display.
    scaled = [0.5 * (k + 1) * picture + 0.1 * k for k, picture in enumerate(pictures)]
    scaled[0] = pictures[0]
    return self_calibrate(raws, scaled, frame, name="virtual")


def test_slopes_and_turn_are_found(bench, calibrated):
    geometry = bench[0]
    _, report = calibrated
    # Over the whole field, an error of half a sample of the sensor.
    assert report.placement.slope_left == pytest.approx(geometry.slope, abs=0.5 / 40)
    assert report.placement.slope_right == pytest.approx(geometry.slope, abs=0.5 / 40)
    assert abs(report.placement.rotation_deg) < 0.2
    assert min(report.held_out_correlation) > 0.7


def test_reconstruction_is_within_3_db_of_the_true_camera(bench, calibrated):
    _, frame, operator, _, (raw, picture) = bench
    camera, _ = calibrated
    true = Camera(
        name="true",
        frame_shape=tuple(raw.shape),
        white_level=frame.white_level,
        black_level=frame.black_level,
        bayer="RGGB",
        mean_removal=True,
        phi_left=operator.phi_left,
        phi_right=operator.phi_right,
    )

    def quality(which: Camera) -> float:
        reconstruct = Tikhonov(which.operator(dtype=torch.float64))
        scene = which.to_rgb(reconstruct(which.prepare(raw, dtype=torch.float64))).float()
        # Pictures decide brightness up to a gain for each colour, which is fitted away.
        flat = scene.flatten(1) - scene.flatten(1).mean(1, keepdim=True)
        wanted = picture.flatten(1) - picture.flatten(1).mean(1, keepdim=True)
        gain = (flat * wanted).sum(1, keepdim=True) / flat.square().sum(1, keepdim=True)
        return float(psnr((gain * flat)[..., None], wanted[..., None], data_range=1.0))

    assert quality(camera) > quality(true) - 3


def test_record_says_how_it_was_made_and_how_sure_it_is(calibrated, tmp_path):
    camera, report = calibrated
    camera.save(tmp_path / "camera.safetensors")
    again = Camera.load(tmp_path / "camera.safetensors")
    assert again.digest == camera.digest
    assert again.residuals["held_out_correlation"] == report.held_out_correlation
    assert again.phi_left_std is not None and bool((again.phi_left_std > 0).any())
    assert "self-calibration" in again.provenance["method"]


def test_pictures_of_other_scenes_are_refused(bench):
    _, frame, _, pairs, _ = bench
    generator = torch.Generator().manual_seed(0)
    unrelated = [torch.rand(3, 40, 40, generator=generator) for _ in pairs]
    with pytest.raises(CalibrationError, match="do not belong together"):
        self_calibrate([raw for raw, _ in pairs], unrelated, frame, name="x")


def test_wrong_input_is_named(bench):
    _, frame, _, pairs, _ = bench
    raws, pictures = [raw for raw, _ in pairs], [picture for _, picture in pairs]
    with pytest.raises(CalibrationError, match="got 4 captures and 3 pictures"):
        self_calibrate(raws, pictures[:3], frame, name="x")
    with pytest.raises(CalibrationError, match="at least 2 pairs"):
        self_calibrate(raws[:1], pictures[:1], frame, name="x")
    with pytest.raises(CalibrationError, match="all pictures must have one shape"):
        self_calibrate(raws, [pictures[0][:, 1:], *pictures[1:]], frame, name="x")
    with pytest.raises(CalibrationError, match="picture 2 is the same everywhere"):
        flat = [pictures[0], torch.ones(3, 40, 40), *pictures[2:]]
        self_calibrate(raws, flat, frame, name="x")
    with pytest.raises(CalibrationError, match="does not fit"):
        self_calibrate(raws, pictures, frame, name="x", crop=Crop(0, 0, 500, 500))


slopes = st.floats(0.2, 1.5).map(lambda slope: round(slope, 3))


@settings(max_examples=15, deadline=None)
@given(st.integers(9, 14), st.integers(5, 9), slopes, st.booleans(), st.integers(0, 2**31))
def test_normal_equations_are_those_of_the_matrix(sensor, scene, slope, flipped, seed):
    basis = ShadowBasis(sensor, scene, -slope if flipped else slope, (0.0, 0.5, 0.5))
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    coefficients, light = noise(basis.size), noise(3, scene, 6)
    captures = noise(3, sensor, 6)
    captures = captures - captures.mean(-2, keepdim=True)
    normal, right_side = basis.equations(light @ light.mT, light @ captures.mT)
    matrix = basis.matrix(coefficients)
    by_matrix = (matrix @ light).square().sum()
    torch.testing.assert_close(coefficients @ normal @ coefficients, by_matrix)
    torch.testing.assert_close(coefficients @ right_side, (captures * (matrix @ light)).sum())


def test_spread_is_that_of_repeated_fits():
    generator = torch.Generator().manual_seed(3)
    left, right = ShadowBasis(24, 8, 0.7), ShadowBasis(26, 8, 0.7)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    true_left, true_right = noise(left.size), noise(right.size)
    scenes = noise(6, 1, 8, 8)
    scenes = scenes - scenes.mean((-2, -1), keepdim=True)
    clean = left.matrix(true_left) @ scenes @ right.matrix(true_right).mT
    fits = []
    for _ in range(60):
        captures = clean + 0.02 * clean.std() * noise(*clean.shape)
        captures = captures - captures.mean(-1, keepdim=True)
        captures = captures - captures.mean(-2, keepdim=True)
        evidence = Evidence(captures, scenes)
        fits.append(fit_profiles(evidence, left, right, true_right, ridge=1e-8, rounds=30))
    std = profile_spread(evidence, fits[-1], left, right, 1e-8)[0]
    # Each fit has a size of its own, which the other side takes up.
    aligned = torch.stack([fit.phi_left / fit.phi_left.norm() for fit in fits])
    found, predicted = aligned.std(0), std / fits[-1].phi_left.norm()
    # The right side is not known exactly either, which the prediction leaves out.
    assert 0.8 < float((found / predicted).median()) < 1.6


def test_gains_and_offsets_are_recovered():
    generator = torch.Generator().manual_seed(1)
    left, right = ShadowBasis(20, 7, 0.6), ShadowBasis(22, 7, -0.8)
    phi = [
        basis.matrix(torch.randn(basis.size, dtype=torch.float64, generator=generator))
        for basis in (left, right)
    ]
    scenes = torch.randn(3, 1, 7, 7, dtype=torch.float64, generator=generator)
    gains = torch.tensor([[0.5], [2.0], [3.0]], dtype=torch.float64)
    offsets = torch.tensor([[1.0], [-1.0], [0.0]], dtype=torch.float64)
    light = gains[..., None, None] * scenes + offsets[..., None, None]
    evidence = Evidence(phi[0] @ light @ phi[1].mT, scenes)
    found_gains, found_offsets, misfit = fit_gains(evidence, *phi)
    torch.testing.assert_close(found_gains, gains)
    torch.testing.assert_close(found_offsets, offsets)
    assert misfit == pytest.approx(0, abs=1e-10)
