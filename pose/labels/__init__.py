"""Names, colours and mirror pairs of keypoints and parts."""

from .keypoints import (
    KEYPOINT_LAYOUTS,
    KeypointLayout,
    convert_keypoints,
    keypoint_layout,
    named_layout,
)
from .parts import PartLabels, named_parts, part_labels

__all__ = [
    "KEYPOINT_LAYOUTS",
    "KeypointLayout",
    "PartLabels",
    "convert_keypoints",
    "keypoint_layout",
    "named_layout",
    "named_parts",
    "part_labels",
]
