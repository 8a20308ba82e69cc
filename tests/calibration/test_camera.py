"""The camera record: bits survive, damage and newer versions are refused, frames are prepared."""

import dataclasses
import json
import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from barelens.calibration import CalibrationError, Camera, Crop
from barelens.imaging import (
    ConvolutionOperator,
    MeanRemoval,
    SeparableOperator,
    ShapeError,
)
from barelens.imaging.bayer import merge_bayer, split_bayer
from barelens.imaging.rotation import rotate


def _separable(**changes):
    settings = {
        "name": "test",
        "frame_shape": (20, 24),
        "white_level": 4095.0,
        "black_level": 64.0,
        "bayer": "GRBG",
        "crop": Crop(top=1, left=2, height=8, width=9),
        "phi_left": torch.rand(4, 8, 5),
        "phi_right": torch.rand(4, 9, 6),
    }
    return Camera(**(settings | changes))


def _convolution(**changes):
    settings = {
        "name": "diffuser",
        "frame_shape": (20, 24),
        "white_level": 1.0,
        "psf": torch.rand(20, 24),
    }
    return Camera(**(settings | changes))


CAMERAS = {
    "separable": _separable,
    "shared matrices": lambda: _separable(
        phi_left=torch.rand(8, 5), phi_right=torch.rand(9, 6), mean_removal=True
    ),
    "everything": lambda: _separable(
        rotation_deg=0.1,
        mean_removal=True,
        phi_left_std=torch.rand(4, 8, 5).double(),
        phi_right_std=torch.rand(4, 9, 6),
        colour_matrix=torch.eye(3).half(),
        pixel_pitch_um=1.4,
        geometry={"mask_distance_mm": 1.95},
        residuals={"heldout": [0.1, 0.2]},
        provenance={"from": "test", "nested": {"ä": None}},
    ),
    "convolution": _convolution,
}


@pytest.fixture(params=CAMERAS)
def camera(request):
    torch.manual_seed(0)
    return CAMERAS[request.param]()


def test_round_trip_is_bit_exact(camera, tmp_path):
    camera.save(tmp_path / "camera.safetensors")
    loaded = Camera.load(tmp_path / "camera.safetensors")
    for item in dataclasses.fields(Camera):
        before, after = getattr(camera, item.name), getattr(loaded, item.name)
        if isinstance(before, torch.Tensor):
            assert before.dtype == after.dtype
            assert torch.equal(before.view(torch.uint8), after.view(torch.uint8))
        else:
            assert before == after, item.name
    assert loaded.digest == camera.digest
    assert [path.name for path in tmp_path.iterdir()] == ["camera.safetensors"]


def test_digest_sees_every_change():
    torch.manual_seed(0)
    camera = _separable()
    touched = camera.phi_left.clone()
    touched[0, 0, 0] += 1e-6
    others = [
        dataclasses.replace(camera, phi_left=touched),
        dataclasses.replace(camera, black_level=63.0),
        camera.with_provenance(note="new"),
    ]
    assert len({camera.digest, *(other.digest for other in others)}) == 4


def test_newer_version_is_refused_by_name(tmp_path):
    path = tmp_path / "camera.safetensors"
    _separable().save(path)
    save_file(
        load_file(path),
        path,
        {"format": "barelens.camera", "format_version": "99", "settings": "{}"},
    )
    with pytest.raises(CalibrationError, match=r"camera.safetensors has format version 99; this"):
        Camera.load(path)


