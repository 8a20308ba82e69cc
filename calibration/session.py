"""From a set of calibration captures to a camera record."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..imaging import MeanRemoval
from ..imaging.rotation import rotate
from .camera import Camera, Crop
from .errors import CalibrationError
from .fit import SideFit, combine, fit_side
from .folder import CaptureSource, FrameFormat

__all__ = ["FitReport", "fit_camera"]

_PROBED = 8  # patterns of each side that rotation and crop are estimated from


@dataclass(frozen=True, eq=False)
class FitReport:
    """How a calibration went.

    Attributes
    ----------
    left, right : SideFit
        The fits of both matrices.
    problems : dict of str to str
        Captures that could not be used.
    """

    left: SideFit
    right: SideFit
    problems: dict[str, str]

    def residuals(self) -> dict[str, Any]:
        """Give the numbers that go into the camera record."""
        return {
            side: {
                "pattern_residual": _plain(fit.residual),
                "pattern_sigma_ratio": _plain(fit.sigma_ratio),
                "held_out": fit.held_out,
                "slope": fit.structure.slope if fit.structure else None,
                "rejected": fit.rejected,
                "lost": fit.lost,
            }
            for side, fit in (("left", self.left), ("right", self.right))
        }


def _plain(values: Tensor) -> list[float | None]:
    return [None if value != value else round(value, 6) for value in values.tolist()]


class _Prefetched:
    """Planes of captures in the order in which they are asked for, read a little ahead."""

    def __init__(
        self,
        source: CaptureSource,
        side: str,
        prepare: Callable[[Tensor], Tensor],
        pool: ThreadPoolExecutor,
    ) -> None:
        self._source, self._side, self._prepare, self._pool = source, side, prepare, pool
        self._ahead: dict[tuple[int, int], Future[Tensor | None]] = {}

    def __call__(self, index: int, sign: int) -> Tensor | None:
        order = self._source.patterns.order
        for position in range(2 * index + (sign < 0), min(2 * index + 5, 2 * order)):
            key = (position // 2, -1 if position % 2 else 1)
            if key not in self._ahead:
                self._ahead[key] = self._pool.submit(self._read, *key)
        return self._ahead.pop((index, sign)).result()

    def _read(self, index: int, sign: int) -> Tensor | None:
        suffix = "plus" if sign > 0 else "minus"
        raw = self._source.read(f"{self._side}_{index:04d}_{suffix}")
        if raw is None and index == 0:
            # The first Hadamard vector is 1 everywhere: white, and black for its complement.
            raw = self._source.read("0_white" if sign > 0 else "0_black")
        return None if raw is None else self._prepare(raw)


def fit_camera(
    source: CaptureSource,
    frame: FrameFormat,
    *,
    name: str,
    rotation_deg: float | None = None,
    pixel_pitch_um: float | None = None,
    provenance: dict[str, Any] | None = None,
    progress: Callable[[], None] = lambda: None,
) -> tuple[Camera, FitReport]:
    """Fit a separable camera to its captures of Hadamard patterns.

    Captures are read twice and held one at a time, whatever their number.

    Parameters
    ----------
    source : CaptureSource
        The captures and what they show.
    frame : FrameFormat
        Levels and mosaic of the raw frames.
    name : str
        Name for the record.
    rotation_deg : float, optional
        How far to turn planes; estimated where left out.
    pixel_pitch_um : float, optional
        Distance of neighbouring pixels, for the record.
    provenance : dict, optional
        What else the record should say of its origin.
    progress : callable, optional
        Called ``4 * source.patterns.order`` times at most.

    Returns
    -------
    Camera, FitReport
        The record and how it came about.

    Raises
    ------
    CalibrationError
        Too few captures can be used, or they do not answer their patterns.
    """
    with ThreadPoolExecutor(2) as pool:
        if rotation_deg is None:
            rotation_deg = _estimate_rotation(source, frame, pool)
        crop = _estimate_crop(source, frame, rotation_deg, pool)

        def prepare(raw: Tensor) -> Tensor:
            return _cut(rotate(frame.planes(raw), rotation_deg), crop)

        left, right = (
            fit_side(
                _Prefetched(source, side, prepare, pool), source.patterns, side, progress=progress
            )
            for side in ("left", "right")
        )
    for side, fit in (("left", left), ("right", right)):
        _check_structure(side, fit)
    report = FitReport(left, right, dict(source.problems))
    phi_left, phi_right, left_std, right_std = combine(left, right)
    camera = Camera(
        name=name,
        frame_shape=source.frame_shape,
        white_level=frame.white_level,
        black_level=frame.black_level,
        bayer=frame.bayer,
        rotation_deg=rotation_deg,
        crop=crop,
        mean_removal=True,
        phi_left=phi_left.float(),
        phi_right=phi_right.float(),
        phi_left_std=left_std.float(),
        phi_right_std=right_std.float(),
        pixel_pitch_um=pixel_pitch_um,
        residuals=report.residuals(),
        provenance={"method": "rank-1 fit of Hadamard patterns", **(provenance or {})},
    )
    return camera, report


def _cut(planes: Tensor, crop: Crop) -> Tensor:
    return planes[..., crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]


def _probes(
    source: CaptureSource, frame: FrameFormat, side: str, pool: ThreadPoolExecutor
) -> list[Tensor]:
    """Differences of a few patterns of one side, with their means."""
    read = _Prefetched(source, side, frame.planes, pool)
    found: list[Tensor] = []
    for index in range(1, source.patterns.order):
        plus, minus = read(index, 1), read(index, -1)
        if plus is not None and minus is not None:
            found.append(plus - minus)
        if len(found) == _PROBED:
            break
    if not found:
        raise CalibrationError(f"no {side} pattern has both of its captures")
    return found


def _estimate_rotation(
    source: CaptureSource, frame: FrameFormat, pool: ThreadPoolExecutor
) -> float:
    """Angle that brings differences closest to rank one, as a mask square to the sensor gives.

    A small rotation shears the stripes of a pattern. The shear is undone by phases, which unlike
    interpolation leave noise as it is and so favour no angle. Means stay in: removed from sheared
    stripes they would leave a stronger trace than the pattern itself.
    """
    from scipy.optimize import minimize_scalar

    spectra = []
    for side, sign in (("left", 1.0), ("right", -1.0)):
        images = torch.stack([image.mean(0) for image in _probes(source, frame, side, pool)])
        images = images if side == "left" else images.mT
        frequency = torch.fft.rfftfreq(images.shape[-2])[:, None]
        across = torch.arange(images.shape[-1]) - images.shape[-1] / 2
        phase = 2 * torch.pi * sign * frequency * across
        spectra.append((torch.fft.rfft(images, dim=-2), phase))

    def spread(angle_deg: float) -> float:
        angle = float(torch.deg2rad(torch.tensor(angle_deg)))
        total = 0.0
        for spectrum, phase in spectra:
            sheared = spectrum * torch.polar(torch.ones_like(phase), angle * phase)
            gram = sheared @ sheared.mH
            total += float(torch.linalg.eigvalsh(gram)[:, -1].sum())
        return -total

    grid = torch.linspace(-1.5, 1.5, 31).tolist()
    best = min(grid, key=spread)
    found = minimize_scalar(
        spread, bounds=(best - 0.1, best + 0.1), method="bounded", options={"xatol": 1e-4}
    )
    return float(found.x)


def _estimate_crop(
    source: CaptureSource, frame: FrameFormat, rotation_deg: float, pool: ThreadPoolExecutor
) -> Crop:
    """Find the window in which patterns change the capture: half the typical amplitude or more."""
    energy = torch.stack(
        [
            MeanRemoval(tuple(image.shape)).forward(rotate(image, rotation_deg)).square().sum(0)
            for side in ("left", "right")
            for image in _probes(source, frame, side, pool)
        ]
    ).sum(0)
    top, height = _extent(energy.mean(1))
    left, width = _extent(energy.mean(0))
    return Crop(top, left, height, width)


def _extent(profile: Tensor) -> tuple[int, int]:
    smooth = torch.nn.functional.avg_pool1d(
        profile[None, None], 15, stride=1, padding=7, count_include_pad=False
    )[0, 0]
    inside = torch.nonzero(smooth >= 0.25 * smooth.median()).flatten()
    return int(inside[0]), int(inside[-1] - inside[0] + 1)


def _check_structure(side: str, fit: SideFit) -> None:
    """Refuse captures that do not answer their patterns, as when files were renamed.

    A coarse scene's patterns do not predict each other, but its matrix still has a structure.
    """
    power = fit.phi.square().mean()
    noise = min(float(fit.phi_std.square().mean() / power), 1.0)
    if min(fit.held_out.values()) > 0.7 and fit.departure > 0.7 and noise < 0.3:
        raise CalibrationError(
            f"the {side} captures do not answer their patterns: no shadow that moves with the "
            f"scene explains {fit.departure:.0%} of what was measured. Were files renamed or "
            "shuffled?"
        )
