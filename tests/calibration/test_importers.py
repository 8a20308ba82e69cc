"""Files of other projects become camera records."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.io import savemat
from typer.testing import CliRunner

from barelens.app.cli import cli
from barelens.calibration import CalibrationError, Camera, Crop, import_flatcam, import_psf
from barelens.imaging import Tikhonov
from barelens.imaging.files import write_raw_png16


def _matrices(height=40, width=50, scene=12):
    generator = np.random.default_rng(0)
    sides = {"P": (height, scene), "Q": (width, scene)}
    return {
        f"{side}1{plane}": generator.standard_normal(shape)
        for side, shape in sides.items()
        for plane in ("r", "gr", "gb", "b")
    }


@pytest.mark.parametrize("extra", [{}, {"angle": 0.5, "cSize": [40, 50]}])
def test_flatcam_file_becomes_a_camera_that_reconstructs(tmp_path, extra):
    arrays = _matrices()
    savemat(tmp_path / "calib.mat", arrays | extra)
    camera = import_flatcam(tmp_path / "calib.mat", frame_shape=(90, 110))
    assert camera.window == Crop(2, 2, 40, 50)
    assert camera.rotation_deg == (0.5 if extra else 0.0)
    assert camera.bayer == "BGGR"
    for index, plane in enumerate(("r", "gr", "gb", "b")):
        torch.testing.assert_close(
            camera.phi_left[index], torch.from_numpy(arrays[f"P1{plane}"]).float()
        )
    capture = camera.prepare(torch.randint(0, 65536, (90, 110), dtype=torch.int32))
    assert Tikhonov(camera.operator())(capture).shape == (4, 12, 12)


def test_matlab_73_file_is_read_as_any_other(tmp_path):
    h5py = pytest.importorskip("h5py")
    arrays, path = _matrices(), tmp_path / "calib.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in arrays.items():
            file[name] = values.T
    header = b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\x00\x02IM"
    with path.open("r+b") as file:
        file.write(header)
    camera = import_flatcam(path, frame_shape=(90, 110))
    torch.testing.assert_close(camera.phi_right[0], torch.from_numpy(arrays["Q1r"]).float())


def test_angle_turns_counterclockwise_about_the_centre(tmp_path):
    from skimage.transform import rotate as turned

    savemat(tmp_path / "calib.mat", _matrices() | {"angle": 3.0})
    camera = import_flatcam(tmp_path / "calib.mat", frame_shape=(120, 140), white_level=1)
    y = np.linspace(-2, 2, 60)[:, None]
    x = np.linspace(-2, 2, 70)
    plane = np.sin(3 * x + y) * np.cos(2 * y - x)
    wanted = turned(plane, 3.0, order=1)[10:50, 10:60]
    raw = torch.from_numpy(plane).repeat_interleave(2, 0).repeat_interleave(2, 1)
    found = dataclasses.replace(camera, mean_removal=False).prepare(raw, dtype=torch.float64)[0]
    assert np.corrcoef(found.numpy().ravel(), wanted.ravel())[0, 1] > 0.995


def test_flatnet_settings_can_be_given(tmp_path):
    savemat(tmp_path / "flatnet.mat", _matrices())
    crop = Crop(1, 3, 40, 50)
    camera = import_flatcam(
        tmp_path / "flatnet.mat", frame_shape=(90, 110), rotation_deg=0.0997, crop=crop
    )
    assert (camera.rotation_deg, camera.crop) == (0.0997, crop)


def test_bad_matlab_files_are_named(tmp_path):
    path = tmp_path / "calib.mat"
    with pytest.raises(FileNotFoundError, match="no calibration file at"):
        import_flatcam(path)
    path.write_bytes(b"MATLAB?" * 50)
    with pytest.raises(CalibrationError, match=r"calib\.mat cannot be read as a MATLAB file"):
        import_flatcam(path)
    arrays = _matrices()
    savemat(path, {name: value for name, value in arrays.items() if name != "Q1gb"})
    with pytest.raises(CalibrationError, match="has no matrix Q1gb; it has P1b, P1gb"):
        import_flatcam(path)
    savemat(path, arrays | {"P1r": arrays["P1r"] * np.nan})
    with pytest.raises(CalibrationError, match="P1r must be a finite real matrix"):
        import_flatcam(path)
    savemat(path, arrays)
    with pytest.raises(CalibrationError, match="does not fit in a plane of 30x30"):
        import_flatcam(path, frame_shape=(60, 60))


@pytest.mark.parametrize(
    ("shape", "psf_shape"),
    [
        ((30, 41), (30, 41)),
        ((30, 41, 3), (3, 30, 41)),
        ((1, 30, 41, 3), (3, 30, 41)),
        ((1, 30, 41, 1), (30, 41)),
    ],
)
def test_psf_arrays_of_every_layout(tmp_path, shape, psf_shape):
    stored = np.full(shape, 7.0)
    stored.reshape(-1)[stored.size // 2 :] += np.random.default_rng(1).random(
        stored.size - stored.size // 2
    )
    np.save(tmp_path / "psf.npy", stored)
    camera = import_psf(tmp_path / "psf.npy", white_level=4095, background=7.0)
    assert camera.psf.shape == psf_shape
    assert float(camera.psf.norm()) == pytest.approx(1)
    assert camera.operator().capture_shape == psf_shape
    assert camera.prepare(torch.rand(camera.frame_shape)).shape[-2:] == (30, 41)


def test_dark_or_tiny_psf_is_refused(tmp_path):
    write_raw_png16(tmp_path / "dark.png", torch.full((30, 30), 5, dtype=torch.int32))
    with pytest.raises(CalibrationError, match="nothing in the PSF is brighter than 5"):
        import_psf(tmp_path / "dark.png", white_level=255)
    np.save(tmp_path / "tiny.npy", np.ones((4, 4)))
    with pytest.raises(CalibrationError, match="holds no PSF of 20x20 or more"):
        import_psf(tmp_path / "tiny.npy", white_level=255)


def test_import_and_show_on_the_command_line(tmp_path):
    savemat(tmp_path / "calib.mat", _matrices(500, 620, 16))
    out = tmp_path / "camera.safetensors"
    run = CliRunner().invoke
    result = run(cli, ["calibrate", "import", str(tmp_path / "calib.mat"), "--out", str(out)])
    assert result.exit_code == 0, result.stderr
    assert Camera.load(out).window == Crop(6, 10, 500, 620)
    shown = run(cli, ["calibrate", "show", str(out)])
    assert shown.exit_code == 0
    for words in ("separable", "500x620", "BGGR", "modes over 1 %"):
        assert words in shown.stdout
    again = run(cli, ["calibrate", "import", str(tmp_path / "calib.mat"), "--out", str(out)])
    assert again.exit_code == 1
    assert "exists; choose another --out" in again.stderr
