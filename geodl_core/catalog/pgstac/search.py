"""An `ItemQuery` as SQL on `pgstac.items`: conditions, order, and the token of the next page.

pgstac's own `search` is not asked. It names the Item at which a page ends and fails once that one is deleted, puts
Items that lack a sort value first when falling, and takes a box across the antimeridian for its complement.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from geodl_core.catalog.cql2_operands import Sql, joined, sql
from geodl_core.catalog.footprint import query_geometry
from geodl_core.catalog.pgstac.filters import NEVER, cql2_condition, intersects
from geodl_core.catalog.pgstac.operands import moment, param, property_json
from geodl_core.catalog.sqlite_functions import word_pattern
from geodl_core.catalog.times import EPOCH, instant_us, interval_us
from geodl_core.domain.query import ItemQuery
from geodl_core.errors import QueryError

ITEM_COLUMNS = (
    "collection, id, content::text, private::text, "
    "CASE WHEN NOT jsonb_exists(content, 'geometry') THEN ST_AsGeoJSON(geometry, 17) END"
)
"""What `rows.read_row` makes a document of."""
TEXT_FIELDS = ("title", "description", "keywords")
"""Properties in which words are looked for."""
_BINARY = {"id": 'id COLLATE "C"', "collection": 'collection COLLATE "C"'}
_COLUMNS = {
    "id": ("text", Sql(_BINARY["id"])),
    "collection": ("text", Sql(_BINARY["collection"])),
    "datetime": ("time", Sql("datetime")),
    "properties.datetime": ("time", Sql("datetime")),
}


@dataclass(frozen=True, slots=True)
class SortKey:
    """One term of the order."""

    kind: str
    """`time`, `text`, or `json` for a property, which Items may lack; those come last, whichever the direction."""
    value: Sql
    ascending: bool

    @property
    def can_miss(self) -> bool:
        return self.kind == "json"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: beyond one row, in the order or against it."""

    values: tuple[Any, ...]
    """Times in microseconds, JSON as its text."""
    is_backwards: bool


def statement(query: Sql) -> tuple[str, tuple[Any, ...]]:
    """Return SQL as psycopg wants it."""
    return query.text.replace("%", "%%").replace("?", "%s"), query.params


def page_sql(query: ItemQuery, words: Sequence[str] = ()) -> Sql:
    """Return the SELECT of one page and the first row beyond it; rows of a page that leads back come last first.

    The columns are collection, id, content, private, the footprint as GeoJSON where the content has none, then the
    sort values.

    Raises:
        QueryError: a part of the query cannot be read.
    """
    keys, place = sort_keys(query), page_place(query)
    conditions = query_conditions(query, words)
    is_backwards = place is not None and place.is_backwards
    if place is not None:
        conditions.append(_beyond(keys, place))
    values = [key.value for key in keys]
    terms = [sql("{} " + _direction(key, is_backwards), key.value) for key in keys]
    listed = sql(", ".join(f"{{}} AS s{number}" for number in range(len(keys))), *values)
    page = sql(
        "SELECT collection, id, content, private, geometry, {} FROM pgstac.items WHERE {} ORDER BY {} LIMIT {}",
        listed,
        joined("AND", conditions),
        sql(", ".join(["{}"] * len(terms)), *terms),
        Sql("?", (query.limit + 1,)),
    )
    names = ", ".join(f"s{number}::text" if key.kind == "json" else f"s{number}" for number, key in enumerate(keys))
    return sql("SELECT {}, {} FROM ({}) AS page", Sql(ITEM_COLUMNS), Sql(names), page)


def count_sql(query: ItemQuery, words: Sequence[str] = ()) -> Sql:
    """Return the SELECT of the number of Items that match, over all pages."""
    return sql("SELECT count(*) FROM pgstac.items WHERE {}", joined("AND", query_conditions(query, words)))


def sort_keys(query: ItemQuery) -> list[SortKey]:
    """Return the order of a query, newest first where it names none; collection and id break ties."""
    keys = [_sort_key(name, ascending) for name, ascending in query.sortby or (("datetime", False),)]
    named = [key.value for key in keys]
    ties = [SortKey("text", Sql(_BINARY[name]), keys[-1].ascending) for name in ("collection", "id")]
    return keys + [tie for tie in ties if tie.value not in named]


def page_place(query: ItemQuery) -> Place | None:
    """Return where the page of a query begins, None for the first.

    Raises:
        QueryError: the token is none, or one of another order.
    """
    return None if query.token is None else _decoded(query.token, sort_keys(query))


def page_token(query: ItemQuery, values: Sequence[Any], is_backwards: bool = False) -> str:
    """Return the token of the page beyond a row with these sort values, the last or the first of a page."""
    spelled = json.dumps([_fingerprint(sort_keys(query)), int(is_backwards), *map(_spelled, values)])
    return base64.urlsafe_b64encode(spelled.encode()).decode()


