"""What a camera-conditioned model is told."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from barelens.imaging import SeparableFactors, SeparableOperator, ShapeError
from barelens.imaging.prediction import posterior_variance
from barelens.imaging.refine import (
    CONDITIONING_CHANNELS,
    condition,
    from_model_range,
    to_model_range,
    white_level,
)


def _factors(scale=1.0, planes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(planes, 9, 6, generator=generator, dtype=torch.float64)
    right = torch.randn(planes, 8, 7, generator=generator, dtype=torch.float64)
    if planes == 1:
        left, right = left[0], right[0]
    return SeparableFactors.of(SeparableOperator(scale * left, right))


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_units_of_scene_and_capture_do_not_matter(scene_unit, capture_unit):
    linear = torch.randn(2, 3, 6, 7, dtype=torch.float64)
    told = condition(linear, _factors(), 0.1, 0.5)
    again = condition(
        scene_unit * linear,
        _factors(capture_unit / scene_unit),
        0.1 * capture_unit,
        0.5 * scene_unit,
    )
    assert told.shape == (2, CONDITIONING_CHANNELS, 6, 7)
    torch.testing.assert_close(told, again)


def test_channels_are_what_the_docstring_says():
    factors, linear = _factors(), torch.rand(1, 3, 6, 7, dtype=torch.float64)
    told = condition(linear, factors, 0.1, 0.5, white=torch.tensor([2.0]))
    torch.testing.assert_close(told[:, :3], linear / 2)
    std = posterior_variance(factors, 0.1, 0.5).sqrt()
    torch.testing.assert_close(told[0, 3], std[0] / 2)
    torch.testing.assert_close(told[0, 4], (std[1] + std[2]) / 4)
    assert ((told[:, 6] >= 0) & (told[:, 6] <= 1)).all()
    level = torch.log10(0.2 / factors.gains.amax((-2, -1)))
    expected = (level[0] + (level[1] + level[2]) / 2 + level[3]) / 3
    torch.testing.assert_close(told[0, 7], expected.expand(6, 7))


def test_less_noise_means_more_measured():
    linear = torch.rand(1, 3, 6, 7, dtype=torch.float64)
    clear, noisy = (condition(linear, _factors(), noise, 0.5) for noise in (1e-6, 10.0))
    assert (clear[:, 6] > 0.999).all() and (noisy[:, 6] < 0.9).all()
    assert (clear[:, 3:6] < noisy[:, 3:6]).all() and (clear[:, 7] < noisy[:, 7]).all()


def test_noise_of_each_item_and_plane_is_its_own():
    factors, linear = _factors(), torch.rand(2, 3, 6, 7, dtype=torch.float64)
    noise = torch.tensor([[0.1, 0.2, 0.3, 0.4], [1.0, 1.1, 1.2, 1.3]], dtype=torch.float64)
    prior = 0.5 + noise
    together = condition(linear, factors, noise, prior)
    for item in range(2):
        part = slice(item, item + 1)
        torch.testing.assert_close(
            condition(linear[part], factors, noise[part], prior[part]), together[part]
        )


def test_one_matrix_for_all_planes_is_as_good_as_equal_ones():
    one = _factors(planes=1)
    equal = SeparableFactors(
        *(
            getattr(one, name).expand(4, *getattr(one, name).shape)
            for name in ("u_left", "u_right", "v_left", "v_right", "gains")
        ),
        mean_free=False,
    )
    linear = torch.rand(2, 3, 6, 7, dtype=torch.float64)
    torch.testing.assert_close(condition(linear, one, 0.1, 0.5), condition(linear, equal, 0.1, 0.5))
    noise = torch.full((2, 4), 0.1, dtype=torch.float64)
    torch.testing.assert_close(
        condition(linear, one, noise, 0.5), condition(linear, equal, noise, 0.5)
    )


@given(st.floats(0.01, 100), st.integers(0, 2**31))
def test_model_range_comes_back(white, seed):
    unit = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(seed)).double()
    levels = torch.tensor([white, 2 * white], dtype=torch.float64)
    light = unit * levels[:, None, None, None]
    seen = to_model_range(light, levels)
    assert seen.min() >= -1 and seen.max() <= 1
    torch.testing.assert_close(from_model_range(seen, levels), light, rtol=1e-6, atol=1e-9)
    assert to_model_range(-light - 1, levels).max() == -1


def test_white_is_the_percentile_and_never_zero():
    ramp = torch.arange(1.0, 301.0).reshape(1, 3, 10, 10)
    assert white_level(ramp).item() == 299
    assert white_level(ramp, 100).item() == 300
    assert white_level(-ramp).item() == 1


def test_wrong_arguments_are_named():
    with pytest.raises(ShapeError, match=r"reconstruction must have shape \(batch, 3, 6, 7\)"):
        condition(torch.zeros(1, 3, 7, 6), _factors(), 0.1, 0.5)
    with pytest.raises(ValueError, match="noise_std must be positive"):
        condition(torch.zeros(1, 3, 6, 7), _factors(), 0.0, 0.5)
    with pytest.raises(TypeError, match="floating-point"):
        condition(torch.zeros(1, 3, 6, 7, dtype=torch.uint8), _factors(), 0.1, 0.5)
