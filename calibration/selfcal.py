"""A camera record from a handful of ordinary captures of known scenes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..imaging import MeanRemoval, SeparableOperator, Tikhonov
from ..imaging.bayer import plane_offsets, rgb_to_planes
from ..imaging.metrics import correlation
from ..imaging.rotation import rotate
from .alternating import Evidence, ProfileFit, fit_gains, fit_profiles, profile_spread
from .camera import Camera, Crop
from .errors import CalibrationError
from .folder import FrameFormat
from .motion import Drift, move_planes
from .placing import Placement, find_placement, first_profile
from .range_test import estimate_noise_std
from .shadow import ShadowBasis

__all__ = ["SelfcalReport", "self_calibrate"]

_RIDGES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
_ROUNDS = 30
_PLACED_SIZE = 200  # samples of a plane that are enough to find slopes and turn
_BLUR_SAMPLES = 1.5  # takes from turning its power to smooth noise away, and so to look better


@dataclass(frozen=True, eq=False)
class SelfcalReport:
    """How a self-calibration went.

    Attributes
    ----------
    placement : Placement
        Slopes, flips and turn.
    ridge : float
        Pull of the profiles to zero that predicts held-out pairs best.
    held_out : dict of float to list of float
        For each ridge that was tried, the share of each pair's energy in one colour that the
        others do not predict; sensor noise is part of it.
    held_out_correlation : list of float
        Of each pair's picture with its reconstruction by the camera that the others give.
    fit : ProfileFit
        The fit to all pairs, in units of each plane's root mean square.
    """

    placement: Placement
    ridge: float
    held_out: dict[float, list[float]]
    held_out_correlation: list[float]
    fit: ProfileFit

    def residuals(self) -> dict[str, Any]:
        """Give the numbers that go into the camera record."""
        return {
            "misfit": self.fit.misfit,
            "held_out_misfit": self.held_out[self.ridge],
            "held_out_correlation": self.held_out_correlation,
        }


def self_calibrate(
    captures: Sequence[Tensor],
    references: Sequence[Tensor],
    frame: FrameFormat,
    *,
    name: str,
    crop: Crop | None = None,
    rotation_deg: float | None = None,
    pixel_pitch_um: float | None = None,
    provenance: dict[str, Any] | None = None,
    progress: Callable[[str], None] = lambda stage: None,
) -> tuple[Camera, SelfcalReport]:
    """Fit a separable camera to ordinary captures of scenes of which there are pictures.

    Both sides get one profile that moves over the sensor with a slope of its own. Slopes, flips,
    turn, profiles, and gain and offset of every picture's colours are fitted together; how
    strongly profiles are held back is what predicts held-out pairs best. No pattern is shown and
    nothing is known of the mask beforehand.

    Parameters
    ----------
    captures : sequence of Tensor, each of shape (height, width)
        At least 2 raw frames.
    references : sequence of Tensor, each of shape (3, scene_height, scene_width) or (1, ...)
        The scene of each capture in linear light, up to a gain and an offset of each colour. A
        trusted reconstruction serves as well. Their size becomes the scene's.
    frame : FrameFormat
        Levels and mosaic of the raw frames.
    name : str
        Name for the record.
    crop : Crop, optional
        Window of the turned planes; by default all that turning leaves.
    rotation_deg : float, optional
        How far to turn planes; estimated where left out.
    pixel_pitch_um : float, optional
        Distance of neighbouring pixels, for the record.
    provenance : dict, optional
        What else the record should say of its origin.
    progress : callable, optional
        Told the name of every stage.

    Returns
    -------
    Camera, SelfcalReport
        The record, in units of the pictures, and how it came about.

    Raises
    ------
    CalibrationError
        There are too few pairs, sizes differ, or captures do not show these scenes.

    References
    ----------
    Asif et al., "FlatCam: Thin, Lensless Cameras Using Coded Aperture and Computation", IEEE
    Transactions on Computational Imaging, 2017, for the separable model.
    """
    planes, scenes = _check(captures, references, frame)
    if crop is not None and _cut(planes, crop).shape[-2:] != (crop.height, crop.width):
        raise CalibrationError(f"{crop} does not fit in planes of {tuple(planes.shape[-2:])}")
    pilot = _clearest_plane(planes)
    progress("finding slopes, flips and turn")
    placement = _place(planes[:, pilot], scenes[:, pilot], crop, rotation_deg)
    crop = crop or _window(planes, placement.rotation_deg)
    evidence, size = _evidence(planes, scenes, placement.rotation_deg, crop)
    left, right = _bases(evidence, placement, frame)
    one_plane = Evidence(evidence.captures[:, [pilot]], evidence.scenes[:, [pilot]])
    bases = _bases(one_plane, placement, frame, pilot)
    start = first_profile(one_plane, placement.slope_left, bases[1])
    progress("predicting each pair from the others")
    held_out, correlations = _cross_validate(one_plane, *bases, start)
    ridge = min(held_out, key=lambda tried: sum(held_out[tried]))
    progress("fitting all pairs")
    fit = fit_profiles(
        evidence, left, right, bases[1].moved(start, right), ridge=ridge, rounds=_ROUNDS
    )
    report = SelfcalReport(placement, ridge, held_out, correlations[ridge], fit)
    # The mean gain of each colour is the camera's; what differs between pairs is the pictures'.
    gain = (fit.gains * size).mean(0)[:, None, None]
    spread = profile_spread(evidence, fit, left, right, ridge)
    camera = Camera(
        name=name,
        frame_shape=tuple(captures[0].shape),
        white_level=frame.white_level,
        black_level=frame.black_level,
        bayer=frame.bayer,
        rotation_deg=placement.rotation_deg,
        crop=crop,
        mean_removal=True,
        phi_left=(gain * fit.phi_left).float(),
        phi_right=fit.phi_right.float(),
        phi_left_std=(gain.abs() * spread[0]).float(),
        phi_right_std=spread[1].float(),
        pixel_pitch_um=pixel_pitch_um,
        geometry={
            "slope_left": placement.slope_left,
            "slope_right": placement.slope_right,
        },
        residuals=report.residuals(),
        provenance={
            "method": f"self-calibration from {len(captures)} captures with pictures",
            "ridge": ridge,
            "units": "those of the pictures",
            **(provenance or {}),
        },
    )
    return camera, report


def _check(
    captures: Sequence[Tensor], references: Sequence[Tensor], frame: FrameFormat
) -> tuple[Tensor, Tensor]:
    """Give planes (pairs, planes, height, width) and scenes of zero mean for each plane."""
    if len(captures) != len(references):
        raise CalibrationError(
            f"every capture needs its picture, got {len(captures)} captures and "
            f"{len(references)} pictures"
        )
    if len(captures) < 2:
        raise CalibrationError(
            "at least 2 pairs of a capture and a picture are needed, so that each can be "
            f"predicted from others; got {len(captures)}"
        )
    for kind, images in (("captures", captures), ("pictures", references)):
        shapes = {tuple(image.shape) for image in images}
        if len(shapes) > 1:
            raise CalibrationError(f"all {kind} must have one shape, got {sorted(shapes)}")
    picture = references[0]
    if picture.ndim != 3 or picture.shape[0] not in (1, 3):
        raise CalibrationError(
            f"pictures must have shape (3 or 1, height, width), got {tuple(picture.shape)}"
        )
    planes = torch.stack([frame.planes(raw).double() for raw in captures])
    scenes = torch.stack([reference.double() for reference in references])
    scenes = scenes.expand(-1, 3, -1, -1) if frame.bayer else scenes.mean(1, keepdim=True)
    scenes = rgb_to_planes(scenes) if frame.bayer else scenes
    scenes = scenes - scenes.mean((-2, -1), keepdim=True)
    flat = (scenes.square().sum((-3, -2, -1)) == 0).nonzero().flatten().tolist()
    if flat:
        raise CalibrationError(f"picture {flat[0] + 1} is the same everywhere: it decides nothing")
    return planes, scenes


def _clearest_plane(planes: Tensor) -> int:
    """Plane whose captures stand out of their noise most."""
    noise = torch.stack([estimate_noise_std(pair) for pair in planes])
    signal = MeanRemoval(tuple(planes.shape[-2:])).forward(planes).square().mean((-2, -1))
    return int((signal / noise.square().clamp_min(1e-30)).sum(0).argmax())


def _place(
    planes: Tensor, scenes: Tensor, crop: Crop | None, rotation_deg: float | None
) -> Placement:
    """Find slopes and turn on blurred, binned planes of one colour."""
    from scipy.ndimage import gaussian_filter

    blurred = torch.from_numpy(
        gaussian_filter(planes.numpy(), (0.0, _BLUR_SAMPLES, _BLUR_SAMPLES))
    )[:, None]
    window = crop or Crop(0, 0, *planes.shape[-2:])
    binning = max(1, min(window.height, window.width) // _PLACED_SIZE)
    binned = torch.nn.functional.avg_pool2d(scenes[:, None], binning)

    def turned(angle_deg: float) -> Evidence:
        # About the middle, so that a turn moves the shadow as little as can be.
        moved = _cut(move_planes(blurred, Drift(rotation_deg=angle_deg)), window)
        return Evidence(_normalised(torch.nn.functional.avg_pool2d(moved, binning))[0], binned)

    return find_placement(turned, rotation_deg)


def _window(planes: Tensor, rotation_deg: float) -> Crop:
    """Leave out the border that turning brings in from nowhere."""
    height, width = planes.shape[-2:]
    margin = math.ceil(abs(math.radians(rotation_deg)) * max(height, width))
    margin += 1 if margin else 0
    return Crop(margin, margin, height - 2 * margin, width - 2 * margin)


def _cut(planes: Tensor, crop: Crop) -> Tensor:
    return planes[..., crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]


def _normalised(planes: Tensor) -> tuple[Tensor, Tensor]:
    """Remove row and column means; bring every plane to a root mean square of 1, given as well."""
    planes = MeanRemoval(tuple(planes.shape[-2:])).forward(planes)
    size = planes.square().mean((-2, -1)).sqrt()
    if not bool((size > 0).all()):
        raise CalibrationError("a capture is the same everywhere: it decides nothing")
    return planes / size[..., None, None], size


def _evidence(
    planes: Tensor, scenes: Tensor, rotation_deg: float, crop: Crop
) -> tuple[Evidence, Tensor]:
    captures, size = _normalised(_cut(rotate(planes, rotation_deg), crop))
    return Evidence(captures, scenes), size


def _bases(
    evidence: Evidence, placement: Placement, frame: FrameFormat, plane: int | None = None
) -> tuple[ShadowBasis, ShadowBasis]:
    """Spline bases of both sides for all planes, or for one."""
    offsets = plane_offsets(frame.bayer) if frame.bayer else [(0, 0)]
    if plane is not None:
        offsets = [offsets[plane]]
    sensor, scene = evidence.captures.shape[-2:], evidence.scenes.shape[-2:]
    left, right = (
        ShadowBasis(sensor[side], scene[side], slope, tuple(at[side] / 2 for at in offsets))
        for side, slope in enumerate((placement.slope_left, placement.slope_right))
    )
    return left, right


def _cross_validate(
    evidence: Evidence, left: ShadowBasis, right: ShadowBasis, start: Tensor
) -> tuple[dict[float, list[float]], dict[float, list[float]]]:
    """Misfit and correlation of every pair held out, for each ridge."""
    misfits: dict[float, list[float]] = {ridge: [] for ridge in _RIDGES}
    correlations: dict[float, list[float]] = {ridge: [] for ridge in _RIDGES}
    for held in range(len(evidence)):
        others = evidence.pick([k for k in range(len(evidence)) if k != held])
        own = evidence.pick([held])
        profile = start
        for ridge in _RIDGES:
            fit = fit_profiles(others, left, right, profile, ridge=ridge, rounds=_ROUNDS)
            profile = fit.right
            misfits[ridge].append(fit_gains(own, fit.phi_left, fit.phi_right)[2])
            reconstruct = Tikhonov(SeparableOperator(fit.phi_left, fit.phi_right).centred())
            scene = reconstruct(own.captures)
            correlations[ridge].append(float(correlation(scene, own.scenes).mean()))
    return misfits, correlations
