"""Human vision: pose, body parts, depth and surface normals."""

from .detect import Detections, PersonDetector, TransformersDetector
from .export import export_onnx
from .outputs import HumanOutput, Person
from .preparation import Preparation, reference_preparation
from .sapiens import (
    BACKBONES,
    BACKBONES_V2,
    CheckpointError,
    HumanModel,
    LicenceNotice,
    MultiTaskConfig,
    MultiTaskModel,
    from_state_dict,
    load_checkpoint,
    load_multitask,
    save_checkpoint,
    save_multitask,
)
from .smoothing import KeypointSmoother, OneEuroFilter
from .support import part_support, with_support
from .tracks import Tracker
from .video import Frame, follow_people, read_frames
from .vision import HumanVision

__all__ = [
    "BACKBONES",
    "BACKBONES_V2",
    "CheckpointError",
    "Detections",
    "Frame",
    "HumanModel",
    "HumanOutput",
    "HumanVision",
    "KeypointSmoother",
    "LicenceNotice",
    "MultiTaskConfig",
    "MultiTaskModel",
    "OneEuroFilter",
    "Person",
    "PersonDetector",
    "Preparation",
    "Tracker",
    "TransformersDetector",
    "export_onnx",
    "follow_people",
    "from_state_dict",
    "load_checkpoint",
    "load_multitask",
    "part_support",
    "read_frames",
    "reference_preparation",
    "save_checkpoint",
    "save_multitask",
    "with_support",
]
