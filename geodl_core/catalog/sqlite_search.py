"""An `ItemQuery` as SQL on an embedded catalog: conditions, order and the token of the next page."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from geodl_core.catalog.cql2_operands import Param, Sql, bound, joined, property_sql, sql
from geodl_core.catalog.cql2_sql import box_condition, cql2_condition
from geodl_core.catalog.footprint import query_geometry, search_boxes
from geodl_core.catalog.sqlite_schema import json_path
from geodl_core.catalog.times import interval_us
from geodl_core.domain.query import ItemQuery
from geodl_core.errors import QueryError

TEXT_FIELDS = ("title", "description", "keywords")
"""Properties in which words are looked for."""
_COLUMNS = {"id": "id", "collection": "collection", "datetime": "t0", "properties.datetime": "t0"}


@dataclass(frozen=True, slots=True)
class SortKey:
    """One term of the order."""

    value: Sql
    ascending: bool
    can_miss: bool
    """Whether Items may lack it; those come last, whichever the direction."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: beyond one row, in the order or against it."""

    pk: int
    values: tuple[Param, ...]
    is_backwards: bool


def keys_sql(query: ItemQuery, words: Sequence[str] = ()) -> Sql:
    """Return the SELECT of (pk, sort values…) of one page and the first row beyond it.

    Rows of a page that leads back come last first. Only small columns are read here; contents are fetched
    for the rows of the page alone.

    Raises:
        QueryError: a part of the query cannot be read.
    """
    keys, place = sort_keys(query), page_place(query)
    conditions = query_conditions(query, words)
    is_backwards = place is not None and place.is_backwards
    if place is not None:
        conditions.append(_beyond(keys, place))
    values = sql(", ".join(["pk", *(["{}"] * len(keys))]), *(key.value for key in keys))
    terms = [sql("{} " + _direction(key, is_backwards), key.value) for key in keys]
    # Ties are broken in the direction of the last key, so that an index serves the order as it stands.
    tie = "pk ASC" if keys[-1].ascending != is_backwards else "pk DESC"
    order = sql(", ".join(["{}"] * len(terms)) + f", {tie}", *terms)
    where = joined("AND", conditions)
    return sql("SELECT {} FROM items WHERE {} ORDER BY {} LIMIT {}", values, where, order, bound(query.limit + 1))


def count_sql(query: ItemQuery, words: Sequence[str] = ()) -> Sql:
    """Return the SELECT of the number of Items that match, over all pages."""
    return sql("SELECT count(*) FROM items WHERE {}", joined("AND", query_conditions(query, words)))


def sort_keys(query: ItemQuery) -> list[SortKey]:
    """Return the order of a query, newest first where it names none."""
    return [_sort_key(name, ascending) for name, ascending in query.sortby or (("datetime", False),)]


def page_place(query: ItemQuery) -> Place | None:
    """Return where the page of a query begins, None for the first.

    Raises:
        QueryError: the token is none, or one of another order.
    """
    return None if query.token is None else _decoded(query.token, sort_keys(query))


def page_token(query: ItemQuery, row: tuple[Param, ...], is_backwards: bool = False) -> str:
    """Return the token of the page beyond `row`, the last or first (pk, sort values…) of a page."""
    spelled = json.dumps([_fingerprint(sort_keys(query)), int(is_backwards), *row])
    return base64.urlsafe_b64encode(spelled.encode()).decode()


def query_conditions(query: ItemQuery, words: Sequence[str] = ()) -> list[Sql]:
    """Return what Items must fulfil.

    Raises:
        QueryError: a part of the query cannot be read.
    """
    found = [Sql("1")]
    for column, values in (("collection", query.collections), ("id", query.ids)):
        if len(values) == 1 and query.sortby and query.sortby[0][0] == "id":
            # The index on both serves this order, too. In others it would be chosen over the one that serves them.
            found.append(sql("{} = {}", Sql(column), bound(values[0])))
        elif values:
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
    if words:
        texts = ", ".join(f"json_extract(props, '{json_path(name)}')" for name in TEXT_FIELDS)
        found.append(sql(f"geodl_text({{}}, {texts})", bound(json.dumps(list(words)))))
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


def _direction(key: SortKey, is_backwards: bool) -> str:
    # NULL is SQLite's smallest value: last in descending order, first in ascending order.
    if key.ascending != is_backwards:
        return "ASC NULLS LAST" if key.ascending and key.can_miss else "ASC"
    return "DESC NULLS FIRST" if key.ascending and key.can_miss else "DESC"


def _beyond(keys: list[SortKey], place: Place) -> Sql:
    """The rows that come after a place in the order of `keys`, or before it."""
    alternatives = []
    equal: list[Sql] = []
    for key, value in zip(keys, place.values, strict=True):
        further = _further(key, value, place.is_backwards)
        if further is not None:
            alternatives.append(joined("AND", [*equal, further]))
        equal.append(sql("{} IS {}", key.value, bound(value)))
    tie = sql("pk > {}" if keys[-1].ascending != place.is_backwards else "pk < {}", bound(place.pk))
    beyond = joined("OR", [*alternatives, joined("AND", [*equal, tie])])
    if keys[0].can_miss:
        return beyond
    # Implied by the rest, but only this lets SQLite enter the index at the right place.
    op = ">=" if keys[0].ascending != place.is_backwards else "<="
    return joined("AND", [sql(f"{{}} {op} {{}}", keys[0].value, bound(place.values[0])), beyond])


def _further(key: SortKey, value: Param, is_backwards: bool) -> Sql | None:
    """The rows whose value of one key lies beyond `value`; what lacks it comes last."""
    op = ">" if key.ascending != is_backwards else "<"
    if is_backwards:
        return sql("{} IS NOT NULL", key.value) if value is None else sql(f"{{}} {op} {{}}", key.value, bound(value))
    if value is None:
        return None
    missing = [sql("{} IS NULL", key.value)] if key.can_miss else []
    return joined("OR", [sql(f"{{}} {op} {{}}", key.value, bound(value)), *missing])


def _decoded(token: str, keys: list[SortKey]) -> Place:
    try:
        fingerprint, is_backwards, pk, *values = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, TypeError, RecursionError) as err:
        raise QueryError("token: expected one that a search gave, found another text") from err
    plain = all(value is None or isinstance(value, (str, int, float)) for value in (pk, *values))
    in_range = all(abs(value) < 2**63 for value in (pk, *values) if isinstance(value, (int, float)))
    if fingerprint != _fingerprint(keys) or not isinstance(pk, int) or len(values) != len(keys):
        raise QueryError("token: expected one of a search in the same order", hint="start again without it")
    if not plain or not in_range or is_backwards not in (0, 1):
        raise QueryError("token: expected one that a search gave, found another text")
    return Place(pk, tuple(values), bool(is_backwards))


def _fingerprint(keys: list[SortKey]) -> str:
    spelled = json.dumps([[key.value.text, key.value.params, key.ascending] for key in keys])
    return hashlib.sha256(spelled.encode()).hexdigest()[:8]
