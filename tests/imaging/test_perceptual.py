"""LPIPS through torchmetrics. Its ImageNet weights are not here, so a seeded network is in their
place: its distances mean nothing, but every law of the wrapper holds for them too."""

import sys
import types
from urllib.error import URLError

import pytest
import torch

from barelens.imaging.perceptual import LPIPS, MetricUnavailableError
from barelens.imaging.shapes import ShapeError

lpips_class = pytest.importorskip("torchmetrics.image.lpip")
lpips_function = pytest.importorskip("torchmetrics.functional.image.lpips")


def alexnet_features():
    """AlexNet's convolutions with the shapes of torchvision and seeded weights."""
    torch.manual_seed(0)
    layers = [
        torch.nn.Conv2d(3, 64, 11, stride=4, padding=2),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(3, 2),
        torch.nn.Conv2d(64, 192, 5, padding=2),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(3, 2),
        torch.nn.Conv2d(192, 384, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(384, 256, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(256, 256, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(3, 2),
    ]
    return types.SimpleNamespace(features=torch.nn.Sequential(*layers))


@pytest.fixture
def torchvision_with(monkeypatch):
    """Put a torchvision in place whose AlexNet is built by the given function."""

    def install(build):
        torchvision = types.ModuleType("torchvision")
        torchvision.models = types.SimpleNamespace(
            alexnet=lambda weights: build(),
            AlexNet_Weights=types.SimpleNamespace(DEFAULT="default"),
        )
        monkeypatch.setitem(sys.modules, "torchvision", torchvision)
        monkeypatch.setattr(lpips_class, "_TORCHVISION_AVAILABLE", True)
        monkeypatch.setattr(lpips_function, "_TORCHVISION_AVAILABLE", True)

    return install


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(1)
    reference = torch.rand(2, 2, 3, 64, 70, generator=generator)
    noise = torch.rand(reference.shape, generator=generator)
    return 0.7 * reference + 0.3 * noise, reference


def test_lpips_of_a_batch_equals_a_loop_and_torchmetrics(torchvision_with, images):
    torchvision_with(alexnet_features)
    metric = LPIPS()
    image, reference = images
    together = metric(image, reference, data_range=1.0)
    assert together.shape == (2, 2)
    alone = torch.stack(
        [
            metric(x, y, data_range=1.0)
            for x, y in zip(image.flatten(0, 1), reference.flatten(0, 1), strict=True)
        ]
    )
    torch.testing.assert_close(together.flatten(), alone, rtol=1e-5, atol=1e-7)
    theirs = lpips_class.LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True)
    mean = theirs(image.flatten(0, 1), reference.flatten(0, 1))
    torch.testing.assert_close(together.mean(), mean, rtol=1e-5, atol=1e-7)


def test_lpips_is_zero_for_equal_images_and_knows_the_unit(torchvision_with, images):
    torchvision_with(alexnet_features)
    metric = LPIPS()
    image, reference = images
    assert (metric(image, image, data_range=1.0) == 0).all()
    distance = metric(image, reference, data_range=1.0)
    assert (distance > 0).all()
    in_counts = metric(255 * image.double(), 255 * reference.double(), data_range=255)
    torch.testing.assert_close(in_counts, distance, rtol=1e-4, atol=1e-6)


def test_lpips_refuses_other_images(torchvision_with, images):
    torchvision_with(alexnet_features)
    metric = LPIPS()
    image, reference = images
    with pytest.raises(ValueError, match=r"image must lie in \[0, 1.0\], got -1.0 to"):
        metric(image - 1.0 - image.min(), reference, data_range=1.0)
    with pytest.raises(ValueError, match="reference must lie in"):
        metric(image, torch.full_like(image, float("nan")), data_range=1.0)
    with pytest.raises(ShapeError, match="3, height, width"):
        metric(image[..., :1, :, :], reference[..., :1, :, :], data_range=1.0)
    with pytest.raises(ValueError, match="network must be"):
        LPIPS("resnet")


def test_lpips_without_its_weights_says_where_to_put_them(torchvision_with):
    def download():
        raise URLError("no network")

    torchvision_with(download)
    with pytest.raises(MetricUnavailableError, match=r"weights of 'alex'.*no network.*checkpoints"):
        LPIPS()


def test_lpips_with_a_broken_torchvision_says_which_is_wanted(torchvision_with):
    def broken():
        raise RuntimeError("operator torchvision::nms does not exist")

    torchvision_with(broken)
    with pytest.raises(ImportError, match=r"fits the installed torch .*torchvision::nms"):
        LPIPS()


def test_lpips_without_its_packages_says_what_to_install(monkeypatch):
    monkeypatch.setattr(lpips_class, "_TORCHVISION_AVAILABLE", False)
    with pytest.raises(ImportError, match="needs torchvision in the version"):
        LPIPS()
    monkeypatch.setitem(sys.modules, "torchmetrics.image.lpip", None)
    with pytest.raises(ImportError, match=r"pip install 'barelens\[metrics\]'"):
        LPIPS()
