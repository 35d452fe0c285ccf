"""Writes inside an open transaction: the rows and their lines in the outbox, under the writer's conditions.

All writers of geodl take one lock first, so a follower of the outbox never meets a line that was committed later than
one with a higher number. Nothing waits for that lock while it holds another.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from geodl_core.catalog.answers import IfMatch, Mode, Refusal, changed
from geodl_core.catalog.pgstac.connections import Connection, RetryError
from geodl_core.catalog.pgstac.rows import Base, PgstacRow, pgstac_row, read_bases
from geodl_core.catalog.sqlite_rows import ItemRow

LOCK = "SELECT pg_advisory_xact_lock(7310582041)"
_PARTITIONS = """
SELECT pgstac.check_partition(collection, dtrange, edtrange) FROM (
    SELECT r.collection,
        tstzrange(min(r.t0), max(r.t0), '[]') AS dtrange, tstzrange(min(r.t1), max(r.t1), '[]') AS edtrange
    FROM unnest(%s::text[], %s::timestamptz[], %s::timestamptz[]) AS r (collection, t0, t1)
    JOIN pgstac.collections c ON c.id = r.collection
    GROUP BY r.collection, coalesce(date_trunc(c.partition_trunc, r.t0), '-infinity')
    ORDER BY 1, 2
) AS parts
"""
# Parameters in binary (%b): as text each quote in the documents would be escaped one by one, in Python.
_INSERT = """
INSERT INTO pgstac.items AS i (collection, id, datetime, end_datetime, geometry, content, private)
SELECT r.collection, r.id, r.t0, r.t1, r.geom::geometry, r.content::jsonb, r.private::jsonb
FROM unnest(
    %b::text[], %b::text[], %b::text[]::timestamptz[], %b::text[]::timestamptz[], %b::bytea[], %b::text[], %b::text[]
) AS r (collection, id, t0, t1, geom, content, private)
RETURNING i.collection, i.id, geodl.etag(i)
"""
_FIND = """
SELECT i.collection, i.id, geodl.etag(i) FROM pgstac.items i
JOIN unnest(%s::text[], %s::text[]) AS k (collection, id) ON i.collection = k.collection AND i.id = k.id
WHERE i.collection = ANY(%s) FOR UPDATE OF i
"""
_DELETE = """
DELETE FROM pgstac.items i USING unnest(%s::text[], %s::text[]) AS k (collection, id)
WHERE i.collection = k.collection AND i.id = k.id AND i.collection = ANY(%s)
"""
_OUTBOX = """
INSERT INTO geodl.outbox (op, collection, id, etag, at)
SELECT r.op, r.collection, r.id, r.etag, %s FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[])
    WITH ORDINALITY AS r (op, collection, id, etag, number) ORDER BY number
