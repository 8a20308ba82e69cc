"""Records say how far they can be trusted, commands show it, and cameras are planned."""

import json
import subprocess
import sys
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from barelens import data
from barelens.app.cli import cli
from barelens.app.defects import find_defects
from barelens.app.pipeline import LinearPipeline, LinearSettings
from barelens.app.trust_record import Trust
from barelens.calibration import Camera
from barelens.imaging import Tikhonov
from barelens.imaging.files import read_image, read_raw

FLATCAM = data.path("flatcam/camera.safetensors")
SMALL = ["--sensor", "240x280", "--scene", "48x48", "--order", "7", "--pixel-pitch-um", "10.6"]


def _run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A folder with a small virtual camera, a capture and its reconstruction."""
    folder = tmp_path_factory.mktemp("simulated")
    result = _run("simulate", data.path("flatcam/rec_6.png"), "--out", folder, *SMALL)
    assert result.exit_code == 0, result.stderr
    camera, capture = folder / "camera.safetensors", folder / "rec_6.png"
    result = _run("reconstruct", capture, "--camera", camera, "--out", folder / "out", "--trust")
    assert result.exit_code == 0, result.stderr
    return folder


def _trust(folder):
    return json.loads((folder / "out" / "rec_6.linear.json").read_text())["trust"]


def test_record_carries_measures_of_trust(simulated):
    trust = _trust(simulated)
    planes = 4
    for name in ("noise_std", "misfit_std", "prior_std"):
        assert len(trust[name]) == planes
        assert min(trust[name]) > 0
    assert all(0 < share < 1 for share in trust["measured"]["of_picture"])
    assert all(0 < share < 1 for share in trust["measured"]["of_scene"])
    assert trust["defects"]["saturated_pixels"] == 0
    assert np.array(trust["maps"]["std"]).shape == (16, 16)
    picture = cv2.imread(str(simulated / "out" / "rec_6.trust.png"))
    assert picture.shape[0] > 96 < picture.shape[1]


def test_noise_in_the_record_is_that_of_the_sensor(simulated):
    trust = _trust(simulated)
    settings = json.loads((simulated / "rec_6.json").read_text())
    raw = read_raw(simulated / "rec_6.png").double()
    # Shot noise of the mean pixel, read noise and rounding, in captured light.
    sensor = settings["sensor"]
    span = 2 ** sensor["bit_depth"] - 1 - sensor["black_level_dn"]
    electrons = (raw.mean() - sensor["black_level_dn"]) * sensor["full_well_e"] / span
    expected = (electrons + sensor["read_noise_e"] ** 2).sqrt() / sensor["full_well_e"]
    assert np.mean(trust["noise_std"]) == pytest.approx(float(expected), rel=0.15)


def test_real_self_calibrated_camera_is_said_not_to_fit():
    """Its matrices come from three captures; the test says that they are not all there is."""
    camera = Camera.load(FLATCAM)
    operator = camera.operator(dtype=torch.float32)
    raw = read_raw(data.path("flatcam/fc_7.png"))
    solution = Tikhonov(operator, "gcv").solve(camera.prepare(raw))
    report = Trust(camera, operator)(raw, solution.scene, solution.penalty)
    assert report.record["camera"]["verdict"] == ["miscalibrated"] * 4
    assert all(2 < ratio < 4 for ratio in report.record["camera"]["chi_square"])
    json.dumps(report.record, allow_nan=False)


def test_defects_can_be_filled_before_reconstructing(simulated):
    camera = Camera.load(simulated / "camera.safetensors")
    raw = read_raw(simulated / "rec_6.png").to(torch.int64)
    damaged = raw.clone()
    damaged[100:102] = 0
    damaged[50, 40:60] = camera.white_level
    filling = LinearPipeline(camera, LinearSettings(fill_defects=True))
    whole, filled, left = (
        pipeline(one)
        for pipeline, one in (
            (filling, raw),
            (filling, damaged),
            (LinearPipeline(camera), damaged),
        )
    )
    assert whole.numbers["filled_share"] == 0 < filled.numbers["filled_share"] < 0.02
    torch.testing.assert_close(whole.rgb, LinearPipeline(camera)(raw).rgb)
    lost, spoilt = (float((each.rgb - whole.rgb).square().mean()) for each in (filled, left))
    assert lost < spoilt / 10
    (batched,) = filling.batch(damaged[None])
    torch.testing.assert_close(batched.rgb, filled.rgb)


def test_only_a_separable_cameras_defects_are_filled():
    camera = Camera.load(data.path("diffusercam/camera.safetensors"))
    with pytest.raises(ValueError, match="fill_defects needs a separable camera"):
        LinearPipeline(camera, LinearSettings(fill_defects=True))


@pytest.mark.parametrize("kind", ["gap", "saturated"])
def test_defects_are_named_and_left_out(simulated, kind):
    camera = Camera.load(simulated / "camera.safetensors")
    operator = camera.operator(dtype=torch.float64)
    raw = read_raw(simulated / "rec_6.png").to(torch.int64)
    damaged = raw.clone()
    if kind == "gap":
        damaged[100:102] = 0
    else:
        damaged[50, 40:60] = camera.white_level
    trust = Trust(camera, operator)
    whole, broken = (
        trust(one, Tikhonov(operator, "gcv")(camera.prepare(one, dtype=torch.float64))).record
        for one in (raw, damaged)
    )
    defects = broken["defects"]
    assert defects["missing_rows"] == ([100, 101] if kind == "gap" else [])
    assert defects["saturated_pixels"] == (0 if kind == "gap" else 20)
    assert 0 < defects["unusable_share"] < 0.02
    for name in ("noise_std", "misfit_std"):
        assert broken[name] == pytest.approx(whole[name], rel=0.05)


@pytest.mark.parametrize("penalty", ["gcv", 1e-3])
def test_what_the_reconstruction_knew_changes_no_record(simulated, penalty):
    pipeline = LinearPipeline(
        Camera.load(simulated / "camera.safetensors"), LinearSettings(penalty=penalty)
    )
    raw = read_raw(simulated / "rec_6.png")
    scene = pipeline(raw)
    expected = pipeline.trust(raw, scene.planes, torch.tensor(scene.numbers["penalty"]))
    _, batched = pipeline.batch(torch.stack([raw.roll(9, -1), raw]))
    for known in (scene, batched):
        found = pipeline.judge(raw, known)
        torch.testing.assert_close(found.std, expected.std)
        for name in ("noise_std", "misfit_std", "prior_std"):
            assert found.record[name] == pytest.approx(expected.record[name], rel=1e-4)
        for name in ("camera", "picture"):
            ratios = (report.record[name]["chi_square"] for report in (found, expected))
            assert next(ratios) == pytest.approx(next(ratios), rel=1e-3)


def test_clean_frames_have_no_defects():
    raw = torch.arange(1, 25).reshape(4, 6)
    defects, valid = find_defects(raw, 100.0)
    assert valid.all()
    assert defects.saturated_pixels == 0
    assert defects.missing_rows == defects.missing_columns == []


def test_shift_invariant_cameras_get_what_can_be_said():
    camera = Camera(
        name="small diffuser",
        frame_shape=(40, 50),
        white_level=1.0,
        psf=torch.rand(40, 50, generator=torch.Generator().manual_seed(0)),
    )
    raw = torch.rand(40, 50, generator=torch.Generator().manual_seed(1))
    scene = torch.rand(1, 40, 50, generator=torch.Generator().manual_seed(2))
    record = Trust(camera, camera.operator())(raw, scene).record
    assert record["camera"] is None
    assert "no p-value" in record["reason"]
    assert 0 < record["measured"]["of_picture"][0] <= 1
    json.dumps(record, allow_nan=False)


def test_inspect_prints_and_draws(simulated, tmp_path):
    record = simulated / "out" / "rec_6.linear.json"
    result = _run("inspect", record, "--out", tmp_path / "new")
    assert result.exit_code == 0, result.stderr
    for words in ("noise of a sample", "measured share", "expected error", "p-value"):
        assert words in result.stdout
    drawn = read_image(tmp_path / "new" / "rec_6.inspect.png", encoding="linear")
    assert drawn.shape[2] > 3 * 48


def test_inspect_names_what_is_no_record(simulated, tmp_path):
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "no.json").write_text("no")
    (tmp_path / "old.json").write_text('{"format": "barelens.reconstruction"}')
    names = ["list.json", "no.json", "old.json", "missing.json"]
    good = simulated / "out" / "rec_6.linear.json"
    result = _run("inspect", *[tmp_path / name for name in names], good)
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    for name in names:
        assert sum(name in line for line in lines) == 1, (name, lines)
    assert lines[-1] == "barelens: 4 of 5 records failed"
    assert "noise of a sample" in result.stdout


def test_plan_prints_and_writes(tmp_path):
    result = _run("plan", "--out", tmp_path, "--exposures-s", "0.001,0.01,1", *SMALL)
    assert result.exit_code == 0, result.stderr
    assert "saturated" in result.stdout
    plan = json.loads((tmp_path / "plan.json").read_text())
    exposures = plan["exposures"]
    assert [one["exposure_s"] for one in exposures] == [0.001, 0.01, 1]
    for name, grows in (("psnr_db", True), ("measured_share", True), ("std", False)):
        values = [one[name] for one in exposures]
        assert values == sorted(values, reverse=not grows)
    assert plan["scene"]["illuminance_lux"] == 500
    svg = ElementTree.parse(tmp_path / "plan.svg").getroot()
    assert svg.tag.endswith("svg")
    assert len(svg.findall(".//{*}circle")) == 6
    assert "http" not in (tmp_path / "plan.svg").read_text().replace("http://www.w3.org", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--exposures-s", "soon"], "exposures-s must be seconds"),
        (["--exposures-s", "0"], "must hold positive times"),
        (["--mask", "lace"], "unknown mask 'lace'"),
        (["--illuminance-lux", "-1"], "illuminance_lux must be positive"),
        (["--quantum-efficiency", "2"], "quantum_efficiency must be in (0, 1]"),
    ],
)
def test_impossible_plans_are_named(arguments, message):
    result = _run("plan", *SMALL, *arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_help_of_new_commands_does_not_load_torch():
    code = (
        "import sys; from typer.testing import CliRunner; from barelens.app.cli import cli; "
        "[CliRunner().invoke(cli, [name, '--help']) for name in ('plan', 'inspect')]; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
