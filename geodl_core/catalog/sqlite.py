"""The embedded catalog: STAC Collections and Items in one SQLite file, for several processes at once."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from geodl_core.catalog.answers import Aggregate, Found, IfMatch, Mode, Refusal, Stored
from geodl_core.catalog.sqlite_aggregate import aggregates
from geodl_core.catalog.sqlite_pool import ConnectionPool
from geodl_core.catalog.sqlite_rows import ItemRow, item_row, parsed_json, read_content, strict_json
from geodl_core.catalog.sqlite_search import count_sql, keys_sql, page_place, page_token
from geodl_core.catalog.sqlite_write import (
    check_items,
    collection_text,
    remove_collection,
    remove_item,
    write_collection,
    write_row,
)
from geodl_core.domain.query import ItemPage, ItemQuery
from geodl_core.errors import CatalogError

BULK = 1_000
"""After so many Items written the planner's statistics are brought up to date."""
PRUNED = 1_000
"""Rows of the outbox that are deleted at a time: a few milliseconds."""
PRUNE_PAUSE_S = 0.005
"""Between two such deletions, so that writers of other processes find the file free."""


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One write, as its followers read it."""

    seq: int
    """Grows with every write, in the order of the writes; never used twice."""
    op: Literal["create", "replace", "delete"]
    collection_id: str
    item_id: str | None
    """None where the Collection itself was written."""
    etag: str
    """Of the document as written; of a deleted one as it was."""
    at: datetime


class SqliteCatalog:
    """A catalog in one file. Whatever a method has returned from is on disk; each write is whole or not at all.

    Threads may share it: each call uses a connection of its own. Processes open their own `SqliteCatalog`.

    Args:
        path: of the file.
        create: whether to make it where there is none.
        clock: tells the time of a write.

    Raises:
        CatalogError: the file is missing, no catalog, or cannot be written.
    """

    def __init__(self, path: str | Path, create: bool = True, clock: Callable[[], datetime] = utc_now) -> None:
        self.path = Path(path)
        self._clock = clock
        self._pool = ConnectionPool(self.path, create)
        self._unanalysed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    def check(self) -> None:
        """Return if the catalog can be read now.

        Raises:
            CatalogError: it cannot.
        """
        self._rows("SELECT count(*) FROM collections")

    def put_collection(self, collection: dict[str, Any]) -> None:
        """Create or replace a Collection.

        Raises:
            ItemError: it has no id, or is no JSON.
        """
        self.write_collection(collection, "put")

    def write_collection(self, collection: dict[str, Any], mode: Mode, if_match: IfMatch = None) -> str | Refusal:
        """Create or replace a Collection under conditions; return its new etag, or why it was not written.

        Raises:
            ItemError: it has no id, or is no JSON.
        """
        row = collection_text(collection)
        with self._pool.writing() as connection:
            refusal = write_collection(connection, row, (mode, if_match), self._clock().isoformat())
        return refusal or row[2]

    def get_collection(self, collection_id: str) -> dict[str, Any] | None:
        """Return a Collection, or None where there is none of this id."""
        found = self.read_collection(collection_id)
        return found.content if found else None

    def read_collection(self, collection_id: str) -> Stored | None:
        """Return a Collection with its etag, or None where there is none of this id."""
        rows = self._rows("SELECT content, etag FROM collections WHERE id = ?", (collection_id,))
        return Stored(json.loads(rows[0][0]), rows[0][1]) if rows else None

    def collections(self) -> list[dict[str, Any]]:
        """Return all Collections, by id."""
        return [json.loads(content) for (content,) in self._rows("SELECT content FROM collections ORDER BY id")]

    def delete_collection(self, collection_id: str, if_match: IfMatch = None) -> Refusal | None:
        """Delete a Collection and all its Items; return why not where it is not done."""
        with self._pool.writing() as connection:
            return remove_collection(connection, collection_id, if_match, self._clock().isoformat())

    def put_item(self, item: dict[str, Any]) -> None:
        """Create or replace an Item; see `put_items`."""
        self.put_items([item])

    def put_items(self, items: Sequence[dict[str, Any]]) -> None:
        """Create or replace Items: all of them, or none where one does not serve.

        Raises:
            ItemError: an Item lacks an id, a time or a readable geometry.
            CatalogError: a Collection does not exist, or the file cannot be written.
        """
        written = self._write([item_row(item, strict_json) for item in items], "put", None)
        if isinstance(written, Refusal):
            raise CatalogError(f"{self.path}: {written.message}", hint="put the collection before its items")

    def write_items(
        self, items: Sequence[dict[str, Any]], mode: Mode, if_match: IfMatch = None
    ) -> tuple[str, ...] | Refusal:
        """Write Items under conditions: all of them, or none; return their new etags, or why none was written.

        Assumes Items as a parser of JSON gives them; `put_items` checks each value's type.

        Raises:
            ItemError: an Item lacks an id, a time or a readable geometry.
            CatalogError: the file cannot be written.
        """
        return self._write([item_row(item, parsed_json) for item in items], mode, if_match)

    def get_item(self, collection_id: str, item_id: str) -> dict[str, Any] | None:
        """Return an Item, or None where there is none of these ids."""
        found = self.read_item(collection_id, item_id)
        return found.content if found else None

    def read_item(self, collection_id: str, item_id: str) -> Stored | None:
        """Return an Item with its etag, or None where there is none of these ids."""
        statement = "SELECT content, etag FROM items WHERE collection = ? AND id = ?"
        rows = self._rows(statement, (collection_id, item_id))
        return Stored(read_content(rows[0][0]), rows[0][1]) if rows else None

    def delete_item(self, collection_id: str, item_id: str) -> bool:
        """Delete an Item; return whether there was one."""
        return self.remove_item(collection_id, item_id) is None

    def remove_item(self, collection_id: str, item_id: str, if_match: IfMatch = None) -> Refusal | None:
        """Delete an Item under conditions; return why not where it is not done."""
        with self._pool.writing() as connection:
            return remove_item(connection, (collection_id, item_id), if_match, self._clock().isoformat())

    def search(self, query: ItemQuery) -> ItemPage:
        """Return one page of the Items that match; see `find`."""
        found = self.find(query)
        return ItemPage(found.items, found.next_token)

    def find(self, query: ItemQuery, words: Sequence[str] = ()) -> Found:
        """Return one page of the Items that match and hold one of `words` in title, description or keywords.

        Paging with `next_token` gives each Item that was there from the first to the last page exactly
        once, whatever is written in between, unless its sort values change.

        Raises:
            QueryError: the query cannot be understood.
        """
        select, place = keys_sql(query, words), page_place(query)
        with self._pool.reading() as connection:
            rows = connection.execute(select.text, select.params).fetchall()
            keys = rows[: query.limit]
            contents = dict(
                connection.execute(
                    "SELECT pk, content FROM items WHERE pk IN (SELECT value FROM json_each(?))",
                    (json.dumps([pk for pk, *_ in keys]),),
                )
            )
        is_backwards = place is not None and place.is_backwards
        if is_backwards:
            keys.reverse()
        has_more = len(rows) > query.limit
        has_next, has_prev = (bool(keys), has_more) if is_backwards else (has_more, bool(keys and place))
        return Found(
            tuple(read_content(contents[pk]) for pk, *_ in keys),
            page_token(query, keys[-1]) if has_next else None,
            page_token(query, keys[0], is_backwards=True) if has_prev else None,
        )

    def count(self, query: ItemQuery, words: Sequence[str] = ()) -> int:
        """Return how many Items match, whatever `limit` and `token` are."""
        select = count_sql(query, words)
        return int(self._rows(select.text, select.params)[0][0])

    def aggregate(
        self, query: ItemQuery, words: Sequence[str], names: Sequence[str], interval: str = "month"
    ) -> list[Aggregate]:
        """Return numbers and histograms over all Items that match.

        Raises:
            QueryError: a name, the interval or the query cannot be understood.
        """
        with self._pool.reading() as connection:
            return aggregates(connection, query, words, names, interval)

    def outbox(self, after: int, limit: int) -> list[OutboxRow]:
        """Return the writes after `after`, the `seq` of the last one seen (0 at first), oldest first."""
        statement = "SELECT seq, op, collection, id, etag, at FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?"
        return [
            OutboxRow(seq, op, collection_id, item_id or None, etag, datetime.fromisoformat(at))
            for seq, op, collection_id, item_id, etag, at in self._rows(statement, (after, limit))
        ]

    def prune_outbox(self, before_seq: int, older_than: datetime) -> int:
        """Delete what all followers have read of the outbox; return how many rows that were.

        Other writers get their turn after every few rows. Numbers of deleted rows are never used again.

        Args:
            before_seq: the last `seq` that may go.
            older_than: rows of this time or later stay; with its offset from UTC.

        Raises:
            CatalogError: the file cannot be written; what was deleted before stays deleted.
        """
        limit, last, pruned = older_than.astimezone(UTC).isoformat(), 0, 0
        while True:
            window = "SELECT seq, at FROM outbox WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
            rows = self._rows(window, (last, before_seq, PRUNED))
            if not rows:
                return pruned
            first, last = last, rows[-1][0]
            if not any(at < limit for _, at in rows):
                continue
            with self._pool.writing() as connection:
                gone = connection.execute(
                    "DELETE FROM outbox WHERE seq > ? AND seq <= ? AND at < ?", (first, last, limit)
                )
                pruned += gone.rowcount
            time.sleep(PRUNE_PAUSE_S)

    def _write(self, rows: Sequence[ItemRow], mode: Mode, if_match: IfMatch) -> tuple[str, ...] | Refusal:
        with self._pool.writing() as connection:
            refusal = check_items(connection, rows, mode, if_match)
            if refusal is not None:
                return refusal
            at = self._clock().isoformat()
            for row in rows:
                write_row(connection, row, at)
        self._count_written(len(rows))
        return tuple(row.etag for row in rows)

    def _count_written(self, count: int) -> None:
        self._unanalysed += count
        if self._unanalysed >= BULK:
            self._unanalysed = 0
            # The Items are stored already: that it fails makes searches slower, and nothing else.
            with suppress(CatalogError), self._pool.plain() as connection:
                connection.execute("PRAGMA analysis_limit = 1000")
                connection.execute("ANALYZE")

    def _rows(self, statement: str, params: Sequence[object] = ()) -> list[Any]:
        with self._pool.plain() as connection:
            return connection.execute(statement, params).fetchall()
