"""Calibration on a virtual bench with known truth, and what can go wrong on a real one."""

import json
import shutil

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from barelens.app.cli import cli
from barelens.calibration import (
    CalibrationError,
    Camera,
    CaptureFolder,
    FrameFormat,
    PatternSet,
    VirtualBench,
    capture_patterns,
    fit_camera,
    write_patterns,
)
from barelens.calibration.patterns import MANIFEST, hadamard, read_manifest
from barelens.calibration.structure import fit_structure, shrink_to_structure
from barelens.imaging import (
    MeanRemoval,
    Sensor,
    SeparableGeometry,
    Tikhonov,
    VirtualCamera,
    m_sequence,
)
from barelens.imaging.bayer import planes_to_rgb, split_bayer
from barelens.imaging.metrics import psnr

PATTERNS = PatternSet(32, 40, 32, 32)
FRAME = FrameFormat(white_level=65535, black_level=64, bayer="RGGB")


def _virtual(full_well_e=40_000.0):
    geometry = SeparableGeometry(96, 100, 32, 32, field_of_view_deg=14, wavelength_nm=550.0)
    profile = m_sequence(6, repeats=2)
    sensor = Sensor(full_well_e=full_well_e, bit_depth=16)
    return VirtualCamera(geometry, profile, profile, sensor=sensor)


@pytest.fixture(scope="module")
def captures(tmp_path_factory):
    """A whole calibration set on disk, taken once."""
    folder = tmp_path_factory.mktemp("captures")
    bench = VirtualBench(_virtual(), PATTERNS)
    capture_patterns(PATTERNS, bench, bench, folder, frames=1, settle_frames=0)
    return folder


@pytest.fixture
def folder(captures, tmp_path):
    """A copy of the set to damage."""
    return shutil.copytree(captures, tmp_path / "set")


@pytest.fixture(scope="module")
def fitted(captures):
    return fit_camera(CaptureFolder(captures, FRAME), FRAME, name="virtual", rotation_deg=0.0)


def _quality(camera, snr_db, seed=0):
    """PSNR of a scene from a noisy capture, with the true operator and with the fitted one."""
    virtual = _virtual()
    exposure_s = virtual.auto_exposure(torch.ones(3, *virtual.fine_scene_size))
    y = torch.linspace(-1, 1, 64)[:, None]
    x = torch.linspace(-1, 1, 64)
    scene = torch.stack(
        [((x - 0.2).square() + y.square() < 0.3).float(), 0.5 + 0.4 * torch.sin(9 * x + 4 * y)]
    )
    scene = torch.cat([scene, 0.7 * ((y > 0.1) & (x < 0.1)).float()[None]])
    sensor = virtual.sensor
    gain = virtual.electrons_per_s * exposure_s * sensor.dn_per_e
    light = split_bayer(virtual.light(scene), "RGGB") * gain
    light = light / (sensor.white_level_dn - sensor.black_level_dn)
    noise = torch.randn(light.shape, generator=torch.Generator().manual_seed(seed))
    capture = light + noise * light.square().mean().sqrt() * 10 ** (-snr_db / 20)
    truth = torch.nn.functional.avg_pool2d(scene, 2)
    operators = (virtual.operator(exposure_s=exposure_s).centred(), camera.operator())
    return [
        float(psnr(planes_to_rgb(Tikhonov(operator)(capture)), truth, data_range=1.0))
        for operator in operators
    ]


@pytest.mark.parametrize(("snr_db", "loss_db"), [(40, 0.5), (25, 1.5)])
def test_fitted_camera_reconstructs_nearly_as_well_as_the_true_one(fitted, snr_db, loss_db):
    true, ours = _quality(fitted[0], snr_db)
    assert ours > true - loss_db


