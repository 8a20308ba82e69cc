"""The main job: real captures become pictures, bad ones are named, nothing half-written."""

import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from barelens import data
from barelens.app.cli import cli
from barelens.app.pipeline import LinearPipeline, LinearSettings
from barelens.calibration import Camera
from barelens.imaging import ConvolutionOperator
from barelens.imaging.files import read_raw, read_tiff16
from barelens.imaging.metrics import correlation

FLATCAM = str(data.path("flatcam/camera.safetensors"))
DIFFUSER = str(data.path("diffusercam/camera.safetensors"))


def _run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def flatcam():
    return Camera.load(FLATCAM)


@pytest.mark.parametrize("number", [6, 7, 8])
def test_real_flatcam_captures_agree_with_the_published_reconstructions(flatcam, number):
    # The published ones come from the authors' own calibration; ours never saw a pattern.
    scene = LinearPipeline(flatcam)(read_raw(data.path(f"flatcam/fc_{number}.png")))
    published = read_raw(data.path(f"flatcam/rec_{number}.png")).double()
    agreement = correlation(scene.rgb.double().clamp_min(0), published, per_channel=True)
    assert (agreement > torch.tensor([0.97, 0.97, 0.92])).all(), agreement


@pytest.mark.parametrize("rule", ["sure", "discrepancy"])
def test_every_automatic_penalty_serves_real_captures(flatcam, rule):
    pipeline = LinearPipeline(flatcam, LinearSettings(penalty=rule))
    scene = pipeline(read_raw(data.path("flatcam/fc_7.png")))
    published = read_raw(data.path("flatcam/rec_7.png")).double()
    agreement = correlation(scene.rgb.double().clamp_min(0), published, per_channel=True)
    assert (agreement > torch.tensor([0.97, 0.97, 0.92])).all(), agreement


def test_real_diffuser_capture_is_explained_by_a_hand_in_the_middle(tmp_path):
    result = _run(
        "reconstruct", data.path("diffusercam/hand.tif"), "--camera", DIFFUSER, "--out", tmp_path
    )
    assert result.exit_code == 0, result.stderr
    record = json.loads((tmp_path / "hand.linear.json").read_text())
    assert record["solution"]["residual"][0] < 0.01
    light = read_tiff16(tmp_path / "hand.linear.tif")[..., ::1, :]
    light = light.reshape(600, 800)
    # The palm lies left of the centre and outshines its surroundings.
    assert light[250:350, 380:480].mean() > 10 * light[:100, :100].mean()


def test_results_say_how_they_were_made(tmp_path, flatcam):
    capture = data.path("flatcam/fc_6.png")
    result = _run("reconstruct", capture, "--camera", FLATCAM, "--out", tmp_path / "new" / "folder")
    assert result.exit_code == 0, result.stderr
    out = tmp_path / "new" / "folder"
    names = {path.name for path in out.iterdir()}
    assert names == {"fc_6.linear.tif", "fc_6.linear.png", "fc_6.linear.json"}
    record = json.loads((out / "fc_6.linear.json").read_text())
    assert record["camera"]["digest"] == flatcam.digest
    assert record["settings"]["method"] == "tikhonov"
    assert len(record["solution"]["penalty"]) == 4
    assert 0 < record["solution"]["residual"][0] < 1
    assert set(record["versions"]) == {"barelens", "torch", "python", "device"}
    picture = cv2.imread(str(out / "fc_6.linear.png"), cv2.IMREAD_UNCHANGED)
    assert picture.shape == (256, 256, 3)
    scene = LinearPipeline(flatcam)(read_raw(capture)).rgb
    step = float(scene.max() - scene.min()) / 65535
    stored = read_tiff16(out / "fc_6.linear.tif").reshape(scene.shape)
    torch.testing.assert_close(stored, scene.to(stored), rtol=0, atol=step)


