"""Training refiners: data simulated on the fly or captured, the loop, and distillation.

Importing this package loads neither diffusers nor accelerate nor peft.
"""

from .batches import Batch, BatchMaker
from .build import build_parts
from .cameras import (
    Observation,
    OperatorCamera,
    SimulatedCamera,
    TrainingCamera,
    draw_camera,
    observe,
)
from .distill import DistillationObjective
from .loop import Trainer, TrainingError
from .model import TrainingModel, export
from .objectives import DenoisingObjective, Objective
from .pairs import CachedPairs, Pair, PairSource, SelectedPairs, SimulatedPairs
from .pictures import PictureFolder, find_pictures
from .procedural import render_scene
from .settings import PRESETS, TrainingSettings
from .sources import CapturePairs, difuzcam_entries, folder_entries
from .subjects import DataSettings, ModelSettings
from .validation import Validation, sample

__all__ = [
    "PRESETS",
    "Batch",
    "BatchMaker",
    "CachedPairs",
    "CapturePairs",
    "DataSettings",
    "DenoisingObjective",
    "DistillationObjective",
    "ModelSettings",
    "Objective",
    "Observation",
    "OperatorCamera",
    "Pair",
    "PairSource",
    "PictureFolder",
    "SelectedPairs",
    "SimulatedCamera",
    "SimulatedPairs",
    "Trainer",
    "TrainingCamera",
    "TrainingError",
    "TrainingModel",
    "TrainingSettings",
    "Validation",
    "build_parts",
    "difuzcam_entries",
    "draw_camera",
    "export",
    "find_pictures",
    "folder_entries",
    "observe",
    "render_scene",
    "sample",
]
