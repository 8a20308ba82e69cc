"""Pictures: what is drawn is where it belongs, and nothing else changes."""

import numpy as np
import pytest
import torch

from barelens.imaging.shapes import ShapeError
from barelens.pose import HumanOutput, Person
from barelens.pose.labels import keypoint_layout, part_labels
from barelens.pose.overlay import (
    draw_depth,
    draw_masks,
    draw_normals,
    draw_parts,
    draw_people,
    side_by_side,
)

GREY = torch.full((60, 80, 3), 120, dtype=torch.uint8)


def standing(count=17, score=1.0):
    """A person whose left side is at x = 60 and whose right side is at x = 20."""
    layout = keypoint_layout(count)
    across = {"left": 60.0, "right": 20.0, "centre": 40.0}
    x = torch.tensor([across[side] for side in layout.sides])
    y = torch.linspace(5, 55, count)
    return HumanOutput(
        (60, 80),
        (
            Person(
                torch.tensor([10.0, 0, 70, 60]),
                keypoints=torch.stack([x, y], dim=-1),
                keypoint_scores=torch.full((count,), score),
            ),
        ),
    )


@pytest.mark.parametrize("count", [17, 133, 308])
def test_sides_have_colours_of_their_own(count):
    drawn = draw_people(GREY, standing(count)).int()
    assert drawn.shape == GREY.shape
    left, right = drawn[10:50, 58:62].float().mean((0, 1)), drawn[10:50, 18:22].float().mean((0, 1))
    assert left[2] > left[0] + 20  # blue
    assert right[0] > right[2] + 20  # orange
    assert torch.equal(drawn[:, :8], GREY[:, :8].int())
    assert (GREY == 120).all()


def test_unsure_points_are_fainter_and_lost_ones_absent():
    changes = [
        (draw_people(GREY, standing(score=score)).int() - 120).abs().sum()
        for score in (1.0, 0.45, 0.1)
    ]
    assert changes[0] > changes[1] > 0
    assert changes[2] == 0


def test_points_far_outside_do_not_hurt():
    output = standing()
    output.people[0].keypoints[3] = torch.tensor([1e9, -1e9])
    assert draw_people(GREY, output).shape == GREY.shape


def test_parts_take_their_palette_and_leave_the_background():
    labels = torch.zeros(60, 80, dtype=torch.uint8)
    labels[10:30, 10:30] = 3
    drawn = draw_parts(GREY, labels, classes=28, opacity=1.0)
    assert drawn[20, 20].tolist() == list(part_labels(28).palette[3])
    assert torch.equal(drawn[35:], GREY[35:])
    assert drawn[20, 29].float().mean() > 150  # a bright line along the edge
    with pytest.raises(ShapeError, match="class_map"):
        draw_parts(GREY, labels[:5], classes=28)


def test_masks_take_one_colour_for_each_track():
    mask = torch.zeros(60, 80, dtype=torch.bool)
    mask[10:30, 10:30] = True
    box = torch.zeros(4)
    twice = [Person(box, mask=mask, track=4), Person(box, mask=mask.roll(30, 1), track=4)]
    drawn = draw_masks(GREY, twice)
    assert torch.equal(drawn[20, 20], drawn[20, 50])
    assert not torch.equal(drawn[20, 20], GREY[20, 20])
    other = draw_masks(GREY, [Person(box, mask=mask, track=5)])
    assert not torch.equal(drawn[20, 20], other[20, 20])
    assert torch.equal(draw_masks(GREY, [Person(box)]), GREY)


@pytest.mark.parametrize("invert", [False, True])
def test_depth_grows_brighter_one_way(invert):
    depth = torch.linspace(2, 3, 80).expand(60, 80).clone()
    depth[0] = torch.nan
    drawn = draw_depth(depth, invert=invert)
    brightness = drawn[5].float().sum(-1).numpy()
    order = np.diff(brightness)
    assert ((order <= 1) if invert else (order >= -1)).all()
    assert torch.equal(drawn[0, 0], drawn[0, 79])
    assert (draw_depth(torch.full((4, 4), torch.nan)) == drawn[0, 0]).all()
    assert (draw_depth(torch.ones(4, 4)) >= 0).all()


def test_normals_are_colours_of_their_components():
    normals = torch.zeros(3, 4, 4)
    normals[2, :2] = 1.0
    drawn = draw_normals(normals)
    assert drawn[0, 0].tolist() == [128, 128, 255]
    assert drawn[3, 3].tolist() == drawn[2, 0].tolist()
    assert max(drawn[3, 3].tolist()) < 40
    mask = torch.zeros(4, 4, dtype=torch.bool)
    assert (draw_normals(normals, mask=mask) == drawn[3, 3]).all()


def test_panels_stand_in_a_row():
    row = side_by_side([GREY, GREY[:, :10]], gap=4)
    assert row.shape == (60, 94, 3)
    assert torch.equal(row[:, 84:], GREY[:, :10])
    with pytest.raises(ShapeError, match="one height"):
        side_by_side([GREY, GREY[:5]])
    with pytest.raises(ValueError, match="at least one"):
        side_by_side([])
    with pytest.raises(TypeError, match="uint8"):
        draw_people(GREY.float(), standing())
