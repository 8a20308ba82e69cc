"""The sRGB curve."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from barelens.imaging.files import linear_to_srgb, srgb_to_linear

reals = arrays(np.float64, st.integers(1, 40), elements=st.floats(-4, 4))


@given(reals)
def test_srgb_round_trips_both_ways(values):
    values = torch.from_numpy(values)
    # The standard's constants leave a gap of 3e-8 at the knee; elsewhere it is rounding.
    for there, back, knee in (
        (srgb_to_linear, linear_to_srgb, 0.04045),
        (linear_to_srgb, srgb_to_linear, 0.0031308),
    ):
        error = (back(there(values)) - values).abs()
        away = (values.abs() - knee).abs() > 1e-6
        assert error.max() < 1e-7
        assert (error[away] < 1e-12).all()


@given(reals)
def test_srgb_is_odd_and_rises(values):
    values = torch.from_numpy(np.unique(values))
    for curve in (srgb_to_linear, linear_to_srgb):
        torch.testing.assert_close(curve(-values), -curve(values), rtol=0, atol=0)
        assert (curve(values).diff() >= -1e-7).all()


def test_srgb_has_the_standards_values_and_ends():
    encoded = torch.tensor([0.0, 0.04045, 0.5, 1.0], dtype=torch.float64)
    wanted = torch.tensor([0.0, 0.04045 / 12.92, 0.21404114048223255, 1.0], dtype=torch.float64)
    torch.testing.assert_close(srgb_to_linear(encoded), wanted, rtol=1e-14, atol=0)
    with pytest.raises(TypeError, match="encoded"):
        srgb_to_linear(torch.tensor([128], dtype=torch.uint8))


def test_srgb_has_finite_gradients_at_black():
    black = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    for curve, slope in ((linear_to_srgb, 12.92), (srgb_to_linear, 1 / 12.92)):
        (gradient,) = torch.autograd.grad(curve(black).sum(), black)
        torch.testing.assert_close(gradient, torch.full_like(gradient, slope))
