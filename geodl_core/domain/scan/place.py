"""Where a scan stands, and where it goes from there: spans of time, newest first, areas, pages.

A scan makes one pass or several: by `datetime`, which every API selects by, in spans that grow while they hold few
Items; then by `created` and `updated` for Items that appeared within the window and are older, as far as the API can.
What cannot be read to its end, since pages lead in a circle or the follow-up forgets what was asked, is asked for again
in spans of half the length, down to a minute.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from geodl_core.domain.scan.links import Request, fingerprint, read_request, request_json, with_limit
from geodl_core.domain.scan.windows import DAY_S, Window
from geodl_core.errors import DataError

MOST_ITEMS, LEAST_ITEMS = 100, 10
"""Of a page. Earth Search fails at 250, by the size of its answer, and now and then at less."""
LONGEST_S, SHORTEST_S = 32 * DAY_S, 60.0
MOST_PAGES = 500
"""Of a span."""
MOST_REPEATS = 3
"""Of pages in a span."""
MOST_TROUBLES = 20
"""In a row: halving the longest span down to the shortest takes sixteen."""


@dataclass(frozen=True, slots=True)
class Course:
    """What a scan goes through."""

    window: Window
    bases: tuple[str, ...]
    """Of its passes: `datetime`, then perhaps `created`, `updated`."""
    areas: int
    """Asked for one after the other in each span."""


@dataclass(frozen=True, slots=True)
class Place:
    """The page that comes next."""

    basis: int
    until: float
    """Everything newer has been seen in this pass."""
    length_s: float
    """Of the span."""
    area: int = 0
    limit: int = MOST_ITEMS
    request: Request | None = None
    """None: the span's first page."""
    pages: int = 0
    """Seen of this span and area."""
    repeats: int = 0
    is_full: bool = False
    """The page before held as many Items as were asked for."""
    is_loose: bool = False
    """The first page held Items of other times, areas or collections already: that is how this API is."""
    troubles: int = 0
    """One after the other, over spans."""
    seen: tuple[str, ...] = ()
    """Fingerprints of this span's requests and pages."""


@dataclass(frozen=True, slots=True)
class Page:
    """What has to be known of a page."""

    asked: Request
    following: Request | None
    items: int
    foreign: int
    """Items of another time, area or collection than was asked for."""
    mark: str
    """Tells its content from other pages'."""
    trouble: str | None = None
    """Why its link cannot be followed."""


@dataclass(frozen=True, slots=True)
class Move:
    """Where a scan goes."""

    place: Place | None
    """None: it has come to its end."""
    is_repeated: bool = False
    """The page was seen before."""
    trouble: str | None = None
    """What is wrong with the API's pages, to be told."""


def first_place(course: Course) -> Place:
    """Return where a scan begins."""
    return _begin_pass(course, 0)


def span_of(course: Course, place: Place) -> Window:
    """Return the time that the next page is about."""
    return Window(max(course.window.start, place.until - place.length_s), place.until)


def after_page(course: Course, place: Place, page: Page) -> Move:
    """Return where to go after a page.

    Raises:
        DataError: what the API answers cannot be followed, in spans however short.
    """
    is_repeated = page.items > 0 and page.mark in place.seen
    seen = (*place.seen, fingerprint(page.asked), page.mark)
    now = replace(place, pages=place.pages + 1, repeats=place.repeats + is_repeated, seen=seen)
    is_foreign = 2 * page.foreign > page.items
    if place.pages == 0 and 0 < page.items == page.foreign and course.bases[place.basis] != "datetime":
        return Move(_next_pass(course, place), trouble=f"the API does not select by {course.bases[place.basis]}")
    has_wandered = is_foreign and place.pages > 0 and not place.is_loose
    is_full = page.items >= place.limit
    trouble = "follow-up pages forget what was asked for" if has_wandered else _trouble(now, page)
    # After a page that was not full, a link that leads nowhere means that there was no more.
    is_over = not (place.is_full if has_wandered else is_full)
    if page.items == 0 or (page.following is None and trouble is None) or (trouble and is_over):
        return Move(_next_area(course, replace(now, troubles=0), page.items), is_repeated, page.trouble)
    if trouble:
        return _in_halves(course, now, trouble)
    is_loose = place.is_loose or (place.pages == 0 and is_foreign)
    return Move(replace(now, request=page.following, is_loose=is_loose, is_full=is_full), is_repeated)


