"""OpenPose's JSON: BODY_25 and hands, one file for each picture."""

import os
from typing import Any

import torch
from torch import Tensor

from ...imaging.files import write_json
from ..labels import KeypointLayout, convert_keypoints, keypoint_layout
from ..outputs import HumanOutput, Person

__all__ = ["BODY_25", "openpose_record", "write_openpose"]

# Names of ours in OpenPose's order; two joined by "+" stand for the point midway.
BODY_25 = (
    "nose",
    "left_shoulder+right_shoulder",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "left_hip+right_hip",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
    "left_big_toe",
    "left_small_toe",
    "left_heel",
    "right_big_toe",
    "right_small_toe",
    "right_heel",
)
_LEFT_HAND, _RIGHT_HAND, _FACE = slice(91, 112), slice(112, 133), slice(23, 91)


def openpose_record(output: HumanOutput) -> dict[str, Any]:
    """Describe the people of one picture as OpenPose 1.3 does.

    Neck and middle of the hips are midway between shoulders and hips, with the lower of the two
    scores. Hands come from 308 or 133 keypoints (see ``approximate`` of
    :func:`~barelens.pose.labels.convert_keypoints`); of the face's 70 only 133-keypoint models
    know 68, so that the two pupils are missing. A point that is not there is 0, 0, 0.
    """
    return {"version": 1.3, "people": [_person(person, output.layout) for person in output.people]}


def write_openpose(path: str | os.PathLike[str], output: HumanOutput) -> None:
    """Write one picture's people to a JSON file, which appears whole or not at all."""
    write_json(path, openpose_record(output))


def _person(person: Person, layout: KeypointLayout | None) -> dict[str, Any]:
    record: dict[str, Any] = {
        "person_id": [-1 if person.track is None else person.track],
        "pose_keypoints_2d": [],
        "face_keypoints_2d": [],
        "hand_left_keypoints_2d": [],
        "hand_right_keypoints_2d": [],
        "pose_keypoints_3d": [],
        "face_keypoints_3d": [],
        "hand_left_keypoints_3d": [],
        "hand_right_keypoints_3d": [],
    }
    if person.keypoints is None or person.keypoint_scores is None:
        return record
    positions, scores = person.keypoints.cpu(), person.keypoint_scores.cpu()
    layout = layout or keypoint_layout(len(scores))
    points = [_named(name, positions, scores, layout) for name in BODY_25]
    record["pose_keypoints_2d"] = _flat(torch.stack(points))
    if layout.name in ("wholebody133", "sapiens308"):
        placed, rated = convert_keypoints(positions, scores, "wholebody133", approximate=True)
        whole = torch.cat([placed, rated[:, None]], dim=1)
        record["hand_left_keypoints_2d"] = _flat(whole[_LEFT_HAND])
        record["hand_right_keypoints_2d"] = _flat(whole[_RIGHT_HAND])
        if layout.name == "wholebody133":
            pupils = whole.new_zeros(2, 3)
            record["face_keypoints_2d"] = _flat(torch.cat([whole[_FACE], pupils]))
    return record


def _named(name: str, positions: Tensor, scores: Tensor, layout: KeypointLayout) -> Tensor:
    """Return x, y and score of a point, or of the point midway between two."""
    names = name.split("+")
    if any(part not in layout.names for part in names):
        return positions.new_zeros(3)
    index = [layout.index(part) for part in names]
    score = scores[index].amin()
    if score <= 0:
        return positions.new_zeros(3)
    return torch.cat([positions[index].mean(dim=0), score[None]])


def _flat(points: Tensor) -> list[float]:
    points = torch.where(points[:, 2:] > 0, points, 0)
    return [round(value, 4) for value in points.flatten().tolist()]
