"""Laws of mask profiles: what makes a sequence a good mask."""

import pytest
import torch

from barelens.imaging import ShapeError, m_sequence, mura, physical_mask, random_profile
from barelens.imaging.masks import check_profile, open_fraction


def _autocorrelation(profile):
    spectrum = torch.fft.fft(profile.double())
    return torch.fft.ifft(spectrum.abs().square()).real


@pytest.mark.parametrize("order", range(2, 13))
def test_m_sequence_has_the_flat_autocorrelation_that_defines_it(order):
    length = 2**order - 1
    profile = m_sequence(order)
    expected = torch.full((length,), -1.0, dtype=torch.float64)
    expected[0] = length
    torch.testing.assert_close(_autocorrelation(profile), expected, rtol=0, atol=1e-8)
    assert abs(float(profile.sum())) == 1


@pytest.mark.parametrize("length", [5, 13, 101, 251])
def test_mura_autocorrelation_has_two_side_levels_at_most(length):
    sides = _autocorrelation(mura(length))[1:].round()
    assert sides.unique().numel() <= 2
    assert sides.abs().max() <= 3
    assert abs(float(mura(length).sum())) == 1


def test_repeats_repeat():
    torch.testing.assert_close(m_sequence(4, repeats=3), m_sequence(4).repeat(3))
    torch.testing.assert_close(mura(7, repeats=2), mura(7).repeat(2))


def test_random_profile_is_its_seed():
    first = random_profile(400, seed=1)
    torch.testing.assert_close(first, random_profile(400, seed=1))
    assert not torch.equal(first, random_profile(400, seed=2))
    assert abs(float(first.mean())) < 0.2


@pytest.mark.parametrize("profile", [m_sequence(5), mura(31), random_profile(33, seed=4)])
def test_physical_mask_is_half_the_outer_product_and_a_half(profile):
    mask = physical_mask(profile, profile)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(2 * mask - 1, torch.outer(profile, profile))
    assert torch.linalg.matrix_rank(mask) == 2
    assert open_fraction(profile, profile) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: m_sequence(1), ValueError, "order must be from 2 to 12, got 1"),
        (lambda: m_sequence(13), ValueError, "order must be from 2 to 12, got 13"),
        (lambda: m_sequence(3, repeats=0), ValueError, "repeats must be at least 1"),
        (lambda: mura(9), ValueError, "length must be an odd prime, got 9"),
        (lambda: mura(2), ValueError, "odd prime"),
        (lambda: random_profile(1, seed=0), ValueError, "length must be at least 2"),
        (lambda: check_profile(torch.ones(3, 3)), ShapeError, r"shape \(features,\)"),
        (lambda: check_profile(torch.tensor([1, -1])), TypeError, "floating-point"),
        (lambda: check_profile(torch.tensor([1.0, 0.0])), ValueError, "only -1"),
        (lambda: check_profile(torch.ones(4)), ValueError, "both -1 and 1, got 1"),
    ],
)
def test_bad_arguments_are_named(build, error, message):
    with pytest.raises(error, match=message):
        build()
