"""Laws of the sensor: its statistics are the ones it predicts."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from barelens.imaging import Sensor

SENSOR = Sensor(full_well_e=10_000, dark_current_e_per_s=40, read_noise_e=4)


@given(
    light=st.floats(0, 6000),
    exposure_s=st.floats(0.2, 1.0),
    bit_depth=st.integers(8, 16),
    gain=st.floats(0.5, 1.2),
    seed=st.integers(0, 1000),
)
def test_mean_and_variance_are_as_predicted(light, exposure_s, bit_depth, gain, seed):
    sensor = dataclasses.replace(SENSOR, bit_depth=bit_depth, gain=gain, black_level_dn=20.0)
    flat = torch.full((200, 200), light, dtype=torch.float64)
    counts = sensor.expose(flat, exposure_s=exposure_s, seed=seed).double()
    mean = float(sensor.mean_counts(flat, exposure_s=exposure_s)[0, 0])
    variance = float(sensor.noise_variance(flat, exposure_s=exposure_s)[0, 0])
    # Counts coarser than the noise are no longer spread evenly over a step.
    if variance > 0.5 and mean - 6 * variance**0.5 > 0:
        assert float(counts.mean()) == pytest.approx(mean, abs=5 * (variance / 4e4) ** 0.5)
        assert float(counts.var()) == pytest.approx(variance, rel=0.06)


def test_counts_grow_linearly_with_exposure_until_the_well_is_full():
    flat = torch.full((100, 100), 5000.0)
    short, double, long = (
        SENSOR.expose(flat, exposure_s=exposure_s, seed=0).double() - SENSOR.black_level_dn
        for exposure_s in (0.5, 1.0, 100.0)
    )
    assert float(double.mean() / short.mean()) == pytest.approx(2, rel=5e-3)
    assert float(long.mean()) <= SENSOR.white_level_dn - SENSOR.black_level_dn
    assert float(long.mean()) >= 0.99 * (SENSOR.white_level_dn - SENSOR.black_level_dn)


def test_counts_stay_within_the_bits():
    light = torch.tensor([0.0, 1e9])
    sensor = dataclasses.replace(SENSOR, read_noise_e=2000, black_level_dn=0, bit_depth=8)
    counts = sensor.expose(light.expand(1000, 2), exposure_s=1.0, seed=1)
    assert counts.dtype == torch.int32
    assert counts.min() == 0
    assert counts.max() == 255


def test_seed_decides():
    light = torch.full((20, 20), 100.0)
    first = SENSOR.expose(light, exposure_s=1.0, seed=3)
    assert torch.equal(first, SENSOR.expose(light, exposure_s=1.0, seed=3))
    assert not torch.equal(first, SENSOR.expose(light, exposure_s=1.0, seed=4))


def test_to_linear_is_black_0_and_white_1_and_clips_nothing():
    counts = torch.tensor([0, 64, 4095], dtype=torch.int32)
    levels = SENSOR.to_linear(counts)
    assert levels[0] < 0
    torch.testing.assert_close(levels[1:], torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Sensor(full_well_e=0), "full_well_e must be positive, got 0"),
        (lambda: Sensor(read_noise_e=-1), "read_noise_e must be at least 0"),
        (lambda: Sensor(bit_depth=17), "bit_depth must be from 1 to 16, got 17"),
        (lambda: Sensor(bit_depth=4), "black_level_dn must be below 15"),
        (lambda: SENSOR.expose(torch.ones(2), exposure_s=0.0, seed=0), "exposure_s must be"),
        (lambda: SENSOR.expose(-torch.ones(2), exposure_s=1.0, seed=0), "at least 0, got -1"),
    ],
)
def test_bad_settings_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
