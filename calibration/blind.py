"""A camera brought up to date from captures of unknown scenes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from torch import Tensor

from .camera import Camera
from .drift import check_camera, whitened_residual
from .errors import CalibrationError
from .motion import Drift, correct_camera

__all__ = ["BlindReport", "recalibrate"]


@dataclass(frozen=True, eq=False)
class BlindReport:
    """How captures of unknown scenes moved a camera.

    Attributes
    ----------
    drift : Drift
        The motion that was applied: the median of what the captures tell one by one.
    before, after : list of float
        Residual of each capture over what noise leaves, with the camera as it was and with the
        motion that the other captures tell.
    kept : bool
        Whether the motion brought left-out captures closer to their noise, so that it was kept.
    """

    drift: Drift
    before: list[float]
    after: list[float]
    kept: bool


def recalibrate(
    camera: Camera,
    raws: Sequence[Tensor],
    *,
    progress: Callable[[], None] = lambda: None,
) -> tuple[Camera, BlindReport]:
    """Follow a camera's motion since its calibration, or correct its design, without pictures.

    What captures of unknown scenes tell is how the shadow lies on the sensor: shift, scale and
    turn. The profile of the mask is taken from the camera: without pictures, a blur of the mask
    cannot be told from one of the scenes.

    Parameters
    ----------
    camera : Camera
        A separable camera: an older record, or one computed from its design.
    raws : sequence of Tensor, each of shape frame_shape
        At least 2 raw captures of scenes with detail, dark beyond the calibrated field.
    progress : callable, optional
        Called once for each capture.

    Returns
    -------
    Camera, BlindReport
        The corrected record, or the very same one where the motion does not explain captures that
        it was not taken from.

    Raises
    ------
    CalibrationError
        The camera is not separable, or there are too few captures.
    """
    if len(raws) < 2:
        raise CalibrationError(
            "at least 2 captures are needed, so that what one tells can be tried on another; "
            f"got {len(raws)}"
        )
    drifts, before = [], []
    for raw in raws:
        found = check_camera(camera, raw)
        drifts.append(found.drift)
        before.append(found.whitened_residual)
        progress()
    after = []
    for k, raw in enumerate(raws):
        others = _median([drift for j, drift in enumerate(drifts) if j != k])
        after.append(whitened_residual(correct_camera(camera, others), raw))
    drift = _median(drifts)
    kept = sum(after) < sum(before)
    report = BlindReport(drift, before, after, kept)
    return (correct_camera(camera, drift) if kept else camera), report


def _median(drifts: list[Drift]) -> Drift:
    return Drift(**{name: median(vars(drift)[name] for drift in drifts) for name in vars(Drift())})
