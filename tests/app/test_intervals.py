"""Intervals that are calibrated on known scenes, and what reconstructions say with them."""

import json

import pytest
import torch
from typer.testing import CliRunner

from barelens import data
from barelens.app.cli import cli
from barelens.app.intervals import KnownErrors, calibrate_intervals, left_out_coverage
from barelens.imaging.files import read_image, write_png
from barelens.imaging.trust import Conformal

PICTURES = [data.path(f"flatcam/rec_{number}.png") for number in (6, 7, 8)]
SMALL = ["--sensor", "240x280", "--scene", "48x48", "--order", "7", "--pixel-pitch-um", "10.6"]


def _run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    result = _run("simulate", *PICTURES, "--out", folder, *SMALL)
    assert result.exit_code == 0, result.stderr
    return folder


def _calibrate(folder, out, *options):
    references = [part for picture in PICTURES for part in ("--reference", picture)]
    captures = [folder / picture.name for picture in PICTURES]
    camera = ("--camera", folder / "camera.safetensors")
    return _run("calibrate", "intervals", *captures, *references, *camera, "--out", out, *options)


def test_intervals_of_three_captures_are_written_and_used(simulated, tmp_path):
    target = tmp_path / "intervals.json"
    result = _calibrate(simulated, target, "--coverage", 0.8, "--bins", 2)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("within the intervals of the others") == 3
    fitted = Conformal.load(target)
    assert fitted.coverage == 0.8 and len(fitted.scales) == 2
    assert fitted.samples == 3 * 3 * 48 * 48

    capture, camera = simulated / "rec_6.png", simulated / "camera.safetensors"
    options = ("--camera", camera, "--out", tmp_path, "--trust")
    assert _run("reconstruct", capture, *options, "--intervals", target).exit_code == 0
    record = json.loads((tmp_path / "rec_6.linear.json").read_text())
    half_width = read_image(tmp_path / record["files"]["interval"], encoding="linear")
    assert half_width.shape == (1, 48, 48) and float(half_width.min()) > 0
    interval = record["trust"]["interval"]
    assert interval["coverage"] == 0.8
    above = float((half_width <= interval["half_width_median"]).double().mean())
    assert above == pytest.approx(0.5, abs=0.01)
    shown = _run("inspect", tmp_path / "rec_6.linear.json")
    assert "80% intervals" in shown.stdout.replace("\n", " ")


def test_intervals_of_refined_pictures_are_for_those_alone(simulated, tmp_path):
    target = tmp_path / "intervals.json"
    result = _calibrate(simulated, target, "--refined", "--samples", 2, "--steps", 2)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("within the intervals of the others") == 3
    assert Conformal.load(target).of == "refined"
    capture, camera = simulated / "rec_6.png", simulated / "camera.safetensors"
    options = (capture, "--camera", camera, "--intervals", target)
    assert _run("refine", *options, "--out", tmp_path).exit_code == 0
    assert (tmp_path / "rec_6.refined.interval.tif").is_file()
    wrong = _run("reconstruct", *options, "--out", tmp_path / "new")
    assert wrong.exit_code == 1 and not (tmp_path / "new").exists()
    assert "calibrated on refined pictures, not linear ones" in wrong.stderr


def test_intervals_cover_what_they_state():
    generator = torch.Generator().manual_seed(0)
    known = []
    for _ in range(4):
        std = 0.1 + torch.rand(3, 40, 40, generator=generator)
        known.append(KnownErrors(2.5 * std * torch.randn(std.shape, generator=generator), std))
    fitted = calibrate_intervals(known, coverage=0.9)
    assert fitted.scales[0] == pytest.approx(2.5 * 1.645, rel=0.03)
    assert left_out_coverage(known, coverage=0.9) == pytest.approx([0.9] * 4, abs=0.015)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("exists", "exists; choose another --out"),
        ("one", "every capture needs its --reference, got 2 captures and 1 pictures"),
        ("single", "intervals need 2 captures or more"),
        ("coverage", "coverage must be in (0, 1), got 1.5"),
        ("samples", "--model, --steps and --samples need --refined"),
        ("swapped", "is nothing like"),
    ],
)
def test_wrong_calls_end_with_one_line(simulated, tmp_path, change, message):
    target = tmp_path / "intervals.json"
    captures, pictures, extra = [simulated / "rec_6.png"] * 2, [PICTURES[0]] * 2, []
    if change == "exists":
        target.write_text("kept")
    elif change == "one":
        pictures = pictures[:1]
    elif change == "single":
        captures, pictures = captures[:1], pictures[:1]
    elif change == "coverage":
        extra = ["--coverage", 1.5]
    elif change == "samples":
        extra = ["--samples", 2]
    else:
        negative = 1 - read_image(PICTURES[0], encoding="linear")
        write_png(tmp_path / "no.png", (255 * negative).byte().movedim(0, -1).contiguous())
        pictures = [tmp_path / "no.png"] * 2
    references = [part for picture in pictures for part in ("--reference", picture)]
    camera = ("--camera", simulated / "camera.safetensors")
    result = _run(
        "calibrate", "intervals", *captures, *references, *camera, *extra, "--out", target
    )
    assert result.exit_code == 1
    assert message in result.stderr and "Traceback" not in result.stderr
    assert not target.exists() or target.read_text() == "kept"


def test_reconstructing_refuses_what_is_no_calibration(simulated, tmp_path):
    wrong = tmp_path / "wrong.json"
    wrong.write_text("{}")
    capture, camera = simulated / "rec_6.png", simulated / "camera.safetensors"
    options = ("--camera", camera, "--out", tmp_path / "out", "--intervals", wrong)
    result = _run("reconstruct", capture, *options)
    assert result.exit_code == 1
    assert "no conformal calibration" in result.stderr and not (tmp_path / "out").exists()
