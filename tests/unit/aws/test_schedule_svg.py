"""The picture of a back-fill: whole, named, and of the numbers that it is drawn from."""

import re
from xml.etree import ElementTree as ET

import pytest

from geodl_core.aws.cost.schedule import Backfill, sample, simulate
from geodl_core.aws.cost.schedule_svg import LEFT, PANEL, RIGHT, TOP, WIDTH, nice_end, schedule_svg

SVG = "{http://www.w3.org/2000/svg}"


def drawn(**more):
    course = simulate(Backfill(**{"scenes": 200, "shards": 3, "job_s": 60.0, "max_vcpus": 64, **more}))
    return course, ET.fromstring(schedule_svg(course, "A <title> & more", "how"))


def test_it_names_what_it_shows():
    """Title, axes with their units, a legend for each line, and the level of the machines."""
    _, root = drawn()
    texts = [element.text for element in root.iter(f"{SVG}text")]
    for wanted in (
        "A <title> & more",
        "how",
        "time since the order, minutes",
        "so far, %",
        "at a time (mean)",
        "of 600 jobs submitted",
        "of 200 scenes finished",
        "jobs waiting",
        "jobs running",
        "room for 16 jobs",
    ):
        assert wanted in texts


def test_lines_lie_where_the_numbers_are():
    """The line of finished scenes goes through the series, from the left edge to the right upper corner."""
    course, root = drawn()
    series = sample(course)
    (path,) = [
        element.get("d")
        for element in root.iter(f"{SVG}path")
        if (title := element.find(f"{SVG}title")) is not None and title.text == "of 200 scenes finished"
    ]
    points = [tuple(map(float, pair.split())) for pair in re.findall(r"[\d.]+ [\d.]+", path)]
    assert points[-1] == pytest.approx((WIDTH - RIGHT, TOP), abs=0.1)
    known = dict(zip(series.until_s, series.finished, strict=True))
    for x, y in points:
        at = (x - LEFT) / (WIDTH - LEFT - RIGHT) * course.seconds
        nearest = min(known, key=lambda one: abs(one - at))
        assert y == pytest.approx(TOP + PANEL * (1 - known[nearest] / 200), abs=0.1)


@pytest.mark.parametrize(
    ("more", "unit"),
    [
        ({"scenes": 1, "job_s": 20.0, "boot_s": 0.0}, "seconds"),
        ({"scenes": 2_000}, "hours"),
        ({"scenes": 5_000, "job_s": 600.0}, "days"),
    ],
)
def test_time_is_told_in_what_fits(more, unit):
    """Seconds of a scene, days of a continent."""
    _, root = drawn(**more)
    assert any(element.text == f"time since the order, {unit}" for element in root.iter(f"{SVG}text"))


@pytest.mark.parametrize(("value", "end"), [(0.39, 0.4), (1, 1), (1.01, 2), (7, 8), (16, 20), (64, 80), (1_345, 2_000)])
def test_axes_end_at_round_numbers(value, end):
    """Never below what is drawn."""
    assert nice_end(value) == pytest.approx(end)
