"""Records of diffuser cameras from captures, and pages about records, on the command line."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner

from barelens import data
from barelens.app.cli import cli
from barelens.calibration import Camera
from barelens.imaging.files import write_raw_png16

SIZE = (90, 110)


def _run(*arguments):
    return CliRunner().invoke(cli, ["calibrate", *(str(argument) for argument in arguments)])


@pytest.fixture
def captures(tmp_path):
    """Three captures of a point source through a diffuser, and one with the source off."""
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.standard_normal(SIZE), 4)
    light = np.exp(-np.abs(smooth / smooth.std()) * 6)
    light *= np.hanning(SIZE[0])[:, None] ** 2 * np.hanning(SIZE[1]) ** 2
    light = 3000 * light / light.max()
    paths = []
    for index, level in enumerate((light, light, light, 0 * light)):
        counts = torch.from_numpy(rng.poisson(level + 100)).int()
        paths.append(tmp_path / f"frame_{index}.png")
        write_raw_png16(paths[-1], counts)
    return paths


def test_captures_of_a_point_source_become_a_record(captures, tmp_path):
    out = tmp_path / "camera.safetensors"
    result = _run(
        "psf", *captures[:3], "--background", captures[3], "--out", out, "--white-level", 4095
    )
    assert result.exit_code == 0, result.stderr
    assert "averaged 3 of 3 captures; took off a background of 100" in result.stdout
    camera = Camera.load(out)
    assert camera.psf.shape == SIZE
    assert camera.provenance["captures"] == ["frame_0.png", "frame_1.png", "frame_2.png"]
    again = _run("psf", *captures[:3], "--out", out, "--white-level", 4095)
    assert again.exit_code == 1
    assert "exists; choose another --out" in again.stderr


def test_bad_captures_are_named_and_passed_over(captures, tmp_path):
    clipped, broken = tmp_path / "clipped.png", tmp_path / "broken.png"
    write_raw_png16(
        clipped, torch.full(SIZE, 4095, dtype=torch.int32).index_fill(0, torch.arange(9), 0)
    )
    broken.write_bytes(b"no picture")
    out = tmp_path / "camera.safetensors"
    lossy = tmp_path / "lossy.jpg"
    bad = (clipped, broken, lossy)
    result = _run("psf", captures[0], *bad, "--out", out, "--white-level", 4095)
    assert result.exit_code == 1
    assert "broken.png" in result.stderr
    assert "lossy.jpg: JPEG is 8-bit and lossy" in result.stderr
    assert "clipped.png: saturated in 100.00% of its lit pixels" in result.stderr
    assert Camera.load(out).provenance["captures"] == ["frame_0.png"]


def test_nothing_is_written_without_a_point_source(captures, tmp_path):
    out = tmp_path / "camera.safetensors"
    result = _run("psf", captures[3], "--out", out, "--white-level", 4095)
    assert result.exit_code == 1
    assert "no point source in the captures" in result.stderr
    assert not out.exists()
    result = _run(
        "psf", captures[0], "--background", tmp_path / "no.png", "--out", out, "--white-level", 4095
    )
    assert result.exit_code == 1
    assert "no background capture can be read" in result.stderr


def test_show_writes_a_page(tmp_path):
    page = tmp_path / "camera.html"
    camera = data.path("diffusercam/camera.safetensors")
    result = _run("show", camera, "--report", page)
    assert result.exit_code == 0, result.stderr
    assert f"report written to {page}" in result.stdout
    assert "DiffuserCam of the tutorial" in page.read_text(encoding="utf-8")
    missing = _run("show", camera, "--report", tmp_path / "none" / "camera.html")
    assert missing.exit_code == 1
    assert len(missing.stderr.splitlines()) == 1
