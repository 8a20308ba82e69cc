import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from barelens.imaging.capture_checks import CaptureError, check_capture


def capture(dtype=torch.uint16):
    """A 12-bit frame that no check should refuse."""
    return (torch.arange(24 * 30).view(24, 30) * 5 % 4000).to(dtype)


@given(arrays(np.uint16, (6, 7), elements=st.integers(0, 4095)), st.floats(0, 1))
def test_a_capture_passes_exactly_when_it_varies_and_is_not_too_saturated(frame, limit):
    saturated = np.mean(frame == 4095)
    good = frame.min() < frame.max() and saturated <= limit
    try:
        levels = check_capture(torch.from_numpy(frame), white_level=4095, saturated_limit=limit)
    except CaptureError:
        assert not good
        return
    assert good
    assert (levels.minimum, levels.maximum) == (frame.min(), frame.max())
    assert levels.mean == frame.mean()
    assert math.isclose(levels.saturated_share, saturated)


def test_the_mean_of_many_large_counts_is_exact():
    frame = torch.full((3, 700, 1001), 65535, dtype=torch.uint16)
    frame[1, 2, 3] = 65534
    levels = check_capture(frame, white_level=65535, saturated_limit=1.0)
    assert levels.mean == 65535 - 1 / frame.numel()
    assert levels.saturated_share == 1 - 1 / frame.numel()


@pytest.mark.parametrize("dtype", [torch.uint16, torch.int16, torch.int32, torch.float32])
def test_every_dtype_that_holds_the_white_level_passes(dtype):
    levels = check_capture(capture(dtype), white_level=4095, expected_shape=(24, 30))
    assert type(levels.saturated_share) is float and levels.saturated_share == 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda frame: frame[1:], r"shape \(23, 30\), the camera's frame is \(24, 30\)"),
        (lambda frame: frame.byte(), "uint8, which ends at 255, below the white level 4095"),
        (lambda frame: frame.bool(), "dtype torch.bool"),
        (lambda frame: frame.float().log(), "1 of 720 values NaN or infinite"),
        (lambda frame: frame * 16, "reaches 57520, over the white level 4095"),
        (lambda frame: frame * 0 + 64, "is 64 everywhere"),
        (lambda frame: 4095 * (frame > 2000), r"saturated in 44\.31% of its pixels, over 1\.00%"),
    ],
    ids=["shape", "8 bits", "bool", "infinite", "over white", "constant", "saturated"],
)
def test_what_is_wrong_is_said_with_numbers(spoil, message):
    frame = spoil(capture(torch.int32))
    with pytest.raises(CaptureError, match=message):
        check_capture(frame, white_level=4095, expected_shape=(24, 30))


def test_an_empty_capture_is_refused():
    with pytest.raises(CaptureError, match="empty"):
        check_capture(torch.zeros(0, 30), white_level=1.0)
