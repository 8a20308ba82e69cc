"""How far the measures of trust can be trusted themselves, on held-out photographs.

    python benchmarks/trust.py

Three cameras (matrices of the real FlatCam of the bundled record, two virtual ones), the
photographs of scikit-image as scenes, captures simulated with the cameras' own matrices and white
noise, 30 dB below the capture unless a test says otherwise: the tests ask whether statements hold
under the model they are made for. Every number is measured in the run that writes it.
"""

import math
from typing import Any

import torch
from machine import describe, show, write
from scipy.stats import kstest
from trust_cameras import PHOTOS, SNR_DB, Bench, Draws, cameras, expose, photo
from trust_cost import cost, planned_psnr
from trust_intervals import conformal, predicted_std

from barelens.imaging.trust import (
    check_picture,
    estimate_noise_std,
    estimate_prior_std,
    fill_missing,
    judge_picture,
)

PATCH = 24
CONTRASTS = (1.0, 0.1, 0.01, 0.001)


def paste(
    picture: torch.Tensor, source: torch.Tensor, contrast: float, draws: Draws
) -> tuple[torch.Tensor, torch.Tensor]:
    """Blend a piece of another photograph in; give the picture and the pasted difference."""
    height, width = picture.shape
    row, column = draws.integer(height - PATCH), draws.integer(width - PATCH)
    top, left = draws.integer(height - PATCH), draws.integer(width - PATCH)
    difference = torch.zeros_like(picture)
    place = slice(row, row + PATCH), slice(column, column + PATCH)
    piece = source[top : top + PATCH, left : left + PATCH]
    difference[place] = contrast * (piece - picture[place])
    return picture + difference, difference


def auc(positive: torch.Tensor, negative: torch.Tensor) -> float | None:
    """Probability that a positive scores above a negative; ties count half."""
    if not len(positive) or not len(negative):
        return None
    ordered = negative.sort().values
    below = torch.searchsorted(ordered, positive)
    upto = torch.searchsorted(ordered, positive, right=True)
    return float((below + upto).double().mean() / (2 * len(negative)))


def pasted_patches(bench: Bench, draws: Draws) -> dict[str, dict[str, float | None]]:
    """AUC of the local test, window against window, where the object is visible and where not."""
    results: dict[str, dict[str, float | None]] = {}
    for base in ("truth", "linear"):
        for contrast in CONTRASTS:
            seen, unseen, clear = [], [], []
            for index, name in enumerate(PHOTOS):
                scene = photo(name, bench.size)
                source = photo(PHOTOS[index - 5], bench.size)
                capture, noise = expose(bench.operator, scene, draws)
                picture = scene if base == "truth" else bench.tikhonov(capture)
                picture, difference = paste(picture, source, contrast, draws)
                prior = float(estimate_prior_std(bench.factors, capture, noise))
                fit = check_picture(bench.factors, picture, capture, noise, prior)
                local = bench.windows(fit, relative=True)
                pool = torch.nn.functional.avg_pool2d
                window = (local.window[0], local.stride[0])
                touched = pool((difference != 0).double()[None, None], *window)[0, 0]
                strength = pool(difference.square()[None, None], *window)[0, 0].sqrt()
                score, hit = -local.p_value.clamp_min(1e-300).log(), touched >= 0.5
                visible = strength >= local.faintest
                seen.append(score[hit & visible])
                unseen.append(score[hit & ~visible])
                clear.append(score[touched == 0])
            found, missed = torch.cat(seen), torch.cat(unseen)
            results[f"{base}, contrast {contrast:g}"] = {
                "auc_visible": auc(found, torch.cat(clear)),
                "auc_invisible": auc(missed, torch.cat(clear)),
                "visible_share": len(found) / (len(found) + len(missed)),
            }
    return results


def verdicts(bench: Bench, draws: Draws) -> dict[str, float]:
    """Share of right verdicts, with the noise estimated from the capture itself."""
    counts: dict[str, list[bool]] = {}
    for index, name in enumerate(PHOTOS):
        scene = photo(name, bench.size)
        source = photo(PHOTOS[index - 5], bench.size)
        capture, _ = expose(bench.operator, scene, draws)
        linear = bench.tikhonov(capture)
        angle = 2 * math.pi * draws.uniform()
        moved = bench.moved(math.sin(angle), math.cos(angle))
        drifted, _ = expose(moved, scene, draws)
        for case, wanted, picture, taken in (
            ("true picture, right camera", "consistent", scene, capture),
            ("linear picture, right camera", "consistent", linear, capture),
            (
                "patch in the true picture, right camera",
                "hallucination",
                paste(scene, source, 1.0, draws)[0],
                capture,
            ),
            (
                "patch in the linear picture, right camera",
                "hallucination",
                paste(linear, source, 1.0, draws)[0],
                capture,
            ),
            (
                "linear picture, camera off by 1 px",
                "miscalibration",
                bench.tikhonov(drifted),
                drifted,
            ),
            ("true picture, camera off by 1 px", "miscalibration", scene, drifted),
        ):
            judged = judge_picture(picture, taken, bench.camera, bench.windows)
            counts.setdefault(case, []).append(judged.verdict == wanted)
    return {case: sum(right) / len(right) for case, right in counts.items()}


