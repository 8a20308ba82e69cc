"""Raw frames of a point source: which can be used, and what light is not the source's."""

from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from ..imaging.capture_checks import CaptureError, check_capture
from .errors import CalibrationError
from .folder import FrameFormat
from .spread import darkest_corner

__all__ = ["background_light", "usable_frames"]

_LIT = 0.1  # of full light: what counts as lit when saturated pixels are counted


def usable_frames(
    captures: Mapping[str, Tensor], frame: FrameFormat
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Level the captures that pass their checks; name the others."""
    if not captures:
        raise CalibrationError("captures must hold at least one frame, got none")
    shape, _ = Counter(tuple(raw.shape) for raw in captures.values()).most_common(1)[0]
    if len(shape) not in (2, 3) or min(shape[-2:]) < 40:
        raise CalibrationError(f"captures must be frames of 40x40 pixels or more, got {shape}")
    usable, problems = {}, {}
    for key, raw in captures.items():
        try:
            check_capture(
                raw, white_level=frame.white_level, expected_shape=shape, saturated_limit=1.0
            )
            planes = _levelled(raw, frame)
            _check_saturation(planes, frame.saturated_limit)
        except CaptureError as error:
            problems[key] = f"{key}: {error}"
        else:
            usable[key] = planes
    if not usable:
        raise CalibrationError(f"no capture can be used; {next(iter(problems.values()))}")
    return usable, problems


def _levelled(raw: Tensor, frame: FrameFormat) -> Tensor:
    """Levelled planes (planes, height, width) of a frame, which may have channels of its own."""
    raw = raw.cpu()
    if raw.ndim == 2:
        return frame.planes(raw)
    if frame.bayer:
        raise CalibrationError(
            f"a frame with a {frame.bayer} mosaic must have shape (height, width), "
            f"got {tuple(raw.shape)}"
        )
    return frame.planes(raw)[:, 0]


def _check_saturation(planes: Tensor, limit: float) -> None:
    """Refuse a frame that clips the PSF; a saturated pixel on its own is a hot one."""
    full = (planes >= 1).float()
    around = conv2d(full[:, None], full.new_ones(1, 1, 3, 3), padding=1)[:, 0] - full
    clipped = int(((full > 0) & (around > 0)).sum())
    lit = int((planes > _LIT).sum())
    if clipped > limit * lit:
        raise CaptureError(
            f"saturated in {clipped / lit:.2%} of its lit pixels, over {limit:.2%}; "
            "shorten the exposure"
        )


def background_light(
    frames: Mapping[str, Tensor] | None, planes: Mapping[str, Tensor], frame: FrameFormat
) -> tuple[Tensor, list[str]]:
    """Light to take off, (planes, height or 1, width or 1), and the frames that it comes from."""
    if frames:
        shape = next(iter(planes.values())).shape
        levelled = {key: _levelled(raw, frame) for key, raw in frames.items()}
        for key, value in levelled.items():
            if value.shape != shape:
                raise CalibrationError(
                    f"{key}: background has planes of {tuple(value.shape)}, "
                    f"the captures of {tuple(shape)}"
                )
            if not bool(torch.isfinite(value).all()):
                raise CalibrationError(f"{key}: background must be finite, got NaN or infinity")
        return torch.stack(list(levelled.values())).mean(0), list(levelled)
    mean = torch.stack(list(planes.values())).mean(0)
    return darkest_corner(mean).median(-1).values[:, None, None], []