"""
_OUTBOX_OF_COLLECTION = """
INSERT INTO geodl.outbox (op, collection, id, etag, at)
SELECT 'delete', collection, id, geodl.etag(i), %s FROM pgstac.items i WHERE collection = %s ORDER BY id COLLATE "C"
"""
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Asked:
    """How a write is to be made."""

    mode: Mode
    if_match: IfMatch
    at: datetime


def write_items(
    connection: Connection, items: Sequence[tuple[Mapping[str, Any], ItemRow]], asked: Asked
) -> tuple[str, ...] | Refusal:
    """Write Items as asked, all or none; return their new etags, or why none was written.

    Raises:
        RetryError: a Collection changed since its Items were made ready.
    """
    wanted = {row.collection_id for _, row in items}
    bases = read_bases(connection, wanted)
    rows = [pgstac_row(item, row, bases[row.collection_id]) for item, row in items if row.collection_id in bases]
    connection.execute(LOCK)
    now = read_bases(connection, wanted)
    missing = sorted(wanted - set(now))
    if missing:
        return Refusal("missing", f"no collection {missing[0]!r}")
    if _tags(now) != _tags(bases):
        raise RetryError
    found = _found(connection, [row.key for row in rows])
    refusal = _refusal([row.key for row in rows], found, asked)
    if refusal is not None:
        return refusal
    etags: list[str] = []
    for batch in _rounds(rows):
        etags += _write_batch(connection, batch, found, asked.at)
    return tuple(etags)


def remove_item(connection: Connection, key: Key, asked: Asked) -> Refusal | None:
    """Delete the Item of a (collection, id), or say why not."""
    connection.execute(LOCK)
    name = "item {}/{}".format(*key)
    etag = _found(connection, [key]).get(key)
    if etag is None:
        return Refusal("missing", f"{name}: there is none")
    if asked.if_match is not None and etag not in asked.if_match:
        return changed(name)
    _delete(connection, [key])
    _tell(connection, [("delete", *key, etag)], asked.at)
    return None


def write_collection(connection: Connection, collection: Mapping[str, Any], asked: Asked) -> str | Refusal:
    """Create or replace a Collection as asked; return its new etag, or why it was not written."""
    connection.execute(LOCK)
    collection_id = str(collection["id"])
    name, found = f"collection {collection_id!r}", _collection_etag(connection, collection_id)
    if asked.mode == "create" and found is not None:
        return Refusal("taken", f"{name}: there is one already")
    if asked.mode == "replace" and found is None:
        return Refusal("missing", f"no {name}")
    if asked.if_match is not None and found not in asked.if_match:
        return changed(name)
    function = "create_collection" if found is None else "update_collection"
    connection.execute(f"SELECT pgstac.{function}(%s::jsonb)", (json.dumps(collection, ensure_ascii=False),))
    etag = str(_collection_etag(connection, collection_id))
    # A line without an Item's id is about the Collection itself.
    _tell(connection, [("create" if found is None else "replace", collection_id, "", etag)], asked.at)
    return etag


def remove_collection(connection: Connection, collection_id: str, asked: Asked) -> Refusal | None:
    """Delete a Collection and its Items, each with its line in the outbox, or say why not."""
    connection.execute(LOCK)
    name, etag = f"collection {collection_id!r}", _collection_etag(connection, collection_id)
    if etag is None:
        return Refusal("missing", f"no {name}")
    if asked.if_match is not None and etag not in asked.if_match:
        return changed(name)
    connection.execute(_OUTBOX_OF_COLLECTION, (asked.at, collection_id))
    connection.execute("SELECT pgstac.delete_collection(%s)", (collection_id,))
    _tell(connection, [("delete", collection_id, "", etag)], asked.at)
    return None


def _refusal(keys: Sequence[Key], found: Mapping[Key, str], asked: Asked) -> Refusal | None:
    seen: set[Key] = set()
    for key in keys:
        name = "item {}/{}".format(*key)
        if asked.mode == "create" and (key in found or key in seen):
            return Refusal("taken", f"{name}: there is one already")
        if asked.mode == "replace" and key not in found:
            return Refusal("missing", f"{name}: there is none")
        if asked.if_match is not None and found.get(key) not in asked.if_match:
            return changed(name)
        seen.add(key)
    return None


def _rounds(rows: Sequence[PgstacRow]) -> Iterator[list[PgstacRow]]:
    """Yield rows in their order, in batches that hold no Item twice."""
    batch: dict[Key, PgstacRow] = {}
    for row in rows:
        if row.key in batch:
            yield list(batch.values())
            batch = {}
        batch[row.key] = row
    if batch:
        yield list(batch.values())


def _write_batch(connection: Connection, rows: Sequence[PgstacRow], found: dict[Key, str], at: datetime) -> list[str]:
    """Write rows of which each is another Item; note in `found` what is there then."""
    replaced = [row.key for row in rows if row.key in found]
    if replaced:
        _delete(connection, replaced)
    columns = [[getattr(row, name) for row in rows] for name in ("collection_id", "start", "end")]
    connection.execute(_PARTITIONS, columns)
    names = ("collection_id", "item_id", "start", "end", "geometry", "content", "private")
    written = connection.execute(_INSERT, [[getattr(row, name) for row in rows] for name in names])
    etags = {(collection_id, item_id): etag for collection_id, item_id, etag in written}
    lines = [("replace" if row.key in found else "create", *row.key, etags[row.key]) for row in rows]
    _tell(connection, lines, at)
    found |= etags
    return [etags[row.key] for row in rows]


def _found(connection: Connection, keys: Sequence[Key]) -> dict[Key, str]:
    """Return the etags of Items that are there, locked against other programs."""
    found = connection.execute(_FIND, _columns(keys))
    return {(collection_id, item_id): etag for collection_id, item_id, etag in found}


def _delete(connection: Connection, keys: Sequence[Key]) -> None:
    connection.execute(_DELETE, _columns(keys))


def _columns(keys: Sequence[Key]) -> tuple[list[str], list[str], list[str]]:
    collections, ids = [key[0] for key in keys], [key[1] for key in keys]
    return collections, ids, sorted(set(collections))


def _tell(connection: Connection, lines: Sequence[tuple[str, str, str, str]], at: datetime) -> None:
    connection.execute(_OUTBOX, (at, *([line[number] for line in lines] for number in range(4))))


def _collection_etag(connection: Connection, collection_id: str) -> str | None:
    found = connection.execute(
        "SELECT geodl.etag(content) FROM pgstac.collections WHERE id = %s FOR UPDATE", (collection_id,)
    ).fetchone()
    return None if found is None else str(found[0])


def _tags(bases: Mapping[str, Base]) -> dict[str, tuple[int | None, str]]:
    return {name: (base.tag, json.dumps(base.document, sort_keys=True)) for name, base in bases.items()}