def query_conditions(query: ItemQuery, words: Sequence[str] = ()) -> list[Sql]:
    """Return what Items must fulfil.

    Raises:
        QueryError: a part of the query cannot be read.
    """
    found = [Sql("true")]
    for column, values in (("collection", query.collections), ("id", query.ids)):
        if values:
            checked = [param("text", value).params[0] for value in values]
            found.append(sql(f"{column} = ANY({{}})", param("texts", checked)))
    if query.datetime is not None:
        start, end = interval_us(query.datetime)
        found += [sql("datetime <= {}", moment(end))] if end is not None else []
        found += [sql("end_datetime >= {}", moment(start))] if start is not None else []
    area = query_geometry(query.bbox, query.intersects)
    if area is not None:
        found.append(intersects(area))
    if query.filter is not None:
        found.append(cql2_condition(query.filter))
    if words:
        found.append(_words_condition(words))
    return found


def _words_condition(words: Sequence[str]) -> Sql:
    if not any(word.split() for word in words):
        return NEVER
    pattern = param("text", word_pattern(words).pattern)
    return joined("OR", [sql("geodl.has_words({}, {})", property_json(name), pattern) for name in TEXT_FIELDS])


def _sort_key(name: str, ascending: bool) -> SortKey:
    if name in _COLUMNS:
        return SortKey(*_COLUMNS[name], ascending)
    if name in ("geometry", ""):
        raise QueryError(f"sortby: cannot sort by {name!r}", hint="sort by datetime, id or a property")
    return SortKey("json", property_json(name), ascending)


def _direction(key: SortKey, is_backwards: bool) -> str:
    word = "ASC" if key.ascending != is_backwards else "DESC"
    return word + (f" NULLS {'FIRST' if is_backwards else 'LAST'}" if key.can_miss else "")


def _beyond(keys: list[SortKey], place: Place) -> Sql:
    """The rows that come after a place in the order of `keys`, or before it."""
    alternatives, equal = [], list[Sql]()
    for key, value in zip(keys, place.values, strict=True):
        further = _further(key, value, place.is_backwards)
        if further is not None:
            alternatives.append(joined("AND", [*equal, further]))
        same = sql("{} IS NULL", key.value) if value is None else sql("{} = {}", key.value, _bound(key, value))
        equal.append(same)
    if keys[0].can_miss or not alternatives:
        return joined("OR", alternatives or [NEVER])
    # Implied by the rest, but only this lets PostgreSQL enter the index at the right place.
    op = ">=" if keys[0].ascending != place.is_backwards else "<="
    entry = sql(f"{{}} {op} {{}}", keys[0].value, _bound(keys[0], place.values[0]))
    return joined("AND", [entry, joined("OR", alternatives)])


def _further(key: SortKey, value: Any, is_backwards: bool) -> Sql | None:
    """The rows whose value of one key lies beyond `value`; what lacks it comes last."""
    if value is None:
        return sql("{} IS NOT NULL", key.value) if is_backwards else None
    op = ">" if key.ascending != is_backwards else "<"
    beyond = sql(f"{{}} {op} {{}}", key.value, _bound(key, value))
    return joined("OR", [beyond, sql("{} IS NULL", key.value)]) if key.can_miss and not is_backwards else beyond


def _bound(key: SortKey, value: Any) -> Sql:
    return moment(value) if key.kind == "time" else param(key.kind, value)


def _spelled(value: Any) -> Any:
    return (value - EPOCH) // timedelta(microseconds=1) if isinstance(value, datetime) else value


def _decoded(token: str, keys: list[SortKey]) -> Place:
    strange = QueryError("token: expected one that a search gave, found another text")
    try:
        fingerprint, is_backwards, *values = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, TypeError, RecursionError) as err:
        raise strange from err
    if fingerprint != _fingerprint(keys) or len(values) != len(keys):
        raise QueryError("token: expected one of a search in the same order", hint="start again without it")
    if is_backwards not in (0, 1) or not all(map(_is_value, keys, values)):
        raise strange
    return Place(tuple(values), bool(is_backwards))


def _is_value(key: SortKey, value: Any) -> bool:
    if key.kind == "time":
        first, last = instant_us("0001-01-01"), instant_us("9999-12-31T23:59:59.999999Z")
        return type(value) is int and first <= value <= last
    return isinstance(value, str) or (value is None and key.can_miss)


def _fingerprint(keys: list[SortKey]) -> str:
    spelled = json.dumps([[key.value.text, key.value.params, key.ascending] for key in keys])
    return hashlib.sha256(spelled.encode()).hexdigest()[:8]
