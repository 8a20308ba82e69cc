"""Benchmark of trust: predicted standard deviations, and intervals that cover what they state."""

import torch
from trust_cameras import PHOTOS, Bench, Draws, expose, photo

from barelens.imaging import Tikhonov
from barelens.imaging.trust import (
    Conformal,
    estimate_prior_std,
    fit_conformal,
    local_std,
    reconstruction_variance,
    sample_spread,
)

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
    detail: dict[int, Errors] = {window: {} for window in (5, 9, 17)}
    alone: Errors = {}
    spread: Errors = {}
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
    return {
        "closed form and local detail": _coverage(list(detail.values()), draws),
        "closed form alone": _coverage([alone], draws),
        "spread of 8 Gaussian posterior samples": _coverage([spread], draws),
    }


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
        names = draws.shuffled(PHOTOS)
        known, held_out = names[: len(names) // 2], names[len(names) // 2 :]
        photos = min(candidates, key=lambda errors, known=known: _disagreement(errors, known))
        error, std = _joined(photos, known)
        fitted = fit_conformal(error, torch.zeros_like(error), std, coverage=0.9)
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
