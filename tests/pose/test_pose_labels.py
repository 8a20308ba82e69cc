"""Names, mirror pairs and mappings of keypoints and parts."""

import pytest
import torch

from barelens.imaging.shapes import ShapeError
from barelens.pose.labels import (
    KEYPOINT_LAYOUTS,
    convert_keypoints,
    keypoint_layout,
    part_labels,
)

COUNTS = list(KEYPOINT_LAYOUTS)


@pytest.mark.parametrize("count", COUNTS)
def test_layouts_are_whole(count):
    layout = keypoint_layout(count)
    assert len(layout) == len(set(layout.names)) == count
    assert keypoint_layout(layout.name) is keypoint_layout(layout.name)
    flips = layout.flip_indices
    assert all(flips[flips[index]] == index for index in range(count))
    assert all(0 <= min(link) < max(link) < count for link in map(sorted, layout.skeleton))
    if layout.sigmas is not None:
        assert len(layout.sigmas) == count
        assert min(layout.sigmas) > 0


@pytest.mark.parametrize("count", COUNTS)
def test_mirror_pairs_are_on_different_sides(count):
    layout = keypoint_layout(count)
    for index, flipped in enumerate(layout.flip_indices):
        sides = {layout.sides[index], layout.sides[flipped]}
        # Lips and faces of numbered points have no side in their names.
        assert sides in ({"left", "right"}, {"centre"})
        name = layout.names[index]
        mirrored = name.replace("left", "#").replace("right", "left").replace("#", "right")
        if mirrored != name:
            assert layout.names[flipped] == mirrored


def test_skeletons_are_symmetric():
    for count in COUNTS:
        layout = keypoint_layout(count)
        links = {frozenset(link) for link in layout.skeleton}
        assert {frozenset(layout.flip_indices[end] for end in link) for link in links} == links


def test_groups_of_308_are_those_published():
    layout = keypoint_layout(308)
    assert len(layout.skeleton) == 65
    assert layout.names[41] == "right_wrist"
    assert layout.names[62] == "left_wrist"
    assert sum(first != second for first, second in enumerate(layout.flip_indices)) == 2 * 146
    assert sum(name.startswith("left_") and "finger" in name for name in layout.names) == 16


def places(count):
    """Keypoints that tell their own number."""
    numbers = torch.arange(count, dtype=torch.float32)
    return torch.stack([numbers, -numbers], dim=-1), numbers + 1


@pytest.mark.parametrize("source", [308, 133])
def test_coco_keypoints_are_picked_by_name(source):
    positions, scores = convert_keypoints(*places(source), "coco17")
    layout = keypoint_layout(source)
    names = [layout.names[int(x)] for x in positions[:, 0]]
    assert names == list(keypoint_layout(17).names)
    assert torch.equal(scores, positions[:, 0] + 1)


@pytest.mark.parametrize(("approximate", "known"), [(False, 53), (True, 65)])
def test_whole_body_keypoints_follow_the_published_mapping(approximate, known):
    positions, scores = convert_keypoints(*places(308), "wholebody133", approximate=approximate)
    assert positions.shape == (133, 2)
    assert int((scores > 0).sum()) == known
    assert (positions[scores == 0] == 0).all()
    assert (scores[23:91] == 0).all()
    large, small = keypoint_layout(308), keypoint_layout(133)
    for index in torch.nonzero(scores)[:, 0].tolist():
        source, target = large.names[int(positions[index, 0])], small.names[index]
        if source != target:
            assert approximate
            assert (source.endswith("third_joint") and target.endswith("1")) or (
                source.endswith("wrist") and target.endswith("hand_root")
            )
            assert source.split("_")[0] == target.split("_")[0]


def test_conversion_keeps_leading_axes_and_the_same_layout():
    positions, scores = torch.rand(2, 3, 17, 2), torch.rand(2, 3, 17)
    same = convert_keypoints(positions, scores, "coco17")
    assert torch.equal(same[0], positions)
    assert torch.equal(same[1], scores)
    wide = convert_keypoints(torch.rand(2, 3, 308, 2), torch.rand(2, 3, 308), "wholebody133")
    assert wide[0].shape == (2, 3, 133, 2)
    with pytest.raises(ValueError, match="larger"):
        convert_keypoints(positions, scores, "sapiens308")
    with pytest.raises(ValueError, match="unknown keypoint layout"):
        convert_keypoints(positions[..., :5, :], scores[..., :5], "coco17")
    with pytest.raises(ShapeError, match="keypoints, 2"):
        convert_keypoints(positions, scores[..., :5], "coco17")


@pytest.mark.parametrize("classes", [1, 2, 19, 20, 28, 29, 256])
def test_parts_have_names_and_colours_of_their_own(classes):
    labels = part_labels(classes)
    assert len(labels) == len(set(labels.names)) == len(labels.palette) == classes
    assert all(0 <= level <= 255 for colour in labels.palette for level in colour)
    flips = labels.flip_indices
    assert all(flips[flips[index]] == index for index in range(classes))


def test_eyeglasses_are_all_that_the_second_generation_adds():
    names = part_labels(29).names
    assert names[2] == "Eyeglass"
    assert names[:2] + names[3:] == part_labels(28).names
    swapped = sum(index != flip for index, flip in enumerate(part_labels(28).flip_indices))
    assert swapped == 16
    with pytest.raises(ValueError, match="positive"):
        part_labels(0)
