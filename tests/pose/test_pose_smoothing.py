"""Laws of the one-euro filter: rest stays rest, lag is bounded, points do not mix."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from barelens.imaging.shapes import ShapeError
from barelens.pose import HumanOutput, Person
from barelens.pose.smoothing import KeypointSmoother, OneEuroFilter

rates = st.floats(5, 120)
cutoffs = st.floats(0.2, 5)
betas = st.floats(0, 10)


def run(filter_, values, rate, known=None):
    known = [None] * len(values) if known is None else known
    return torch.stack(
        [
            filter_(value, n / rate, known=k)
            for n, (value, k) in enumerate(zip(values, known, strict=True))
        ]
    )


@settings(max_examples=30, deadline=None)
@given(rates, cutoffs, betas, st.floats(-1e3, 1e3))
def test_what_rests_is_unchanged(rate, cutoff, beta, place):
    values = torch.full((20, 3, 2), place, dtype=torch.float64)
    smooth = run(OneEuroFilter(min_cutoff_hz=cutoff, beta=beta), values, rate)
    torch.testing.assert_close(smooth, values)


@settings(max_examples=20, deadline=None)
@given(st.floats(5, 30), cutoffs, st.floats(0.1, 10), st.floats(0.1, 50))
def test_lag_is_bounded_however_fast_things_move(rate, cutoff, beta, speed):
    time_s = torch.arange(100, dtype=torch.float64) / rate
    values = torch.stack([time_s * speed, torch.zeros_like(time_s)], dim=-1)[:, None]
    filter_ = OneEuroFilter(min_cutoff_hz=cutoff, beta=beta, speed_cutoff_hz=5.0)
    lag = (values - run(filter_, values, rate))[:, 0, 0]
    assert (lag > -1e-9 * speed).all()
    assert (lag <= speed / (2 * math.pi * cutoff) * (1 + 1e-9)).all()
    # By the end the filter knows the speed; what is left of the slow beginning fades with it.
    steady = speed / (2 * math.pi * (cutoff + beta * speed))
    assert steady < 1 / (2 * math.pi * beta)
    if cutoff > 1:
        assert 0 < float(lag[-1]) <= steady * (1 + 1e-3)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), betas)
def test_points_at_once_equal_points_one_by_one(seed, beta):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(12, 2, 3, 2, generator=generator, dtype=torch.float64)
    known = torch.rand(12, 2, 3, generator=generator) > 0.3
    together = run(OneEuroFilter(beta=beta), values, 30, known)
    for person in range(2):
        for point in range(3):
            alone = run(
                OneEuroFilter(beta=beta), values[:, person, point], 30, known[:, person, point]
            )
            torch.testing.assert_close(together[:, person, point], alone)


def test_noise_at_rest_is_reduced_and_unknown_points_leave_no_trace():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(400, 5, 2, generator=generator, dtype=torch.float64) * 0.01
    smooth = run(OneEuroFilter(min_cutoff_hz=0.5, beta=0.1), values, 30)
    assert smooth[100:].std() < 0.45 * values[100:].std()
    known = torch.ones(400, 5, dtype=torch.bool)
    known[50:60, 2] = False
    wild = values.clone()
    wild[50:60, 2] = 1e6
    kept = run(OneEuroFilter(min_cutoff_hz=0.5, beta=0.1), wild, 30, known)
    assert torch.equal(kept[50:60, 2], wild[50:60, 2])
    assert kept[60:].abs().max() < 0.1


def test_wrong_settings_and_inputs_are_named():
    with pytest.raises(ValueError, match="min_cutoff_hz"):
        OneEuroFilter(min_cutoff_hz=0)
    with pytest.raises(ValueError, match="beta"):
        OneEuroFilter(beta=-1)
    filter_ = OneEuroFilter()
    filter_(torch.zeros(3, 2), 0.0)
    with pytest.raises(ValueError, match="later"):
        filter_(torch.zeros(3, 2), 0.0)
    with pytest.raises(ShapeError, match="keep their shape"):
        filter_(torch.zeros(4, 2), 1.0)


def person(points, track, score=1.0):
    low, high = points.amin(dim=0), points.amax(dim=0)
    scores = torch.full((len(points),), score)
    return Person(torch.cat([low, high]), keypoints=points, keypoint_scores=scores, track=track)


def test_tracks_are_smoothed_each_by_itself_and_to_scale():
    generator = torch.Generator().manual_seed(0)
    body = torch.tensor([[0.0, 0.0], [40.0, 0.0], [0.0, 100.0], [40.0, 100.0]])
    clips = [body + torch.randn(4, 2, generator=generator) for _ in range(30)]

    def play(scale, order):
        smoother = KeypointSmoother()
        found = []
        for frame, clip in enumerate(clips):
            people = [person(clip * scale, 7), person(clip.flip(0) * scale + 500, 3)]
            output = smoother(HumanOutput((600, 600), tuple(people[i] for i in order)), frame / 30)
            found.append({each.track: each.keypoints for each in output.people})
        return found

    straight, turned, larger = play(1.0, (0, 1)), play(1.0, (1, 0)), play(3.0, (0, 1))
    for one, other, big in zip(straight, turned, larger, strict=True):
        for track in (3, 7):
            assert torch.equal(one[track], other[track])
        torch.testing.assert_close(big[7], one[7] * 3, rtol=1e-4, atol=1e-3)
    calm = torch.stack([each[7] for each in straight]).diff(dim=0).abs().mean()
    assert calm < 0.5 * torch.stack(clips).diff(dim=0).abs().mean()


def test_a_track_that_was_long_away_starts_afresh():
    smoother = KeypointSmoother(forget_s=0.5)
    body = torch.tensor([[0.0, 0.0], [40.0, 100.0]])
    smoother(HumanOutput((600, 600), (person(body, 0),)), 0.0)
    output = smoother(HumanOutput((600, 600), (person(body + 300, 0),)), 2.0)
    assert torch.equal(output.people[0].keypoints, body + 300)
    with pytest.raises(ValueError, match="must have tracks"):
        smoother(HumanOutput((600, 600), (person(body, None),)), 3.0)
