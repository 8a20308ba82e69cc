"""Benchmark of trust: predicted standard deviations, and intervals that cover what they state."""

import json
from dataclasses import replace
from functools import cache

import torch
from trust_cameras import PHOTOS, Bench, Draws, expose, photo

from barelens import data
from barelens.imaging import SeparableFactors, Tikhonov
from barelens.imaging.refine import Measurement, Refiner
from barelens.imaging.trust import (
    Conformal,
    estimate_prior_std,
    fit_conformal_to_pictures,
    local_std,
    reconstruction_variance,
    sample_spread,
    sampled_std,
)

WINDOWS = (5, 9, 17)  # of local detail, of which known photographs choose one
NUM_REFINED = 4  # samples of the refiner, of each capture

#: Moduli of errors and predicted standard deviations of each photograph's crops.
Errors = dict[str, list[tuple[torch.Tensor, torch.Tensor]]]


def predicted_std(bench: Bench, draws: Draws) -> dict[str, float]:
    """Empirical over predicted standard deviation: of noise about photos, and of whole errors."""
    noise_ratios, blocks = [], []
    count = 100
    for name in draws.shuffled(PHOTOS)[:4]:
        scene = photo(name, bench.size)
        capture, noise = expose(bench.operator, scene, draws)
        penalty = bench.tikhonov.solve(capture).penalty
        tikhonov = Tikhonov(bench.operator, penalty)
        clean = bench.operator.forward(scene)
        captures = (clean + noise * draws.normal(*clean.shape) for _ in range(count))
        empirical = torch.stack([tikhonov(one) for one in captures]).var(0)
        predicted = reconstruction_variance(bench.factors, noise, 1.0, penalty=penalty).noise
        noise_ratios.append(float((empirical.mean() / predicted.mean()).sqrt()))
        pooled = [torch.nn.functional.avg_pool2d(v[None, None], 16) for v in (empirical, predicted)]
        blocks.append((pooled[0] / pooled[1]).sqrt().flatten())
    prior = 0.3
    noise = prior * float(bench.factors.gains.square().mean().sqrt())
    tikhonov = Tikhonov(bench.operator, (noise / prior) ** 2)
    errors = []
    for _ in range(count):
        scene = prior * draws.normal(*bench.size)
        capture = bench.operator.forward(scene) + noise * draws.normal(*clean.shape)
        errors.append((tikhonov(capture) - scene).square())
    total = reconstruction_variance(bench.factors, noise, prior).total
    block = torch.cat(blocks)
    return {
        "noise_std_worst_photo": max(abs(ratio - 1) for ratio in noise_ratios),
        "noise_std_blocks_within_5_percent": float(((block - 1).abs() < 0.05).double().mean()),
        "posterior_std": float((torch.stack(errors).mean() / total.mean()).sqrt()) - 1,
    }


def conformal(bench: Bench, draws: Draws) -> dict[str, dict[str, float]]:
    """Coverage of 90 % intervals on photographs that the calibration has not seen."""
    detail: dict[int, Errors] = {window: {} for window in WINDOWS}
    refined: dict[int, Errors] = {window: {} for window in WINDOWS}
    alone: Errors = {}
    spread: Errors = {}
    unseen = photos_unseen_by_the_refiner()
    for name in PHOTOS:
        for crop in (1.0, 0.7, 0.5):
            scene = photo(name, bench.size, crop)
            capture, noise = expose(bench.operator, scene, draws, 20 + 20 * draws.uniform())
            solution = bench.tikhonov.solve(capture)
            prior = float(estimate_prior_std(bench.factors, capture, noise))
            variance = reconstruction_variance(
                bench.factors, noise, prior, penalty=solution.penalty
            )
            error = (solution.scene - scene).abs()
            for window, errors in detail.items():
                std = local_std(variance, solution.scene, window=window)
                errors.setdefault(name, []).append((error, std))
            alone.setdefault(name, []).append((error, variance.std))
            mean, std = sample_spread(_posterior_samples(bench, capture, noise, prior, draws))
            spread.setdefault(name, []).append(((mean - scene).abs(), std))
            if name in unseen:
                samples = _refined_samples(bench, capture, solution.scene, noise, prior)
                error = (samples[0] - scene).abs()
                for window, errors in refined.items():
                    std = sampled_std(variance, samples[0], samples, window=window)
                    errors.setdefault(name, []).append((error, std))
    return {
        "closed form and local detail": _coverage(list(detail.values()), draws),
        "closed form alone": _coverage([alone], draws),
        "spread of 8 Gaussian posterior samples": _coverage([spread], draws),
        f"refined, local detail and spread of {NUM_REFINED} samples": _coverage(
            list(refined.values()), draws
        ),
    }


