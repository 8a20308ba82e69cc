"""Laws of Bayer mosaics and of turning their planes."""

import math
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from barelens.imaging import ShapeError
from barelens.imaging.bayer import (
    BayerOrder,
    merge_bayer,
    planes_to_rgb,
    rgb_to_planes,
    split_bayer,
)
from barelens.imaging.rotation import rotate

ORDERS = get_args(BayerOrder)


@given(
    order=st.sampled_from(ORDERS),
    batch=st.lists(st.integers(1, 3), max_size=2),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
)
def test_merge_undoes_split(order, batch, height, width):
    raw = torch.arange(math.prod(batch) * 4 * height * width, dtype=torch.int32)
    raw = raw.reshape(*batch, 2 * height, 2 * width)
    planes = split_bayer(raw, order)
    assert planes.shape == (*batch, 4, height, width)
    assert planes.dtype == torch.int32
    assert torch.equal(merge_bayer(planes, order), raw)


@pytest.mark.parametrize("order", ORDERS)
def test_planes_are_the_colours_of_the_order(order):
    letters = torch.tensor([ord(letter) for letter in order]).reshape(2, 2)
    planes = split_bayer(letters.repeat(3, 2), order)
    for plane, letter in zip(planes, "RGGB", strict=True):
        assert (plane == ord(letter)).all()


@pytest.mark.parametrize("order", ORDERS)
def test_green_of_red_rows_comes_before_green_of_blue_rows(order):
    rows = torch.arange(2)[:, None].expand(2, 2)
    red, green_r, green_b, blue = split_bayer(rows, order).flatten()
    assert red == green_r
    assert blue == green_b
    assert red != blue


def test_rgb_round_trip():
    rgb = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(planes_to_rgb(rgb_to_planes(rgb)), rgb)


def test_bad_arguments_are_named():
    with pytest.raises(ShapeError, match="even height and width"):
        split_bayer(torch.zeros(3, 4), "RGGB")
    with pytest.raises(ValueError, match="unknown Bayer order 'RGBG'"):
        split_bayer(torch.zeros(4, 4), "RGBG")
    with pytest.raises(ShapeError, match="planes must have shape"):
        planes_to_rgb(torch.zeros(3, 4, 4))
    with pytest.raises(ShapeError, match="rgb must have shape"):
        rgb_to_planes(torch.zeros(4, 4, 4))


@given(angle_deg=st.floats(-3, 3), height=st.integers(8, 15), width=st.integers(8, 15))
def test_rotation_is_exact_on_a_plane_of_constant_slope(angle_deg, height, width):
    y = torch.arange(height, dtype=torch.float64)[:, None].expand(height, width)
    x = torch.arange(width, dtype=torch.float64).expand(height, width)
    angle = math.radians(angle_deg)
    source_x = x * math.cos(angle) - y * math.sin(angle)
    source_y = x * math.sin(angle) + y * math.cos(angle)
    turned = rotate(2 * x + 3 * y + 1, angle_deg)
    inside = (source_x >= 0) & (source_x <= width - 1) & (source_y >= 0) & (source_y <= height - 1)
    torch.testing.assert_close(turned[inside], (2 * source_x + 3 * source_y + 1)[inside])


def test_rotation_agrees_with_the_published_preprocessing():
    from skimage.transform import SimilarityTransform, warp

    planes = torch.rand(2, 4, 21, 30, dtype=torch.float64)
    expected = [
        [warp(plane.numpy(), SimilarityTransform(rotation=0.05)) for plane in item]
        for item in planes
    ]
    turned = rotate(planes, math.degrees(0.05))
    # Away from the border, which the two extend differently.
    torch.testing.assert_close(
        turned[..., 3:-3, 3:-3], torch.tensor(expected)[..., 3:-3, 3:-3], rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("angle_deg", [0.0, 0.3])
def test_a_window_of_turned_planes_is_a_part_of_them(angle_deg):
    planes = torch.rand(2, 4, 21, 30)
    rows, columns = slice(3, 20), slice(5, 30)
    window = rotate(planes, angle_deg, window=(rows, columns))
    assert torch.equal(window, rotate(planes, angle_deg)[..., rows, columns])


def test_no_rotation_changes_nothing():
    planes = torch.rand(3, 5, 4)
    assert rotate(planes, 0.0) is planes
    with pytest.raises(TypeError, match="planes must have a real floating-point dtype"):
        rotate(planes.int(), 1.0)
    with pytest.raises(ShapeError, match="planes must have shape"):
        rotate(torch.zeros(3), 1.0)
