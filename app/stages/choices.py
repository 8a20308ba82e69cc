"""What a visitor can choose, and the limits of it; importing this loads nothing heavy."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ... import data

__all__ = [
    "CAMERAS",
    "EXAMPLES",
    "MAX_BATCH",
    "MAX_PIXELS",
    "MAX_UPLOAD_MB",
    "MAX_ZIP_FILES",
    "MAX_ZIP_MB",
    "METHODS",
    "PANELS",
    "PENALTIES",
    "STAGES",
    "DemoSettings",
    "Example",
    "missing_stages",
    "weights",
]

MAX_UPLOAD_MB = 64
MAX_PIXELS = 40_000_000  # of a picture or a raw frame
MAX_BATCH = 20  # captures
MAX_ZIP_FILES = 5000
MAX_ZIP_MB = 600  # unpacked

METHODS = ("auto", "tikhonov", "cg", "fista", "admm")
PENALTIES = ("gcv", "sure", "discrepancy")
#: In the order in which they are done.
STAGES = {"trust": "Measured or invented", "refine": "Refine", "people": "People"}
PANELS = {
    "keypoints": "Skeleton",
    "parts": "Parts",
    "depth": "Depth",
    "normals": "Normals",
    "support": "Measured",
}


@dataclass(frozen=True)
class Example:
    """A bundled real capture.

    Attributes
    ----------
    label : str
        For people.
    capture, camera : str
        Name of the bundled file, and of the camera in :data:`CAMERAS`.
    """

    label: str
    capture: str
    camera: str


CAMERAS = {
    "flatcam": ("FlatCam of the examples", "flatcam/camera.safetensors"),
    "diffusercam": ("DiffuserCam of the examples", "diffusercam/camera.safetensors"),
}
EXAMPLES = {
    "fc_6": Example("A box with teeth on it (FlatCam)", "flatcam/fc_6.png", "flatcam"),
    "fc_7": Example("A bag of snacks (FlatCam)", "flatcam/fc_7.png", "flatcam"),
    "fc_8": Example("A toy dog (FlatCam)", "flatcam/fc_8.png", "flatcam"),
    "hand": Example("A hand (DiffuserCam)", "diffusercam/hand.tif", "diffusercam"),
}

_WEIGHTS = {"refine": "refiner/refiner.json", "people": "human/model.safetensors"}
_ADVICE = {
    "refine": "No refiner is installed here: `barelens train refiner` makes one for data/refiner.",
    "people": "No model for people is installed here: `barelens train human` makes one "
    "for data/human.",
}


def weights(stage: str) -> Path:
    """Find the shipped weights of the stage "refine" or "people".

    Raises
    ------
    FileNotFoundError
        There are none; the message says what to do.
    """
    try:
        return data.path(_WEIGHTS[stage])
    except FileNotFoundError:
        raise FileNotFoundError(_ADVICE[stage]) from None


def missing_stages() -> dict[str, str]:
    """Tell which stages cannot be done here, and why."""
    missing = {}
    for stage in _WEIGHTS:
        try:
            weights(stage)
        except FileNotFoundError as error:
            missing[stage] = str(error)
    return missing


@dataclass(frozen=True)
class DemoSettings:
    """How a visitor wants a capture treated.

    Attributes
    ----------
    method, penalty, iterations
        As in :class:`~barelens.app.pipeline.LinearSettings`; at most 300 iterations.
    seed : int
        Of the refiner's noise and the virtual camera's.
    imagination : float
        The refiner's, in [0, 1].

    Raises
    ------
    ValueError
        A setting is out of range.
    """

    method: str = "auto"
    penalty: str = "gcv"
    iterations: int = 100
    seed: int = 0
    imagination: float = 0.5

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {self.method!r}")
        if self.penalty not in PENALTIES:
            try:
                usable = float(self.penalty) > 0
            except ValueError:
                usable = False
            if not usable:
                wanted = ", ".join(PENALTIES)
                raise ValueError(
                    f"penalty must be {wanted} or a positive number, got {self.penalty!r}"
                )
        if not 1 <= self.iterations <= 300:
            raise ValueError(f"iterations must be from 1 to 300, got {self.iterations}")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed must be from 0 to {2**31 - 1}, got {self.seed}")
        if not 0 <= self.imagination <= 1:
            raise ValueError(f"imagination must be in [0, 1], got {self.imagination}")

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> "DemoSettings":
        """Read settings from the query of a link; what is missing or wrong stays as it is."""
        settings = cls()
        for entry in fields(cls):
            if entry.name in query:
                try:
                    value = type(getattr(settings, entry.name))(query[entry.name])
                    settings = cls(**{**asdict(settings), entry.name: value})
                except ValueError:
                    continue
        return settings

    def record(self) -> dict[str, Any]:
        """Give the settings as JSON data."""
        return asdict(self)
