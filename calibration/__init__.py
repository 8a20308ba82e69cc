"""Calibration: what a camera does to light, measured and kept in one record."""

from .blind import BlindReport, recalibrate
from .camera import Camera, Crop
from .capture import VirtualBench, capture_patterns
from .drift import DriftReport, check_camera
from .errors import CalibrationError
from .folder import CaptureFolder, FrameFormat
from .importers import import_flatcam, import_psf
from .motion import Drift, correct_camera
from .patterns import PatternSet, write_patterns
from .point_source import PointSourceReport, fit_psf
from .selfcal import SelfcalReport, self_calibrate
from .session import FitReport, fit_camera

__all__ = [
    "BlindReport",
    "CalibrationError",
    "Camera",
    "CaptureFolder",
    "Crop",
    "Drift",
    "DriftReport",
    "FitReport",
    "FrameFormat",
    "PatternSet",
    "PointSourceReport",
    "SelfcalReport",
    "VirtualBench",
    "capture_patterns",
    "check_camera",
    "correct_camera",
    "fit_camera",
    "fit_psf",
    "import_flatcam",
    "import_psf",
    "recalibrate",
    "self_calibrate",
    "write_patterns",
]
