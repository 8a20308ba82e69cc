"""Dense maps at a picture's size: parts, depth, normals, points, and back from crops."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from barelens.imaging.shapes import ShapeError
from barelens.pose.crops import boxes_to_frames, crop_people
from barelens.pose.dense import class_map, depth_map, normal_map, point_map, uncrop_maps
from barelens.pose.flip import flip_test, unflip_maps


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.integers(1, 30), st.integers(2, 40), st.integers(2, 40), st.integers(0, 2**31))
def test_classes_in_parts_equal_classes_at_once(classes, height, width, seed):
    logits = random(2, classes, 9, 7, seed=seed).round(decimals=1)  # with ties
    resized = F.interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)
    assert torch.equal(class_map(logits, (height, width)), resized.argmax(1).to(torch.uint8))


@pytest.mark.parametrize("order", ["resize-first", "normalise-first"])
def test_normals_keep_to_their_order(order):
    raw = random(2, 3, 8, 6)
    found = normal_map(raw, (24, 18), order=order)
    if order == "resize-first":
        resized = F.interpolate(raw, size=(24, 18), mode="bilinear", align_corners=False)
        length = torch.linalg.vector_norm(resized, dim=1, keepdim=True)
        wanted = resized / (length + 1e-5)
    else:
        unit = raw / torch.linalg.vector_norm(raw, dim=1, keepdim=True)
        wanted = F.interpolate(unit, size=(24, 18), mode="bilinear", align_corners=False)
        assert torch.linalg.vector_norm(wanted, dim=1).min() < 0.9
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    length = torch.linalg.vector_norm(normal_map(raw, (24, 18), order=order, unit=True), dim=1)
    torch.testing.assert_close(length, torch.ones_like(length))


def test_normals_of_no_length_stay_finite():
    for order in ("resize-first", "normalise-first"):
        assert (normal_map(torch.zeros(1, 3, 4, 4), (8, 8), order=order, unit=True) == 0).all()
    with pytest.raises(ValueError, match="order"):
        normal_map(torch.zeros(1, 3, 4, 4), (8, 8), order="never")


def test_depth_and_points_keep_planes():
    plane = torch.arange(8.0).expand(1, 1, 6, 8)
    depth = depth_map(plane, (12, 16))
    torch.testing.assert_close(depth[0, :, 1:-1], (torch.arange(1.0, 15) / 2 - 0.25).expand(12, 14))
    points = point_map(plane.expand(1, 3, 6, 8), torch.tensor([[2.0]]), (12, 16))
    torch.testing.assert_close(points[0, 1], depth[0] / 2)


@given(st.floats(-30, 60), st.floats(-30, 60), st.floats(8, 70), st.floats(8, 70), st.booleans())
def test_a_crop_goes_back_to_where_it_was(left, top, width, height, small):
    # A plane survives both interpolations, so that only positions count.
    down, across = torch.meshgrid(
        torch.arange(40.0, dtype=torch.float64),
        torch.arange(50.0, dtype=torch.float64),
        indexing="ij",
    )
    image = torch.stack([down, across, torch.ones_like(down)])
    box = torch.tensor([[left, top, left + width, top + height]], dtype=torch.float64)
    frames = boxes_to_frames(box, 0.75)
    crop_size = (64, 48)
    maps = crop_people(image, frames, crop_size)
    if small:
        maps = F.interpolate(maps, scale_factor=0.5, mode="bilinear", align_corners=False)
    values, place = uncrop_maps(maps, frames, 0, crop_size=crop_size, image_size=(40, 50))
    covered = image[:, *place]
    assert values.shape == covered.shape
    corner, scale = frames.corners[0], frames.scales[0]
    # Away from the frame's edge and from the picture's own, nothing is lost.
    step = float(scale[0] / 48) * 2 + 1
    inside = torch.ones(40, 50, dtype=torch.bool)[place]
    for axis, coordinate, limit in ((0, covered[1], 49), (1, covered[0], 39)):
        inside &= (coordinate > corner[axis] + step) & (coordinate > step)
        inside &= coordinate < min(float(corner[axis] + scale[axis]), limit) - step
    torch.testing.assert_close(values[:, inside], covered[:, inside], rtol=0, atol=1e-9)


def test_a_frame_outside_of_the_picture_covers_nothing():
    frames = boxes_to_frames(torch.tensor([[200.0, 20, 220, 60]]), 0.75)
    values, place = uncrop_maps(
        torch.ones(1, 2, 8, 6), frames, 0, crop_size=(64, 48), image_size=(40, 50)
    )
    assert values.numel() == 0
    assert torch.ones(40, 50)[place].numel() == 0


def test_a_mirror_undone_is_the_map():
    maps = random(2, 4, 6, 5)
    swap = torch.tensor([1, 0, 2, 3])
    assert torch.equal(unflip_maps(maps[:, swap].flip(-1), swap), maps)
    turned = maps.clone()
    turned[:, 0] *= -1
    assert torch.equal(unflip_maps(turned.flip(-1), negate_x=True), maps)
    with pytest.raises(ValueError, match="flip_indices"):
        unflip_maps(maps, torch.tensor([0, 1]))


def test_a_symmetric_model_is_its_own_flip_test():
    swap = torch.tensor([1, 0, 2])

    def model(pixels):
        # What channel 0 sees to its left, channel 1 sees to its right.
        left, right = pixels[:, :1].roll(1, -1), pixels[:, :1].roll(-1, -1)
        return torch.cat([left, right, pixels[:, 1:2]], dim=1)

    pixels = random(2, 3, 6, 5)
    averaged = flip_test(model, pixels, flip_indices=swap)
    torch.testing.assert_close(averaged, model(pixels))


def test_maps_of_another_shape_are_refused():
    with pytest.raises(ShapeError, match="maps"):
        depth_map(torch.zeros(1, 4, 4), (8, 8))
    with pytest.raises(ShapeError, match="logits"):
        class_map(torch.zeros(1, 300, 4, 4), (8, 8))
