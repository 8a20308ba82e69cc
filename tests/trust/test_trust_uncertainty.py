"""Predicted errors agree with those that reconstructions make."""

from dataclasses import replace

import pytest
import torch

from barelens.imaging import SeparableFactors, ShapeError, Tikhonov
from barelens.imaging.bayer import planes_to_rgb
from barelens.imaging.prediction import posterior_variance
from barelens.imaging.trust import (
    ErrorMaps,
    ReconstructionVariance,
    factorise,
    fit_conformal,
    fit_conformal_to_pictures,
    local_std,
    merge_planes_variance,
    reconstruction_variance,
    sample_spread,
    sampled_std,
)

NOISE, PRIOR = 1.3, 0.4


def _normal(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_parts_sum_to_the_posterior(factors):
    parts = reconstruction_variance(factors, NOISE, PRIOR)
    torch.testing.assert_close(parts.total, posterior_variance(factors, NOISE, PRIOR))


def test_the_best_penalty_is_the_default(factors):
    best = torch.tensor((NOISE / PRIOR) ** 2, dtype=torch.float64)
    given = reconstruction_variance(factors, NOISE, PRIOR, penalty=best)
    default = reconstruction_variance(factors, NOISE, PRIOR)
    torch.testing.assert_close(given.noise, default.noise)
    torch.testing.assert_close(given.prior, default.prior)
    for factor in (0.3, 3):
        other = reconstruction_variance(factors, NOISE, PRIOR, penalty=factor * best)
        assert (other.total >= default.total - 1e-12).all()
        assert other.total.mean() > default.total.mean()


def test_maps_of_one_penalty_serve_every_noise(factors):
    penalty = torch.tensor(0.7, dtype=torch.float64)
    maps = ErrorMaps.of(factors, penalty)
    for noise, prior in ((0.2, 0.5), (1.5, 0.1)):
        expected = reconstruction_variance(factors, noise, prior, penalty=penalty)
        found = maps.variance(torch.tensor(noise).double(), torch.tensor(prior).double())
        torch.testing.assert_close(found.noise, expected.noise)
        torch.testing.assert_close(found.prior, expected.prior)


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_variance_agrees_with_monte_carlo(operator, factors, scene, factor):
    penalty = torch.tensor(factor * (NOISE / PRIOR) ** 2, dtype=torch.float64)
    predicted = reconstruction_variance(factors, NOISE, PRIOR, penalty=penalty)
    tikhonov = Tikhonov(operator, penalty)
    noise = NOISE * _normal(800, *operator.capture_shape, seed=0)
    # Noise alone, about whatever the reconstruction of this scene is.
    empirical = tikhonov(operator.forward(scene) + noise).std(0)
    ratio = empirical / predicted.noise.sqrt()
    assert 0.98 < ratio.mean() < 1.02
    assert ratio.std() < 1.3 / (2 * 800) ** 0.5
    # And with scenes drawn from the prior, the whole error.
    scenes = PRIOR * _normal(800, *operator.scene_shape, seed=1)
    errors = tikhonov(operator.forward(scenes) + noise) - scenes
    ratio = errors.square().mean(0).sqrt() / predicted.std
    assert 0.98 < ratio.mean() < 1.02


def test_merged_greens_agree_with_monte_carlo(operator):
    factors = SeparableFactors.of(operator)
    tikhonov = Tikhonov(operator, (NOISE / PRIOR) ** 2)
    scenes = PRIOR * _normal(400, 3, *operator.scene_shape, seed=2)[:, [0, 1, 1, 2]]
    noise = NOISE * _normal(400, 4, *operator.capture_shape, seed=3)
    errors = planes_to_rgb(tikhonov(operator.forward(scenes) + noise) - scenes)
    one = reconstruction_variance(factors, NOISE, PRIOR)
    planes = ReconstructionVariance(one.noise.expand(4, -1, -1), one.prior.expand(4, -1, -1))
    ratio = errors.square().mean(0).sqrt() / merge_planes_variance(planes).std
    assert ((0.98 < ratio.mean((-2, -1))) & (ratio.mean((-2, -1)) < 1.02)).all()


def test_merging_different_planes_bounds_the_error(colour_operator):
    operator, tikhonov = colour_operator, Tikhonov(colour_operator, (NOISE / PRIOR) ** 2)
    scenes = PRIOR * _normal(400, 3, *operator.scene_shape[-2:], seed=4)[:, [0, 1, 1, 2]]
    noise = NOISE * _normal(400, *operator.capture_shape, seed=5)
    errors = planes_to_rgb(tikhonov(operator.forward(scenes) + noise) - scenes)
    planes = reconstruction_variance(factorise(operator), NOISE, PRIOR)
    predicted = merge_planes_variance(planes)
    ratio = (errors.square().mean(0).sqrt() / predicted.std).mean((-2, -1))
    assert 0.97 < ratio[0] < 1.03
    assert 0.7 < ratio[1] < 1.03
    assert 0.97 < ratio[2] < 1.03


def test_spread_of_samples():
    samples = _normal(400, 2, 8, 9, seed=6) * torch.linspace(0.5, 2, 9) + 3
    mean, std = sample_spread(samples)
    assert mean.shape == std.shape == (2, 8, 9)
    torch.testing.assert_close(
        std.mean((0, 1)), torch.linspace(0.5, 2, 9).double(), rtol=0.05, atol=0
    )
    with pytest.raises(ShapeError, match="2 or more"):
        sample_spread(samples[:1])


def test_local_std_is_noise_where_the_scene_is_flat(factors, scene):
    variance = reconstruction_variance(factors, NOISE, PRIOR)
    flat = local_std(variance, torch.full_like(scene, 0.7))
    torch.testing.assert_close(flat, variance.noise.sqrt())
    assert (local_std(variance, scene) >= flat - 1e-12).all()
    with pytest.raises(ValueError, match="window must be odd"):
        local_std(variance, scene, window=4)


def test_error_of_samples_is_detail_and_spread(factors, scene):
    variance = reconstruction_variance(factors, NOISE, PRIOR)
    same = scene.expand(3, *scene.shape)
    detail = local_std(variance, scene, window=5)
    torch.testing.assert_close(sampled_std(variance, scene, same, window=5), detail)
    drawn = scene + _normal(3, *scene.shape, seed=7)
    expected = (detail.square() + drawn.var(0)).sqrt()
    torch.testing.assert_close(sampled_std(variance, scene, drawn, window=5), expected)


@pytest.mark.parametrize("bins", [1, 4])
@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_conformal_intervals_cover_what_they_state(coverage, bins):
    """Errors of a heavy-tailed kind, whose predicted spread is wrong by a factor that varies."""

    def draw(seed):
        std = _normal(40_000, seed=seed).abs() + 0.1
        error = _normal(40_000, seed=seed + 1).pow(3) * std * (1 + std)
        return torch.zeros_like(error), error, std

    fitted = fit_conformal(*draw(0), coverage=coverage, bins=bins)
    picture, truth, std = draw(10)
    covered = (picture - truth).abs() <= fitted.half_width(std)
    assert covered.double().mean() == pytest.approx(coverage, abs=0.01)
    large = std > std.quantile(0.75)
    if bins == 4:
        assert covered[large].double().mean() == pytest.approx(coverage, abs=0.015)
    assert fitted.samples == 40_000


def test_conformal_quantile_is_that_of_finite_samples():
    # With nine samples, nine tenths of ten are the ninth: the largest score.
    error = torch.arange(1.0, 10.0)
    fitted = fit_conformal(torch.zeros(9), error, torch.ones(9), coverage=0.9)
    assert fitted.scales == (9.0,)
    with pytest.raises(ValueError, match="more than 8 validation samples"):
        fit_conformal(torch.zeros(8), error[:8], torch.ones(8), coverage=0.9)


@pytest.mark.parametrize("bins", [1, 2])
def test_pictures_that_differ_are_covered_on_average(bins):
    """Each picture's errors are off by a factor of its own, which no other picture tells."""

    def draw(seed, count):
        factors = (0.7 * _normal(count, seed=seed)).exp()
        stds = _normal(count, 1500, seed=seed + 1).abs() + 0.1
        return list(factors[:, None] * stds * _normal(count, 1500, seed=seed + 2)), list(stds)

    pooled, careful = [], []
    errors, stds = draw(1, 200)
    for seed in range(10, 70):
        few = draw(1000 * seed, 3)
        joined = torch.cat(few[0])
        plain = fit_conformal(joined, torch.zeros_like(joined), torch.cat(few[1]), bins=bins)
        for shares, fitted in (
            (pooled, plain),
            (careful, fit_conformal_to_pictures(*few, bins=bins)),
        ):
            assert fitted.edges == plain.edges and fitted.samples == 4500
            shares += [
                (error.abs() <= fitted.half_width(std)).double().mean()
                for error, std in zip(errors, stds, strict=True)
            ]
    assert torch.stack(pooled).mean() < 0.875
    assert torch.stack(careful).mean() == pytest.approx(0.9, abs=0.025)


def test_pictures_that_are_alike_are_pooled():
    stds = [_normal(size, 30, seed=size).abs() + 0.1 for size in (500, 40)]
    errors = [std * _normal(*std.shape, seed=9) for std in stds]
    fitted = fit_conformal_to_pictures(errors, stds)
    assert fitted.scales[0] == pytest.approx(1.645, rel=0.05)
    alone = fit_conformal(errors[0], torch.zeros_like(errors[0]), stds[0])
    assert fit_conformal_to_pictures(errors[:1], stds[:1]) == alone


def test_conformal_calibrations_survive_a_file(tmp_path):
    from barelens.imaging.files import FileError
    from barelens.imaging.trust import Conformal

    std = _normal(500, seed=1).abs() + 0.1
    fitted = fit_conformal(torch.zeros_like(std), std * _normal(500, seed=2), std, bins=3)
    fitted = replace(fitted, of="refined")
    fitted.save(tmp_path / "scale.json")
    assert Conformal.load(tmp_path / "scale.json") == fitted
    for content in ("{}", "[]", "no", '{"format": "barelens.conformal", "format_version": 9}'):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(FileError, match=r"bad\.json"):
            Conformal.load(tmp_path / "bad.json")


def test_conformal_arguments_are_checked():
    ones = torch.ones(100)
    with pytest.raises(ValueError, match="coverage must be in"):
        fit_conformal(ones, ones, ones, coverage=1.0)
    with pytest.raises(ValueError, match="bins must be at least 1"):
        fit_conformal(ones, ones, ones, bins=0)
    with pytest.raises(ValueError, match="std must be positive"):
        fit_conformal(ones, ones, 0 * ones)
    with pytest.raises(ShapeError, match="one shape"):
        fit_conformal(ones, ones[1:], ones)
    with pytest.raises(ValueError, match="one or more of each, got 2 and 1"):
        fit_conformal_to_pictures([ones, ones], [ones])
