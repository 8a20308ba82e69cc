"""Quality of the shipped refiner on pictures and cameras that it was never trained on.

    python benchmarks/refine.py --opencv-doc FOLDER [--only baselines|refiner]

The pictures, renders and cameras are those of data/refiner/heldout.json, written before training.
FOLDER is usr/share/doc/opencv-doc/examples/data of Debian's package opencv-doc, which is only read;
without it the pictures of scikit-image and the renders remain. Tikhonov and ADMM-TV get the best
penalty for each camera, noise and metric, chosen by the truth, which no one has in practice; beside
them stand the ones that choose it from the capture.
All numbers are of sRGB pictures in [0, 1], where 1 is the scene's white. The two halves can be run
one after the other; the table is printed from the results file.
"""

import argparse
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gmsd import gmsd
from machine import RESULTS, describe, show, write
from torch import Tensor
from torch.nn import functional

from barelens import data
from barelens.imaging import (
    SeparableGeometry,
    VirtualCamera,
    m_sequence,
    mura,
    random_profile,
)
from barelens.imaging.bayer import planes_to_rgb
from barelens.imaging.files import linear_to_srgb, read_image
from barelens.imaging.metrics import psnr, ssim
from barelens.imaging.refine import Refiner, Tether
from barelens.imaging.refine.training import Observation, SimulatedCamera, render_scene
from barelens.imaging.sensor import Sensor
from barelens.imaging.solvers.admm_separable import admm_separable, noise_weight
from barelens.imaging.solvers.admm_settings import AdmmSettings

