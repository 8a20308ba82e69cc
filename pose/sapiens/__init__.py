"""Sapiens of both generations: backbones, heads and their checkpoints."""

from .build import from_state_dict
from .checkpoint import load_checkpoint, save_checkpoint
from .heads import DeconvHead
from .licence import LICENCES, LicenceNotice
from .model import HumanModel
from .multitask import MultiTaskModel, load_multitask, save_multitask
from .multitask_config import MultiTaskConfig
from .pyramid import PyramidConfig, PyramidTransformer
from .rope_vit import RopeVisionTransformer
from .shuffle_heads import Pointmap, PointmapHead, ShuffleHead
from .sizes import BACKBONES, BACKBONES_V2, RopeViTConfig, ViTConfig
from .stored import CheckpointError, read_state_dict
from .tasks import TASKS, canonical_task
from .vit import VisionTransformer, resize_position_embedding

__all__ = [
    "BACKBONES",
    "BACKBONES_V2",
    "LICENCES",
    "TASKS",
    "CheckpointError",
    "DeconvHead",
    "HumanModel",
    "LicenceNotice",
    "MultiTaskConfig",
    "MultiTaskModel",
    "Pointmap",
    "PointmapHead",
    "PyramidConfig",
    "PyramidTransformer",
    "RopeViTConfig",
    "RopeVisionTransformer",
    "ShuffleHead",
    "ViTConfig",
    "VisionTransformer",
    "canonical_task",
    "from_state_dict",
    "load_checkpoint",
    "load_multitask",
    "read_state_dict",
    "resize_position_embedding",
    "save_checkpoint",
    "save_multitask",
]