def test_a_tenth_of_the_captures_lost_costs_little(folder, fitted):
    names = sorted(path for path in folder.glob("*.png") if path.stem[0] in "lr")
    for path in names[::10]:
        path.unlink()
    camera, report = fit_camera(
        CaptureFolder(folder, FRAME), FRAME, name="virtual", rotation_deg=0.0
    )
    assert len(report.problems) == len(names[::10])
    assert _quality(camera, 40)[1] > _quality(fitted[0], 40)[1] - 0.5


def test_both_captures_of_patterns_lost_are_filled(folder, fitted):
    for index in (0, 5, 17):
        for path in folder.glob(f"left_{index:04d}_*.png"):
            path.unlink()
    camera, report = fit_camera(
        CaptureFolder(folder, FRAME), FRAME, name="virtual", rotation_deg=0.0
    )
    assert report.left.lost == [5, 17]  # white and black stand in for the first
    assert _quality(camera, 40)[1] > _quality(fitted[0], 40)[1] - 0.5


def test_scale_is_that_of_the_light(fitted):
    virtual = _virtual()
    exposure_s = virtual.auto_exposure(torch.ones(3, *virtual.fine_scene_size))
    true = virtual.operator(exposure_s=exposure_s).centred()
    scene = torch.rand(4, 32, 32, generator=torch.Generator().manual_seed(1))
    window = fitted[0].window
    expected = true.forward(scene)[
        :, window.top : window.top + window.height, window.left : window.left + window.width
    ]
    expected = MeanRemoval(tuple(expected.shape)).forward(expected)
    actual = fitted[0].operator().forward(scene)
    assert float((actual * expected).sum() / expected.square().sum()) == pytest.approx(1, abs=0.02)
    assert float((actual - expected).norm() / expected.norm()) < 0.05


def test_record_says_how_well_it_fits_and_comes_back_equal(fitted, tmp_path):
    camera, report = fitted
    camera.save(tmp_path / "camera.safetensors")
    loaded = Camera.load(tmp_path / "camera.safetensors")
    assert loaded.digest == camera.digest
    assert len(loaded.residuals["left"]["pattern_sigma_ratio"]) == PATTERNS.order
    assert loaded.phi_left_std is not None
    assert loaded.phi_left_std.shape == loaded.phi_left.shape
    assert not report.problems
    assert report.left.structure is not None
    assert report.left.structure.slope == pytest.approx(_virtual().geometry.slope, rel=0.01)


def test_an_outlier_is_left_out(folder):
    shutil.copy(folder / "left_0020_plus.png", folder / "left_0009_plus.png")
    report = fit_camera(CaptureFolder(folder, FRAME), FRAME, name="virtual", rotation_deg=0.0)[1]
    assert 9 in report.left.rejected or report.left.structure is not None


def test_damaged_captures_are_named_and_survived(folder):
    content = (folder / "left_0003_plus.png").read_bytes()
    raw = cv2.imread(str(folder / "left_0004_plus.png"), cv2.IMREAD_UNCHANGED)
    (folder / "left_0003_plus.png").write_bytes(content[:500])
    cv2.imwrite(str(folder / "left_0004_plus.png"), raw[:50])
    cv2.imwrite(str(folder / "right_0005_plus.png"), np.full_like(raw, 65535) - (raw < 900))
    (folder / "right_0006_minus.png").unlink()
    cv2.imwrite(str(folder / "right_0006_minus.jpg"), (raw >> 8).astype(np.uint8))
    result = CliRunner().invoke(
        cli,
        [
            *("calibrate", "fit", str(folder), "--out", str(folder / "camera.safetensors")),
            *("--white-level", "65535", "--black-level", "64", "--bayer", "RGGB"),
        ],
    )
    assert result.exit_code == 0, result.stderr
    for name in ("left_0003_plus", "left_0004_plus", "right_0005_plus", "right_0006_minus"):
        assert sum(name in line for line in result.stderr.splitlines()) == 1
    assert Camera.load(folder / "camera.safetensors").kind == "separable"


