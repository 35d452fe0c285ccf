"""The embedded catalog: STAC Collections and Items in one SQLite file, for several processes at once."""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from geodl_core.catalog.sqlite_rows import ItemRow, item_row, read_content
from geodl_core.catalog.sqlite_schema import open_connection, transaction, translated
from geodl_core.catalog.sqlite_search import count_sql, keys_sql, next_token, sort_keys
from geodl_core.domain.query import ItemPage, ItemQuery
from geodl_core.errors import CatalogError, ItemError

BULK = 1_000
"""From as many Items at once the planner's statistics are brought up to date."""

_INSERT = "INSERT INTO items (t0, t1, geom, etag, props, content, collection, id) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_UPDATE = "UPDATE items SET t0 = ?, t1 = ?, geom = ?, etag = ?, props = ?, content = ? WHERE pk = ?"
_OUTBOX = "INSERT INTO outbox (op, collection, id, etag, at) VALUES (?, ?, ?, ?, ?)"


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
    item_id: str
    etag: str
    """Of the Item as written; of a deleted one as it was."""
    at: datetime


class SqliteCatalog:
    """A catalog in one file. Whatever a method has returned from is on disk; each write is whole or not at all.

    Threads may share it: each has a connection of its own. Processes open their own `SqliteCatalog`.

    Args:
        path: of the file.
        create: whether to make it where there is none.
        clock: tells the time of a write.

    Raises:
        CatalogError: the file is missing, no catalog, or cannot be written.
    """

    def __init__(self, path: str | Path, create: bool = True, clock: Callable[[], datetime] = utc_now) -> None:
        self.path = Path(path)
        self._create = create
        self._clock = clock
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: list[sqlite3.Connection] | None = []
        self._connection()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            connections, self._open = self._open or [], None
        for connection in connections:
            try:
                connection.execute("PRAGMA analysis_limit = 400")
                connection.execute("PRAGMA optimize")
            except sqlite3.Error:  # a reader without leave to write has nothing to keep
                pass
            finally:
                connection.close()

    def put_collection(self, collection: dict[str, Any]) -> None:
        """Create or replace a Collection.

        Raises:
            ItemError: it has no id, or is no JSON.
        """
        collection_id = collection.get("id")
        if not isinstance(collection_id, str) or not collection_id:
            raise ItemError(f"collection: expected an id, found {collection_id!r}")
        try:
            content = json.dumps(collection, ensure_ascii=False, allow_nan=False)
            content.encode()
        except (ValueError, TypeError) as err:
            raise ItemError(f"collection {collection_id}: expected JSON ({err})") from err
        statement = "INSERT INTO collections VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET content = excluded.content"
        with translated(self.path):
            self._connection().execute(statement, (collection_id, content))

    def get_collection(self, collection_id: str) -> dict[str, Any] | None:
        """Return a Collection, or None where there is none of this id."""
        rows = self._rows("SELECT content FROM collections WHERE id = ?", (collection_id,))
        return json.loads(rows[0][0]) if rows else None

    def collections(self) -> list[dict[str, Any]]:
        """Return all Collections, by id."""
        return [json.loads(content) for (content,) in self._rows("SELECT content FROM collections ORDER BY id")]

    def put_item(self, item: dict[str, Any]) -> None:
        """Create or replace an Item; see `put_items`."""
        self.put_items([item])

    def put_items(self, items: Sequence[dict[str, Any]]) -> None:
        """Create or replace Items: all of them, or none where one does not serve.

        Raises:
            ItemError: an Item lacks an id, a time or a readable geometry.
            CatalogError: a Collection does not exist, or the file cannot be written.
        """
        rows = [item_row(item) for item in items]
        connection = self._connection()
        with translated(self.path), transaction(connection):
            self._check_collections(connection, {row.collection_id for row in rows})
            at = self._clock().isoformat()
            for row in rows:
                _put_row(connection, row, at)
        if len(rows) >= BULK:
            with translated(self.path):
                connection.execute("PRAGMA analysis_limit = 1000")
                connection.execute("ANALYZE")

    def get_item(self, collection_id: str, item_id: str) -> dict[str, Any] | None:
        """Return an Item, or None where there is none of these ids."""
        statement = "SELECT content FROM items WHERE collection = ? AND id = ?"
        rows = self._rows(statement, (collection_id, item_id))
        return read_content(rows[0][0]) if rows else None

    def delete_item(self, collection_id: str, item_id: str) -> bool:
        """Delete an Item; return whether there was one."""
        connection = self._connection()
        with translated(self.path), transaction(connection):
            found = _stored(connection, collection_id, item_id)
            if found is None:
                return False
            pk, etag = found
            _delete_boxes(connection, pk)
            connection.execute("DELETE FROM items WHERE pk = ?", (pk,))
            written = ("delete", collection_id, item_id, etag, self._clock().isoformat())
            connection.execute(_OUTBOX, written)
        return True

    def search(self, query: ItemQuery) -> ItemPage:
        """Return one page of the Items that match.

        Paging with `next_token` gives each Item that was there from the first to the last page exactly
        once, whatever is written in between, unless its sort values change.

        Raises:
            QueryError: the query cannot be understood.
        """
        select = keys_sql(query)
        connection = self._connection()
        with translated(self.path), transaction(connection, write=False):
            found = connection.execute(select.text, select.params).fetchall()
            keys = found[: query.limit]
            contents = dict(
                connection.execute(
                    "SELECT pk, content FROM items WHERE pk IN (SELECT value FROM json_each(?))",
                    (json.dumps([pk for pk, *_ in keys]),),
                )
            )
        token = next_token(sort_keys(query), keys[-1]) if len(found) > query.limit else None
        return ItemPage(tuple(read_content(contents[pk]) for pk, *_ in keys), token)

    def count(self, query: ItemQuery) -> int:
        """Return how many Items match, whatever `limit` and `token` are."""
        select = count_sql(query)
        return int(self._rows(select.text, select.params)[0][0])

    def outbox(self, after: int, limit: int) -> list[OutboxRow]:
        """Return the writes after `after`, the `seq` of the last one seen (0 at first), oldest first."""
        statement = "SELECT seq, op, collection, id, etag, at FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?"
        return [
            OutboxRow(seq, op, collection_id, item_id, etag, datetime.fromisoformat(at))
            for seq, op, collection_id, item_id, etag, at in self._rows(statement, (after, limit))
        ]

    def _rows(self, statement: str, params: Sequence[object] = ()) -> list[Any]:
        with translated(self.path):
            return self._connection().execute(statement, params).fetchall()

    def _connection(self) -> sqlite3.Connection:
        if self._open is None:
            raise CatalogError(f"{self.path}: the catalog is closed")
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = open_connection(self.path, self._create)
            self._local.connection = connection
            with self._lock:
                self._open.append(connection)
        return connection

    def _check_collections(self, connection: sqlite3.Connection, wanted: Iterable[str]) -> None:
        for collection_id in sorted(wanted):
            if not connection.execute("SELECT 1 FROM collections WHERE id = ?", (collection_id,)).fetchone():
                raise CatalogError(
                    f"{self.path}: no collection {collection_id!r}", hint="put the collection before its items"
                )