def with_smaller_pages(place: Place) -> Place | None:
    """Return the place asked for with half as many Items a page, None where they are as small as they may be.

    Where a link counts pages, the span is begun anew: the same number would mean another page.
    """
    if place.limit <= LEAST_ITEMS:
        return None
    limit = max(LEAST_ITEMS, place.limit // 2)
    request = None if place.request is None else with_limit(place.request, limit)
    if place.request is not None and request is None:
        return _begin_span(replace(place, limit=limit), place.area)
    return replace(place, limit=limit, request=request)


def after_refusal(course: Course, place: Place, text: str) -> Move | None:
    """Return where to go where an API will not answer a request, None where that is the end of the scan.

    Args:
        course: of the scan.
        place: of the page.
        text: what the API says.
    """
    basis = course.bases[place.basis]
    if basis != "datetime":
        return Move(_next_pass(course, place), trouble=f"the API does not select by {basis}: {text}")
    return _in_halves(course, place, f"a follow-up page is refused: {text}") if place.request is not None else None


def place_json(place: Place) -> dict[str, Any]:
    """Return a place as a document that `read_place` takes."""
    request = None if place.request is None else request_json(place.request)
    return {**asdict(replace(place, request=None)), "request": request, "seen": list(place.seen)}


def read_place(document: Mapping[str, Any]) -> Place:
    """Return a place that `place_json` wrote."""
    request = document["request"]
    given = {**document, "seen": tuple(document["seen"])}
    return Place(**{**given, "request": None if request is None else read_request(request)})


def _begin_pass(course: Course, basis: int) -> Place:
    # By datetime there are many; those that appeared late are few.
    whole = course.window.end - course.window.start
    return Place(basis, course.window.end, DAY_S if course.bases[basis] == "datetime" else whole)


def _begin_span(place: Place, area: int) -> Place:
    return Place(place.basis, place.until, place.length_s, area, place.limit, troubles=place.troubles)


def _next_area(course: Course, place: Place, items: int) -> Place | None:
    if place.area + 1 < course.areas:
        return _begin_span(place, place.area + 1)
    start = span_of(course, place).start
    if start <= course.window.start:
        return _next_pass(course, place)
    is_sparse = place.pages <= 1 and 2 * items <= place.limit
    length = min(LONGEST_S, 2 * place.length_s) if is_sparse else place.length_s
    return Place(place.basis, start, length, troubles=place.troubles)


def _next_pass(course: Course, place: Place) -> Place | None:
    return _begin_pass(course, place.basis + 1) if place.basis + 1 < len(course.bases) else None


def _trouble(now: Place, page: Page) -> str | None:
    if page.following is None:
        return page.trouble
    if fingerprint(page.following) in now.seen:
        return "pages lead in a circle"
    return "pages do not come to an end" if now.repeats >= MOST_REPEATS or now.pages >= MOST_PAGES else None


def _in_halves(course: Course, place: Place, trouble: str) -> Move:
    if place.troubles >= MOST_TROUBLES:
        if course.bases[place.basis] == "datetime":
            raise DataError(f"expected pages that can be followed to their end; {trouble}, however little is asked for")
        return Move(_next_pass(course, place), trouble=trouble)
    span = span_of(course, place)
    half, troubles = (span.end - span.start) / 2, place.troubles + 1
    if half < SHORTEST_S:
        following = _next_area(course, replace(place, troubles=troubles), place.limit)
        return Move(following, trouble=f"{trouble}: what they may hide was not seen")
    return Move(Place(place.basis, place.until, half, limit=place.limit, troubles=troubles), trouble=trouble)
