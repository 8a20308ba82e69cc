"""Splits of RGB pictures agree with those of the planes they are made of."""

import pytest
import torch

from barelens.imaging import ShapeError
from barelens.imaging.bayer import planes_to_rgb, rgb_to_planes
from barelens.imaging.trust import (
    factorise,
    keep_measured_colours,
    split_colours,
    split_picture,
)

MATRIX = torch.tensor([[1.6, -0.5, -0.1], [-0.2, 1.5, -0.3], [0.0, -0.6, 1.6]]).double()


@pytest.fixture(scope="module")
def camera(colour_operator):
    return factorise(colour_operator)


@pytest.fixture(scope="module")
def picture(camera):
    generator = torch.Generator().manual_seed(0)
    size = camera.scene_shape[-2:]
    return torch.randn(3, *size, generator=generator, dtype=torch.float64)


NOISE = torch.tensor([0.3, 0.2, 0.2, 0.4]).double()
PRIOR = torch.tensor([0.5, 0.6, 0.6, 0.3]).double()


def test_the_greens_share_what_they_have_measured(camera, picture):
    split = split_colours(picture, camera, NOISE, PRIOR)
    planes = split_picture(rgb_to_planes(picture), camera, NOISE, PRIOR)
    torch.testing.assert_close(split.measured, planes_to_rgb(planes.measured))
    torch.testing.assert_close(split.picture, picture)


def test_colours_are_split_as_the_camera_sees_them(camera, picture):
    own = torch.einsum("ij,jhw->ihw", torch.linalg.inv(MATRIX), picture)
    split = split_colours(picture, camera, NOISE, PRIOR, colour_matrix=MATRIX)
    expected = split_colours(own, camera, NOISE, PRIOR).measured
    torch.testing.assert_close(split.measured, torch.einsum("ij,jhw->ihw", MATRIX, expected))


def test_a_batch_equals_its_items(camera, picture):
    pictures = torch.stack([picture, picture.flip(-1)])
    split = split_colours(pictures, camera, NOISE, PRIOR)
    for item, measured in zip(pictures, split.measured, strict=True):
        torch.testing.assert_close(split_colours(item, camera, NOISE, PRIOR).measured, measured)


def test_what_was_measured_of_a_change_is_undone(camera, picture):
    reference = picture.flip(-2)
    kept = keep_measured_colours(picture, reference, camera, NOISE, PRIOR)
    asked = split_colours(picture - reference, camera, NOISE, PRIOR)
    torch.testing.assert_close(kept - reference, asked.invented)
    left = split_colours(kept - reference, camera, NOISE, PRIOR)
    assert (left.measured.square().sum((-2, -1)) < asked.measured.square().sum((-2, -1)) / 4).all()


def test_nothing_is_kept_for_a_camera_that_hears_nothing(camera, picture):
    deaf = torch.full((4,), 1e9, dtype=torch.float64)
    kept = keep_measured_colours(picture, picture.flip(-2), camera, deaf, PRIOR)
    torch.testing.assert_close(kept, picture)


def test_wrong_shapes_are_named(camera, picture):
    with pytest.raises(ShapeError, match=r"picture must have shape \(\.\.\., 3, h, w\)"):
        split_colours(picture[:2], camera, NOISE, PRIOR)
    with pytest.raises(ShapeError, match="one shape"):
        split_colours(picture, camera, NOISE, PRIOR[:3])
    with pytest.raises(ValueError, match="1, 3 or 4 planes, got 2"):
        split_colours(picture, camera, NOISE[:2], PRIOR[:2])
