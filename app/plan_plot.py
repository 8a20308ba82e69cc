"""Plot of a plan as SVG that needs nothing else: PSNR and resolution over exposure time."""

import math
from collections.abc import Sequence

from ..imaging.trust import Plan

__all__ = ["plot_plan"]

_WIDTH, _HEIGHT, _MARGIN = 440, 300, 60
_BLUE, _VERMILLION = "#0072b2", "#d55e00"


def plot_plan(plan: Plan) -> str:
    """Draw a plan.

    Parameters
    ----------
    plan : Plan
        Predictions for one exposure time or more.

    Returns
    -------
    str
        An SVG document with two panels; hollow marks are exposures that overfill the well.
    """
    times = [one.exposure_s for one in plan.exposures]
    full = [one.well_share > 0.7 for one in plan.exposures]
    panels = (
        ("expected PSNR of the linear reconstruction", "dB", _BLUE, "psnr_db"),
        ("resolution in the middle of the scene", "degrees", _VERMILLION, "resolution_deg"),
    )
    body = "".join(
        f'<g transform="translate({index * _WIDTH} 0)">'
        + _panel(title, unit, colour, times, [getattr(one, name) for one in plan.exposures], full)
        + "</g>"
        for index, (title, unit, colour, name) in enumerate(panels)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * _WIDTH} {_HEIGHT}" '
        f'width="{2 * _WIDTH}" height="{_HEIGHT}" font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="white"/>{body}</svg>\n'
    )


def _panel(
    title: str,
    unit: str,
    colour: str,
    times: Sequence[float],
    values: Sequence[float],
    full: Sequence[bool],
) -> str:
    known = [value for value in values if math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    slack = 0.08 * (high - low) or 0.5
    low, high = low - slack, high + slack
    first, last = math.log10(min(times)), math.log10(max(times))
    if first == last:
        first, last = first - 0.5, last + 0.5

    def across(time: float) -> float:
        share = (math.log10(time) - first) / (last - first)
        return _MARGIN + share * (_WIDTH - 1.5 * _MARGIN)

    def down(value: float) -> float:
        return _HEIGHT - _MARGIN - (value - low) / (high - low) * (_HEIGHT - 1.8 * _MARGIN)

    parts = [f'<text x="{_MARGIN}" y="24" font-size="14">{title}</text>']
    for tick in _ticks(low, high):
        y = down(tick)
        parts.append(
            f'<path d="M{_MARGIN} {y:.1f}H{_WIDTH - _MARGIN / 2}" stroke="#ddd"/>'
            f'<text x="{_MARGIN - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
        )
    parts.append(
        f'<text x="16" y="{_HEIGHT / 2}" text-anchor="middle" '
        f'transform="rotate(-90 16 {_HEIGHT / 2})">{unit}</text>'
    )
    for time in times:
        parts.append(
            f'<text x="{across(time):.1f}" y="{_HEIGHT - _MARGIN + 20}" '
            f'text-anchor="middle">{1000 * time:g}</text>'
        )
    parts.append(
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 16}" text-anchor="middle">exposure, ms</text>'
    )
    points = [
        (across(time), down(value), hollow)
        for time, value, hollow in sorted(zip(times, values, full, strict=True))
        if math.isfinite(value)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for x, y, hollow in points:
        fill = "white" if hollow else colour
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{fill}" stroke="{colour}" '
            'stroke-width="2"/>'
        )
    return "".join(parts)


def _ticks(low: float, high: float) -> list[float]:
    """Round values between two ends, four to ten of them."""
    rough = (high - low) / 5
    scale = 10 ** math.floor(math.log10(rough))
    step = next(scale * factor for factor in (1, 2, 5, 10) if scale * factor >= rough)
    return [round(k * step, 10) for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
