"""``barelens refine``: pictures, records and messages."""

import json

import cv2
import pytest
import torch
from typer.testing import CliRunner

from barelens import data
from barelens.app.cli import cli
from barelens.app.refining import RefiningPipeline
from barelens.calibration import Camera
from barelens.imaging.files import read_image, read_raw, read_tiff16
from barelens.imaging.refine import Refiner
from barelens.imaging.trust import Conformal

FLATCAM = str(data.path("flatcam/camera.safetensors"))
DIFFUSER = str(data.path("diffusercam/camera.safetensors"))
CAPTURE = data.path("flatcam/fc_6.png")


def _run(*arguments):
    return CliRunner().invoke(cli, ["refine", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def model(toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    settings = {"steps": 2, "scheduler": "ddim"}
    parts = toy.parts("linear", "pixel", "sample", patch=4, residual_scale=0.5, settings=settings)
    parts.save(folder)
    return folder


def test_a_real_capture_is_refined_beside_its_linear_reconstruction(model, tmp_path):
    out = tmp_path / "new" / "folder"
    result = _run(
        *(CAPTURE, tmp_path / "missing.png", "--camera", FLATCAM, "--model", model, "--out", out),
        *("--seed", 5, "--imagination", 0.75, "--consistency", "each"),
    )
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "barelens: 1 of 2 captures failed"
    assert "missing.png" in result.stderr.splitlines()[0]
    assert "residual linear 0.9" in result.stdout
    assert {path.name for path in out.iterdir()} == {
        *(f"fc_6.linear.{suffix}" for suffix in ("tif", "png", "json")),
        *(f"fc_6.refined.{suffix}" for suffix in ("tif", "png", "json")),
        *("fc_6.both.png", "fc_6.invented.png", "fc_6.refined.measured.tif"),
    }
    record = json.loads((out / "fc_6.refined.json").read_text())
    assert record["camera"]["digest"] == Camera.load(FLATCAM).digest
    settings = record["settings"]
    assert (settings["steps"], settings["seed"], settings["imagination"]) == (2, 5, 0.75)
    assert settings["consistency_steps"] is None
    assert set(record["residual"]) == {"linear", "imagined", "refined"}
    assert all(0 < value for values in record["residual"].values() for value in values)
    trust = record["trust"]
    assert trust["verdict"] == "miscalibration"  # as its linear reconstruction's record says
    assert all(0 < share < 1 for share in trust["measured"]["of_picture"])
    assert 0 <= trust["windows"]["standing_out"] < trust["windows"]["tested"]
    share = read_image(out / "fc_6.refined.measured.tif", encoding="linear")
    assert share.shape == (1, 256, 256)
    assert float(share.nan_to_num(0.5).min()) >= 0 and float(share.nan_to_num(0.5).max()) <= 1
    both = cv2.imread(str(out / "fc_6.both.png"))
    assert both.shape[1] > 2 * 256 and both.shape[0] > 256
    pipeline = RefiningPipeline(Camera.load(FLATCAM), Refiner.load(model))
    _, refined = RefiningPipeline(pipeline.linear.camera, pipeline.refiner, pipeline.settings)(
        read_raw(CAPTURE)
    )
    assert refined.image.shape == (1, 3, 256, 256)


def test_samples_and_intervals_say_how_far_it_may_be_off(model, tmp_path):
    intervals = Conformal(0.9, (), (2.5,), 1000, of="refined")
    intervals.save(tmp_path / "intervals.json")
    options = ("--camera", FLATCAM, "--model", model, "--strength", 0.5, "--out", tmp_path)
    found = {}
    for samples in (1, 3):
        result = _run(
            *(CAPTURE, *options, "--samples", samples),
            *("--intervals", tmp_path / "intervals.json"),
        )
        assert result.exit_code == 0, result.stderr
        record = json.loads((tmp_path / "fc_6.refined.json").read_text())
        assert record["trust"]["std"]["samples"] == samples
        found[samples] = read_image(tmp_path / record["files"]["interval"], encoding="linear")
    std = read_image(tmp_path / record["files"]["std"], encoding="linear")
    torch.testing.assert_close(found[3], 2.5 * std)
    # What the model might have drawn instead only adds to the error, and does add.
    assert bool((found[3] >= found[1]).all()) and found[3].mean() > 1.001 * found[1].mean()
    shown = CliRunner().invoke(cli, ["inspect", str(tmp_path / "fc_6.refined.json")])
    assert "half of 90% intervals" in shown.stdout.replace("\n", " ")


def test_the_dials_lower_end_writes_the_linear_reconstruction(model, tmp_path):
    result = _run(
        *(CAPTURE, "--camera", FLATCAM, "--model", model, "--out", tmp_path),
        *("--imagination", 0),
    )
    assert result.exit_code == 0, result.stderr
    linear, refined = (read_tiff16(tmp_path / f"fc_6.{kind}.tif") for kind in ("linear", "refined"))
    torch.testing.assert_close(refined, linear, rtol=0, atol=float(linear.max()) / 20000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--camera", "nowhere.safetensors"], "no camera record at nowhere"),
        (["--model", "nowhere"], "no model at nowhere"),
        (["--camera", DIFFUSER], "refining needs Tikhonov's reconstruction of a separable camera"),
        (["--scheduler", "magic"], "unknown scheduler 'magic'"),
        (["--consistency", "often"], "consistency must be each, none or a number, got 'often'"),
        (["--dtype", "int8"], "unknown dtype 'int8'"),
        (["--device", "abacus"], "device 'abacus' cannot be used"),
        (["--annotator", "canny"], "annotator and annotator-model must be given together"),
        (["--penalty", "best"], "penalty must be a positive number"),
        (["--wrong-prompt", "a shoe"], "wrong_prompt needs a prompt to compare it with"),
        (["--samples", "0"], "samples must be at least 1, got 0"),
        (["--intervals", "nowhere.json"], "nowhere.json"),
    ],
)
def test_wrong_settings_end_with_one_line(model, tmp_path, arguments, message):
    usual = {"--camera": FLATCAM, "--model": str(model)}
    usual.update(zip(arguments[::2], arguments[1::2], strict=True))
    flat = [part for pair in usual.items() for part in pair]
    result = _run(CAPTURE, "--out", tmp_path / "out", *flat)
    assert result.exit_code == 1
    assert message in result.stderr and len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_prompt_without_an_encoder_is_reported_for_its_capture(model, tmp_path):
    result = _run(
        *(CAPTURE, "--camera", FLATCAM, "--model", model, "--out", tmp_path),
        *("--prompt", "a tooth"),
    )
    assert result.exit_code == 1
    assert "no text encoder for the prompt 'a tooth'" in result.stderr
    assert not (tmp_path / "fc_6.refined.json").exists()