def null_p_values(bench: Bench, draws: Draws, count: int = 200) -> dict[str, float]:
    """P-values of Kolmogorov-Smirnov tests for uniformity under the null."""
    scene = photo("camera", bench.size)
    clean = bench.operator.forward(scene)
    noise = float(clean.std()) * 10 ** (-SNR_DB / 20)
    prior = float(scene.square().mean().sqrt())
    found: dict[str, list[float]] = {"camera": [], "picture": [], "windows": []}
    for _ in range(count):
        capture = clean + noise * draws.normal(*clean.shape)
        fit = check_picture(bench.factors, scene, capture, noise, prior)
        found["picture"].append(float(fit.level.p_value))
        camera = bench.camera(capture, prior, noise)
        found["camera"].append(float(camera.level.p_value))
        found["windows"] += bench.windows(fit).p_value[::4, ::4].flatten().tolist()
    return {name: float(kstest(values, "uniform").pvalue) for name, values in found.items()}


def robustness(bench: Bench, draws: Draws) -> dict[str, float]:
    """Share of captures whose fault gets its name, or whose gaps do no harm."""
    named: dict[str, list[bool]] = {}
    for name in PHOTOS:
        scene = photo(name, bench.size)
        capture, noise = expose(bench.operator, scene, draws)
        prior = estimate_prior_std(bench.factors, capture, noise)
        valid = torch.ones_like(capture, dtype=torch.bool)
        valid[draws.integer(capture.shape[0] - 3) :][:3] = False
        valid &= draws.normal(*capture.shape) < 2.6  # half a percent saturated, scattered
        damaged = torch.where(valid, capture, capture.max() + 50 * noise)
        rough = estimate_noise_std(damaged, valid=valid)
        filled = fill_missing(bench.factors, damaged, valid, rough, prior)
        for case, wanted, taken, stated, kept in (
            ("noise stated 10 % too low", "noise understated", capture, noise / 1.1, None),
            ("noise stated 10 % too high", "noise overstated", capture, noise * 1.1, None),
            ("saturated pixels and missing rows, filled", "fits", filled, noise, valid),
            ("saturated pixels and missing rows, left", "fits", damaged, noise, None),
        ):
            fit = bench.camera(taken, prior, stated, valid=kept)
            named.setdefault(case, []).append(fit.verdict() == [wanted])
    return {case: sum(right) / len(right) for case, right in named.items()}


def main() -> None:
    record = {"machine": describe(), "photos": list(PHOTOS), "snr_db": SNR_DB, "cameras": {}}
    for bench in cameras():
        draws = Draws(0)
        entry = {
            "predicted_std": predicted_std(bench, draws),
            "conformal": conformal(bench, draws),
            "pasted_patches": pasted_patches(bench, draws),
            "verdicts": verdicts(bench, draws),
            "ks_p_values": null_p_values(bench, draws),
            "robustness": robustness(bench, draws),
        }
        record["cameras"][bench.name] = entry
        for title, values in entry.items():
            rows = [
                (str(name), *(f"{v:.4f}" if isinstance(v, float) else str(v) for v in _flat(value)))
                for name, value in values.items()
            ]
            show(f"{bench.name}: {title}", ("", *_header(values)), rows)
    record["planned_over_simulated_psnr"] = planned_psnr()
    print("\nplanned over simulated PSNR:", record["planned_over_simulated_psnr"])
    record["cost"] = {bench.name: measure_cost(bench) for bench in cameras()[:2]}
    write("trust", record)


def measure_cost(bench: Bench) -> dict[str, Any]:
    """Seconds of each measure, and of all together in Tikhonov reconstructions."""
    seconds = cost(bench)
    show(
        f"{bench.name}: cost",
        ("step", "ms"),
        [(name, f"{1000 * value:.2f}") for name, value in seconds.items()],
    )
    every = sum(seconds.values()) / seconds["tikhonov"] - 1
    # Windows are tested where a picture is judged, the rest belongs to every record.
    records = every - seconds["window_test"] / seconds["tikhonov"]
    print(f"\nof one Tikhonov reconstruction: {every:.2f}, without windows {records:.2f}")
    return {"seconds": seconds, "over_tikhonov": every, "over_tikhonov_without_windows": records}


def _flat(value: object) -> list[object]:
    return list(value.values()) if isinstance(value, dict) else [value]


def _header(values: dict[str, object]) -> list[str]:
    first = next(iter(values.values()))
    return list(first) if isinstance(first, dict) else ["value"]


if __name__ == "__main__":
    main()
