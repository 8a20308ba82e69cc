"""`barelens calibrate selfcal` says in one line what is wrong."""

import pytest
import torch
from typer.testing import CliRunner

from barelens import data
from barelens.app.cli import cli
from barelens.imaging.files import write_png


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    write_png(path, torch.arange(32 * 32 * 3).reshape(32, 32, 3).to(torch.uint8))
    return str(path)


def run(*arguments: str):
    return CliRunner().invoke(cli, ["calibrate", "selfcal", *arguments])


def test_pictures_or_a_start_are_needed(tmp_path, picture):
    capture, out = str(data.path("flatcam/fc_6.png")), str(tmp_path / "camera.safetensors")
    record = str(data.path("flatcam/camera.safetensors"))
    for extra in ((), ("--reference", picture, "--start", record)):
        result = run(capture, "--out", out, *extra)
        assert result.exit_code == 1
        assert "give either a --reference picture" in result.stderr
    result = run(capture, "--out", out, "--reference", picture)
    assert "--white-level is needed" in result.stderr
    result = run(capture, capture, "--out", out, "--reference", picture, "--white-level", "65535")
    assert "got 2 captures and 1 pictures" in result.stderr
    result = run(capture, "--out", out, "--start", record)
    assert "at least 2 captures" in result.stderr
    assert not (tmp_path / "camera.safetensors").exists()


def test_a_record_is_never_overwritten(tmp_path, picture):
    out = tmp_path / "camera.safetensors"
    out.write_text("mine")
    result = run(picture, "--out", str(out), "--start", picture)
    assert result.exit_code == 1
    assert "exists; choose another --out" in result.stderr
    assert out.read_text() == "mine"


def test_settings_are_named(tmp_path, picture):
    capture, out = str(data.path("flatcam/fc_6.png")), str(tmp_path / "camera.safetensors")
    pairs = (capture, capture, "--out", out, "--reference", picture, "--reference", picture)
    common = (*pairs, "--white-level", "65535")
    assert "--encoding must be srgb or linear" in run(*common, "--encoding", "jpeg").stderr
    assert "--crop must be TOP,LEFT" in run(*common, "--crop", "1,2").stderr
    clipped = run(*pairs, "--white-level", "100", "--bayer", "BGGR")
    assert clipped.exit_code == 1
    assert "fc_6.png: " in clipped.stderr
