"""The learned transform: its formula, and that camera factors start it in the best place."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from barelens.imaging import SeparableFactors, SeparableOperator, ShapeError
from barelens.imaging.refine import SeparableTransform, resize, separable_filter

sizes = st.integers(3, 9)
seeds = st.integers(0, 2**31)


def _operator(seed, sensor, scene, planes=4):
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(planes, sensor[0], scene[0], dtype=torch.float64, generator=generator)
    right = torch.randn(planes, sensor[1], scene[1], dtype=torch.float64, generator=generator)
    return SeparableOperator(left, right) if planes > 1 else SeparableOperator(left[0], right[0])


@given(st.tuples(sizes, sizes), st.tuples(sizes, sizes), seeds)
def test_transform_is_the_published_formula_in_each_plane(sensor, size, seed):
    transform = SeparableTransform.random(sensor, size, seed=seed, std=1.0)
    capture = torch.rand(2, 4, *sensor, generator=torch.Generator().manual_seed(seed))
    expected = torch.einsum(
        "chi,bchw,cwj->bcij", transform.weight_left, capture, transform.weight_right
    )
    torch.testing.assert_close(transform(capture), expected, rtol=1e-4, atol=1e-4)
    assert (transform.capture_size, transform.size) == (sensor, size)


def test_random_start_is_seeded_and_as_small_as_published():
    first, again = (SeparableTransform.random((200, 300), seed=3) for _ in range(2))
    assert torch.equal(first.weight_right, again.weight_right)
    assert first.weight_left.std().item() == pytest.approx(0.001, rel=0.02)
    assert first.size == (512, 512)


@given(st.tuples(sizes, sizes), st.floats(1e-3, 1e1), seeds)
def test_separable_filter_has_the_least_expected_error(modes, penalty, seed):
    generator = torch.Generator().manual_seed(seed)
    s_left, s_right = (
        0.1 + torch.rand(count, dtype=torch.float64, generator=generator) for count in modes
    )
    gains = s_left[:, None] * s_right

    def error(left, right):
        tikhonov = gains / (gains.square() + penalty)
        return ((gains.square() + penalty) * (tikhonov - left[:, None] * right).square()).sum()

    left, right = (
        factor.requires_grad_() for factor in separable_filter(gains, penalty, iterations=300)
    )
    least = error(left, right)
    least.backward()
    scale = (gains.square() + penalty).max() * right.abs().max()
    assert left.grad.abs().max() < 1e-6 * scale
    # The usual shortcut, two one-dimensional filters that each take the root of the penalty.
    naive = [s / (s.square() + penalty**0.5) for s in (s_left, s_right)]
    assert least <= error(*naive) + 1e-12


@given(st.tuples(sizes, sizes), seeds)
def test_filter_without_noise_inverts_exactly(modes, seed):
    generator = torch.Generator().manual_seed(seed)
    s_left, s_right = (
        0.5 + torch.rand(count, dtype=torch.float64, generator=generator) for count in modes
    )
    left, right = separable_filter(s_left[:, None] * s_right, 1e-14)
    torch.testing.assert_close(
        left[:, None] * right, 1 / (s_left[:, None] * s_right), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("planes", [1, 4])
@pytest.mark.parametrize("size", [(6, 7), (12, 14), (4, 5)])
def test_camera_factors_reconstruct_at_any_size(planes, size):
    operator = _operator(0, (15, 17), (6, 7), planes)
    scene = torch.rand(2, 4, 6, 7, dtype=torch.float64)
    for camera in (operator, SeparableFactors.of(operator)):
        transform = SeparableTransform.from_camera_factors(camera, 1e-12, size)
        found = transform(operator.forward(scene))
        torch.testing.assert_close(found, resize(scene, size), rtol=1e-4, atol=1e-4)


def test_wrong_arguments_are_named():
    with pytest.raises(ShapeError, match=r"weight_left must have shape \(4, sensor, image\)"):
        SeparableTransform(torch.zeros(3, 2, 2), torch.zeros(4, 2, 2))
    with pytest.raises(ShapeError, match="must have 4 planes, got 3"):
        SeparableTransform.from_camera_factors(_operator(0, (5, 5), (3, 3), planes=3), 1.0)
    with pytest.raises(ValueError, match="penalty must be positive"):
        SeparableTransform.from_camera_factors(_operator(0, (5, 5), (3, 3)), 0.0)
    with pytest.raises(ShapeError, match=r"capture must have shape \(\.\.\., 4, 5, 6\)"):
        SeparableTransform.random((5, 6), seed=0)(torch.zeros(1, 4, 6, 5))