def test_damaged_and_foreign_files_are_refused_by_name(tmp_path):
    path = tmp_path / "camera.safetensors"
    with pytest.raises(FileNotFoundError, match="no camera record at"):
        Camera.load(path)
    path.write_text("not a record")
    with pytest.raises(CalibrationError, match=r"camera\.safetensors is no camera record"):
        Camera.load(path)
    save_file({"weight": torch.ones(3)}, path)
    with pytest.raises(CalibrationError, match="not a camera record"):
        Camera.load(path)
    for text in ("{}", "not json", json.dumps({"frame_shape": [4, 4], "crop": None})):
        metadata = {"format": "barelens.camera", "format_version": "1", "settings": text}
        save_file({"psf": torch.ones(4, 4)}, path, metadata)
        with pytest.raises(CalibrationError, match="damaged camera record"):
            Camera.load(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(cut=st.floats(0, 0.999))
def test_truncated_record_is_refused(tmp_path, cut):
    whole, part = tmp_path / "whole.safetensors", tmp_path / "part.safetensors"
    _separable().save(whole)
    content = whole.read_bytes()
    part.write_bytes(content[: int(cut * len(content))])
    with pytest.raises(CalibrationError, match=r"part\.safetensors"):
        Camera.load(part)


def test_failed_save_keeps_the_old_record(tmp_path):
    path = tmp_path / "camera.safetensors"
    camera = _separable()
    camera.save(path)
    with pytest.raises(CalibrationError, match="what JSON cannot"):
        dataclasses.replace(camera, geometry={"distance": math.inf}).save(path)
    assert Camera.load(path).digest == camera.digest


def test_prepare_does_what_the_record_says():
    camera = CAMERAS["everything"]()
    raw = torch.randint(0, 4096, (2, 20, 24), dtype=torch.int32)
    light = (raw.double() - 64) / (4095 - 64)
    expected = rotate(split_bayer(light, "GRBG"), 0.1)[..., 1:9, 2:11]
    expected = MeanRemoval((4, 8, 9)).forward(expected)
    torch.testing.assert_close(camera.prepare(raw, dtype=torch.float64), expected)
    assert camera.prepare(raw).dtype == torch.float32
    assert camera.prepare(raw.to(torch.uint16)).shape == (2, 4, 8, 9)


def test_prepare_keeps_counts_below_black_negative():
    camera = _convolution(black_level=0.5)
    assert camera.prepare(torch.zeros(20, 24)).min() == -1


def test_prepared_frames_fit_the_operator(camera):
    raw = torch.rand(3, *camera.frame_shape)
    before = raw.clone()
    capture = camera.prepare(raw)
    assert torch.equal(raw, before), "a frame was changed in place"
    scene = camera.operator().adjoint(capture)
    assert capture.shape[:2] == (3, camera.num_planes)
    rgb = camera.to_rgb(scene)
    assert rgb.shape[1] == (3 if camera.bayer else 1)
    assert camera.operator(dtype=torch.float64).forward(scene.double()).dtype == torch.float64


def test_operator_is_of_its_kind():
    assert isinstance(_convolution().operator(), ConvolutionOperator)
    assert isinstance(_separable().operator(), SeparableOperator)
    assert not _separable().operator().mean_free
    assert CAMERAS["everything"]().operator().mean_free
    assert (_convolution().kind, _separable().kind) == ("convolution", "separable")


def test_colour_matrix_is_applied():
    matrix = torch.tensor([[0.0, 1, 0], [1, 0, 0], [0, 0, 2]])
    scene = torch.rand(4, 5, 6)
    plain, mixed = _separable().to_rgb(scene), _separable(colour_matrix=matrix).to_rgb(scene)
    torch.testing.assert_close(mixed, torch.stack([plain[1], plain[0], 2 * plain[2]]))


def test_mosaic_of_planes_is_prepared_to_the_planes():
    camera = _separable(crop=None, phi_left=torch.rand(10, 5), phi_right=torch.rand(12, 6))
    planes = torch.rand(4, 10, 12) * 4095
    raw = merge_bayer(planes, "GRBG")
    torch.testing.assert_close(camera.prepare(raw), (planes - 64) / (4095 - 64))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: _separable(phi_right=None), "must be given together"),
        (lambda: _separable(psf=torch.rand(4, 4)), "either phi_left and phi_right, or psf"),
        (lambda: _convolution(psf=None), "got both or none"),
        (lambda: _separable(white_level=64.0), "white_level must be above black_level=64.0"),
        (lambda: _separable(bayer="RGB"), "unknown Bayer order 'RGB'"),
        (lambda: _separable(crop=Crop(3, 2, 8, 9)), "does not fit in a plane of 10x12"),
        (lambda: _separable(crop=Crop(0, 0, 8, 8)), "captures of 8x9, the crop gives 8x8"),
        (lambda: _separable(phi_left=torch.rand(3, 8, 5)), "equal channels"),
        (lambda: _convolution(psf=torch.rand(20, 24).int()), "psf must have a real floating"),
    ],
)
def test_contradictions_are_named(build, message):
    with pytest.raises(CalibrationError, match=message):
        build()


def test_frame_of_another_shape_is_named():
    with pytest.raises(ShapeError, match=r"raw must have shape \(\.\.\., 20, 24\), got \(20, 25\)"):
        _separable().prepare(torch.zeros(20, 25))
