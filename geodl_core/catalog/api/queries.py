"""Searches as they arrive over HTTP into the terms of a catalog."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import attr
from pydantic import BaseModel, Field
from stac_fastapi.extensions.filter.request import FilterExtensionGetRequest

from geodl_core.catalog.cql2_parse import parse_cql2
from geodl_core.domain.query import ItemQuery
from geodl_core.errors import QueryError

CRS84 = ("http://www.opengis.net/def/crs/OGC/1.3/CRS84", "https://www.opengis.net/def/crs/OGC/1.3/CRS84")
DEFAULT_LIMIT = 10
_COMPARISONS = {"eq": "=", "neq": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">=", "in": "in"}
_PATTERNS = {"startsWith": "{}%", "endsWith": "%{}", "contains": "%{}%"}


class FilterBody(BaseModel):
    """`filter` of a POST search: CQL2-JSON, and CQL2 text too."""

    filter_expr: dict[str, Any] | str | None = Field(None, alias="filter", description="A filter in CQL2.")
    filter_crs: str | None = Field(None, alias="filter-crs", description="OGC:CRS84 is understood alone.")
    filter_lang: Literal["cql2-json", "cql2-text"] | None = Field(None, alias="filter-lang")


@attr.s
class FilterParameters(FilterExtensionGetRequest):
    """`filter` of a GET search."""


@dataclass(frozen=True, slots=True)
class Search:
    """A search, and how its Items are to be shown."""

    query: ItemQuery
    words: tuple[str, ...]
    fields: tuple[Sequence[str], Sequence[str]] | None
    """What to include and to exclude; None shows everything."""

    @property
    def is_cheap_to_count(self) -> bool:
        """Whether the number of matches costs next to nothing: where an index alone has it."""
        query = self.query
        return not (self.words or query.ids or query.bbox or query.intersects or query.datetime or query.filter)


def read_search(asked: Mapping[str, Any], fields: tuple[Sequence[str], Sequence[str]] | None = None) -> Search:
    """Return the search of the parameters that STAC API and its extensions name.

    Args:
        asked: parameter → value, parsed; what is missing or None does not restrict.
        fields: what to show.

    Raises:
        QueryError: a parameter cannot be understood.
    """
    query = ItemQuery(
        collections=tuple(asked.get("collections") or ()),
        ids=tuple(asked.get("ids") or ()),
        bbox=_bbox(asked.get("bbox")),
        intersects=_geometry(asked.get("intersects")),
        datetime=asked.get("datetime"),
        filter=_filter(asked),
        sortby=tuple(map(_sort_term, asked.get("sortby") or ())),
        limit=asked.get("limit") or DEFAULT_LIMIT,
        token=asked.get("token") or None,
    )
    return Search(query, tuple(word for word in asked.get("q") or () if word.strip()), fields)


def _bbox(bbox: Sequence[float] | None) -> tuple[float, float, float, float] | None:
    if bbox is None:
        return None
    west, south, east, north = (*bbox[:2], *bbox[3:5]) if len(bbox) == 6 else bbox
    return float(west), float(south), float(east), float(north)


def _geometry(geometry: Any) -> Mapping[str, Any] | None:
    if geometry is None:
        return None
    if isinstance(geometry, BaseModel):
        return geometry.model_dump(mode="json", exclude_none=True)
    found = _json("intersects", geometry)
    if not isinstance(found, dict):
        raise QueryError(f"intersects: expected a GeoJSON geometry, found {str(found)[:40]}")
    return found


def _filter(asked: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if asked.get("filter_crs") not in (None, *CRS84):
        raise QueryError(f"filter-crs: expected {CRS84[0]}, found {str(asked['filter_crs'])[:80]}")
    terms = []
    if asked.get("filter_expr"):
        terms.append(parse_cql2(asked["filter_expr"]))
    query = asked.get("query")
    if query:
        terms += query_terms(_json("query", query) if isinstance(query, str) else query)
    if not terms:
        return None
    found = terms[0] if len(terms) == 1 else {"op": "and", "args": terms}
    if not isinstance(found, Mapping):
        return {"op": "and", "args": [found]}
    return found


def query_terms(query: Any) -> list[dict[str, Any]]:
    """Return the conditions of the query extension as CQL2-JSON.

    Raises:
        QueryError: an operator is unknown, or a value does not fit it.
    """
    if not isinstance(query, Mapping) or not all(isinstance(tests, Mapping) for tests in query.values()):
        raise QueryError('query: expected {"property": {"operator": value}}, found something else')
    return [_term(name, op, value) for name, tests in query.items() for op, value in tests.items()]


def _term(name: str, op: str, value: Any) -> dict[str, Any]:
    prop = {"property": name}
    if op in _COMPARISONS:
        if isinstance(value, list) != (op == "in"):
            raise QueryError(f"query: {name[:40]}: {op} does not go with {str(value)[:40]}")
        return {"op": _COMPARISONS[op], "args": [prop, value]}
    if op in _PATTERNS:
        if not isinstance(value, str):
            raise QueryError(f"query: {name[:40]}: {op} expects a text, found {str(value)[:40]}")
        escaped = value.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
        return {"op": "like", "args": [prop, _PATTERNS[op].format(escaped)]}
    known = ", ".join((*_COMPARISONS, *_PATTERNS))
    raise QueryError(f"query: expected one of {known}, found {op[:40]!r}")


def _sort_term(term: Any) -> tuple[str, bool]:
    if not isinstance(term, str):
        return str(term.field), str(term.direction.value) == "asc"
    # A plus sign of a query string arrives as a space.
    name = term.strip().removeprefix("+")
    return name.removeprefix("-"), not name.startswith("-")


def _json(name: str, text: Any) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError) as err:
        raise QueryError(f"{name}: expected JSON, found {str(text)[:40]}") from err
