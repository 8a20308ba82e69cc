"""Annotators of controlnet_aux: real ones where they load, a clear message where they do not."""

import builtins
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from barelens import data
from barelens.app.refining import AnnotatorSettings, RefiningPipeline
from barelens.calibration import Camera
from barelens.imaging.files import read_raw
from barelens.imaging.refine import annotate, annotators


@pytest.fixture(autouse=True)
def fresh_detectors():
    annotators._detector.cache_clear()
    yield
    annotators._detector.cache_clear()


@pytest.fixture
def square():
    picture = torch.zeros(2, 64, 96, 3, dtype=torch.uint8)
    picture[:, 16:48, 32:64] = 200
    return picture


def _loads():
    try:
        import controlnet_aux  # noqa: F401
    except (ImportError, RuntimeError):
        return False
    return True


@pytest.mark.skipif(not _loads(), reason="needs controlnet_aux and its torchvision")
@pytest.mark.parametrize("name", ["canny", "lineart"])
def test_real_annotators_find_the_edges_of_a_square(name, square):
    found = annotate(name, square)
    assert found.shape == (2, 3, 64, 96) and torch.equal(found[0], found[1])
    edge = found[0, 0, 14:19, 40:56].amax(0).mean()
    assert edge > 10 * found[0, 0, 28:36, 44:52].mean()


def test_annotations_come_as_controlnets_want_them(monkeypatch, square):
    seen = []

    class CannyDetector:
        def __call__(self, picture, *, detect_resolution, image_resolution, output_type):
            seen.append((picture.shape, detect_resolution, image_resolution, output_type))
            return np.full((64, 128, 3), 255, dtype=np.uint8)

    monkeypatch.setitem(sys.modules, "controlnet_aux", SimpleNamespace(CannyDetector=CannyDetector))
    found = annotate("canny", square)
    assert seen == [((64, 96, 3), 64, 64, "np")] * 2
    assert torch.equal(found, torch.ones(2, 3, 64, 96))


@pytest.mark.parametrize(
    "error", [ImportError("no module"), RuntimeError("operator torchvision::nms does not exist")]
)
def test_a_library_that_does_not_load_says_what_to_do(monkeypatch, square, error):
    real = builtins.__import__

    def failing(name, *arguments, **options):
        if name == "controlnet_aux":
            raise error
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", failing)
    with pytest.raises(ImportError, match=r"pip install 'barelens\[annotators\]'") as raised:
        annotate("canny", square)
    assert str(error) in str(raised.value)


def test_wrong_arguments_are_named(square):
    with pytest.raises(ValueError, match="unknown annotator 'tea'; choose one of: canny, lineart"):
        annotate("tea", square)
    with pytest.raises(TypeError, match=r"picture must be uint8, got torch\.float32"):
        annotate("canny", square.float())
    with pytest.raises(ValueError, match="batch, height, width, 3"):
        annotate("canny", square[0])


def test_a_capture_is_refined_under_its_own_edges(monkeypatch, toy, tmp_path):
    edges = np.zeros((256, 256, 3), dtype=np.uint8)
    edges[::8] = 255
    detector = SimpleNamespace(CannyDetector=lambda: lambda picture, **options: edges)
    monkeypatch.setitem(sys.modules, "controlnet_aux", detector)
    refiner = toy.refiner("linear", "pixel", patch=4, settings={"steps": 1, "scheduler": "ddim"})
    toy.controlnet(refiner.parts.unet, 3, (8, 8, 8)).save_pretrained(tmp_path)
    camera = Camera.load(data.path("flatcam/camera.safetensors"))
    raw = read_raw(data.path("flatcam/fc_6.png"))
    images = {}
    for scale in (None, 0.0, 1.0):
        second = None if scale is None else AnnotatorSettings("canny", str(tmp_path), scale)
        _, refined = RefiningPipeline(camera, refiner, annotator=second)(raw)
        images[scale] = refined.image
    torch.testing.assert_close(images[0.0], images[None])
    assert not torch.allclose(images[1.0], images[None], atol=1e-3)