def photos_unseen_by_the_refiner() -> list[str]:
    """Name the photographs that the shipped refiner was not trained on."""
    sources = json.loads(data.path("refiner/train.json").read_text())["data"]["sources"]
    trained = {source.removeprefix("skimage:").partition(".")[0] for source in sources}
    names = {"immunohistochemistry": "ihc"}
    return [name for name in PHOTOS if names.get(name, name) not in trained]


@cache
def _refiner() -> Refiner:
    return Refiner.load(data.path("refiner/refiner.json").parent)


def _refined_samples(
    bench: Bench, capture: torch.Tensor, linear: torch.Tensor, noise: float, prior: float
) -> torch.Tensor:
    """Draw grey pictures from the shipped diffusion model with several seeds, four steps each."""
    refiner = _refiner()
    left, right = bench.operator.phi_left.float(), bench.operator.phi_right.float()
    factors = SeparableFactors.of(replace(bench.operator, phi_left=left, phi_right=right))
    measurement = Measurement(capture.float()[None, None], factors, noise, prior)
    settings = replace(refiner.settings, steps=4, scheduler="ddim", imagination=1.0)
    pictures = [
        refiner(linear.float()[None, None], measurement, replace(settings, seed=seed)).image
        for seed in range(NUM_REFINED)
    ]
    return torch.cat(pictures).mean(1).double()


def _posterior_samples(
    bench: Bench, capture: torch.Tensor, noise: float, prior: float, draws: Draws
) -> torch.Tensor:
    """Draw from the Gaussian posterior, exactly: they stand in for a diffusion model's samples."""
    penalty = (noise / prior) ** 2
    gains = bench.factors.gains
    inverse = gains / (gains.square() + penalty)
    samples = []
    for _ in range(8):
        scene = prior * draws.normal(*bench.size)
        imagined = bench.operator.forward(scene) + noise * draws.normal(*capture.shape)
        coefficients = bench.factors.analyse(capture - imagined)
        samples.append(scene + bench.factors.synthesise(inverse * coefficients))
    return torch.stack(samples)


def _coverage(candidates: list[Errors], draws: Draws) -> dict[str, float]:
    """Choose a candidate and its scale on half of the photographs, and test them on the rest."""
    covered, single = [], []
    for _ in range(20):
        names = draws.shuffled(tuple(candidates[0]))
        known, held_out = names[: len(names) // 2], names[len(names) // 2 :]
        photos = min(candidates, key=lambda errors, known=known: _disagreement(errors, known))
        errors, stds = zip(*(_joined(photos, [name]) for name in known), strict=True)
        fitted = fit_conformal_to_pictures(errors, stds, coverage=0.9)
        shares = [_covered(fitted, *_joined(photos, [name])) for name in held_out]
        covered.append(sum(shares) / len(shares))
        single += shares
    values = torch.tensor(covered)
    return {
        "mean": float(values.mean()),
        "splits_within_2_percent": float(((values - 0.9).abs() <= 0.02).double().mean()),
        "worst_split": float(values[(values - 0.9).abs().argmax()]),
        "single_photo_lowest": min(single),
        "single_photo_highest": max(single),
    }


def _disagreement(photos: Errors, names: list[str]) -> float:
    """How much the scales differ that single photographs ask for."""
    scales = [
        float((error / std).quantile(0.9))
        for error, std in (_joined(photos, [name]) for name in names)
    ]
    return float(torch.tensor(scales).log().std())


def _joined(photos: Errors, names: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    pairs = [pair for name in names for pair in photos[name]]
    return (
        torch.cat([error.flatten()[::7] for error, _ in pairs]),
        torch.cat([std.flatten()[::7] for _, std in pairs]),
    )


def _covered(fitted: Conformal, error: torch.Tensor, std: torch.Tensor) -> float:
    return float((error <= fitted.half_width(std)).double().mean())
