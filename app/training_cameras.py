"""Camera records as training meets them: to simulate, or behind real captures."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import data
from ..calibration import Camera
from ..imaging import SeparableOperator
from ..imaging.solvers import SeparableFactors

if TYPE_CHECKING:
    from ..imaging.refine.training import Observation, OperatorCamera

__all__ = ["load_camera", "observer", "separable", "simulated"]

_BUNDLED = "bundled:"


def load_camera(source: str) -> Camera:
    """Load a camera record: a path, or ``bundled:NAME`` for one that ships with barelens."""
    if source.startswith(_BUNDLED):
        return Camera.load(data.path(source.removeprefix(_BUNDLED)))
    return Camera.load(source)


def simulated(camera: Camera) -> "OperatorCamera":
    """Give a camera to simulate from a record."""
    from ..imaging.refine.training import OperatorCamera

    sides = [camera.geometry.get(f"slope_{side}") for side in ("left", "right")]
    slope = sum(side or 0.0 for side in sides) / 2
    return OperatorCamera(
        separable(camera),
        slope=float(slope or 1.0),
        # An error can only be drawn where the record says how the mask's shadow moves.
        largest_error=0.4 if slope else 0.0,
    )


def observer(camera: Camera) -> Callable[[Tensor], "Observation"]:
    """Give the function that prepares and reconstructs a camera's raw frames."""
    from ..imaging.refine.training import observe

    factors = SeparableFactors.of(separable(camera))
    return lambda raw: observe(camera.prepare(raw), factors)


def separable(camera: Camera) -> SeparableOperator:
    """Give a record's operator, which must be separable, with four planes."""
    operator: Any = camera.operator(dtype=torch.float32)
    if not isinstance(operator, SeparableOperator) or camera.num_planes != 4:
        raise ValueError(f"camera {camera.name!r} is not a separable one with a Bayer sensor")
    return operator
