"""Numbers and histograms over all Items that match a search, computed inside an embedded catalog."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from geodl_core.catalog.answers import Aggregate, Bucket
from geodl_core.catalog.cql2_operands import Sql, joined, property_sql, sql
from geodl_core.catalog.sqlite_search import query_conditions
from geodl_core.catalog.times import rfc3339
from geodl_core.domain.query import ItemQuery
from geodl_core.errors import QueryError

MOST_BUCKETS = 1_000
"""Of a histogram of values: the most frequent ones are listed."""
INTERVALS = {"year": "%Y-01-01T00:00:00Z", "month": "%Y-%m-01T00:00:00Z", "day": "%Y-%m-%dT00:00:00Z"}
"""Widths of the bars of a histogram over time, and how each writes its start."""
_STEP = 10
"""Per cent of cloud cover in a bar."""


@dataclass(frozen=True, slots=True)
class _Question:
    connection: sqlite3.Connection
    where: Sql
    interval: str


def aggregates(
    connection: sqlite3.Connection, query: ItemQuery, words: Sequence[str], names: Sequence[str], interval: str
) -> list[Aggregate]:
    """Return the named aggregates, in that order.

    Raises:
        QueryError: a name or the interval is unknown, or the query cannot be read.
    """
    unknown = [name for name in names if name not in AGGREGATES]
    if unknown:
        known = ", ".join(AGGREGATES)
        raise QueryError(f"aggregations: expected some of {known}, found {unknown[0][:40]!r}")
    if interval not in INTERVALS:
        raise QueryError(
            f"datetime_frequency_interval: expected one of {', '.join(INTERVALS)}, found {interval[:40]!r}"
        )
    question = _Question(connection, joined("AND", query_conditions(query, words)), interval)
    return [AGGREGATES[name](question, name) for name in names]


def _count(question: _Question, name: str) -> Aggregate:
    return Aggregate(name, value=_one(question, "count(*)"))


def _first(question: _Question, name: str) -> Aggregate:
    return Aggregate(name, value=_moment(_one(question, "min(t0)")))


def _last(question: _Question, name: str) -> Aggregate:
    return Aggregate(name, value=_moment(_one(question, "max(t1)")))


def _by_time(question: _Question, name: str) -> Aggregate:
    # Floored towards the past, as integer division of times before 1970 would not be.
    second = "(t0 - ((t0 % 1000000) + 1000000) % 1000000) / 1000000"
    key = Sql(f"strftime('{INTERVALS[question.interval]}', {second}, 'unixepoch')")
    rows = _rows(question, sql("SELECT {}, count(*) FROM items WHERE {} GROUP BY 1 ORDER BY 1", key, question.where))
    return Aggregate(name, buckets=tuple(Bucket(str(start), count) for start, count in rows))


def _by_collection(question: _Question, name: str) -> Aggregate:
    return _by_value(question, name, Sql("collection"))


def _by_property(prop: str) -> Callable[[_Question, str], Aggregate]:
    return lambda question, name: _by_value(question, name, property_sql(prop, "json_extract"))


def _by_value(question: _Question, name: str, value: Sql) -> Aggregate:
    rows = _rows(
        question,
        sql(
            "SELECT {}, count(*) FROM items WHERE {} AND {} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1",
            value,
            question.where,
            value,
        ),
    )
    buckets = tuple(Bucket(str(key), count) for key, count in rows[:MOST_BUCKETS])
    return Aggregate(name, buckets=buckets, overflow=sum(count for _, count in rows[MOST_BUCKETS:]))


def _by_cloud(question: _Question, name: str) -> Aggregate:
    cover, kind = property_sql("eo:cloud_cover", "json_extract"), property_sql("eo:cloud_cover", "json_type")
    bar = sql(f"min(CAST({{}} / {_STEP} AS INTEGER), {100 // _STEP - 1})", cover)
    guard = sql("{} IN ('integer', 'real') AND {} BETWEEN 0 AND 100", kind, cover)
    rows = dict(
        _rows(question, sql("SELECT {}, count(*) FROM items WHERE {} AND {} GROUP BY 1", bar, question.where, guard))
    )
    starts = range(0, 100, _STEP)
    buckets = [Bucket(f"{low}-{low + _STEP}", rows.get(low // _STEP, 0), low, low + _STEP) for low in starts]
    return Aggregate(name, buckets=tuple(buckets))


def _one(question: _Question, expression: str) -> int | None:
    rows = _rows(question, sql("SELECT {} FROM items WHERE {}", Sql(expression), question.where))
    return rows[0][0]  # type: ignore[no-any-return]


def _moment(micros: int | None) -> str | None:
    return None if micros is None else rfc3339(micros)


def _rows(question: _Question, select: Sql) -> list[tuple]:  # type: ignore[type-arg]
    return question.connection.execute(select.text, select.params).fetchall()


AGGREGATES: dict[str, Callable[[_Question, str], Aggregate]] = {
    "total_count": _count,
    "datetime_min": _first,
    "datetime_max": _last,
    "datetime_frequency": _by_time,
    "collection_frequency": _by_collection,
    "cloud_cover_frequency": _by_cloud,
    "platform_frequency": _by_property("platform"),
    "grid_code_frequency": _by_property("grid:code"),
    "model_frequency": _by_property("geodl:model"),
}
"""What can be asked for."""
