"""An `ItemQuery` as SQL on an embedded catalog: conditions, order and the token of the next page."""

import base64
import hashlib
import json
from dataclasses import dataclass

from geodl_core.catalog.cql2_operands import Param, Sql, bound, joined, property_sql, sql
from geodl_core.catalog.cql2_sql import box_condition, cql2_condition
from geodl_core.catalog.footprint import query_geometry, search_boxes
from geodl_core.catalog.times import interval_us
from geodl_core.domain.query import ItemQuery
from geodl_core.errors import QueryError

_COLUMNS = {"id": "id", "collection": "collection", "datetime": "t0", "properties.datetime": "t0"}


@dataclass(frozen=True, slots=True)
class SortKey:
    """One term of the order."""

    value: Sql
    ascending: bool
    can_miss: bool
    """Whether Items may lack it; those come last, whichever the direction."""


def keys_sql(query: ItemQuery) -> Sql:
    """Return the SELECT of (pk, sort values…) of one page and the first row after it.

    Only small columns are read here; contents are fetched for the rows of the page alone.

    Raises:
        QueryError: a part of the query cannot be read.
    """
    keys = sort_keys(query)
    conditions = _conditions(query)
    if query.token is not None:
        conditions.append(_after(keys, *_decoded(query.token, keys)))
    values = sql(", ".join(["pk", *(["{}"] * len(keys))]), *(key.value for key in keys))
    terms = [sql("{} " + _direction(key), key.value) for key in keys]
    # Ties are broken in the direction of the last key, so that an index serves the order as it stands.
    order = sql(", ".join(["{}"] * len(terms)) + (" , pk ASC" if keys[-1].ascending else ", pk DESC"), *terms)
    where = joined("AND", conditions)
    return sql("SELECT {} FROM items WHERE {} ORDER BY {} LIMIT {}", values, where, order, bound(query.limit + 1))


def count_sql(query: ItemQuery) -> Sql:
    """Return the SELECT of the number of Items that match, over all pages."""
    return sql("SELECT count(*) FROM items WHERE {}", joined("AND", _conditions(query)))


def sort_keys(query: ItemQuery) -> list[SortKey]:
    """Return the order of a query, newest first where it names none."""
    return [_sort_key(name, ascending) for name, ascending in query.sortby or (("datetime", False),)]


def next_token(keys: list[SortKey], row: tuple[Param, ...]) -> str:
    """Return the token that continues after `row`, the last (pk, sort values…) of a page."""
    return base64.urlsafe_b64encode(json.dumps([_fingerprint(keys), *row]).encode()).decode()


def _conditions(query: ItemQuery) -> list[Sql]:
    found = [Sql("1")]
    for column, values in (("collection", query.collections), ("id", query.ids)):
        if values:
            listed = bound(json.dumps(values))
            found.append(sql("{} IN (SELECT value FROM json_each({}))", Sql(column), listed))
    if query.datetime is not None:
        found += _time_conditions(*interval_us(query.datetime))
    area = query_geometry(query.bbox, query.intersects)
    if area is not None:
        found.append(box_condition(search_boxes(area)))
        found.append(sql("geodl_spatial('s_intersects', geom, {})", bound(area.wkb)))
    if query.filter is not None:
        found.append(Sql(*cql2_condition(query.filter)))
    return found


def _time_conditions(start: int | None, end: int | None) -> list[Sql]:
    found = []
    if end is not None:
        found.append(sql("t0 <= {}", bound(end)))
    if start is not None:
        found.append(sql("t1 >= {}", bound(start)))
        # The longest Item bounds how far back one may start that is still going on: the index on t0
        # is then read from both sides.
        found.append(sql("t0 >= {} - (SELECT max(t1 - t0) FROM items)", bound(start)))
    return found


def _sort_key(name: str, ascending: bool) -> SortKey:
    if name in _COLUMNS:
        return SortKey(Sql(_COLUMNS[name]), ascending, can_miss=False)
    if name in ("geometry", ""):
        raise QueryError(f"sortby: cannot sort by {name!r}", hint="sort by datetime, id or a property")
    return SortKey(property_sql(name, "json_extract"), ascending, can_miss=True)


def _direction(key: SortKey) -> str:
    if not key.ascending:
        return "DESC"  # NULL is SQLite's smallest value
    return "ASC NULLS LAST" if key.can_miss else "ASC"


def _after(keys: list[SortKey], pk: int, values: list[Param]) -> Sql:
    """The rows that come after (`values`, `pk`) in the order of `keys`."""
    alternatives = []
    equal: list[Sql] = []
    for key, value in zip(keys, values, strict=True):
        if value is not None:
            beyond = sql("{} > {}" if key.ascending else "{} < {}", key.value, bound(value))
            missing = [sql("{} IS NULL", key.value)] if key.can_miss else []
            alternatives.append(joined("AND", [*equal, joined("OR", [beyond, *missing])]))
        equal.append(sql("{} IS {}", key.value, bound(value)))
    tie = sql("pk > {}" if keys[-1].ascending else "pk < {}", bound(pk))
    after = joined("OR", [*alternatives, joined("AND", [*equal, tie])])
    if keys[0].can_miss:
        return after
    # Implied by the rest, but only this lets SQLite enter the index at the right place.
    bound_too = sql("{} >= {}" if keys[0].ascending else "{} <= {}", keys[0].value, bound(values[0]))
    return joined("AND", [bound_too, after])


def _decoded(token: str, keys: list[SortKey]) -> tuple[int, list[Param]]:
    try:
        fingerprint, pk, *values = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, TypeError) as err:
        raise QueryError("token: expected one that a search gave, found another text") from err
    plain = all(value is None or isinstance(value, (str, int, float)) for value in values)
    if fingerprint != _fingerprint(keys) or not isinstance(pk, int) or len(values) != len(keys) or not plain:
        raise QueryError("token: expected one of a search in the same order", hint="start again without it")
    return pk, values


def _fingerprint(keys: list[SortKey]) -> str:
    spelled = json.dumps([[key.value.text, key.value.params, key.ascending] for key in keys])
    return hashlib.sha256(spelled.encode()).hexdigest()[:8]