def _shuffle(folder):
    # A permutation that no symmetry of Hadamard vectors undoes.
    names = [f"left_{index:04d}_plus.png" for index in range(32)]
    names += [f"left_{index:04d}_minus.png" for index in range(32)]
    contents = [(folder / name).read_bytes() for name in names]
    order = np.random.default_rng(0).permutation(64)
    for name, source in zip(names, order, strict=True):
        (folder / name).write_bytes(contents[source])


def _edit(folder):
    record = json.loads((folder / MANIFEST).read_text())
    record["patterns"][9]["index"] = 3
    (folder / MANIFEST).write_text(json.dumps(record))


def _newer(folder):
    record = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(record | {"format_version": 7}))


def _empty(folder):
    for path in folder.glob("*.png"):
        path.unlink()


def _only_jpegs(folder):
    _empty(folder)
    for pattern in PATTERNS.patterns():
        (folder / f"{pattern.name}.jpg").write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_shuffle, "do not answer their patterns"),
        (_edit, "lists other patterns than its screen and scene sizes give"),
        (_newer, "format version 7; this release reads up to 1"),
        (_empty, "holds no capture of the manifest's 132 patterns"),
        (_only_jpegs, "JPEG is 8-bit and lossy"),
        (lambda folder: (folder / MANIFEST).unlink(), "manifest.json is missing"),
        (lambda folder: (folder / MANIFEST).write_text("{"), "cannot be read"),
        (lambda folder: (folder / MANIFEST).write_text("{}"), "no manifest"),
        (shutil.rmtree, "is no folder"),
    ],
)
def test_useless_sets_give_one_line_and_no_record(folder, damage, message):
    damage(folder)
    out = folder.parent / "camera.safetensors"
    result = CliRunner().invoke(
        cli,
        [
            *("calibrate", "fit", str(folder), "--out", str(out), "--rotation-deg", "0"),
            *("--white-level", "65535", "--black-level", "64", "--bayer", "RGGB"),
        ],
    )
    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not out.exists()


def test_capture_goes_on_where_it_stopped(folder):
    before = {path.name: path.read_bytes() for path in folder.glob("*.png")}
    (folder / "right_0001_plus.png").unlink()
    bench = VirtualBench(_virtual(), PATTERNS, seed=5)
    result = capture_patterns(PATTERNS, bench, bench, folder, frames=2, settle_frames=1)
    assert (result.taken, result.skipped) == (1, len(before) - 1)
    for name, content in before.items():
        if name != "right_0001_plus.png":
            assert (folder / name).read_bytes() == content
    with pytest.raises(CalibrationError, match="another set of patterns"):
        capture_patterns(PatternSet(32, 40, 16, 32), bench, bench, folder)


def test_averaging_frames_lowers_noise(tmp_path):
    small = PatternSet(4, 4, 4, 4)
    geometry = SeparableGeometry(20, 20, 4, 4, field_of_view_deg=4)
    camera = VirtualCamera(geometry, m_sequence(4), m_sequence(4))
    spread = []
    for frames in (1, 16):
        bench = VirtualBench(camera, small)
        folder = tmp_path / str(frames)
        capture_patterns(small, bench, bench, folder, frames=frames, settle_frames=0)
        raw = cv2.imread(str(folder / "0_white.png"), cv2.IMREAD_UNCHANGED).astype(float)
        bench.show(small.picture(next(p for p in small.patterns() if p.kind == "white")))
        mean = torch.stack([bench.grab().double() for _ in range(200)]).mean(0).numpy()
        spread.append((raw - mean).std())
    assert spread[1] < 0.4 * spread[0]


def test_saturated_captures_are_reported(tmp_path):
    class Bright:
        white_level = 255.0

        def grab(self):
            return torch.full((4, 4), 255, dtype=torch.uint8)

    bench = VirtualBench(_virtual(), PATTERNS)
    result = capture_patterns(PATTERNS, bench, Bright(), tmp_path, frames=1, settle_frames=0)
    assert result.saturated["0_white"] == 1.0


