"""Range-space consistency: exact where nothing is noisy, harmless where nothing is measured."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from barelens.imaging import SeparableFactors, SeparableOperator, ShapeError
from barelens.imaging.bayer import plane_mixing, planes_to_rgb, rgb_to_planes
from barelens.imaging.refine import RangeConsistency, resize
from barelens.imaging.refine.resample import Resampling

sizes = st.integers(4, 10)
seeds = st.integers(0, 2**31)


def _camera(seed, sensor, scene, planes=4, shared=False):
    generator = torch.Generator().manual_seed(seed)
    left, right = (
        torch.randn(planes, *shape, dtype=torch.float64, generator=generator)
        for shape in zip(sensor, scene, strict=True)
    )
    operator = SeparableOperator(left[0], right[0]) if shared else SeparableOperator(left, right)
    return operator, SeparableFactors.of(operator), generator


def _rand(generator, *shape):
    return torch.rand(*shape, dtype=torch.float64, generator=generator)


@given(st.tuples(sizes, sizes), st.tuples(sizes, sizes), seeds)
def test_noiseless_captures_are_reproduced_and_a_second_pass_changes_nothing(sensor, scene, seed):
    operator, factors, generator = _camera(seed, sensor, scene)
    capture = operator.forward(_rand(generator, 2, 4, *scene))
    consistency = RangeConsistency(factors, capture, 0.0)
    once = consistency.planes(_rand(generator, 2, 4, *scene))
    # Random square matrices can be conditioned badly.
    torch.testing.assert_close(operator.forward(once), capture, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(consistency.planes(once), once, rtol=1e-6, atol=1e-6)


@given(st.tuples(sizes, sizes), seeds, st.floats(0, 1), st.floats(0.01, 10))
def test_what_no_capture_holds_stays_as_it_was(scene, seed, noise_std, error_std):
    sensor = (scene[0] - 1, scene[1] - 2)
    _, factors, generator = _camera(seed, sensor, scene)
    consistency = RangeConsistency(factors, _rand(generator, 1, 4, *sensor), noise_std)
    guess = _rand(generator, 1, 4, *scene)
    change = consistency.planes(guess, error_std) - guess
    nullspace = torch.eye(scene[0], dtype=torch.float64) - factors.v_left @ factors.v_left.mT
    assert (nullspace @ change).abs().max() < 1e-9 * (1 + change.abs().max())


@given(seeds, st.floats(0.05, 1), st.floats(0.05, 1))
def test_the_formula_of_the_gain_map(seed, noise_std, error_std):
    _, factors, generator = _camera(seed, (7, 8), (5, 6))
    capture, guess = _rand(generator, 1, 4, 7, 8), _rand(generator, 1, 4, 5, 6)
    trust = factors.gains**2 / (factors.gains**2 + (noise_std / error_std) ** 2)
    own = factors.decompose(guess)
    measured = factors.analyse(capture) / factors.gains
    expected = factors.synthesise((1 - trust) * own + trust * measured)
    found = RangeConsistency(factors, capture, noise_std).planes(guess, error_std)
    torch.testing.assert_close(found, expected)


@given(seeds)
def test_rgb_of_a_shared_mask_is_exact_with_green_measured_twice(seed):
    operator, factors, generator = _camera(seed, (8, 9), (5, 6), shared=True)
    truth = _rand(generator, 2, 3, 5, 6)
    capture = operator.forward(rgb_to_planes(truth))
    consistency = RangeConsistency(factors, capture, 0.0)
    found = consistency(_rand(generator, 2, 3, 5, 6))
    torch.testing.assert_close(found, truth, rtol=1e-6, atol=1e-6)


@given(seeds, st.floats(0.1, 1), st.floats(0.1, 1))
def test_two_greens_count_as_one_of_half_the_variance(seed, noise_std, error_std):
    _, factors, generator = _camera(seed, (8, 9), (5, 6), shared=True)
    capture, guess = _rand(generator, 1, 4, 8, 9), _rand(generator, 1, 3, 5, 6)
    found = RangeConsistency(factors, capture, noise_std)(guess, error_std)
    noise = torch.tensor([[noise_std, noise_std / 2**0.5, noise_std]], dtype=torch.float64)
    merged = RangeConsistency(factors, planes_to_rgb(capture), noise).planes(guess, error_std)
    torch.testing.assert_close(found, merged)


@given(seeds)
def test_greens_of_different_masks_converge_to_both(seed):
    operator, factors, generator = _camera(seed, (30, 30), (4, 4))
    truth = _rand(generator, 1, 3, 4, 4)
    consistency = RangeConsistency(factors, operator.forward(rgb_to_planes(truth)), 0.0)
    found = _rand(generator, 1, 3, 4, 4)
    for _ in range(3):
        found = consistency(found)
    torch.testing.assert_close(found, truth, rtol=1e-6, atol=1e-6)


def test_batch_equals_loop_and_noise_is_each_items_own():
    _, factors, generator = _camera(0, (8, 9), (5, 6))
    capture, guess = _rand(generator, 3, 4, 8, 9), _rand(generator, 3, 3, 5, 6)
    noise, error = _rand(generator, 3, 4), _rand(generator, 3, 4, 1, 1)
    together = RangeConsistency(factors, capture, noise)
    for item in range(3):
        part = slice(item, item + 1)
        alone = RangeConsistency(factors, capture[part], noise[part])
        torch.testing.assert_close(
            alone(guess[part], error[part]), together(guess, error)[part], rtol=1e-9, atol=1e-9
        )
        torch.testing.assert_close(
            alone.whitened_residual(guess[part]), together.whitened_residual(guess)[part]
        )


def test_colour_matrix_is_undone_before_and_done_after():
    operator, factors, generator = _camera(0, (8, 9), (5, 6), shared=True)
    matrix = torch.eye(3, dtype=torch.float64) + 0.2 * _rand(generator, 3, 3)
    truth = _rand(generator, 1, 3, 5, 6)
    capture = operator.forward(rgb_to_planes(truth))
    shown = torch.einsum("ij,bjhw->bihw", matrix, truth)
    found = RangeConsistency(factors, capture, 0.0, matrix)(torch.zeros_like(shown))
    torch.testing.assert_close(found, shown, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("planes", [1, 3, 4])
def test_merging_undoes_splitting_as_far_as_planes_allow(planes):
    split = plane_mixing(planes)
    torch.testing.assert_close(split @ torch.linalg.pinv(split) @ split, split)
    if planes == 4:
        rgb = torch.rand(1, 3, 2, 2, dtype=torch.float64)
        torch.testing.assert_close(torch.einsum("ij,bjhw->bihw", split, rgb), rgb_to_planes(rgb))


def test_whitened_residual_of_the_truth_is_one():
    operator, factors, generator = _camera(0, (90, 100), (60, 64))
    truth = _rand(generator, 1, 3, 60, 64)
    capture = operator.forward(rgb_to_planes(truth))
    noise = torch.randn(capture.shape, dtype=torch.float64, generator=generator)
    consistency = RangeConsistency(factors, capture + 0.5 * noise, 0.5)
    assert consistency.whitened_residual(truth).mean().item() == pytest.approx(1, abs=0.02)
    assert (consistency.whitened_residual(truth + 0.1) > 5).all()


@pytest.mark.parametrize("noise_std", [0.1, 1.0, 5.0])
def test_error_is_found_and_correcting_by_it_is_as_good_as_knowing_it(noise_std):
    operator, factors, generator = _camera(0, (90, 100), (64, 64), planes=3)
    truth = _rand(generator, 1, 3, 64, 64)
    capture = operator.forward(truth)
    capture = capture + noise_std * torch.randn(
        capture.shape, dtype=torch.float64, generator=generator
    )
    consistency = RangeConsistency(factors, capture, noise_std)
    guess = truth + 0.3 * torch.randn(truth.shape, dtype=torch.float64, generator=generator)
    found = consistency.error_std(guess)
    assert 0.25 < found.median() < 0.35
    after, known = (
        (consistency(guess, error) - truth).square().mean().item() for error in (found, 0.3)
    )
    # What remains of a Gaussian error once its noisy measurement is known.
    posterior = (1 / (1 / 0.3**2 + (factors.gains / noise_std) ** 2)).mean().item()
    assert known == pytest.approx(posterior, rel=0.05)
    assert after < 1.05 * known < 0.3**2


def test_a_true_picture_is_left_alone():
    operator, factors, generator = _camera(0, (90, 100), (64, 64), planes=3)
    truth = _rand(generator, 1, 3, 64, 64)
    capture = operator.forward(truth)
    capture = capture + torch.randn(capture.shape, dtype=torch.float64, generator=generator)
    consistency = RangeConsistency(factors, capture, 1.0)
    change = consistency(truth, consistency.error_std(truth)) - truth
    unguarded = consistency(truth) - truth
    assert change.norm() < 0.02 * unguarded.norm()


@given(st.tuples(sizes, sizes), seeds)
def test_trust_never_grows_towards_weaker_gains(modes, seed):
    generator = torch.Generator().manual_seed(seed)
    _, factors, _ = _camera(seed, (12, 12), modes, planes=3)
    capture, guess = _rand(generator, 2, 3, 12, 12), _rand(generator, 2, 3, *modes)
    error = RangeConsistency(factors, capture, 0.1).error_std(guess).flatten(-2)
    order = factors.gains.flatten(-2).argsort(-1, descending=True)
    assert (error.gather(-1, order.expand_as(error)).diff(dim=-1) <= 0).all()


def test_gradients_reach_the_picture():
    _, factors, generator = _camera(0, (6, 7), (4, 5))
    consistency = RangeConsistency(factors, _rand(generator, 1, 4, 6, 7), 0.1)
    guess = _rand(generator, 1, 3, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda rgb: consistency(rgb, 0.5), guess)


def test_wrong_arguments_are_named():
    _, factors, _ = _camera(0, (6, 7), (4, 5))
    capture = torch.zeros(1, 4, 6, 7, dtype=torch.float64)
    with pytest.raises(ValueError, match="noise_std must be at least 0"):
        RangeConsistency(factors, capture, -1.0)
    with pytest.raises(ShapeError, match="batch, planes"):
        RangeConsistency(factors, capture[0], 1.0)
    with pytest.raises(ShapeError, match="scene must have shape"):
        RangeConsistency(factors, capture, 1.0).planes(torch.zeros(1, 4, 5, 4).double())
    with pytest.raises(ValueError, match="1, 3 or 4 planes, got 2"):
        shared = replace(factors, **{k: getattr(factors, k)[0] for k in ("gains", "u_left")})
        shared = replace(shared, u_right=factors.u_right[0], v_left=factors.v_left[0])
        RangeConsistency(replace(shared, v_right=factors.v_right[0]), capture[:, :2], 1.0)


@given(st.tuples(sizes, sizes), st.integers(1, 3), seeds)
def test_lifting_a_scene_and_lowering_it_gives_it_back(scene, factor, seed):
    picture = (factor * scene[0], factor * scene[1] + 3)
    values = _rand(torch.Generator().manual_seed(seed), 2, 3, *scene)
    resampling = Resampling(scene, picture)
    torch.testing.assert_close(resampling.lower(resampling.lift(values)), values)
    torch.testing.assert_close(
        resampling.lower(resize(values, picture)), resize(resize(values, picture), scene)
    )
