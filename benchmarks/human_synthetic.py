"""Quality of the model that ships, on synthetic people it has never seen.

    python benchmarks/human_synthetic.py [--people 500] [--model MODEL.safetensors]

The people are rendered with a seed of their own, so that neither bodies nor clothes, poses, light
or cameras are those of the training. Each is looked at as a user would, with the person's box; and
again after a simulated lensless capture and its reconstruction, with the boxes of the clean
pictures. Maps are compared at the size of the pictures, 256x192. The flip test is on, as it is
where nobody turns it off, so that the model looks at each picture and at its mirror image; what one
look at the clean pictures gives is told too.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import describe, show, write

from barelens import data
from barelens.pose import HumanVision, load_multitask
from barelens.pose.synthetic import KEYPOINTS, PARTS, LenslessView, PersonSample, render_person
from barelens.pose.training import Scores

SEED = 3  # the training has 1, its validation 2
BATCH = 16
TARGETS = {"pck": 0.85, "miou": 0.6, "normals_deg": 20.0}

Look = Callable[[torch.Tensor, int], torch.Tensor]


def conditions() -> dict[str, Look]:
    """Name ways to see a picture: as it is, and through lensless cameras of two qualities."""
    good, poor = LenslessView(full_well_e=20_000.0), LenslessView(full_well_e=4_000.0)
    return {
        "clean": lambda image, index: image,
        "lensless, full well 20 000 e": lambda image, index: good(image, seed=index),
        "lensless, full well 4 000 e": lambda image, index: poor(image, seed=index),
    }


def score(vision: HumanVision, people: list[PersonSample], images: list[torch.Tensor]) -> Scores:
    """Look at people and compare with what they are."""
    scores = Scores(len(PARTS))
    for first in range(0, len(people), BATCH):
        batch = people[first : first + BATCH]
        outputs = vision(images[first : first + BATCH], [person.box[None] for person in batch])
        for person, output in zip(batch, outputs, strict=True):
            side = float((person.box[2:] - person.box[:2]).max())
            scores.add_keypoints(
                output.people[0].keypoints, person.keypoints, person.visibility, side
            )
            scores.add_parts(output.class_map, person.parts)
            scores.add_normals(output.normals, person.normals)
            scores.add_depth(output.depth, person.depth)
    return scores


def score_without_model(people: list[PersonSample]) -> Scores:
    """Score who knows the boxes alone: points in their middle, flat figures, no parts."""
    scores = Scores(len(PARTS))
    for person in people:
        middle = (person.box[:2] + person.box[2:]) / 2
        side = float((person.box[2:] - person.box[:2]).max())
        scores.add_keypoints(
            middle.expand_as(person.keypoints), person.keypoints, person.visibility, side
        )
        scores.add_parts(torch.zeros_like(person.parts), person.parts)
        flat = torch.zeros_like(person.normals)
        flat[2] = 1
        scores.add_normals(flat, person.normals)
        scores.add_depth(torch.ones_like(person.depth), person.depth)
    return scores


def details(scores: Scores) -> dict[str, Any]:
    """Give the scores with those of each keypoint and each part."""
    return {
        **scores.summary(),
        "keypoints": dict(zip(KEYPOINTS, scores.keypoint_pck().tolist(), strict=True)),
        "parts": dict(zip(PARTS, scores.part_iou().tolist(), strict=True)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--people", type=int, default=500)
    parser.add_argument("--model", type=Path, default=None)
    options = parser.parse_args()
    path = options.model or data.path("human/model.safetensors")
    model = load_multitask(path)
    twice, once = (HumanVision([model], flip_test=flip, batch_size=BATCH) for flip in (True, False))

    started = time.perf_counter()
    people = [render_person(index, seed=SEED) for index in range(options.people)]
    rendering = (time.perf_counter() - started) / options.people
    results: dict[str, Any] = {"no model": details(score_without_model(people))}

    def measure(name: str, vision: HumanVision, look: Look) -> None:
        images = [look(person.image, index) for index, person in enumerate(people)]
        started = time.perf_counter()
        results[name] = details(score(vision, people, images))
        results[name]["seconds_a_person"] = (time.perf_counter() - started) / options.people

    for name, look in conditions().items():
        measure(name, twice, look)
    measure("clean, without flip test", once, conditions()["clean"])

    columns = ("pck", "pck_visible", "miou", "normals_deg", "depth_cm")
    header = ("pictures", "PCK@0.1", "of those in sight", "part mIoU", "normals", "depth")
    formats = ("{:.3f}", "{:.3f}", "{:.3f}", "{:.1f}°", "{:.1f} cm")
    rows = [
        (name, *(form.format(found[c]) for form, c in zip(formats, columns, strict=True)))
        for name, found in results.items()
    ]
    show(f"{options.people} synthetic people of seed {SEED}", header, rows)
    print(f"\nTargets for clean pictures: {TARGETS}; rendering took {rendering:.3f} s a person")
    write(
        "human_synthetic",
        {
            "machine": describe(),
            "model": path.name,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "people": options.people,
            "seed": SEED,
            "targets": TARGETS,
            "flip_test": "in all rows but the last",
            "rendering_seconds_a_person": rendering,
            "results": results,
        },
    )


if __name__ == "__main__":
    main()