@pytest.mark.parametrize("scene", [(8, 8), (5, 7), (6, 3)])
def test_patterns_are_hadamard_vectors_and_their_complements(scene, tmp_path):
    patterns = PatternSet(30, 41, *scene)
    assert patterns.order == 8
    vectors = hadamard(8)
    torch.testing.assert_close(vectors @ vectors.T, 8 * torch.eye(8))
    by_name = {pattern.name: pattern for pattern in patterns.patterns()}
    assert len(by_name) == 4 + 4 * 8
    for side in ("left", "right"):
        for index in range(8):
            plus = patterns.scene(by_name[f"{side}_{index:04d}_plus"])
            minus = patterns.scene(by_name[f"{side}_{index:04d}_minus"])
            assert (plus + minus == 1).all()
            axis = 0 if side == "left" else 1
            line = (plus - minus).select(1 - axis, 0)
            torch.testing.assert_close(line, vectors[index, : scene[axis]])
    written = list(write_patterns(tmp_path, patterns))
    assert len(written) == len(by_name) + 1
    assert read_manifest(tmp_path / MANIFEST) == patterns
    shown = cv2.imread(str(tmp_path / "left_0001_plus.png"), cv2.IMREAD_UNCHANGED)
    assert shown.shape == (30, 41)
    assert set(np.unique(shown)) == {0, 255}


def test_a_scene_that_does_not_fit_on_the_screen_is_named():
    with pytest.raises(CalibrationError, match="a scene of 64x64 does not fit on a screen of 32"):
        PatternSet(32, 80, 64, 64)


def test_structure_is_found_and_kept_as_far_as_it_holds():
    generator = torch.Generator().manual_seed(2)
    geometry = SeparableGeometry(90, 90, 24, 24, field_of_view_deg=10, wavelength_nm=550.0)
    profile = m_sequence(6, repeats=2)
    phi = VirtualCamera(geometry, profile, profile).operator(dtype=torch.float64).centred()
    true = phi.phi_left.expand(2, -1, -1)
    std = torch.full_like(true, 0.2 * float(true.std()))
    noisy = true + std * torch.randn(true.shape, generator=generator, dtype=torch.float64)
    structure = fit_structure(noisy)
    assert structure.slope == pytest.approx(geometry.slope, rel=5e-3)
    better = shrink_to_structure(noisy, std, structure)
    assert (better - true).norm() < 0.4 * (noisy - true).norm()
    # A matrix without noise, but with departures of its own, is left as it was measured.
    exact = shrink_to_structure(noisy, torch.zeros_like(std), structure)
    torch.testing.assert_close(exact, noisy)


def test_a_coarse_scene_whose_patterns_do_not_predict_each_other_is_fitted(tmp_path):
    # The shadow moves by several samples from one scene sample to the next.
    geometry = SeparableGeometry(96, 100, 16, 16, field_of_view_deg=50, wavelength_nm=550.0)
    profile = m_sequence(6, repeats=2)
    virtual = VirtualCamera(geometry, profile, profile, sensor=Sensor(bit_depth=16))
    patterns = PatternSet(16, 16, 16, 16)
    bench = VirtualBench(virtual, patterns)
    capture_patterns(patterns, bench, bench, tmp_path, frames=1, settle_frames=0)
    source = CaptureFolder(tmp_path, FRAME)
    camera, report = fit_camera(source, FRAME, name="coarse", rotation_deg=0.0)
    assert report.left.departure < 0.5 and report.right.departure < 0.5
    window = camera.window
    rows = slice(window.top, window.top + window.height)
    true = virtual.operator(exposure_s=bench.exposure_s).centred().phi_left[rows]
    true = true - true.mean(0)
    found = camera.phi_left.mean(0)
    agreement = (true * found).sum() / (true.norm() * found.norm())
    assert float(agreement) > 0.98
