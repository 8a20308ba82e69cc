"""Small line plots as inline SVG, drawn for a page that sets colours and fonts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Series", "line_plot"]

_WIDTH, _HEIGHT = 480, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 22, 12, 46
_LEGEND_ROW = 19


@dataclass(frozen=True)
class Series:
    """One line or one cloud of points.

    Attributes
    ----------
    label : str
        For the legend.
    x, y : sequence of float
        Where it runs; what is not finite, or not positive on a logarithmic axis, leaves a gap.
    tone : str
        Name of a colour that the page defines, as in ``tone-red``.
    dashed, dots : bool
        How it is drawn.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    tone: str = "ink"
    dashed: bool = False
    dots: bool = False


@dataclass(frozen=True)
class _Axis:
    """Map values to positions, with ticks."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool

    def position(self, value: float) -> float:
        low, high = self._scale(self.low), self._scale(self.high)
        return self.start + (self._scale(value) - low) / (high - low) * (self.end - self.start)

    def shows(self, value: float) -> bool:
        return math.isfinite(value) and self.low <= value <= self.high

    def ticks(self) -> list[float]:
        found = _decades(self.low, self.high) if self.logarithmic else _steps(self.low, self.high)
        return [value for value in found if self.shows(value)]

    def _scale(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value


def line_plot(
    series: Sequence[Series],
    *,
    title: str,
    description: str,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    log_y: bool = False,
) -> str:
    """Draw series over common axes.

    Parameters
    ----------
    series : sequence of Series
        What to draw, at least one finite point in all.
    title, description : str
        Read out by screen readers; the description says what the plot shows.
    x_label, y_label : str
        Quantities with their units.
    log_x, log_y : bool, optional
        Logarithmic axes.

    Returns
    -------
    str
        An ``svg`` element without any outside reference.

    Raises
    ------
    ValueError
        No point can be drawn.
    """
    x_axis = _axis([v for s in series for v in s.x], _LEFT, _WIDTH - _RIGHT, log_x, "x")
    legend, rows = _legend(series)
    top = _TOP + _LEGEND_ROW * rows
    y_axis = _axis([v for s in series for v in s.y], _HEIGHT - _BOTTOM, top, log_y, "y")
    parts = [
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(f"{title}. {description}")}">',
        *_grid(x_axis, y_axis),
        f'<text class="label" x="{(_LEFT + _WIDTH - _RIGHT) / 2:.0f}" y="{_HEIGHT - 8}" '
        f'text-anchor="middle">{escape(x_label)}</text>',
        f'<text class="label" transform="translate(13 {(_HEIGHT - _BOTTOM + top) / 2:.0f}) '
        f'rotate(-90)" text-anchor="middle">{escape(y_label)}</text>',
        *(_dots(s, x_axis, y_axis) if s.dots else _line(s, x_axis, y_axis) for s in series),
        *legend,
        "</svg>",
    ]
    return "".join(parts)


def _axis(values: Sequence[float], start: float, end: float, logarithmic: bool, name: str) -> _Axis:
    usable = [v for v in values if math.isfinite(v) and (v > 0 or not logarithmic)]
    if not usable:
        raise ValueError(f"a plot needs finite values on its {name} axis, got none")
    low, high = min(usable), max(usable)
    if logarithmic:
        low, high = low / 1.05, high * 1.05
    elif low == high:
        low, high = low - 0.5, high + 0.5
    else:
        room = 0.0 if name == "x" else 0.05 * (high - low)
        low, high = low - room, high + room
    return _Axis(low, high, start, end, logarithmic)


def _steps(low: float, high: float) -> list[float]:
    """Round numbers, about five of them."""
    rough = (high - low) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step)
    return [index * step for index in range(first, math.floor(high / step) + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten, thinned where there are many, with 2 and 5 between where there are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    every = max(1, (last - first) // 6)
    return [factor * 10.0**power for power in range(first, last + 1, every) for factor in factors]


def _grid(x_axis: _Axis, y_axis: _Axis) -> list[str]:
    right, bottom, top = x_axis.end, y_axis.start, y_axis.end
    parts = [f'<path class="frame" d="M{_LEFT} {top}V{bottom}H{right}"/>']
    for value in x_axis.ticks():
        x = x_axis.position(value)
        parts.append(f'<path class="grid" d="M{x:.1f} {top}V{bottom}"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{_number(value)}</text>'
        )
    for value in y_axis.ticks():
        y = y_axis.position(value)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>')
        parts.append(
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_number(value)}</text>'
        )
    return parts


def _number(value: float) -> str:
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.6g}"
    mantissa, exponent = f"{value:.0e}".split("e")
    power = f'10<tspan dy="-4" class="power">{int(exponent)}</tspan>'
    return power if mantissa == "1" else f"{mantissa}&#215;{power}"


def _line(series: Series, x_axis: _Axis, y_axis: _Axis) -> str:
    commands, pen = [], "M"
    for x, y in zip(series.x, series.y, strict=True):
        if x_axis.shows(x) and y_axis.shows(y):
            commands.append(f"{pen}{x_axis.position(x):.1f} {y_axis.position(y):.1f}")
            pen = "L"
        else:
            pen = "M"
    dash = " dashed" if series.dashed else ""
    return f'<path class="line tone-{series.tone}{dash}" d="{"".join(commands)}"/>'


def _dots(series: Series, x_axis: _Axis, y_axis: _Axis) -> str:
    commands = [
        f"M{x_axis.position(x):.1f} {y_axis.position(y):.1f}h0"
        for x, y in zip(series.x, series.y, strict=True)
        if x_axis.shows(x) and y_axis.shows(y)
    ]
    return f'<path class="dots tone-{series.tone}" d="{"".join(commands)}"/>'


def _legend(series: Sequence[Series]) -> tuple[list[str], int]:
    """Name the series above the plot, in as many rows as they take."""
    if len(series) < 2:
        return [], 0
    parts, x, row = [], float(_LEFT), 0
    for item in series:
        width = 36 + 6.6 * len(item.label)
        if x + width > _WIDTH and x > _LEFT:
            x, row = float(_LEFT), row + 1
        y = 11 + _LEGEND_ROW * row
        dash = " dashed" if item.dashed else ""
        form = (
            f'<path class="dots tone-{item.tone}" d="M{x + 9:.1f} {y}h0"/>'
            if item.dots
            else f'<path class="line tone-{item.tone}{dash}" d="M{x:.1f} {y}h18"/>'
        )
        parts.append(f'{form}<text x="{x + 23:.1f}" y="{y + 4}">{escape(item.label)}</text>')
        x += width
    return parts, row + 1