def test_bad_captures_are_named_and_the_rest_go_on(tmp_path):
    good = data.path("flatcam/fc_6.png")
    raw = read_raw(good).numpy()
    content = good.read_bytes()
    bad = {
        "truncated.png": lambda path: path.write_bytes(content[: len(content) // 2]),
        "empty.png": lambda path: path.write_bytes(b""),
        "text.png": lambda path: path.write_text("hello"),
        "small.png": lambda path: cv2.imwrite(str(path), raw[:100, :100]),
        "eight_bit.png": lambda path: cv2.imwrite(str(path), (raw >> 8).astype(np.uint8)),
        "nan.npy": lambda path: np.save(path, np.where(raw > 9000, np.nan, raw)),
        "saturated.npy": lambda path: np.save(path, np.full_like(raw, 65535) - (raw < 9000)),
        "black.npy": lambda path: np.save(path, np.zeros_like(raw)),
    }
    for name, write in bad.items():
        write(tmp_path / name)
    shutil.copy(good, tmp_path / "good.png")
    files = [tmp_path / name for name in [*bad, "missing.png", "good.png"]]
    out = tmp_path / "out"
    result = _run("reconstruct", *files, "--camera", FLATCAM, "--out", out)
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    for name in [*bad, "missing.png"]:
        assert sum(name in line for line in lines) == 1, (name, lines)
    assert lines[-1] == f"barelens: {len(bad) + 1} of {len(files)} captures failed"
    assert {path.stem.split(".")[0] for path in out.iterdir()} == {"good"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--camera", "nowhere.safetensors"], "no camera record at nowhere.safetensors"),
        (["--camera", FLATCAM, "--penalty", "best"], "penalty must be a positive number"),
        (["--camera", FLATCAM, "--penalty", "-1"], "penalty must be positive"),
        (["--camera", FLATCAM, "--method", "magic"], "unknown method 'magic'"),
        (["--camera", FLATCAM, "--iterations", "0"], "iterations must be positive"),
        (["--camera", DIFFUSER, "--method", "tikhonov"], "needs a separable camera"),
        (["--camera", FLATCAM, "--device", "abacus"], "device 'abacus' cannot be used"),
    ],
)
def test_wrong_settings_end_with_one_line(tmp_path, arguments, message):
    capture = data.path("flatcam/fc_6.png")
    result = _run("reconstruct", capture, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_captures_of_one_name_are_refused(tmp_path):
    result = _run("reconstruct", "a/x.png", "b/x.tif", "--camera", FLATCAM, "--out", tmp_path)
    assert result.exit_code == 1
    assert "would both be written as x" in result.stderr


def test_bad_usage_exits_with_2(tmp_path):
    assert _run("reconstruct", "x.png").exit_code == 2
    assert _run("reconstruct", "x.png", "--camera").exit_code == 2
    assert _run("paint").exit_code == 2


@pytest.mark.parametrize("method", ["cg", "fista", "admm"])
def test_iterative_methods_run_on_the_real_flatcam(flatcam, method):
    settings = LinearSettings(method=method, penalty=0.02, iterations=15)
    scene = LinearPipeline(flatcam, settings)(read_raw(data.path("flatcam/fc_6.png")))
    published = read_raw(data.path("flatcam/rec_6.png")).double()
    assert float(correlation(scene.rgb.double().clamp_min(0), published)) > 0.8
    assert 0 < scene.numbers["residual"] < 1


def test_simulated_captures_come_back(tmp_path):
    picture = data.path("flatcam/rec_6.png")
    size = ["--sensor", "400x480", "--scene", "96x96", "--pixel-pitch-um", "10.6"]
    simulated = _run("simulate", picture, tmp_path / "not" / "no.png", "--out", tmp_path, *size)
    assert simulated.exit_code == 1
    assert "no.png" in simulated.stderr
    assert (tmp_path / "rec_6.json").is_file()
    camera = tmp_path / "camera.safetensors"
    result = _run(
        "reconstruct", tmp_path / "rec_6.png", "--camera", camera, "--out", tmp_path / "out"
    )
    assert result.exit_code == 0, result.stderr
    light = read_tiff16(tmp_path / "out" / "rec_6.linear.tif")
    shown = torch.from_numpy(cv2.imread(str(picture))[:, :, ::-1].copy()).permute(2, 0, 1)
    linear = (shown / 255) ** 2.2
    truth = torch.nn.functional.interpolate(linear[None], (96, 96), mode="area")[0]
    assert float(correlation(light.double(), truth.double())) > 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mask", "lace"], "unknown mask 'lace'"),
        (["--mask", "mura", "--features", "9"], "odd prime, got 9"),
        (["--order", "20"], "order must be from 2 to 12"),
        (["--sensor", "big"], "sensor must be HEIGHTxWIDTH"),
        (["--sensor", "101x100"], "even sides"),
        (["--field-of-view-deg", "200"], "field_of_view_deg must be between"),
    ],
)
def test_impossible_cameras_are_named(tmp_path, arguments, message):
    picture = data.path("flatcam/rec_6.png")
    result = _run("simulate", picture, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_simulate_never_overwrites_its_picture():
    picture = data.path("flatcam/rec_6.png")
    before = picture.read_bytes()
    result = _run("simulate", picture, "--out", picture.parent)
    assert result.exit_code == 1
    assert "would be overwritten" in result.stderr
    assert picture.read_bytes() == before


def test_help_does_not_load_torch():
    code = (
        "import sys; from typer.testing import CliRunner; from barelens.app.cli import cli; "
        "assert CliRunner().invoke(cli, ['reconstruct', '--help']).exit_code == 0; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_bundled_psf_has_unit_energy():
    operator = Camera.load(DIFFUSER).operator()
    assert isinstance(operator, ConvolutionOperator)
    assert float(operator.psf.norm()) == pytest.approx(1, rel=1e-5)


def test_missing_bundled_file_lists_those_there_are():
    with pytest.raises(FileNotFoundError, match=r"no bundled file 'x'; there are: .*fc_6\.png"):
        data.path("x")
