"""The catalog of a server: STAC Collections and Items in PostgreSQL, in the tables of pgstac."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from geodl_core.catalog.answers import Aggregate, Found, IfMatch, Mode, Refusal, Stored
from geodl_core.catalog.pgstac.aggregate import aggregates, check_names
from geodl_core.catalog.pgstac.bootstrap import check_ready, maintain
from geodl_core.catalog.pgstac.connections import Pool
from geodl_core.catalog.pgstac.rows import read_rows
from geodl_core.catalog.pgstac.search import (
    ITEM_COLUMNS,
    count_sql,
    page_place,
    page_sql,
    page_token,
    statement,
)
from geodl_core.catalog.pgstac.write import Asked, remove_collection, remove_item, write_collection, write_items
from geodl_core.catalog.sqlite import BULK, OutboxRow, utc_now
from geodl_core.catalog.sqlite_rows import item_row
from geodl_core.catalog.sqlite_write import collection_text
from geodl_core.domain.query import ItemPage, ItemQuery
from geodl_core.errors import CatalogError

_ITEM = f"SELECT {ITEM_COLUMNS}, geodl.etag(i) FROM pgstac.items i WHERE collection = %s AND id = %s"  # noqa: S608 - a constant


class PgstacCatalog:
    """A catalog in PostgreSQL. Whatever a method has returned from is stored; each write is whole or not at all.

    Threads may share it, and processes open their own. Other programs that know pgstac may use the database at the
    same time; what they write has no line in the outbox.

    Args:
        dsn: `postgresql://user:password@host:port/database`; `bootstrap.init` has made it ready.
        clock: tells the time of a write.

    Raises:
        CatalogError: PostgreSQL does not answer, or the database is not ready.
    """

    def __init__(self, dsn: str, clock: Callable[[], datetime] = utc_now) -> None:
        self._clock = clock
        self._pool = Pool(dsn)
        self.name = self._pool.name
        """The address, without user and password."""
        self._unmaintained = 0
        try:
            with self._pool.lent() as connection:
                check_ready(connection, self.name)
        except BaseException:
            self.close()
            raise

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
        self._rows("SELECT count(*) FROM pgstac.collections")

    def maintain(self) -> None:
        """Do what pgstac has put off: call it now and then, and after many writes. Searches are right without it.

        Raises:
            CatalogError: the database does not answer, or the user is no member of pgstac_admin.
        """
        maintain(self._pool)

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
        collection_text(collection)
        asked = Asked(mode, if_match, self._clock())
        return self._pool.write(lambda connection: write_collection(connection, collection, asked))

    def get_collection(self, collection_id: str) -> dict[str, Any] | None:
        """Return a Collection, or None where there is none of this id."""
        found = self.read_collection(collection_id)
        return found.content if found else None

    def read_collection(self, collection_id: str) -> Stored | None:
        """Return a Collection with its etag, or None where there is none of this id."""
        select = "SELECT content::text, geodl.etag(content) FROM pgstac.collections WHERE id = %s"
        rows = self._rows(select, (collection_id,))
        return Stored(json.loads(rows[0][0]), rows[0][1]) if rows else None

    def collections(self) -> list[dict[str, Any]]:
        """Return all Collections, by id."""
        rows = self._rows('SELECT content::text FROM pgstac.collections ORDER BY id COLLATE "C"')
        return [json.loads(content) for (content,) in rows]

    def delete_collection(self, collection_id: str, if_match: IfMatch = None) -> Refusal | None:
        """Delete a Collection and all its Items; return why not where it is not done."""
        asked = Asked("replace", if_match, self._clock())
        return self._pool.write(lambda connection: remove_collection(connection, collection_id, asked))

    def put_item(self, item: dict[str, Any]) -> None:
        """Create or replace an Item; see `put_items`."""
        self.put_items([item])

    def put_items(self, items: Sequence[dict[str, Any]]) -> None:
        """Create or replace Items: all of them, or none where one does not serve.

        Raises:
            ItemError: an Item lacks an id, a time or a readable geometry.
            CatalogError: a Collection does not exist, or the database does not answer.
        """
        written = self.write_items(items, "put")
        if isinstance(written, Refusal):
            raise CatalogError(f"{self.name}: {written.message}", hint="put the collection before its items")

    def write_items(
        self, items: Sequence[dict[str, Any]], mode: Mode, if_match: IfMatch = None
    ) -> tuple[str, ...] | Refusal:
        """Write Items under conditions: all of them, or none; return their new etags, or why none was written.

        Raises:
            ItemError: an Item lacks an id, a time or a readable geometry.
            CatalogError: the database does not answer.
        """
        pairs = [(item, item_row(item)) for item in items]
        if not pairs:
            return ()
        asked = Asked(mode, if_match, self._clock())
        written = self._pool.write(lambda connection: write_items(connection, pairs, asked))
        if not isinstance(written, Refusal):
            self._count_written(len(written))
        return written

    def get_item(self, collection_id: str, item_id: str) -> dict[str, Any] | None:
        """Return an Item, or None where there is none of these ids."""
        found = self.read_item(collection_id, item_id)
        return found.content if found else None

    def read_item(self, collection_id: str, item_id: str) -> Stored | None:
        """Return an Item with its etag, or None where there is none of these ids."""
        with self._pool.lent() as connection:
            rows = connection.execute(_ITEM, (collection_id, item_id)).fetchall()
            return Stored(read_rows(connection, rows)[0], rows[0][-1]) if rows else None

    def delete_item(self, collection_id: str, item_id: str) -> bool:
        """Delete an Item; return whether there was one."""
        return self.remove_item(collection_id, item_id) is None

    def remove_item(self, collection_id: str, item_id: str, if_match: IfMatch = None) -> Refusal | None:
        """Delete an Item under conditions; return why not where it is not done."""
        asked = Asked("replace", if_match, self._clock())
        return self._pool.write(lambda connection: remove_item(connection, (collection_id, item_id), asked))

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
        select, place = page_sql(query, words), page_place(query)
        with self._pool.lent() as connection:
            rows = connection.execute(*statement(select)).fetchall()
            page = rows[: query.limit]
            is_backwards = place is not None and place.is_backwards
            if is_backwards:
                page.reverse()
            items = read_rows(connection, page)
        has_more = len(rows) > query.limit
        has_next, has_prev = (bool(page), has_more) if is_backwards else (has_more, bool(page and place))
        return Found(
            tuple(items),
            page_token(query, page[-1][5:]) if has_next else None,
            page_token(query, page[0][5:], is_backwards=True) if has_prev else None,
        )

    def count(self, query: ItemQuery, words: Sequence[str] = ()) -> int:
        """Return how many Items match, whatever `limit` and `token` are."""
        return int(self._rows(*statement(count_sql(query, words)))[0][0])

    def aggregate(
        self, query: ItemQuery, words: Sequence[str], names: Sequence[str], interval: str = "month"
    ) -> list[Aggregate]:
        """Return numbers and histograms over all Items that match.

        Raises:
            QueryError: a name, the interval or the query cannot be understood.
        """
        check_names(names, interval)
        with self._pool.lent() as connection:
            # All of them over one state of the catalog.
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            return aggregates(connection, query, words, names, interval)

    def outbox(self, after: int, limit: int) -> list[OutboxRow]:
        """Return the writes after `after`, the `seq` of the last one seen (0 at first), oldest first."""
        select = "SELECT seq, op, collection, id, etag, at FROM geodl.outbox WHERE seq > %s ORDER BY seq LIMIT %s"
        return [
            OutboxRow(seq, op, collection_id, item_id or None, etag, at.astimezone(UTC))
            for seq, op, collection_id, item_id, etag, at in self._rows(select, (after, limit))
        ]

    def prune_outbox(self, before_seq: int, older_than: datetime) -> int:
        """Delete what all followers have read of the outbox; return how many rows that were.

        Numbers of deleted rows are never used again.

        Args:
            before_seq: the last `seq` that may go.
            older_than: rows of this time or later stay; with its offset from UTC.

        Raises:
            CatalogError: the database does not answer.
        """
        delete = "DELETE FROM geodl.outbox WHERE seq <= %s AND at < %s"
        return self._pool.write(lambda connection: connection.execute(delete, (before_seq, older_than)).rowcount)

    def _count_written(self, count: int) -> None:
        self._unmaintained += count
        if self._unmaintained >= BULK:
            self._unmaintained = 0
            # The Items are stored already: that it fails makes searches slower, and nothing else.
            with suppress(CatalogError):
                self.maintain()

    def _rows(self, select: str, params: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._pool.lent() as connection:
            return connection.execute(select, params).fetchall()