SIDE = 256
NUM_LONG = 4  # scenes that get as many as 20 steps
PENALTY_FACTORS = tuple(10 ** (step / 4) for step in range(-2, 13))
TV_FACTORS = tuple(2 ** (step / 2) for step in range(-3, 4))  # of the weight that noise decides
TV_ITERATIONS = 40
METRICS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "psnr": lambda picture, truth: psnr(picture, truth, data_range=1.0),
    "ssim": lambda picture, truth: ssim(picture, truth, data_range=1.0),
    "gmsd": gmsd,
}
LOWER_IS_BETTER = ("gmsd",)
Scores = dict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--opencv-doc", type=Path, help="folder of that package's pictures")
    parser.add_argument("--model", type=Path, default=data.path("refiner/train.json").parent)
    parser.add_argument("--only", choices=("baselines", "refiner"))
    parser.add_argument("--spread", type=int, help="take so many scenes, evenly spread")
    arguments = parser.parse_args()
    heldout = json.loads(data.path("refiner/heldout.json").read_text())
    found = list(load_scenes(heldout, arguments.opencv_doc))
    number = min(arguments.spread or len(found), len(found))
    scenes = dict(found[index * len(found) // number] for index in range(number))
    target = RESULTS / "refine.json"
    record = json.loads(target.read_text()) if target.is_file() else {}
    if record.get("scenes") != list(scenes):
        record = {"scenes": list(scenes), "groups": {}}
    refiner = Refiner.load(arguments.model) if arguments.only != "baselines" else None
    for name, observations in captures(heldout, scenes):
        truth = torch.stack([encoded(coarse(scene)) for scene in scenes.values()])
        group = record["groups"].setdefault(name, {})
        if arguments.only != "refiner":
            group |= tikhonov_scores(observations, truth) | admm_scores(observations, truth)
        if refiner is not None:
            group |= refiner_scores(refiner, observations, truth)
        record["machine"] = describe()
        record["summary"] = summary(record["groups"])
        write("refine", record)
        print(name, {method: round(mean(scores["psnr"]), 2) for method, scores in group.items()})
    report(record["summary"])


def load_scenes(heldout: dict[str, Any], folder: Path | None) -> Iterator[tuple[str, Tensor]]:
    """Read held-out scenes of linear light (3, 512, 512), each checked by its hash."""
    import skimage.data

    folders = {"skimage": Path(skimage.data.__file__).parent, "opencv-doc": folder}
    for entry in heldout["pictures"]:
        place = folders[entry["source"]]
        path = place / entry["file"] if place else None
        if path is None or not path.is_file():
            print(f"left out: {entry['file']} of {entry['source']}")
            continue
        if hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
            raise ValueError(f"{path} is another picture than the held-out one of its name")
        image = read_image(path, encoding="srgb", alpha="drop")
        side = min(image.shape[-2:])
        top, left = ((length - side) // 2 for length in image.shape[-2:])
        square = image[:, top : top + side, left : left + side].expand(3, -1, -1)[None]
        size = (2 * SIDE, 2 * SIDE)
        fine = functional.interpolate(square, size, mode="bilinear", antialias=True)
        yield entry["file"], fine[0].clamp(0, 1)
    for seed in heldout["render_seeds"]:
        yield f"render {seed}", render_scene(2 * SIDE, seed=seed)


def captures(
    heldout: dict[str, Any], scenes: dict[str, Tensor]
) -> Iterator[tuple[str, list[Observation]]]:
    """Capture all scenes by each held-out camera at each noise."""
    for entry in heldout["cameras"]:
        profiles = {
            "m_sequence": lambda e: [m_sequence(e["order"], repeats=2)] * 2,
            "mura": lambda e: [mura(e["length"], repeats=2)] * 2,
            "random_profile": lambda e: [
                random_profile(e["length"], seed=e["seed"] + side) for side in (0, 1)
            ],
        }[entry["profile"]](entry)
        geometry = SeparableGeometry(scene_height=SIDE, scene_width=SIDE, **entry["geometry"])
        for noise in heldout["noise"]:
            sensor = Sensor(full_well_e=noise["full_well_e"])
            camera = SimulatedCamera(VirtualCamera(geometry, *profiles, sensor=sensor))
            observations = []
            for seed, scene in enumerate(scenes.values()):
                exposure = noise["exposure"] * camera.camera.auto_exposure(scene)
                observations.append(camera.observe_at(scene, exposure_s=exposure, seed=seed))
            yield f"{entry['name']}, {noise['name']}", observations


def coarse(scene: Tensor) -> Tensor:
    """Average a scene to the raster of reconstructions."""
    return functional.avg_pool2d(scene, 2)


def encoded(linear: Tensor) -> Tensor:
    """Show linear light as an sRGB picture in [0, 1]."""
    return linear_to_srgb(linear.clamp(0, 1))


def score(pictures: Tensor, truth: Tensor) -> Scores:
    """Judge pictures (batch, 3, height, width) by every metric."""
    return {name: metric(pictures, truth).tolist() for name, metric in METRICS.items()}


def best(candidates: list[Scores]) -> dict[str, int]:
    """Choose the candidate that is best on average for each metric."""
    chosen = {}
    for name in METRICS:
        means = [mean(scores[name]) for scores in candidates]
        chosen[name] = int(np.argmin(means) if name in LOWER_IS_BETTER else np.argmax(means))
    return chosen


def tikhonov_scores(observations: list[Observation], truth: Tensor) -> dict[str, Scores]:
    """Judge Tikhonov with the penalty of cross-validation, and with the best multiple of it."""
    candidates = [
        score(encoded(torch.cat([tikhonov(seen, factor) for seen in observations])), truth)
        for factor in PENALTY_FACTORS
    ]
    chosen = best(candidates)
    return {
        "Tikhonov, GCV": candidates[PENALTY_FACTORS.index(1.0)],
        "Tikhonov, best": {name: candidates[index][name] for name, index in chosen.items()},
    }


def tikhonov(seen: Observation, factor: float) -> Tensor:
    """Reconstruct with a multiple of the penalty that cross-validation chose."""
    penalty = factor * (seen.noise_std / seen.prior_std).square()[..., None, None]
    factors = seen.factors
    inverse = factors.gains / (factors.gains.square() + penalty)
    return planes_to_rgb(factors.synthesise(inverse * factors.analyse(seen.capture)))


def admm_scores(observations: list[Observation], truth: Tensor) -> dict[str, Scores]:
    """Judge ADMM-TV with the weight that the noise decides, and with the best multiple of it."""
    candidates = [
        score(encoded(torch.cat([admm(seen, factor) for seen in observations])), truth)
        for factor in TV_FACTORS
    ]
    chosen = best(candidates)
    print("ADMM-TV, best weights:", {name: TV_FACTORS[index] for name, index in chosen.items()})
    if not all(0 < index < len(TV_FACTORS) - 1 for index in chosen.values()):
        raise ValueError(f"a best weight is at an end of TV_FACTORS: {chosen}")
    return {
        "ADMM-TV, automatic": candidates[TV_FACTORS.index(1.0)],
        "ADMM-TV, best": {name: candidates[index][name] for name, index in chosen.items()},
    }


def admm(seen: Observation, factor: float) -> Tensor:
    """Reconstruct by ADMM-TV with a multiple of the weight that the noise decides."""
    # The mean of both greens has their noise, halved; both share the same matrices.
    red, green, other_green, blue = seen.noise_std.unbind(1)
    noise = torch.stack([red, torch.hypot(green, other_green) / 2, blue], 1)
    weight = factor * noise_weight(seen.factors, noise)
    settings = AdmmSettings(weight, iterations=TV_ITERATIONS)
    return admm_separable(seen.factors, planes_to_rgb(seen.capture), settings).scene


def refiner_scores(
    refiner: Refiner, observations: list[Observation], truth: Tensor
) -> dict[str, Scores]:
    """Judge the refiner at several numbers of steps, with data consistency and without."""
    results = {}
    for steps, number in ((1, None), (4, None), (20, NUM_LONG)):
        settings = replace(refiner.settings, steps=steps, scheduler="ddim", imagination=1.0)
        alone, consistent = [], []
        for seen in observations[:number]:
            measured = seen.measurement
            refined = refiner(seen.rgb, measured, settings)
            tether = Tether(measured, (SIDE, SIDE), refined.white)
            alone.append(refined.image)
            consistent.append(tether.agree(refined.image))
        for label, images in (("alone", alone), ("consistent", consistent)):
            name = f"refiner, {steps} step{'s' * (steps > 1)}, {label}"
            results[name] = score(encoded(torch.cat(images)), truth[:number])
    return results


def mean(values: list[float]) -> float:
    return float(np.mean(values))


def summary(groups: dict[str, dict[str, Scores]]) -> dict[str, Any]:
    """Average over cameras and noises, with 95 % intervals from resampling the scenes."""
    first = next(iter(groups.values()))
    methods = [name for name in first if all(name in group for group in groups.values())]
    table = {}
    for method in methods:
        table[method] = {
            metric: interval(stacked(groups, method, metric)) for metric in METRICS
        } | {"scenes": len(first[method]["psnr"])}
    gains = {}
    for method in (name for name in methods if name.startswith("refiner")):
        for rival in (name for name in methods if not name.startswith("refiner")):
            gains[f"{method} over {rival}"] = {
                metric: interval(difference(groups, method, rival, metric)) for metric in METRICS
            }
    return {"methods": table, "gains": gains}


def stacked(groups: dict[str, dict[str, Scores]], method: str, metric: str) -> np.ndarray:
    """Arrange scores as (groups, scenes)."""
    return np.array([group[method][metric] for group in groups.values()])


def difference(
    groups: dict[str, dict[str, Scores]], method: str, rival: str, metric: str
) -> np.ndarray:
    """Subtract a rival's scores on the same captures."""
    ours, theirs = (stacked(groups, name, metric) for name in (method, rival))
    number = min(ours.shape[1], theirs.shape[1])
    return ours[:, :number] - theirs[:, :number]


def interval(scores: np.ndarray, repeats: int = 2000) -> list[float]:
    """Mean with the ends of its 95 % bootstrap interval over scenes."""
    per_scene = scores.mean(0)
    rng = np.random.default_rng(0)
    means = per_scene[rng.integers(len(per_scene), size=(repeats, len(per_scene)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return [float(per_scene.mean()), float(low), float(high)]


def report(result: dict[str, Any]) -> None:
    """Print the summary."""

    def shown(values: list[float], digits: int) -> str:
        middle, low, high = (f"{value:.{digits}f}" for value in values)
        return f"{middle} ({low} to {high})"

    for title, rows in (
        ("Mean over cameras, noises and scenes (95 % interval)", result["methods"]),
        ("Gain on the same captures (95 % interval)", result["gains"]),
    ):
        header = ("method", "PSNR in dB", "SSIM", "GMSD, lower is better")
        lines = [
            (name, shown(row["psnr"], 2), shown(row["ssim"], 3), shown(row["gmsd"], 4))
            for name, row in rows.items()
        ]
        show(title, header, lines)


if __name__ == "__main__":
    main()
