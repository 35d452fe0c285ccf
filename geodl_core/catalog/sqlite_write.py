"""Writes inside an open transaction: the row, its boxes and its line in the outbox, under the writer's conditions."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from geodl_core.catalog.answers import IfMatch, Mode, Refusal, changed
from geodl_core.catalog.sqlite_rows import ItemRow
from geodl_core.catalog.sqlite_schema import content_etag
from geodl_core.errors import ItemError

_INSERT = "INSERT INTO items (t0, t1, geom, etag, props, content, collection, id) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_UPDATE = "UPDATE items SET t0 = ?, t1 = ?, geom = ?, etag = ?, props = ?, content = ? WHERE pk = ?"
_OUTBOX = "INSERT INTO outbox (op, collection, id, etag, at) VALUES (?, ?, ?, ?, ?)"
_COLLECTION = (
    "INSERT INTO collections (id, content, etag) VALUES (?, ?, ?) "
    "ON CONFLICT (id) DO UPDATE SET content = excluded.content, etag = excluded.etag"
)


def collection_text(collection: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the id, the JSON text and the etag of a Collection.

    Raises:
        ItemError: it has no id, or is no JSON.
    """
    collection_id = collection.get("id")
    if not isinstance(collection_id, str) or not collection_id:
        raise ItemError(f"collection: expected an id, found {collection_id!r}")
    try:
        content = json.dumps(collection, ensure_ascii=False, allow_nan=False)
        encoded = content.encode()
    except (ValueError, TypeError) as err:
        raise ItemError(f"collection {collection_id!r}: expected JSON ({err})") from err
    return collection_id, content, content_etag(encoded)


def check_items(
    connection: sqlite3.Connection, rows: Sequence[ItemRow], mode: Mode, if_match: IfMatch
) -> Refusal | None:
    """Return why the rows cannot be written as asked, None where they can."""
    for collection_id in sorted({row.collection_id for row in rows}):
        if not connection.execute("SELECT 1 FROM collections WHERE id = ?", (collection_id,)).fetchone():
            return Refusal("missing", f"no collection {collection_id!r}")
    if mode == "put" and if_match is None:
        return None
    seen: set[tuple[str, str]] = set()
    for row in rows:
        name = f"item {row.collection_id}/{row.item_id}"
        found = stored_item(connection, row.collection_id, row.item_id)
        is_twice = (row.collection_id, row.item_id) in seen
        seen.add((row.collection_id, row.item_id))
        if mode == "create" and (found is not None or is_twice):
            return Refusal("taken", f"{name}: there is one already")
        if mode == "replace" and found is None:
            return Refusal("missing", f"{name}: there is none")
        if if_match is not None and (found is None or found[1] not in if_match):
            return changed(name)
    return None


def write_row(connection: sqlite3.Connection, row: ItemRow, at: str) -> None:
    """Create or replace an Item."""
    columns = (row.t0, row.t1, row.geom, row.etag, row.props, row.content)
    found = stored_item(connection, row.collection_id, row.item_id)
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


def remove_item(connection: sqlite3.Connection, key: tuple[str, str], if_match: IfMatch, at: str) -> Refusal | None:
    """Delete the Item of a (collection, id), or say why not."""
    name = "item {}/{}".format(*key)
    found = stored_item(connection, *key)
    if found is None:
        return Refusal("missing", f"{name}: there is none")
    if if_match is not None and found[1] not in if_match:
        return changed(name)
    _delete_boxes(connection, found[0])
    connection.execute("DELETE FROM items WHERE pk = ?", (found[0],))
    connection.execute(_OUTBOX, ("delete", *key, found[1], at))
    return None


def stored_item(connection: sqlite3.Connection, collection_id: str, item_id: str) -> tuple[int, str] | None:
    """Return the key and the etag of an Item, None where there is none."""
    statement = "SELECT pk, etag FROM items WHERE collection = ? AND id = ?"
    found: tuple[int, str] | None = connection.execute(statement, (collection_id, item_id)).fetchone()
    return found


def write_collection(
    connection: sqlite3.Connection, row: tuple[str, str, str], asked: tuple[Mode, IfMatch], at: str
) -> Refusal | None:
    """Create or replace the Collection of an (id, text, etag) as asked, or say why not."""
    (collection_id, _, etag), (mode, if_match) = row, asked
    name = f"collection {collection_id!r}"
    found = _collection_etag(connection, collection_id)
    if mode == "create" and found is not None:
        return Refusal("taken", f"{name}: there is one already")
    if mode == "replace" and found is None:
        return Refusal("missing", f"no {name}")
    if if_match is not None and found not in if_match:
        return changed(name)
    connection.execute(_COLLECTION, row)
    # An outbox row without an Item's id is about the Collection itself.
    connection.execute(_OUTBOX, ("create" if found is None else "replace", collection_id, "", etag, at))
    return None


def remove_collection(connection: sqlite3.Connection, collection_id: str, if_match: IfMatch, at: str) -> Refusal | None:
    """Delete a Collection and its Items, each with its line in the outbox, or say why not."""
    name = f"collection {collection_id!r}"
    found = _collection_etag(connection, collection_id)
    if found is None:
        return Refusal("missing", f"no {name}")
    if if_match is not None and found not in if_match:
        return changed(name)
    for (item_id,) in connection.execute("SELECT id FROM items WHERE collection = ?", (collection_id,)).fetchall():
        remove_item(connection, (collection_id, item_id), None, at)
    connection.execute("DELETE FROM collections WHERE id = ?", (collection_id,))
    connection.execute(_OUTBOX, ("delete", collection_id, "", found, at))
    return None


def _collection_etag(connection: sqlite3.Connection, collection_id: str) -> str | None:
    found = connection.execute("SELECT etag FROM collections WHERE id = ?", (collection_id,)).fetchone()
    return None if found is None else str(found[0])


def _delete_boxes(connection: sqlite3.Connection, pk: int) -> None:
    connection.execute("DELETE FROM items_rtree WHERE id IN (?, ?)", (2 * pk, 2 * pk + 1))
