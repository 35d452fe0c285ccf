"""The course of a back-fill as a picture: an SVG with its own colours, which any page or viewer shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import floor, log10

from geodl_core.aws.cost.schedule import Course, sample

WIDTH, PANEL, GAP = 760, 210, 58
LEFT, RIGHT, TOP = 84, 24, 86
HEIGHT = TOP + 2 * PANEL + GAP + 52
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
"""That people who see few colours tell apart (Okabe and Ito 2008)."""
UNITS = ((172_800, 86_400, "days"), (7_200, 3_600, "hours"), (180, 60, "minutes"), (0, 1, "seconds"))
"""From how many seconds on a time is told in what."""
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.title{font-weight:600;font-size:15px}.soft{fill:#555}"
    ".grid{stroke:#ddd}.axis{stroke:#444;fill:none}.line{fill:none;stroke-width:1.8}.limit{stroke:#444;"
    "stroke-dasharray:5 4}.halo{paint-order:stroke;stroke:#fff;stroke-width:4}.dashed{stroke-dasharray:7 5}"
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a panel."""

    name: str
    colour: str
    values: Sequence[float]
    is_dashed: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """A plot of counts over time."""

    label: str
    """Of its upright axis."""
    top: float
    lines: Sequence[Line]
    limit: tuple[float, str] | None = None
    """A level that lines do not pass, and what it is called."""

    @property
    def most(self) -> float:
        """The end of the upright axis."""
        highest = max(max(line.values) for line in self.lines)
        return nice_end(max(highest, self.limit[0] if self.limit else 0))


def schedule_svg(course: Course, title: str, subtitle: str) -> str:
    """Return the picture of a course.

    Args:
        course: of a back-fill.
        title: first line over it.
        subtitle: second line.
    """
    series = sample(course)
    _, unit_s, unit = next(entry for entry in UNITS if course.seconds >= entry[0])
    slots, scenes = course.asked.slots, course.asked.scenes
    jobs = scenes * course.asked.shards
    progress = (
        Line(f"of {jobs:,} jobs submitted", BLUE, _percent(series.submitted, jobs)),
        Line(f"of {scenes:,} scenes finished", GREEN, _percent(series.finished, scenes), is_dashed=True),
    )
    machines = (Line("jobs waiting", ORANGE, series.waiting), Line("jobs running", PURPLE, series.running))
    panels = (
        Panel("so far, %", TOP, progress),
        Panel("at a time (mean)", TOP + PANEL + GAP, machines, (slots, f"room for {slots:,} jobs")),
    )
    ends = course.seconds / unit_s
    xs = [at / course.seconds * (WIDTH - LEFT - RIGHT) + LEFT for at in series.until_s]
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text class="title" x="{LEFT}" y="24">{escape(title)}</text>',
        f'<text class="soft" x="{LEFT}" y="44">{escape(subtitle)}</text>',
    ]
    for panel in panels:
        parts += [*_axes(panel, ends), *_legend(panel), *(_line(panel, line, xs) for line in panel.lines)]
        parts += _limit(panel)
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">time since the order, {unit}</text>')
    return "\n".join([*parts, "</svg>", ""])


def nice_end(value: float) -> float:
    """Return the next of 1, 2, 2.5, 4, 5, 8 and 10 times a power of ten."""
    power = 10.0 ** floor(log10(value))
    return next(power * factor for factor in (1, 2, 2.5, 4, 5, 8, 10) if power * factor >= value)


def _y(panel: Panel, value: float) -> float:
    return panel.top + PANEL * (1 - value / panel.most)


def _axes(panel: Panel, ends: float) -> list[str]:
    parts = []
    bottom = panel.top + PANEL
    for step in range(5):
        value = panel.most * step / 4
        y = _y(panel, value)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        if value == round(value):
            parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:,.0f}</text>')
    apart = nice_end(ends / 6)
    for number in range(int(ends / apart + 1e-9) + 1):
        x = LEFT + number * apart / ends * (WIDTH - LEFT - RIGHT)
        parts.append(f'<path class="grid" d="M{x:.1f} {panel.top}V{bottom}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{number * apart:g}</text>')
    parts.append(f'<path class="axis" d="M{LEFT} {panel.top}V{bottom}H{WIDTH - RIGHT}"/>')
    turned = f'transform="translate(18 {panel.top + PANEL / 2}) rotate(-90)"'
    parts.append(f'<text {turned} text-anchor="middle">{escape(panel.label)}</text>')
    return parts


def _limit(panel: Panel) -> list[str]:
    if panel.limit is None:
        return []
    level, words = panel.limit
    y, x = _y(panel, level), WIDTH - RIGHT
    return [
        f'<path class="limit" d="M{LEFT} {y:.1f}H{x}"/>',
        f'<text class="soft halo" x="{x}" y="{y - 6:.1f}" text-anchor="end">{escape(words)}</text>',
    ]


def _percent(counts: Sequence[float], most: int) -> list[float]:
    return [100 * count / most for count in counts]


def _legend(panel: Panel) -> list[str]:
    parts = []
    for number, line in enumerate(panel.lines):
        x, y = LEFT + 12 + number * 240, panel.top - 10
        parts.append(f'<path class="{_style(line)}" stroke="{line.colour}" d="M{x} {y}h26"/>')
        parts.append(f'<text x="{x + 32}" y="{y + 4}">{escape(line.name)}</text>')
    return parts


def _style(line: Line) -> str:
    return "line dashed" if line.is_dashed else "line"


def _line(panel: Panel, line: Line, xs: Sequence[float]) -> str:
    """Return a line; points between two of the same height are left out."""
    ys = [f"{_y(panel, value):.1f}" for value in line.values]
    last = len(ys) - 1
    kept = [at for at in range(len(ys)) if at in (0, last) or not ys[at - 1] == ys[at] == ys[at + 1]]
    path = "L".join(f"{xs[at]:.1f} {ys[at]}" for at in kept)
    return f'<path class="{_style(line)}" stroke="{line.colour}" d="M{path}"><title>{escape(line.name)}</title></path>'
