"""Line charts as SVG, for a page whose style sheet has their colours."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from geodl_core.domain.detection.matching import Floats

WIDTH, HEIGHT = 520, 360
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 14, 46
"""Margins of the plot."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a chart; gaps where a number is NaN."""

    name: str
    xs: Floats
    ys: Floats
    style: str
    """Class of the style sheet."""
    has_points: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """An upright line at a value, with a few words."""

    x: float
    words: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over one range of x; y is 0–1."""

    title: str
    x_label: str
    y_label: str
    x_range: tuple[float, float]
    lines: Sequence[Line]
    marks: Sequence[Mark] = ()
    has_f1: bool = False
    """Whether lines of equal F1 lie behind: x is recall and y precision."""


def chart_svg(chart: Chart) -> str:
    """Return a chart as an SVG element."""
    body = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(chart.title)}">',
        *_axes(chart),
        *(_equal_f1(chart) if chart.has_f1 else ()),
        *(part for mark in chart.marks for part in _mark(chart, mark)),
        *(part for line in chart.lines for part in _line(chart, line)),
        "</svg>",
    ]
    return "\n".join(body)


def ticks(low: float, high: float) -> list[float]:
    """Return about six round values of a range, 1, 2 or 5 of a power of ten apart."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low]
    power = 10.0 ** math.floor(math.log10(span / 5))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= 6)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _x(chart: Chart, value: float) -> float:
    low, high = chart.x_range
    share = (value - low) / (high - low) if high > low else 0.5
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(value: float) -> float:
    return HEIGHT - BOTTOM - value * (HEIGHT - TOP - BOTTOM)


def _axes(chart: Chart) -> list[str]:
    parts = []
    for value in ticks(0, 1):
        y = _y(value)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in ticks(*chart.x_range):
        x = _x(chart, value)
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{value:g}</text>')
    middle_x, middle_y = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>')
    for turn, label in (
        (f'x="{middle_x}" y="{HEIGHT - 8}"', chart.x_label),
        (f'transform="translate(14 {middle_y}) rotate(-90)"', chart.y_label),
    ):
        parts.append(f'<text class="label" {turn} text-anchor="middle">{escape(label)}</text>')
    return parts


def _equal_f1(chart: Chart) -> list[str]:
    parts = []
    for f1 in (0.2, 0.4, 0.6, 0.8):
        recalls = np.linspace(f1 / (2 - f1), 1, 60)
        precisions = f1 * recalls / (2 * recalls - f1)
        parts.append(f'<path class="equal" d="{_path(chart, recalls, precisions)}"/>')
        place = f'x="{_x(chart, 1) - 4:.1f}" y="{_y(f1 * 0.94 / (2 * 0.94 - f1)) - 5:.1f}"'
        parts.append(f'<text class="equal" {place} text-anchor="end">F1 {f1:g}</text>')
    return parts


def _mark(chart: Chart, mark: Mark) -> list[str]:
    x = _x(chart, mark.x)
    # On the side with more room.
    anchor, away = ("end", -6) if x > (LEFT + WIDTH - RIGHT) / 2 else ("start", 6)
    place = f'x="{x + away:.1f}" y="{HEIGHT - BOTTOM - 8}" text-anchor="{anchor}"'
    return [
        f'<path class="mark" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/>',
        f'<text class="label" {place}>{escape(mark.words)}</text>',
    ]


def _line(chart: Chart, line: Line) -> list[str]:
    known = np.isfinite(line.xs) & np.isfinite(line.ys)
    xs, ys = line.xs[known], line.ys[known]
    if not len(xs):
        return []
    title = f"<title>{escape(line.name)}</title>"
    parts = [f'<path class="line {line.style}" d="{_path(chart, xs, ys)}">{title}</path>']
    if line.has_points or len(xs) == 1:
        parts += [
            f'<circle class="dot {line.style}" cx="{_x(chart, x):.1f}" cy="{_y(y):.1f}" r="3.5">{title}</circle>'
            for x, y in zip(xs.tolist(), ys.tolist(), strict=True)
        ]
    return parts


def _path(chart: Chart, xs: Floats, ys: Floats) -> str:
    points = (f"{_x(chart, x):.1f} {_y(y):.1f}" for x, y in zip(xs.tolist(), ys.tolist(), strict=True))
    return "M" + "L".join(points)
