"""What is raised where a camera cannot be calibrated or used."""

__all__ = ["CalibrationError"]


class CalibrationError(ValueError):
    """A camera record or a calibration set cannot be used; the message says why."""
