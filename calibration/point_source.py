"""From captures of a point source to the record of a camera with a diffuser or a phase mask."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from .camera import Camera, Crop
from .errors import CalibrationError
from .folder import FrameFormat
from .point_frames import background_light, usable_frames
from .spread import (
    clean_hot_pixels,
    find_support,
    keep_within,
    noise_in,
    peak_to_noise,
    reaches_edge,
    second_peak,
    shifts_between,
    smoothed,
)

__all__ = ["PointSourceReport", "fit_psf"]

_MOVED_PX = 0.5
_FAINTEST = 8.0  # noise alone reaches 5 to 6 somewhere in a million pixels
_SECOND_SOURCE = 0.3


@dataclass(frozen=True, eq=False)
class PointSourceReport:
    """How captures of a point source became a PSF.

    Attributes
    ----------
    used : list of str
        Names of the captures that were averaged.
    problems : dict of str to str
        What is wrong with each of the others.
    background_dn : list of float
        What was taken off each plane, in counts over the black level, on average.
    peak_to_noise : float
        Brightest 3x3 pixels over the noise of such.
    second_peak : float
        Largest side lobe of the autocorrelation, 1 for a PSF that repeats itself exactly.
    psf_noise_std : list of float
        Noise of each plane of the PSF, in the PSF's units.
    frame_residual : dict of str to float
        Relative difference of each capture from the mean, of two captures or more.
    shift_px : dict of str to list of float
        How far each capture lies below and right of the typical one.
    hot_pixels : int
        Pixels replaced by their neighbours' median.
    support : Crop
        The part of each plane outside of which the PSF is 0.
    light_outside : float
        Share of the light that was found outside the support; noise alone leaves about 0.
    cut_off : bool
        Whether the support reaches the edge of the sensor, so that the PSF may be larger.
    """

    used: list[str]
    problems: dict[str, str]
    background_dn: list[float]
    peak_to_noise: float
    second_peak: float
    psf_noise_std: list[float]
    frame_residual: dict[str, float]
    shift_px: dict[str, list[float]]
    hot_pixels: int
    support: Crop
    light_outside: float
    cut_off: bool

    def residuals(self) -> dict[str, Any]:
        """Give the numbers that go into the camera record."""
        return asdict(self)


def fit_psf(
    captures: Mapping[str, Tensor],
    frame: FrameFormat,
    *,
    name: str,
    background: Mapping[str, Tensor] | None = None,
    denoise: bool = False,
    repeats: bool = False,
    margin: float = 0.05,
    pixel_pitch_um: float | None = None,
    provenance: dict[str, Any] | None = None,
) -> tuple[Camera, PointSourceReport]:
    """Average captures of one point source and make a camera record with its PSF.

    Without background frames the background of each plane is the median of its darkest corner.
    Hot pixels, over four times as bright as their second brightest neighbour, get their neighbours'
    median. Outside its support, with a margin, the PSF is set to 0; it keeps the size of the
    plane, so that whole captures can be reconstructed. Nothing is clipped: inside the support
    noise keeps its negative values.

    Parameters
    ----------
    captures : mapping of str to Tensor, shape (height, width) or (channels, height, width)
        Raw frames by their names.
    frame : FrameFormat
        Their levels and mosaic. Its ``saturated_limit`` is a share of lit pixels here.
    name : str
        Name for the record.
    background : mapping of str to Tensor, optional
        Raw frames with the point source off, of the same shape.
    denoise : bool, optional
        Whether to smooth by non-local means with the noise of the dark corner; each plane keeps
        its light.
    repeats : bool, optional
        Accept a PSF that resembles a shifted copy of itself, as behind a periodic mask; otherwise
        it is taken for two point sources.
    margin : float, optional
        How far the support goes on beyond the last light on each side, as a share of its size; at
        least 8 pixels.
    pixel_pitch_um : float, optional
        Distance of neighbouring pixels, for the record.
    provenance : dict, optional
        What else the record should say of its origin.

    Returns
    -------
    Camera, PointSourceReport
        The record, whose PSF has unit energy over all planes together so that colours keep their
        balance, and how it came about.

    Raises
    ------
    CalibrationError
        No capture can be used, they moved against one another, or they do not show one point
        source.
    """
    planes, problems = usable_frames(captures, frame)
    dark, dark_names = background_light(background, planes, frame)
    light = {key: value - dark for key, value in planes.items()}
    _check_brightness(*_averaged(light, frame)[:2])
    light, shifts = _leave_out_moved(light, problems)
    mean, noise, hot_pixels = _averaged(light, frame)
    strength = _check_brightness(mean, noise)
    echo = _check_one_source(mean, repeats)
    support = find_support(mean, noise, margin)
    psf = keep_within(smoothed(mean, noise) if denoise else mean, support)
    if not float(psf.sum()) > 0:
        raise CalibrationError("the background is brighter than the captures of the point source")
    energy = psf.norm()
    span = frame.white_level - frame.black_level
    report = PointSourceReport(
        used=list(light),
        problems=problems,
        background_dn=_rounded(dark.mean((-2, -1)) * span),
        peak_to_noise=round(strength, 2),
        second_peak=round(echo, 4),
        psf_noise_std=_rounded(noise / energy, 8),
        frame_residual=_residuals(light, mean),
        shift_px=shifts,
        hot_pixels=hot_pixels,
        support=support,
        light_outside=round(1 - float(keep_within(mean, support).sum() / mean.sum()), 6),
        cut_off=reaches_edge(mean, support),
    )
    first = captures[report.used[0]]
    camera = Camera(
        name=name,
        frame_shape=tuple(first.shape),
        white_level=frame.white_level,
        black_level=frame.black_level,
        bayer=frame.bayer,
        psf=(psf if first.ndim == 3 or frame.bayer else psf[0]) / energy,
        pixel_pitch_um=pixel_pitch_um,
        residuals=report.residuals(),
        provenance={
            "method": "mean of captures of a point source",
            "captures": list(light),
            "background": dark_names or "median of the darkest corner",
            "denoising": "non-local means" if denoise else "none",
            **(provenance or {}),
        },
    )
    return camera, report


def _leave_out_moved(
    light: Mapping[str, Tensor], problems: dict[str, str]
) -> tuple[dict[str, Tensor], dict[str, list[float]]]:
    """Drop captures that lie elsewhere than most; name them among the problems."""
    shifts = shifts_between([planes.sum(0) for planes in light.values()])
    away = dict(zip(light, (shifts.norm(dim=-1) > _MOVED_PX).tolist(), strict=True))
    moved = [key for key in light if away[key]]
    if 2 * len(moved) >= len(light):
        raise CalibrationError(
            f"captures moved against one another by up to {float(shifts.abs().max()):.1f} px "
            f"from where most lie: {', '.join(moved)}. Fix source and camera and take them again"
        )
    places = {
        key: [round(value, 3) for value in shift]
        for key, shift in zip(light, shifts.tolist(), strict=True)
    }
    for key in moved:
        down, right = places[key]
        problems[key] = f"{key}: lies {down:+.1f} px down and {right:+.1f} px right of the rest"
    return {key: planes for key, planes in light.items() if not away[key]}, places


def _averaged(light: Mapping[str, Tensor], frame: FrameFormat) -> tuple[Tensor, Tensor, int]:
    """Mean without hot pixels, the noise of its planes, and how many pixels were hot."""
    mean = torch.stack(list(light.values())).mean(0)
    rounding = (12 * len(light)) ** -0.5 / (frame.white_level - frame.black_level)
    noise = noise_in(mean).clamp_min(rounding)
    mean, hot_pixels = clean_hot_pixels(mean, noise)
    return mean, noise, hot_pixels


def _check_brightness(planes: Tensor, noise: Tensor) -> float:
    strength = peak_to_noise(planes, noise)
    if strength < _FAINTEST:
        raise CalibrationError(
            f"no point source in the captures: their brightest spot is {strength:.1f} times the "
            f"noise over the background, wanted {_FAINTEST:g}"
        )
    return strength


def _check_one_source(planes: Tensor, repeats: bool) -> float:
    echo, (down, right) = second_peak(planes.sum(0))
    if echo > _SECOND_SOURCE and not repeats:
        raise CalibrationError(
            f"more than one point source: the captures resemble themselves by {echo:.0%} when "
            f"moved {down} px down and {right} px right. Allow repeats if the mask is periodic"
        )
    return echo


def _residuals(light: Mapping[str, Tensor], mean: Tensor) -> dict[str, float]:
    if len(light) == 1:
        return {}
    return {
        key: round(float((planes - mean).norm() / mean.norm()), 6) for key, planes in light.items()
    }


def _rounded(values: Tensor | Sequence[float], digits: int = 4) -> list[float]:
    return [round(float(value), digits) for value in values]
