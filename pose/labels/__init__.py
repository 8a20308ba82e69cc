"""Names, colours and mirror pairs of keypoints and parts."""

from .keypoints import KEYPOINT_LAYOUTS, KeypointLayout, convert_keypoints, keypoint_layout
from .parts import PartLabels, part_labels

__all__ = [
    "KEYPOINT_LAYOUTS",
    "KeypointLayout",
    "PartLabels",
    "convert_keypoints",
    "keypoint_layout",
    "part_labels",
]
