"""A catalog of an older geodl is brought to today's tables, with everything that is in it."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.catalog.sqlite_rows import item_row
from geodl_core.domain.query import ItemQuery
from geodl_core.errors import CatalogError

ROOT = Path(__file__).parents[3]
COLLECTION = '{"id": "c", "type": "Collection", "title": "Wälder"}'
VERSION_1 = """
CREATE TABLE collections (id TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE items (
    pk INTEGER PRIMARY KEY,
    collection TEXT NOT NULL REFERENCES collections (id),
    id TEXT NOT NULL,
    t0 INTEGER NOT NULL,
    t1 INTEGER NOT NULL,
    geom BLOB,
    etag TEXT NOT NULL,
    props TEXT NOT NULL,
    content BLOB NOT NULL,
    UNIQUE (collection, id)
);
CREATE INDEX items_id ON items (id);
CREATE INDEX items_t0 ON items (t0);
CREATE INDEX items_collection_t0 ON items (collection, t0);
CREATE INDEX items_span ON items (t1 - t0);
CREATE VIRTUAL TABLE items_rtree USING rtree (id, minx, maxx, miny, maxy);
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    op TEXT NOT NULL,
    collection TEXT NOT NULL,
    id TEXT NOT NULL,
    etag TEXT NOT NULL,
    at TEXT NOT NULL
);
CREATE INDEX items_queryable_0 ON items (json_extract(props, '$."eo:cloud_cover"'));
CREATE INDEX items_queryable_1 ON items (json_extract(props, '$."grid:code"'));
CREATE INDEX items_queryable_2 ON items (json_extract(props, '$."created"'));
CREATE INDEX items_queryable_3 ON items (json_extract(props, '$."geodl:model"'));
CREATE INDEX items_queryable_4 ON items (json_extract(props, '$."geodl:job_id"'));
PRAGMA application_id = 1734700900;
PRAGMA user_version = 1;
"""
"""The tables as geodl 0.1 made them, letter by letter."""


def make_item(number):
    return {
        "type": "Feature",
        "id": f"i{number}",
        "collection": "c",
        "geometry": {"type": "Point", "coordinates": [number, 50]},
        "properties": {"datetime": f"20{number + 10}-01-01T00:00:00Z", "platform": f"p{number % 2}"},
        "assets": {},
        "links": [],
    }


@pytest.fixture
def old(tmp_path):
    """A catalog file of version 1 with five Items."""
    path = tmp_path / "catalog.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(VERSION_1)
    connection.execute("INSERT INTO collections VALUES ('c', ?)", (COLLECTION,))
    for number in range(5):
        row = item_row(make_item(number))
        columns = (number + 1, "c", row.item_id, row.t0, row.t1, row.geom, row.etag, row.props, row.content)
        connection.execute("INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", columns)
        box = (2 * number + 2, number, number, 50, 50)
        connection.execute("INSERT INTO items_rtree VALUES (?, ?, ?, ?, ?)", box)
        written = ("create", "c", row.item_id, row.etag, "2025-01-01T00:00:00+00:00")
        connection.execute("INSERT INTO outbox (op, collection, id, etag, at) VALUES (?, ?, ?, ?, ?)", written)
    connection.close()
    return path


def schema(path):
    connection = sqlite3.connect(path)
    found = connection.execute(
        "SELECT type, name, tbl_name FROM sqlite_master WHERE name NOT LIKE 'sqlite_stat%' ORDER BY 1, 2"
    ).fetchall()
    columns = connection.execute("SELECT name, type, \"notnull\" FROM pragma_table_info('collections')").fetchall()
    connection.close()
    return found, columns


def test_everything_is_there_after_the_upgrade(old, tmp_path):
    """Items, Collections and the outbox of an old file are found, in today's tables."""
    with SqliteCatalog(old) as catalog:
        assert list(catalog.search(ItemQuery()).items) == [make_item(n) for n in (4, 3, 2, 1, 0)]
        assert [one["id"] for one in catalog.search(ItemQuery(bbox=(2, 40, 3, 60))).items] == ["i3", "i2"]
        assert catalog.count(ItemQuery(filter="platform = 'p0'")) == 3
        assert [row.seq for row in catalog.outbox(2, 10)] == [3, 4, 5]
        stored = catalog.read_collection("c")
        assert stored.content["title"] == "Wälder"
        catalog.put_collection(stored.content | {"title": "x"})
        assert catalog.read_collection("c").etag != stored.etag
    SqliteCatalog(tmp_path / "new.db").close()
    assert schema(old) == schema(tmp_path / "new.db")


def test_etags_of_old_collections_are_those_of_new_ones(old, tmp_path):
    """A Collection has one etag, whichever geodl stored it."""
    with SqliteCatalog(old) as upgraded, SqliteCatalog(tmp_path / "new.db") as new:
        stored = upgraded.read_collection("c")
        new.put_collection(stored.content)
        assert new.read_collection("c") == stored


def test_processes_that_open_an_old_file_at_once_upgrade_it_once(old):
    """Four processes that start at the same time all find a catalog of today."""
    code = f"from geodl_core.catalog.sqlite import SqliteCatalog; print(len(SqliteCatalog({str(old)!r}).collections()))"
    running = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    assert [process.communicate(timeout=60)[0] for process in running] == ["1\n"] * 4
    assert [process.returncode for process in running] == [0] * 4


def test_an_upgrade_that_fails_leaves_the_old_file(old):
    """Where the upgrade cannot be finished the file stays as it was."""
    connection = sqlite3.connect(old)
    for number in range(5):
        connection.execute(f"DROP INDEX items_queryable_{number}")
    connection.execute("UPDATE items SET props = 'no json' WHERE pk = 3")
    connection.commit()
    before = schema(old)
    connection.close()
    with pytest.raises(CatalogError):
        SqliteCatalog(old)
    assert schema(old) == before
    connection = sqlite3.connect(old)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.close()
