"""Where scans go: every moment of the window is asked for, once, in spans that fit."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.scan.links import Request, at_home, next_request, with_limit
from geodl_core.domain.scan.place import (
    Course,
    Page,
    after_page,
    first_place,
    place_json,
    read_place,
    span_of,
    with_smaller_pages,
)
from geodl_core.domain.scan.windows import DAY_S, Window, interval_text, moment_of, read_day, stamp
from geodl_core.errors import DataError, InputError

API = "https://stac.example.com/v1"
FIRST = Request("POST", f"{API}/search", {"limit": 100})


def spans(course, answer):
    """Return the spans that a scan asks for, given (items, next) of each page by its number."""
    place, asked, number = first_place(course), [], 0
    while place is not None:
        items, following = answer(number, place)
        asked.append((course.bases[place.basis], place.area, span_of(course, place)))
        page = Page(place.request or FIRST, following, items, 0, f"mark {number}")
        place = after_page(course, read_place(place_json(place)), page).place
        number += 1
    return asked


@given(st.floats(0.01, 400), st.integers(1, 2), st.lists(st.integers(0, 100), max_size=40))
def test_spans_partition_the_window(days, areas, counts):
    """Whatever the pages hold, the spans of each pass and area follow on one another, newest first, without a gap."""
    window = Window(1e9, 1e9 + days * DAY_S)
    course = Course(window, ("datetime", "created"), areas)
    asked = spans(course, lambda number, place: (counts[number] if number < len(counts) else 0, None))
    for basis in course.bases:
        for area in range(areas):
            own = [span for name, at, span in asked if (name, at) == (basis, area)]
            assert own[0].end == window.end
            assert own[-1].start == window.start
            assert all(first.start == second.end for first, second in pairwise(own))


def test_empty_years_take_few_requests():
    """Spans grow while they hold little: five years of nothing are asked for in some sixty requests."""
    asked = spans(Course(Window(0, 1826 * DAY_S), ("datetime",), 1), lambda number, place: (0, None))
    assert len(asked) < 70
    assert max(span.end - span.start for _, _, span in asked) <= 32 * DAY_S


def test_pages_that_never_end_are_given_up():
    """An API whose every page leads back to itself ends in an error after some tries, not never."""
    course = Course(Window(0, 400 * DAY_S), ("datetime",), 1)
    count = 0

    def answer(number, place):
        nonlocal count
        count += 1
        return 100, place.request or FIRST

    with pytest.raises(DataError, match="lead in a circle"):
        spans(course, answer)
    assert count < 50


def test_smaller_pages():
    """Limits are halved down to ten, in the link too; where a link counts pages its span begins anew."""
    course = Course(Window(0, DAY_S), ("datetime",), 1)
    place = replace(first_place(course), request=Request("POST", f"{API}/search", {"next": "a", "limit": 100}), pages=3)
    limits = []
    while place is not None:
        limits.append((place.limit, place.request.body["limit"]))
        last, place = place, with_smaller_pages(place)
    assert limits == [(100, 100), (50, 50), (25, 25), (12, 12), (10, 10)]
    assert last.pages == 3
    numbered = replace(last, limit=100, request=Request("GET", f"{API}/search?page=4&limit=100"))
    again = with_smaller_pages(numbered)
    assert (again.request, again.pages, again.limit) == (None, 0, 50)
    assert with_limit(Request("GET", f"{API}/search?limit=100&token=a%20b"), 50).href.endswith("?limit=50&token=a+b")
    assert with_limit(Request("POST", API, {"next": "a"}), 50).body == {"next": "a"}


@pytest.mark.parametrize(
    ("link", "method", "body"),
    [
        ({"method": "POST", "merge": False, "body": {"next": "x"}}, "POST", {"next": "x"}),
        ({"method": "POST", "merge": True, "body": {"next": "x"}}, "POST", {"limit": 100, "next": "x"}),
        ({"method": "POST", "merge": True, "body": {"limit": 5}}, "POST", {"limit": 5}),
        ({"method": "post", "body": {"next": "x"}}, "POST", {"next": "x"}),
        ({"method": "POST"}, "POST", {}),
        ({}, "GET", None),
    ],
)
def test_next_links_are_followed_exactly(link, method, body):
    """A body with `merge` false is the whole of the next request; with true it is laid over the one before."""
    page = {"links": [None, {"rel": "next"}, {"rel": "next", "href": "search", **link}]}
    assert next_request(page, FIRST, API) == Request(method, f"{API}/search", body)


@pytest.mark.parametrize(
    "href",
    [
        "https://evil.example.com/v1/search",
        "http://169.254.169.254/latest/meta-data",
        "https://stac.example.com:8443/v1",
        "https://stac.example.com@evil.example.com/",
        "https://user:pw@stac.example.com/v1",
        "file:///etc/passwd",
        "//evil.example.com/v1",
        "https://[::1",
    ],
)
def test_links_to_elsewhere_are_refused(href):
    """A link of an answer cannot send geodl to another host, port, scheme or account."""
    with pytest.raises(DataError, match="same host"):
        at_home(href, API)


def test_links_by_http_are_asked_by_https():
    """Behind a proxy services call themselves by http: the way that the user named is kept."""
    assert at_home("http://stac.example.com/v1/search?a=1#x", API) == f"{API}/search?a=1"
    assert at_home("https://stac.example.com:443/v1", API) == API


@given(st.integers(-60_000_000_000_000_000, 4_000_000_000_000_000))
def test_times_are_written_and_read(micros):
    """A time as it is sent is read as the same one, to the microsecond."""
    assert round(moment_of(stamp(micros / 1e6)) * 1e6) == pytest.approx(micros, abs=8)


def test_windows_do_not_overlap_where_they_meet():
    """STAC's intervals hold their end: a window's is a microsecond before it."""
    assert interval_text(Window(0, DAY_S)) == "1970-01-01T00:00:00Z/1970-01-01T23:59:59.999999Z"


def test_no_day_and_no_window():
    """Text that is no day, and windows that end before they start, are refused."""
    with pytest.raises(InputError, match="--from soon: expected a day"):
        read_day("soon", "--from")
    with pytest.raises(InputError, match="start before the end"):
        Window(2, 1)
