"""Searching Collections. There are few of them, so they are looked through one by one, the same for any backend."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import shapely

from geodl_core.catalog.footprint import Box, bbox_geometry
from geodl_core.catalog.sqlite_functions import word_pattern
from geodl_core.catalog.times import instant_us, interval_us
from geodl_core.domain.query import MAX_LIMIT
from geodl_core.errors import QueryError

DEFAULT_LIMIT = 100


@dataclass(frozen=True, slots=True)
class CollectionQuery:
    """A search over Collections, in the terms of the STAC API's collection search. Empty fields do not restrict."""

    bbox: Box | None = None
    """West, south, east, north in degrees; west > east crosses the antimeridian."""
    datetime: str | None = None
    """An RFC 3339 instant or an interval."""
    words: tuple[str, ...] = ()
    """Any of them is in title, description or keywords."""
    sortby: tuple[tuple[str, bool], ...] = ()
    """(field, ascending); by id where empty."""
    limit: int = DEFAULT_LIMIT
    start: int = 0
    """How many Collections lie on the pages before."""

    @classmethod
    def read(cls, asked: Mapping[str, Any]) -> Self:
        """Return the query of parameters by their names in the API.

        Raises:
            QueryError: one of them cannot be understood.
        """
        bbox, token = asked.get("bbox"), asked.get("token") or "0"
        if not (token.isascii() and token.isdigit() and len(token) < 10):
            raise QueryError("token: expected one that a search gave, found another text")
        plane = (*bbox[:2], *bbox[3:5]) if bbox and len(bbox) == 6 else bbox
        if plane and not (plane[1] <= plane[3] and all(abs(one) <= 360 for one in plane)):
            raise QueryError(f"bbox: expected west, south, east, north in degrees, found {list(plane)}")
        terms = [term.strip().removeprefix("+") for term in asked.get("sortby") or ()]
        return cls(
            bbox=plane and tuple(plane),
            datetime=asked.get("datetime"),
            words=tuple(word for word in asked.get("q") or () if word.strip()),
            sortby=tuple((term.removeprefix("-"), not term.startswith("-")) for term in terms if term),
            limit=min(asked.get("limit") or DEFAULT_LIMIT, MAX_LIMIT),
            start=int(token),
        )


@dataclass(frozen=True, slots=True)
class FoundCollections:
    """One page of a search over Collections."""

    collections: tuple[dict[str, Any], ...]
    matched: int
    """On all pages."""
    next_token: str | None
    prev_token: str | None


def search_collections(collections: Iterable[dict[str, Any]], query: CollectionQuery) -> FoundCollections:
    """Return a page of the Collections that match.

    Raises:
        QueryError: the query's time cannot be read.
    """
    tests = [
        (_has_words, query.words and word_pattern(query.words)),
        (_is_within, query.bbox and bbox_geometry(query.bbox)),
        (_is_during, query.datetime and interval_us(query.datetime)),
    ]
    found = [one for one in collections if all(test(one, wanted) for test, wanted in tests if wanted)]
    found.sort(key=lambda one: str(one.get("id")))
    for name, ascending in reversed(query.sortby):
        found = _sorted(found, name, ascending)
    end = query.start + query.limit
    return FoundCollections(
        tuple(found[query.start : end]),
        len(found),
        next_token=str(end) if end < len(found) else None,
        prev_token=str(max(query.start - query.limit, 0)) if query.start else None,
    )


def _has_words(collection: Mapping[str, Any], pattern: Any) -> bool:
    keywords = collection.get("keywords")
    texts = [collection.get("title"), collection.get("description"), *(keywords if isinstance(keywords, list) else ())]
    return any(isinstance(text, str) and pattern.search(text) for text in texts)


def _is_within(collection: Mapping[str, Any], area: Any) -> bool:
    """Whether any part of the extent touches an area; the first box is that of all parts where there are more."""
    boxes = _extent(collection, "spatial", "bbox")
    plane = [(*box[:2], *box[3:5]) if len(box) == 6 else tuple(box) for box in (boxes[1:] or boxes)]
    return any(
        shapely.intersects(bbox_geometry(box), area)
        for box in plane
        if len(box) == 4 and all(isinstance(value, (int, float)) and abs(value) <= 360 for value in box)
    )


def _is_during(collection: Mapping[str, Any], interval: Any) -> bool:
    start, end = interval
    for first, last in _extent(collection, "temporal", "interval"):
        try:
            begins, ends = (None if one is None else instant_us(one) for one in (first, last))
        except (ValueError, TypeError, OverflowError):
            continue
        if (begins is None or end is None or begins <= end) and (ends is None or start is None or ends >= start):
            return True
    return False


def _extent(collection: Mapping[str, Any], kind: str, name: str) -> list[Any]:
    part: Any = collection.get("extent")
    for step in (kind, name):
        part = part.get(step) if isinstance(part, Mapping) else None
    return [one for one in part if isinstance(one, Sequence) and len(one) >= 2] if isinstance(part, list) else []


def _sorted(collections: list[dict[str, Any]], name: str, ascending: bool) -> list[dict[str, Any]]:
    """Sort by a field, in text order; Collections that lack it come last."""

    def value(collection: Mapping[str, Any]) -> Any:
        part: Any = collection
        for step in name.split("."):
            part = part.get(step) if isinstance(part, Mapping) else None
        return part

    have = [one for one in collections if value(one) is not None]
    lack = [one for one in collections if value(one) is None]
    return sorted(have, key=lambda one: str(value(one)), reverse=not ascending) + lack
