"""Numbers and histograms over all Items that match a search, computed inside PostgreSQL."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from geodl_core.catalog.answers import Aggregate, Bucket
from geodl_core.catalog.cql2_operands import Sql, joined, sql
from geodl_core.catalog.pgstac.connections import Connection
from geodl_core.catalog.pgstac.operands import property_json
from geodl_core.catalog.pgstac.search import query_conditions, statement
from geodl_core.catalog.sqlite_aggregate import AGGREGATES as KNOWN
from geodl_core.catalog.sqlite_aggregate import MOST_BUCKETS
from geodl_core.domain.query import ItemQuery
from geodl_core.errors import QueryError

INTERVALS = {"year": "YYYY-01-01", "month": "YYYY-MM-01", "day": "YYYY-MM-DD"}
"""Widths of the bars of a histogram over time, and how each writes its start."""
_STEP = 10
"""Per cent of cloud cover in a bar."""
_VALUES = {
    "platform_frequency": "platform",
    "grid_code_frequency": "grid:code",
    "model_frequency": "geodl:model",
}


@dataclass(frozen=True, slots=True)
class _Question:
    connection: Connection
    where: Sql
    interval: str


def check_names(names: Sequence[str], interval: str) -> None:
    """Return if all of it is known.

    Raises:
        QueryError: a name or the interval is not.
    """
    unknown = [name for name in names if name not in AGGREGATES]
    if unknown:
        raise QueryError(f"aggregations: expected some of {', '.join(KNOWN)}, found {unknown[0][:40]!r}")
    if interval not in INTERVALS:
        raise QueryError(
            f"datetime_frequency_interval: expected one of {', '.join(INTERVALS)}, found {interval[:40]!r}"
        )


def aggregates(
    connection: Connection, query: ItemQuery, words: Sequence[str], names: Sequence[str], interval: str
) -> list[Aggregate]:
    """Return the named aggregates, in that order.

    Raises:
        QueryError: a name or the interval is unknown, or the query cannot be read.
    """
    check_names(names, interval)
    question = _Question(connection, joined("AND", query_conditions(query, words)), interval)
    return [AGGREGATES[name](question, name) for name in names]


def _count(question: _Question, name: str) -> Aggregate:
    return Aggregate(name, value=_one(question, "count(*)"))


def _first(question: _Question, name: str) -> Aggregate:
    return Aggregate(name, value=_moment(_one(question, "min(datetime)")))


def _last(question: _Question, name: str) -> Aggregate:
    return Aggregate(name, value=_moment(_one(question, "max(end_datetime)")))


def _by_time(question: _Question, name: str) -> Aggregate:
    key = Sql(f"""to_char(datetime AT TIME ZONE 'UTC', '{INTERVALS[question.interval]}"T00:00:00Z"')""")
    rows = _rows(
        question, sql("SELECT {}, count(*) FROM pgstac.items WHERE {} GROUP BY 1 ORDER BY 1", key, question.where)
    )
    return Aggregate(name, buckets=tuple(Bucket(str(start), count) for start, count in rows))


def _by_collection(question: _Question, name: str) -> Aggregate:
    return _by_value(question, name, Sql("to_jsonb(collection)"))


def _by_property(question: _Question, name: str) -> Aggregate:
    return _by_value(question, name, property_json(_VALUES[name]))


def _by_value(question: _Question, name: str, value: Sql) -> Aggregate:
    template = (
        "SELECT v::text, count(*) FROM (SELECT {} AS v FROM pgstac.items WHERE {}) AS found "
        "WHERE v IS NOT NULL GROUP BY v ORDER BY 2 DESC, (v #>> '{{}}') COLLATE \"C\""
    )
    rows = _rows(question, sql(template, value, question.where))
    buckets = tuple(Bucket(_key(json.loads(key)), count) for key, count in rows[:MOST_BUCKETS])
    return Aggregate(name, buckets=buckets, overflow=sum(count for _, count in rows[MOST_BUCKETS:]))


def _key(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return str(int(value) if isinstance(value, bool) else value)


def _by_cloud(question: _Question, name: str) -> Aggregate:
    cover = sql("geodl.num({})", property_json("eo:cloud_cover"))
    bar = Sql(f"least(floor(v / {_STEP})::int, {100 // _STEP - 1})")
    template = (
        "SELECT {}, count(*) FROM (SELECT {} AS v FROM pgstac.items WHERE {}) AS f WHERE v BETWEEN 0 AND 100 GROUP BY 1"
    )
    rows = dict(_rows(question, sql(template, bar, cover, question.where)))
    starts = range(0, 100, _STEP)
    buckets = [Bucket(f"{low}-{low + _STEP}", rows.get(low // _STEP, 0), low, low + _STEP) for low in starts]
    return Aggregate(name, buckets=tuple(buckets))


def _one(question: _Question, expression: str) -> Any:
    return _rows(question, sql("SELECT {} FROM pgstac.items WHERE {}", Sql(expression), question.where))[0][0]


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def _rows(question: _Question, select: Sql) -> list[tuple[Any, ...]]:
    return question.connection.execute(*statement(select)).fetchall()


AGGREGATES: dict[str, Callable[[_Question, str], Aggregate]] = {
    "total_count": _count,
    "datetime_min": _first,
    "datetime_max": _last,
    "datetime_frequency": _by_time,
    "collection_frequency": _by_collection,
    "cloud_cover_frequency": _by_cloud,
    **dict.fromkeys(_VALUES, _by_property),
}
"""What can be asked for."""
