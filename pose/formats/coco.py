"""COCO's JSON: keypoints of 17, 133 or 308, boxes and masks of people."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from ...imaging.files import atomic_path
from ..labels import KeypointLayout, convert_keypoints, keypoint_layout
from ..outputs import HumanOutput, Person
from .rle import encode_mask

__all__ = ["coco_dataset", "coco_results", "merge_datasets", "write_coco"]

PERSON = 1  # COCO's category of people
# Of the 133 keypoints, in order.
_WHOLE_BODY = {
    "keypoints": slice(0, 17),
    "foot_kpts": slice(17, 23),
    "face_kpts": slice(23, 91),
    "lefthand_kpts": slice(91, 112),
    "righthand_kpts": slice(112, 133),
}
_VALID = {
    "foot_kpts": "foot_valid",
    "face_kpts": "face_valid",
    "lefthand_kpts": "lefthand_valid",
    "righthand_kpts": "righthand_valid",
}


def coco_results(
    outputs: Mapping[int, HumanOutput], *, layout: str = "coco17", approximate: bool = False
) -> list[dict[str, Any]]:
    """List people as COCO's evaluation reads them.

    Parameters
    ----------
    outputs : mapping of int to HumanOutput
        By the id of the image.
    layout : "coco17", "wholebody133" or "sapiens308"
        Keypoints to write; with 133 they are split into body, feet, face and hands as
        COCO-WholeBody wants them.
    approximate : bool
        See :func:`~barelens.pose.labels.convert_keypoints`.

    Returns
    -------
    list of dict
        Keypoints as x, y and score in turn; box as left, top, width and height; a mask as
        compressed run lengths where there is one.
    """
    return [
        {
            "image_id": image_id,
            "category_id": PERSON,
            "bbox": _box(person),
            "score": person.score,
            **_keypoints(person, output.layout, layout, approximate),
            **_segmentation(person),
        }
        for image_id, output in outputs.items()
        for person in output.people
    ]


def coco_dataset(
    outputs: Mapping[str, HumanOutput],
    *,
    layout: str = "coco17",
    approximate: bool = False,
    min_score: float = 0.3,
) -> dict[str, Any]:
    """Make a whole COCO file, images and categories included, as annotation tools read it.

    Parameters
    ----------
    outputs : mapping of str to HumanOutput
        By the file name of the image; images are numbered from 1 in this order.
    layout, approximate
        As for :func:`coco_results`.
    min_score : float
        Keypoints of a lower score are written as not labelled: 0, 0, 0. Others are visible: 2.

    Returns
    -------
    dict
        ``images``, ``annotations`` and ``categories``.
    """
    chosen = keypoint_layout(layout)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, (name, output) in enumerate(outputs.items(), start=1):
        height, width = output.image_size
        images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        for person in output.people:
            annotation = {
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": PERSON,
                "iscrowd": 0,
                "bbox": _box(person),
                "area": _area(person),
                **_keypoints(person, output.layout, layout, approximate, min_score),
                **_segmentation(person),
            }
            annotation["num_keypoints"] = sum(v > 0 for v in annotation.get("keypoints", [])[2::3])
            annotations.append(annotation)
    category = {
        "id": PERSON,
        "name": "person",
        "supercategory": "person",
        # A 133-keypoint file lists the body's 17, and the rest under keys of their own.
        "keypoints": list(chosen.names[:17] if layout == "wholebody133" else chosen.names),
        "skeleton": [
            [first + 1, second + 1]
            for first, second in chosen.skeleton
            if layout != "wholebody133" or max(first, second) < 17
        ],
    }
    return {"images": images, "annotations": annotations, "categories": [category]}


def merge_datasets(datasets: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Make one COCO file of several that :func:`coco_dataset` made with one layout.

    Images and annotations are numbered anew.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    categories: list[dict[str, Any]] = []
    for dataset in datasets:
        if categories and categories != dataset["categories"]:
            raise ValueError("datasets must have the same categories")
        categories = list(dataset["categories"])
        numbers = {}
        for image in dataset["images"]:
            numbers[image["id"]] = len(images) + 1
            images.append(image | {"id": len(images) + 1})
        for annotation in dataset["annotations"]:
            place = {"id": len(annotations) + 1, "image_id": numbers[annotation["image_id"]]}
            annotations.append(annotation | place)
    return {"images": images, "annotations": annotations, "categories": categories}


def write_coco(
    path: str | os.PathLike[str], record: Mapping[str, Any] | Sequence[Mapping[str, Any]]
) -> None:
    """Write a dataset or results to a JSON file without spaces, whole or not at all."""
    text = json.dumps(record, allow_nan=False, separators=(",", ":"))
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _keypoints(
    person: Person,
    source: KeypointLayout | None,
    layout: str,
    approximate: bool,
    min_score: float | None = None,
) -> dict[str, Any]:
    if person.keypoints is None or person.keypoint_scores is None:
        return {}
    positions, scores = convert_keypoints(
        person.keypoints, person.keypoint_scores, layout, source=source, approximate=approximate
    )
    if layout != "wholebody133":
        return {"keypoints": _triples(positions, scores, min_score)}
    groups: dict[str, Any] = {
        name: _triples(positions[part], scores[part], min_score)
        for name, part in _WHOLE_BODY.items()
    }
    for name, valid in _VALID.items():
        groups[valid] = any(mark > 0 for mark in groups[name][2::3])
    return groups


def _triples(positions: Tensor, scores: Tensor, min_score: float | None) -> list[float]:
    flat: list[float] = []
    for (x, y), score in zip(positions.tolist(), scores.tolist(), strict=True):
        if min_score is None:
            flat += [round(x, 3), round(y, 3), round(score, 4)]
        else:
            flat += [round(x, 3), round(y, 3), 2] if score >= min_score else [0, 0, 0]
    return flat


def _box(person: Person) -> list[float]:
    left, top, right, bottom = person.box.tolist()
    return [round(value, 3) for value in (left, top, right - left, bottom - top)]


def _area(person: Person) -> float:
    if person.mask is not None:
        return float(person.mask.sum())
    _, _, width, height = _box(person)
    return width * height


def _segmentation(person: Person) -> dict[str, Any]:
    return {} if person.mask is None else {"segmentation": encode_mask(person.mask)}
