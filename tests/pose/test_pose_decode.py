"""Decoding: the reference's keypoints, and laws of maxima."""

import functools
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from barelens.imaging.shapes import ShapeError
from barelens.pose.crops import boxes_to_frames
from barelens.pose.decode import Keypoints, decode_heatmaps, place_keypoints


@functools.cache
def codec():
    return dict(np.load(Path(__file__).parent / "fixtures" / "v1_codec.npz"))


def blob(x, y, rows=64, columns=48, sigma=3.0, height=1.0):
    down = torch.arange(rows, dtype=torch.float64)[:, None] - y
    across = torch.arange(columns, dtype=torch.float64)[None] - x
    return height * torch.exp(-(down**2 + across**2) / (2 * sigma**2))


def dark(heatmap, size):
    """The published algorithm on one map, whole and in float64, with OpenCV's blur."""
    rows, columns = heatmap.shape
    heatmap = heatmap.numpy()
    y, x = np.unravel_index(heatmap.argmax(), heatmap.shape)
    padded = np.zeros((rows + 10, columns + 10))
    padded[5:-5, 5:-5] = heatmap
    blurred = cv2.GaussianBlur(padded, (11, 11), 0)[5:-5, 5:-5]
    log = np.log(np.clip(blurred * (heatmap.max() / blurred.max()), 1e-3, 50))
    log = np.pad(log, 1, mode="edge")[y : y + 3, x : x + 3]
    slope = np.array([log[1, 2] - log[1, 0], log[2, 1] - log[0, 1]]) / 2
    bend_x, bend_y = log[1, 2] + log[1, 0] - 2 * log[1, 1], log[2, 1] + log[0, 1] - 2 * log[1, 1]
    twist = (
        log[2, 2] + log[0, 0] + 2 * log[1, 1] - log[1, 2] - log[2, 1] - log[1, 0] - log[0, 1]
    ) / 2
    hessian = np.array([[bend_x, twist], [twist, bend_y]]) + np.finfo(np.float32).eps * np.eye(2)
    place = np.array([x, y]) - np.linalg.solve(hessian, slope)
    return place / [columns - 1, rows - 1] * [size[1], size[0]]


def test_keypoints_equal_the_reference_where_it_is_defined():
    width, height = (int(side) for side in codec()["input_size"])
    found = decode_heatmaps(torch.from_numpy(codec()["heatmaps"])[None], (height, width))
    wanted = torch.from_numpy(codec()["keypoints"]).float()
    defined = torch.isfinite(wanted).all(-1)
    assert defined.sum() == 18
    torch.testing.assert_close(found.positions[defined], wanted[defined], rtol=0, atol=1e-3)
    scores = torch.from_numpy(codec()["scores"])
    assert torch.equal(found.scores[defined], scores[defined])
    assert torch.isfinite(found.positions).all()
    assert (found.scores[~defined] == 0).all()


@given(
    st.floats(-2, 50),
    st.floats(-2, 66),
    st.floats(0.8, 6),
    # Below 1e-3 the logarithm's limit bends the map; above 50 its other limit does.
    st.sampled_from([3e-4, 2e-3, 0.02, 0.5, 1.0, 49.0, 80.0]),
    st.floats(0, 0.02),
    st.integers(0, 2**31),
)
def test_the_short_way_equals_the_whole_map(x, y, sigma, height, noise, seed):
    generator = torch.Generator().manual_seed(seed)
    grain = torch.rand(64, 48, generator=generator, dtype=torch.float64) - 0.5
    heatmap = blob(x, y, sigma=sigma, height=height) + noise * height * grain
    found = decode_heatmaps(heatmap[None], (256, 192))
    wanted = torch.from_numpy(dark(heatmap, (256, 192)))
    if bool(heatmap.max() > 0) and wanted.abs().max() < 1e4:
        torch.testing.assert_close(found.positions[0], wanted, rtol=1e-6, atol=1e-6)


