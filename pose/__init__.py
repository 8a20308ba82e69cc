"""Human vision: pose, body parts, depth and surface normals."""

from .outputs import HumanOutput, Person
from .preparation import Preparation, reference_preparation
from .sapiens import (
    BACKBONES,
    BACKBONES_V2,
    CheckpointError,
    HumanModel,
    LicenceNotice,
    from_state_dict,
    load_checkpoint,
    save_checkpoint,
)
from .vision import HumanVision

__all__ = [
    "BACKBONES",
    "BACKBONES_V2",
    "CheckpointError",
    "HumanModel",
    "HumanOutput",
    "HumanVision",
    "LicenceNotice",
    "Person",
    "Preparation",
    "from_state_dict",
    "load_checkpoint",
    "reference_preparation",
    "save_checkpoint",
]
