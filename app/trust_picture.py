"""The picture beside a record: what was measured, how far it may be off, what is unexplained."""

import torch
from torch import Tensor

from ..imaging.display import colour_map, side_by_side
from ..imaging.trust import draw_scale, overlay_invented
from .trust_record import TrustReport

__all__ = ["draw_error", "draw_excess", "draw_trust"]


def draw_trust(shown: Tensor, report: TrustReport) -> Tensor:
    """Draw a picture and its maps side by side.

    Parameters
    ----------
    shown : Tensor of uint8, shape (height, width, 3)
        The picture for the screen.
    report : TrustReport
        What is known of it.

    Returns
    -------
    Tensor of uint8, shape (height, width, 3)
        Two pictures in a row, with labels and scales.
    """
    sensor = report.sensor
    excess = (sensor.energy / sensor.dof).mean(0).sqrt().cpu()
    return side_by_side(
        [
            shown,
            overlay_invented(shown, report.measured_share.cpu()),
            draw_error((report.std if report.half_width is None else report.half_width).cpu()),
            draw_excess(excess, shown.shape[1]),
        ],
        [
            "linear reconstruction",
            "measured or left to a prior",
            "expected error" if report.half_width is None else "half width of intervals",
            "unexplained, on the sensor",
        ],
        columns=2,
    )


def draw_error(std: Tensor) -> Tensor:
    """Draw a map of expected errors above its scale."""
    high = float(std.max()) or 1.0
    return _with_scale(colour_map(std, low=0.0, high=high, palette="cividis"), "0", f"{high:.2g}")


def draw_excess(excess: Tensor, width: int) -> Tensor:
    """Draw windows of the sensor above their scale, enlarged to a width in whole steps."""
    drawn = colour_map(excess, low=0.5, high=1.5, palette="cividis")
    times = max(1, width // drawn.shape[1])
    drawn = drawn.repeat_interleave(times, 0).repeat_interleave(times, 1)
    return _with_scale(drawn, "half", "1.5 times the mean")


def _with_scale(drawn: Tensor, low: str, high: str) -> Tensor:
    ramp = colour_map(torch.linspace(0, 1, 256)[None], low=0, high=1, palette="cividis")
    return torch.cat([drawn, draw_scale(ramp, low, high, drawn.shape[1])])
