"""Captures of a point source become a PSF that reconstructs; wrong captures are named."""

import pytest
import torch
from scipy.ndimage import gaussian_filter

from barelens.calibration import CalibrationError, Camera, FrameFormat, fit_psf
from barelens.imaging import ConvolutionOperator, Sensor, conjugate_gradient
from barelens.imaging.bayer import merge_bayer

SENSOR = Sensor(full_well_e=20_000, read_noise_e=3, bit_depth=12, black_level_dn=64)
FRAME = FrameFormat(white_level=4095, black_level=64)
SIZE = (120, 150)


def _truth(size=SIZE, seed=0, reach=0.5):
    """A caustic pattern: the ridges of smooth noise, fading towards the edges."""
    noise = torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    smooth = torch.from_numpy(gaussian_filter(noise.numpy(), 4, mode="wrap"))
    caustic = torch.exp(-(smooth / smooth.std()).abs() * 6)
    y, x = (torch.linspace(-1, 1, length, dtype=torch.float64) for length in size)
    inside = (y[:, None].square() + x.square()) < reach**2
    return torch.from_numpy(gaussian_filter((caustic * inside).numpy(), 0.8))


def _captures(psf, count=4, *, peak=0.7, stray=0.02, seed=0):
    """Expose a virtual diffuser camera to a point in the middle of its scene."""
    scene = torch.zeros(*psf.shape[:-2], *psf.shape[-2:], dtype=psf.dtype)
    scene[..., psf.shape[-2] // 2, psf.shape[-1] // 2] = 1
    light = ConvolutionOperator(psf / psf.max()).forward(scene).clamp_min(0)
    electrons = (peak * light + stray) * SENSOR.full_well_e
    return {
        f"point_{index}.png": SENSOR.expose(electrons, exposure_s=1.0, seed=seed + index)
        for index in range(count)
    }


def _error(psf, truth):
    return float((psf - truth / truth.norm()).norm())


def test_psf_of_known_truth_is_found_and_more_frames_find_it_better():
    truth = _truth()
    one, _ = fit_psf(_captures(truth, 1), FRAME, name="virtual")
    camera, report = fit_psf(_captures(truth, 9), FRAME, name="virtual")
    assert _error(camera.psf, truth) < 0.03
    assert _error(camera.psf, truth) < 0.5 * _error(one.psf, truth)
    assert float(camera.psf.norm()) == pytest.approx(1)
    assert camera.frame_shape == SIZE
    assert camera.residuals["support"] == vars(report.support)
    assert not report.cut_off
    assert report.hot_pixels == 0  # fine light is no defect
    assert report.background_dn[0] == pytest.approx(0.02 * (4095 - 64), rel=0.02)
    # What one frame differs from the mean is noise, mostly.
    assert max(report.frame_residual.values()) < 2 * _error(one.psf, truth)


def test_reconstruction_is_as_good_as_with_the_true_psf():
    truth = _truth()
    camera, _ = fit_psf(_captures(truth, 4), FRAME, name="virtual")
    scene = torch.zeros(SIZE, dtype=torch.float64)
    scene[45:75, 55:95] = torch.rand(
        30, 40, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    true_operator = ConvolutionOperator(truth / truth.norm())
    light = true_operator.forward(scene).clamp_min(0)
    scale = 0.7 * SENSOR.full_well_e / float(light.max())
    counts = SENSOR.expose(light * scale, exposure_s=1.0, seed=20)
    capture = SENSOR.to_linear(counts, dtype=torch.float64) * SENSOR.full_well_e / scale
    errors = [
        (conjugate_gradient(operator, capture, penalty=0.01).scene - scene).square().mean()
        for operator in (true_operator, camera.operator(dtype=torch.float64))
    ]
    assert float(10 * torch.log10(errors[1] / errors[0])) < 0.3
    assert float(errors[0]) < 0.5 * float(scene.square().mean())


def test_record_survives_its_file(tmp_path):
    camera, _ = fit_psf(
        _captures(_truth(), 2), FRAME, name="virtual", pixel_pitch_um=3.0, provenance={"by": "me"}
    )
    camera.save(tmp_path / "camera.safetensors")
    loaded = Camera.load(tmp_path / "camera.safetensors")
    assert loaded.digest == camera.digest
    assert loaded.provenance["captures"] == ["point_0.png", "point_1.png"]
    assert loaded.provenance["by"] == "me"


def test_light_off_the_support_is_taken_for_noise_and_nothing_inside_is_clipped():
    camera, report = fit_psf(_captures(_truth(), 4), FRAME, name="virtual")
    window = report.support
    inside = torch.zeros(SIZE, dtype=torch.bool)
    rows = slice(window.top, window.top + window.height)
    columns = slice(window.left, window.left + window.width)
    inside[rows, columns] = True
    assert bool((camera.psf[~inside] == 0).all())
    assert bool((camera.psf[inside] < 0).any())
    assert abs(report.light_outside) < 0.02
    truth = _truth()
    assert float(truth[inside].sum() / truth.sum()) > 0.999


def test_scaling_the_light_leaves_the_psf():
    truth = _truth()
    bright, _ = fit_psf(_captures(truth, 4, peak=0.8), FRAME, name="virtual")
    dim, _ = fit_psf(_captures(truth, 4, peak=0.4), FRAME, name="virtual")
    torch.testing.assert_close(bright.psf, dim.psf, atol=0.02 * float(bright.psf.max()), rtol=0)


def test_mosaics_give_a_psf_for_each_plane_with_the_balance_of_colours():
    truth = _truth()
    weights = torch.tensor([0.5, 1.0, 1.0, 0.25], dtype=torch.float64)
    planes = _captures(truth * weights[:, None, None], 4)
    raw = {key: merge_bayer(value, "GRBG") for key, value in planes.items()}
    camera, _ = fit_psf(raw, FrameFormat(4095, 64, "GRBG"), name="colour")
    assert camera.psf.shape == (4, *SIZE)
    assert camera.num_planes == 4
    light = camera.psf.sum((-2, -1)).double()
    torch.testing.assert_close(light / light[1], weights, rtol=0.01, atol=0)


def test_frames_with_channels_of_their_own():
    channels = {key: value for key, value in _captures(_truth().expand(3, *SIZE), 2).items()}
    camera, _ = fit_psf(channels, FRAME, name="rgb")
    assert camera.psf.shape == camera.frame_shape == (3, *SIZE)
    with pytest.raises(CalibrationError, match="RGGB mosaic must have shape"):
        fit_psf(channels, FrameFormat(4095, 64, "RGGB"), name="rgb")


def test_background_frames_take_off_what_a_constant_cannot():
    truth = _truth()
    glow = 0.2 * torch.linspace(0, 1, SIZE[1], dtype=torch.float64).expand(SIZE)
    scaled = 0.6 * truth / truth.max()
    lit, dark = (
        {
            f"{label}_{index}": SENSOR.expose(
                light * SENSOR.full_well_e, exposure_s=1.0, seed=seed + index
            )
            for index in range(4)
        }
        for label, light, seed in (("on", scaled + glow, 0), ("off", glow, 10))
    )
    without, _ = fit_psf(lit, FRAME, name="virtual")
    camera, _ = fit_psf(lit, FRAME, name="virtual", background=dark)
    assert _error(camera.psf, truth) < 0.05 < _error(without.psf, truth)
    assert camera.provenance["background"] == list(dark)
    with pytest.raises(CalibrationError, match="no point source in the captures"):
        fit_psf(dark, FRAME, name="virtual", background=lit)
    small = {"small.png": torch.zeros(50, 60, dtype=torch.int32)}
    with pytest.raises(CalibrationError, match=r"small\.png: background has planes"):
        fit_psf(lit, FRAME, name="virtual", background=small)
    undefined = {"nan.npy": torch.full(SIZE, torch.nan)}
    with pytest.raises(CalibrationError, match=r"nan\.npy: background must be finite"):
        fit_psf(lit, FRAME, name="virtual", background=undefined)


def test_denoising_helps_a_dim_source_and_keeps_its_light():
    truth = _truth()
    captures = _captures(truth, 1, peak=0.02)
    plain, _ = fit_psf(captures, FRAME, name="virtual")
    smooth, _ = fit_psf(captures, FRAME, name="virtual", denoise=True)
    assert _error(smooth.psf, truth) < 0.8 * _error(plain.psf, truth)
    share = float(smooth.psf.max() / smooth.psf.sum()), float(truth.max() / truth.sum())
    assert share[0] == pytest.approx(share[1], rel=0.25)


def test_hot_pixels_are_replaced():
    captures = _captures(_truth(), 3)
    for raw in captures.values():
        raw[5, 7] = raw[60, 75] = raw[110, 20] = 4095
    camera, report = fit_psf(captures, FRAME, name="virtual")
    assert report.hot_pixels == 3
    assert _error(camera.psf, _truth()) < 0.04


def test_clipped_frames_are_named_and_left_out():
    captures = _captures(_truth(), 3)
    captures["bright.png"] = _captures(_truth(), 1, peak=2.0)["point_0.png"]
    camera, report = fit_psf(captures, FRAME, name="virtual")
    assert list(report.problems) == ["bright.png"]
    assert "saturated in" in report.problems["bright.png"]
    assert "bright.png" not in camera.provenance["captures"]
    with pytest.raises(CalibrationError, match=r"no capture can be used; bright\.png: saturated"):
        fit_psf({"bright.png": captures["bright.png"]}, FRAME, name="virtual")


def test_frames_that_moved_are_named():
    captures = _captures(_truth(), 4)
    captures["bumped.png"] = torch.roll(captures["point_0.png"], (3, -2), dims=(0, 1))
    camera, report = fit_psf(captures, FRAME, name="virtual")
    assert "bumped.png: lies +3.0 px down and -2.0 px right" in report.problems["bumped.png"]
    assert len(camera.provenance["captures"]) == 4
    pair = {key: captures[key] for key in ("point_0.png", "bumped.png")}
    with pytest.raises(CalibrationError, match=r"captures moved .* bumped\.png"):
        fit_psf(pair, FRAME, name="virtual")


@pytest.mark.parametrize("second", [1.0, 0.5])
def test_two_point_sources_are_told_from_one(second):
    truth = _truth(reach=0.4)
    both = _captures(truth + second * torch.roll(truth, (14, -19), dims=(0, 1)), 2)
    with pytest.raises(CalibrationError, match="moved 14 px down and -19 px right"):
        fit_psf(both, FRAME, name="virtual")
    _, report = fit_psf(both, FRAME, name="virtual", repeats=True)
    assert report.second_peak == pytest.approx(second / (1 + second**2), abs=0.08)


def test_no_point_source():
    with pytest.raises(CalibrationError, match="no point source in the captures"):
        fit_psf(_captures(_truth(), 3, peak=0.0), FRAME, name="virtual")


def test_psf_that_leaves_the_sensor_is_told():
    _, report = fit_psf(_captures(_truth(reach=2.0), 2), FRAME, name="virtual")
    assert report.cut_off


def test_wrong_frames_are_named():
    with pytest.raises(CalibrationError, match="at least one frame, got none"):
        fit_psf({}, FRAME, name="virtual")
    with pytest.raises(CalibrationError, match="frames of 40x40 pixels or more"):
        fit_psf({"tiny": torch.ones(9, 9)}, FRAME, name="virtual")
    captures = _captures(_truth(), 2) | {"other.png": torch.rand(90, 90)}
    _, report = fit_psf(captures, FRAME, name="virtual")
    assert report.problems["other.png"].startswith("other.png: capture has shape (90, 90)")
