"""What a catalog is asked, and the page that it answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from geodl_core.errors import QueryError

BBox = tuple[float, float, float, float]
MAX_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class ItemQuery:
    """A search over Items, in the terms of STAC API item search. Empty fields do not restrict.

    Raises:
        QueryError: `limit` out of range, a bounding box endless or upside down, or both `bbox` and `intersects`.
    """

    collections: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    bbox: BBox | None = None
    """West, south, east, north in degrees (OGC:CRS84); west > east crosses the antimeridian."""
    intersects: Mapping[str, Any] | None = None
    """A GeoJSON geometry in OGC:CRS84."""
    datetime: str | None = None
    """An RFC 3339 instant or an interval `start/end`, `..` for an open end."""
    filter: str | Mapping[str, Any] | None = None
    """CQL2, as text or as JSON."""
    sortby: tuple[tuple[str, bool], ...] = ()
    """(property, ascending) in order of weight; newest `datetime` first where empty."""
    limit: int = 100
    """Items a page."""
    token: str | None = None
    """`ItemPage.next_token` of the page before."""

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MAX_LIMIT:
            raise QueryError(f"limit: expected 1 to {MAX_LIMIT}, found {self.limit}")
        if self.bbox is not None and not all(map(isfinite, self.bbox)):
            raise QueryError(f"bbox: expected four numbers of degrees, found {self.bbox}")
        if self.bbox is not None and self.bbox[1] > self.bbox[3]:
            raise QueryError(f"bbox: south {self.bbox[1]} lies above north {self.bbox[3]}")
        if self.bbox is not None and self.intersects is not None:
            raise QueryError("bbox and intersects exclude one another", hint="give one of them")


@dataclass(frozen=True, slots=True)
class ItemPage:
    """One page of a search."""

    items: tuple[dict[str, Any], ...]
    next_token: str | None
    """Continues the search; None on the last page."""
