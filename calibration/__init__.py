"""Calibration: what a camera does to light, measured and kept in one record."""

from .camera import CalibrationError, Camera, Crop

__all__ = ["CalibrationError", "Camera", "Crop"]
