"""Predicted variance and PSNR agree with what reconstructions do."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from barelens.imaging import Sensor, SeparableFactors, SeparableOperator, Tikhonov
from barelens.imaging.prediction import (
    capture_noise_std,
    component_variance,
    expected_psnr,
    frequency_variance,
    measured_share,
    posterior_variance,
    predict_psnr,
)

sizes = st.integers(2, 9)


def _operator(sensor, scene, channels=(), seed=0):
    generator = torch.Generator().manual_seed(seed)
    left, right = (
        torch.randn(*channels, rows, columns, dtype=torch.float64, generator=generator)
        for rows, columns in zip(sensor, scene, strict=True)
    )
    return SeparableOperator(left, right)


@settings(deadline=None, max_examples=25)
@given(st.tuples(sizes, sizes), st.tuples(sizes, sizes), st.integers(0, 999), st.booleans())
def test_variance_is_the_diagonal_of_the_posterior_covariance(sensor, scene, seed, centred):
    # Sensors smaller than the scene leave components unseen: they keep the prior's variance.
    operator = _operator(sensor, scene, seed=seed)
    operator = operator.centred() if centred else operator
    noise, prior = 0.7, 0.3
    matrix = torch.kron(operator.phi_left, operator.phi_right)
    precision = matrix.mT @ matrix / noise**2 + torch.eye(matrix.shape[1]) / prior**2
    wanted = torch.linalg.inv(precision).diagonal().reshape(scene)
    variance = posterior_variance(SeparableFactors.of(operator), noise, prior)
    torch.testing.assert_close(variance, wanted)


def test_reconstructions_err_as_predicted():
    operator = _operator((12, 11), (8, 9), seed=3)
    noise, prior, trials = 2.0, 0.25, 20_000
    generator = torch.Generator().manual_seed(4)
    scene = prior * torch.randn(trials, 8, 9, dtype=torch.float64, generator=generator)
    capture = operator.forward(scene)
    capture = capture + noise * torch.randn(capture.shape, dtype=torch.float64, generator=generator)
    error = (Tikhonov(operator, noise**2 / prior**2)(capture) - scene).square().mean(0)
    predicted = posterior_variance(SeparableFactors.of(operator), noise, prior)
    # A mean of 20,000 squares of a Gaussian scatters by 1 %.
    torch.testing.assert_close(error, predicted, rtol=0.05, atol=0)
    measured = -10 * torch.log10(error.mean())
    torch.testing.assert_close(measured, expected_psnr(predicted), atol=0.03, rtol=0)


@settings(deadline=None, max_examples=25)
@given(st.tuples(sizes, sizes), st.tuples(sizes, sizes), st.floats(0.5, 300))
def test_psnr_from_gains_is_that_of_the_variance(sensor, scene, peak):
    factors = SeparableFactors.of(_operator(sensor, scene))
    samples = scene[0] * scene[1]
    torch.testing.assert_close(
        predict_psnr(factors.gains, 0.4, 0.2, scene_samples=samples, peak=peak),
        expected_psnr(posterior_variance(factors, 0.4, 0.2), peak),
    )


@settings(deadline=None, max_examples=10)
@given(st.tuples(sizes, sizes), st.sampled_from([0.0, 0.5, 0.95]), st.integers(0, 999))
def test_smooth_scenes_spread_their_variance_over_components(scene, correlation, seed):
    factors = SeparableFactors.of(_operator((11, 12), scene, seed=seed))
    distance = [torch.arange(length)[:, None] - torch.arange(length) for length in scene]
    rows, columns = (correlation ** d.abs().double() for d in distance)
    # The vectors as a basis of whole scenes, for the full covariance matrix.
    basis = torch.kron(factors.v_left, factors.v_right)
    wanted = (basis.mT @ torch.kron(rows, columns) @ basis).diagonal()
    found = component_variance(factors, correlation)
    torch.testing.assert_close(found.flatten(), wanted)
    assert float(found.mean()) == pytest.approx(1)  # as many vectors as samples
    spectrum = frequency_variance(scene, correlation)
    assert float(spectrum.mean()) == pytest.approx(1)
    assert float(spectrum[0, 0]) == pytest.approx(float(spectrum.max()))


def test_filtered_smooth_scenes_err_as_predicted():
    operator = _operator((9, 14), (8, 10), seed=5)
    factors = SeparableFactors.of(operator)
    noise, prior, correlation, trials = 3.0, 0.25, 0.9, 20_000
    generator = torch.Generator().manual_seed(6)
    white = torch.randn(trials, 8, 10, dtype=torch.float64, generator=generator)
    distance = [torch.arange(length)[:, None] - torch.arange(length) for length in (8, 10)]
    rows, columns = (torch.linalg.cholesky(correlation ** d.abs().double()) for d in distance)
    scene = prior * rows @ white @ columns.mT
    capture = operator.forward(scene)
    capture = capture + noise * torch.randn(capture.shape, dtype=torch.float64, generator=generator)
    spectrum = component_variance(factors, correlation)
    share = measured_share(factors.gains * spectrum.sqrt(), noise, prior)
    found = factors.synthesise(share / factors.gains * factors.analyse(capture))
    predicted = predict_psnr(factors.gains, noise, prior, spectrum=spectrum)
    measured = -10 * torch.log10((found - scene).square().mean())
    # Smooth scenes have few degrees of freedom, so that the mean scatters by about 1 %.
    torch.testing.assert_close(measured, predicted, atol=0.1, rtol=0)
    assert float(predicted) > float(predict_psnr(factors.gains, noise, prior))


def test_batch_equals_loop():
    operator = _operator((7, 6), (5, 4), channels=(3,))
    factors = SeparableFactors.of(operator)
    noise = torch.tensor([[0.1, 0.5, 2.0], [1.0, 0.2, 0.3]], dtype=torch.float64)
    prior = torch.tensor([0.2, 0.3, 0.4], dtype=torch.float64)
    together = posterior_variance(factors, noise, prior)
    assert together.shape == (2, 3, 5, 4)
    for item in range(2):
        for channel in range(3):
            alone = SeparableFactors.of(
                SeparableOperator(operator.phi_left[channel], operator.phi_right[channel])
            )
            numbers = float(noise[item, channel]), float(prior[channel])
            torch.testing.assert_close(together[item, channel], posterior_variance(alone, *numbers))
            torch.testing.assert_close(
                predict_psnr(factors.gains, noise, prior, scene_samples=20)[item, channel],
                predict_psnr(alone.gains, *numbers, scene_samples=20),
            )


@settings(deadline=None, max_examples=25)
@given(st.floats(0.01, 10), st.floats(1.01, 5), st.sampled_from([torch.float32, torch.float64]))
def test_more_noise_measures_less_and_the_dtype_stays(noise, factor, dtype):
    gains = torch.linspace(0, 3, 12, dtype=dtype).reshape(3, 4)
    low, high = measured_share(gains, noise, 0.5), measured_share(gains, factor * noise, 0.5)
    assert low.dtype == dtype
    assert float(low[0, 0]) == 0
    assert bool((high <= low).all() & (low <= 1).all())


def test_signal_equal_to_noise_is_measured_by_half():
    assert float(measured_share(torch.tensor([[2.0]]), 1.0, 0.5)) == 0.5


def test_noise_is_that_of_exposed_frames():
    sensor = Sensor(full_well_e=5000, read_noise_e=4, bit_depth=12)
    electrons = torch.full((300, 300), 900.0)
    frames = sensor.to_linear(sensor.expose(electrons, exposure_s=0.5, seed=0))
    predicted = float(capture_noise_std(sensor, electrons, exposure_s=0.5).mean())
    assert float(frames.std()) == pytest.approx(predicted, rel=0.02)


def test_wrong_arguments_are_named():
    gains = torch.ones(2, 2)
    with pytest.raises(ValueError, match="noise_std must be positive, got 0"):
        measured_share(gains, 0.0, 1.0)
    with pytest.raises(ValueError, match="prior_std must be positive, got -1"):
        measured_share(gains, 1.0, -1.0)
    with pytest.raises(TypeError, match="gains must have a real floating-point dtype"):
        measured_share(gains.int(), 1.0, 1.0)
    with pytest.raises(ValueError, match="peak must be positive, got 0"):
        expected_psnr(gains, 0)
    with pytest.raises(ValueError, match="scene_samples must be at least the 4 gains, got 3"):
        predict_psnr(gains, 1.0, 1.0, scene_samples=3)
    with pytest.raises(ValueError, match=r"correlation must be in \[0, 1\), got 1"):
        frequency_variance((4, 4), 1)
