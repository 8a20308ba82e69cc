"""People keep their numbers."""

import random

import pytest
import torch

from barelens.pose import HumanOutput, Person
from barelens.pose.tracks import Tracker

SIZE = (480, 640)
BODY = torch.tensor([[0.5, 0.1], [0.2, 0.4], [0.8, 0.4], [0.3, 0.9], [0.7, 0.9]])


def person(x, y, height=100.0, *, keypoints=True):
    box = torch.tensor([x, y, x + height * 0.4, y + height])
    if not keypoints:
        return Person(box)
    points = box[:2] + BODY * torch.tensor([0.4, 1.0]) * height
    return Person(box, keypoints=points, keypoint_scores=torch.ones(len(points)))


def play(tracker, frames):
    """Tracks of each frame in the order of its people."""
    return [
        [each.track for each in tracker(HumanOutput(SIZE, tuple(people))).people]
        for people in frames
    ]


@pytest.mark.parametrize("keypoints", [True, False])
def test_walkers_keep_their_numbers_in_any_order(keypoints):
    shuffle = random.Random(0).sample
    tracker, numbers = Tracker(), {}
    for frame in range(40):
        walkers = {
            "right": person(50 + 6 * frame, 100, keypoints=keypoints),
            "left": person(500 - 6 * frame, 260, 140, keypoints=keypoints),
            "still": person(300, 20, 60, keypoints=keypoints),
        }
        order = shuffle(sorted(walkers), 3)
        output = tracker(HumanOutput(SIZE, tuple(walkers[name] for name in order)))
        for name, each in zip(order, output.people, strict=True):
            assert numbers.setdefault(name, each.track) == each.track
    assert sorted(numbers.values()) == [0, 1, 2]


def test_people_who_cross_keep_their_numbers():
    frames = [[person(100 + 8 * f, 100), person(420 - 8 * f, 115, 110)] for f in range(40)]
    tracks = play(Tracker(), frames)
    assert all(each == tracks[0] for each in tracks)


@pytest.mark.parametrize(("gap", "same"), [(1, True), (10, True), (11, False)])
def test_numbers_survive_short_gaps_and_no_longer(gap, same):
    walk = [[person(50 + 5 * f, 100)] for f in range(60)]
    for frame in range(20, 20 + gap):
        walk[frame] = []
    tracks = play(Tracker(max_gap=10), walk)
    assert (tracks[-1] == tracks[0]) is same
    assert tracks[20] == []


def test_someone_new_gets_a_new_number():
    tracks = play(Tracker(), [[person(50, 100)], [person(50, 100), person(400, 100)], []])
    assert tracks == [[0], [0, 1], []]
    far = play(Tracker(), [[person(50, 100)], [person(500, 300)]])
    assert far == [[0], [1]]


def test_keypoints_tell_apart_people_in_one_place():
    tracker = Tracker()
    straight, bent = person(100, 100), person(100, 100)
    bent = Person(bent.box, keypoints=bent.keypoints.flip(0), keypoint_scores=torch.ones(5))
    first = tracker(HumanOutput(SIZE, (straight, bent)))
    second = tracker(HumanOutput(SIZE, (bent, straight)))
    assert [each.track for each in first.people] == [0, 1]
    assert [each.track for each in second.people] == [1, 0]


def test_settings_are_checked():
    with pytest.raises(ValueError, match="min_similarity"):
        Tracker(min_similarity=2)
    with pytest.raises(ValueError, match="max_gap"):
        Tracker(max_gap=-1)
