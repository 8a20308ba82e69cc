"""What was measured of people: per pixel, keypoint and part."""

import pytest
import torch

from barelens.imaging import ShapeError
from barelens.pose import HumanOutput, Person, part_support, with_support
from barelens.pose.labels import part_labels
from barelens.pose.panels import draw_output, known_panels
from barelens.pose.support import draw_support

SIZE = (40, 30)


@pytest.fixture
def output():
    keypoints = torch.tensor([[5.0, 10.0], [25.0, 30.0], [torch.nan, 3.0]])
    person = Person(torch.tensor([2.0, 4.0, 28.0, 36.0]), 1.0, keypoints, torch.ones(3))
    classes = torch.zeros(SIZE, dtype=torch.uint8)
    classes[:20, :15] = 2
    classes[20:, 15:] = 3
    bare = Person(torch.tensor([0.0, 0.0, 5.0, 5.0]))
    return HumanOutput(SIZE, (person, bare), class_map=classes, parts=part_labels(28))


@pytest.fixture
def share():
    values = torch.ones(SIZE)
    values[20:] = 0.25
    values[:3, :3] = torch.nan
    return values


def test_support_is_what_was_measured_around_each_point(output, share):
    supported = with_support(output, share)
    first, second = supported.people
    assert first.keypoint_support[:2].tolist() == pytest.approx([1.0, 0.25])
    assert first.keypoint_support[2].isnan()
    assert second.keypoint_support is None
    assert supported.measured_share is share
    assert output.measured_share is None and output.people[0].keypoint_support is None


def test_a_longer_reach_takes_in_more_of_the_picture(output, share):
    near, far = (with_support(output, share, reach=reach) for reach in (0.03, 1.0))
    low, high = (float(each.people[0].keypoint_support[1]) for each in (near, far))
    assert low < high < 1


def test_parts_get_the_mean_of_their_pixels(output, share):
    means = part_support(with_support(output, share))
    names = output.parts.names
    assert means[names[2]] == 1.0 and means[names[3]] == 0.25
    assert set(means) == {names[0], names[2], names[3]}
    assert part_support(output) == {}
    assert part_support(with_support(output, torch.full(SIZE, torch.nan))) == {}


def test_points_are_painted_by_their_support(output, share):
    image = torch.full((*SIZE, 3), 128, dtype=torch.uint8)
    assert draw_support(image, output) is image
    supported = with_support(output, share)
    drawn = draw_support(image, supported)
    assert drawn[10, 5].tolist() == [245, 245, 245]
    red, _, blue = drawn[30, 25].tolist()
    assert red > blue + 100  # vermillion
    hidden = draw_support(image, supported, min_score=2.0)
    assert hidden[10, 5].tolist() != [245, 245, 245]
    assert "support" in known_panels(supported) and "support" not in known_panels(output)
    assert draw_output(image, supported, panels=["support"]).shape == drawn.shape


def test_it_follows_the_record_to_another_device(output, share):
    assert with_support(output, share).to("meta").measured_share.device.type == "meta"


def test_wrong_maps_are_named(output, share):
    with pytest.raises(ShapeError, match="measured_share"):
        with_support(output, share[1:])
    with pytest.raises(ValueError, match="reach must be positive, got 0"):
        with_support(output, share, reach=0)