def _put_row(connection: sqlite3.Connection, row: ItemRow, at: str) -> None:
    columns = (row.t0, row.t1, row.geom, row.etag, row.props, row.content)
    found = _stored(connection, row.collection_id, row.item_id)
    if found is None:
        pk = connection.execute(_INSERT, (*columns, row.collection_id, row.item_id)).lastrowid or 0
    else:
        pk = found[0]
        connection.execute(_UPDATE, (*columns, pk))
        _delete_boxes(connection, pk)
    for number, (west, south, east, north) in enumerate(row.boxes):
        box = (2 * pk + number, west, east, south, north)
        connection.execute("INSERT INTO items_rtree VALUES (?, ?, ?, ?, ?)", box)
    op = "create" if found is None else "replace"
    connection.execute(_OUTBOX, (op, row.collection_id, row.item_id, row.etag, at))


def _stored(connection: sqlite3.Connection, collection_id: str, item_id: str) -> tuple[int, str] | None:
    statement = "SELECT pk, etag FROM items WHERE collection = ? AND id = ?"
    found: tuple[int, str] | None = connection.execute(statement, (collection_id, item_id)).fetchone()
    return found


def _delete_boxes(connection: sqlite3.Connection, pk: int) -> None:
    connection.execute("DELETE FROM items_rtree WHERE id IN (?, ?)", (2 * pk, 2 * pk + 1))
