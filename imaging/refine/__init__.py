"""Refining a linear reconstruction with a diffusion model, tied to what was measured.

A refined image is no measurement: part of it is imagined. It is therefore always kept beside the
linear reconstruction, and both carry the residual that tells how well they explain the capture.
Importing this package loads neither diffusers nor transformers.
"""

from .annotators import annotate, load_controlnet
from .conditioning import (
    CONDITIONING_CHANNELS,
    condition,
    from_model_range,
    to_model_range,
    white_level,
)
from .consistency import RangeConsistency
from .control import CaptureControlNet
from .denoiser import Control
from .measurement import Measurement, Tether
from .parts import DEFAULT_BASE, RefinerParts
from .record import RefinerRecord
from .refiner import Refined, Refiner
from .resample import resize
from .settings import RefinerSettings
from .transform import SeparableTransform, separable_filter

__all__ = [
    "CONDITIONING_CHANNELS",
    "DEFAULT_BASE",
    "CaptureControlNet",
    "Control",
    "Measurement",
    "RangeConsistency",
    "Refined",
    "Refiner",
    "RefinerParts",
    "RefinerRecord",
    "RefinerSettings",
    "SeparableTransform",
    "Tether",
    "annotate",
    "condition",
    "from_model_range",
    "load_controlnet",
    "resize",
    "separable_filter",
    "to_model_range",
    "white_level",
]