@given(st.floats(6, 41), st.floats(6, 57), st.floats(1.5, 6), st.floats(0.05, 3))
def test_a_gaussian_is_found_where_it_is(x, y, sigma, height):
    found = decode_heatmaps(blob(x, y, sigma=sigma, height=height)[None], (256, 192))
    wanted = torch.tensor([x / 47 * 192, y / 63 * 256], dtype=torch.float64)
    torch.testing.assert_close(found.positions[0], wanted, rtol=0, atol=0.05)


@pytest.mark.parametrize(
    "heatmap",
    [
        torch.zeros(5, 4),
        torch.full((5, 4), -0.1),
        torch.full((5, 4), 0.7),
        torch.full((5, 4), torch.nan),
        torch.rand(5, 4) - 2,
        torch.tensor([[0.1, torch.inf], [0.2, 0.3]]),
        torch.tensor([[0.1, torch.nan], [0.2, 0.3]]),
        torch.ones(1, 1),
    ],
)
def test_a_map_without_a_maximum_scores_zero_in_the_middle(heatmap):
    found = decode_heatmaps(heatmap[None], (20, 10))
    assert found.positions.tolist() == [[5.0, 10.0]]
    assert found.scores.tolist() == [0.0]


@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(1, 9))
def test_nothing_is_ever_not_finite(seed, rows, columns):
    generator = torch.Generator().manual_seed(seed)
    heatmaps = torch.randn(6, rows, columns, generator=generator)
    heatmaps[0] = heatmaps[0].sign()
    heatmaps[1] = heatmaps[1] * 1e30
    heatmaps[2] = heatmaps[2] * 1e-40
    heatmaps[3] = (heatmaps[3] > 1).float()
    heatmaps[4, 0, 0] = -torch.inf
    found = decode_heatmaps(heatmaps, (64, 48))
    assert torch.isfinite(found.positions).all()
    assert torch.isfinite(found.scores).all()
    assert (found.scores >= 0).all()


def test_batches_equal_single_maps():
    heatmaps = torch.rand(2, 3, 5, 16, 12, generator=torch.Generator().manual_seed(0)).double()
    together = decode_heatmaps(heatmaps, (64, 48))
    assert together.positions.shape == (2, 3, 5, 2)
    for index in np.ndindex(2, 3, 5):
        alone = decode_heatmaps(heatmaps[index][None], (64, 48))
        torch.testing.assert_close(alone.positions[0], together.positions[index])
        assert alone.scores[0] == together.scores[index]


def test_half_precision_is_decoded_in_float32():
    heatmap = blob(20.3, 30.6).bfloat16()[None]
    found = decode_heatmaps(heatmap, (256, 192))
    assert found.positions.dtype == torch.float32
    wanted = decode_heatmaps(heatmap.float(), (256, 192))
    assert torch.equal(found.positions, wanted.positions)


def test_argmax_stays_on_the_grid():
    found = decode_heatmaps(blob(20.3, 30.6)[None], (256, 192), method="argmax")
    assert found.positions[0].tolist() == pytest.approx([20 / 47 * 192, 31 / 63 * 256])


def test_keypoints_go_back_to_the_picture():
    frames = boxes_to_frames(torch.tensor([[10.0, 20, 100, 200], [-5, 0, 20, 40]]), 0.75)
    corners = torch.tensor([[0.0, 0.0], [192.0, 256.0], [96.0, 128.0]])
    keypoints = Keypoints(corners.expand(2, 3, 2), torch.ones(2, 3))
    placed = place_keypoints(keypoints, (256, 192), frames).positions
    torch.testing.assert_close(placed[:, 0], frames.corners)
    torch.testing.assert_close(placed[:, 1], frames.corners + frames.scales)
    torch.testing.assert_close(placed[:, 2], frames.centers)


def test_arguments_of_another_kind_are_refused():
    with pytest.raises(ShapeError, match="heatmaps"):
        decode_heatmaps(torch.rand(5, 4), (20, 10))
    with pytest.raises(TypeError, match="floating-point"):
        decode_heatmaps(torch.zeros(1, 5, 4, dtype=torch.int64), (20, 10))
