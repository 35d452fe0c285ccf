"""Line charts."""

import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.io.vector.accuracy_svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Chart, Line, chart_svg, ticks


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_round_and_few(low, span):
    """Two to seven values within the range, evenly apart by 1, 2 or 5 of a power of ten."""
    high = low + span
    values = ticks(low, high)
    steps = np.diff(values)
    assert 2 <= len(values) <= 7
    slack = max(span / 1e6, 2 * np.spacing(max(abs(low), abs(high))))
    assert low - slack <= values[0] <= values[-1] <= high + slack
    np.testing.assert_allclose(steps, steps[0], rtol=1e-3)
    assert round(steps[0] / 10 ** np.floor(np.log10(steps[0] * 1.001)), 2) in (1, 2, 5)


@pytest.mark.parametrize("size", [0.0, float("nan"), float("inf")])
def test_a_range_of_nothing_has_one_tick(size):
    """Where all scores are one value the axis shows it."""
    assert ticks(5.0, 5.0 + size) == [5.0]


def test_lines_lie_where_their_numbers_are():
    """The ends of a diagonal are corners of the plot; numbers that are none are left out; names are escaped."""
    values = np.array([0.0, np.nan, 1.0])
    line = Line("a < b", values * 50, values, "k0")
    svg = chart_svg(Chart("t & u", "x", "y", (0, 50), [line]))
    root = ET.fromstring(svg)
    assert root.attrib["aria-label"] == "t & u"
    path = next(part for part in root.iter("path") if part.attrib["class"] == "line k0")
    assert path.find("title").text == "a < b"
    points = [tuple(map(float, pair.split())) for pair in re.split("[ML]", path.attrib["d"])[1:]]
    assert points == [(LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, TOP)]


def test_a_single_point_is_seen():
    """A line of one point, which a path does not show, is a dot."""
    chart = Chart("t", "x", "y", (0, 1), [Line("one", np.array([0.5]), np.array([0.5]), "k0")], has_f1=True)
    dots = list(ET.fromstring(chart_svg(chart)).iter("circle"))
    assert [dot.attrib["cx"] for dot in dots] == [f"{(LEFT + WIDTH - RIGHT) / 2:.1f}"]
    empty = Chart("t", "x", "y", (0, 1), [Line("none", np.zeros(0), np.zeros(0), "k0")])
    assert 'class="line' not in chart_svg(empty)
