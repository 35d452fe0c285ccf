"""The tables of an embedded catalog, and how a connection to one is opened and checked."""

import hashlib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geodl_core.catalog.sqlite_functions import register_functions
from geodl_core.errors import CatalogError

SCHEMA_VERSION = 2
APPLICATION_ID = 0x67656F64
"""`geod`: tells a catalog from any other SQLite file."""
BUSY_S = 60.0
"""How long a writer waits for its turn."""
QUERYABLES = ("eo:cloud_cover", "grid:code", "created", "geodl:model", "geodl:job_id", "updated")
"""Properties with an index of their own, so that filters and sorts on them do not read every Item. New ones come
last: the place in this list is the name of the index."""

# A row of the R*Tree is twice the item's key, plus one for the second box of an Item that crosses the
# antimeridian: so rows are found and deleted without a table between. `pk` is the rowid, which SQLite
# keeps as the last column of every index, in the order that breaks ties between equal times.
_TABLES = """
CREATE TABLE collections (id TEXT PRIMARY KEY, content TEXT NOT NULL, etag TEXT NOT NULL) WITHOUT ROWID;
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
"""


def content_etag(content: bytes) -> str:
    """Return the etag of a document's bytes."""
    return hashlib.sha256(content).hexdigest()[:32]


def json_path(name: str) -> str:
    """Return the SQLite JSON path of a property whose name holds no quote, backslash or control character."""
    return f'$."{name}"'


def open_connection(path: Path, create: bool) -> sqlite3.Connection:
    """Return a connection to the catalog at `path`, made first where it is missing and `create` says so.

    Raises:
        CatalogError: no such file, no catalog, one of a newer geodl, or a folder that cannot be written.
    """
    _check_place(path, create)
    with translated(path):
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        with translated(path):
            _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's complaints into one plain line about the catalog at `path`."""
    try:
        yield
    except (sqlite3.NotSupportedError, sqlite3.ProgrammingError) as err:
        raise CatalogError(f"{path}: the catalog is closed or cannot be used here ({err})") from err
    except sqlite3.Error as err:
        raise CatalogError(f"{path}: {_expected(err)}", hint=_remedy(err)) from err


@contextmanager
def transaction(connection: sqlite3.Connection, write: bool = True) -> Iterator[None]:
    """Keep everything inside together: all of it is stored, or nothing; reads see one state."""
    connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _check_place(path: Path, create: bool) -> None:
    try:
        if path.is_dir():
            raise CatalogError(f"{path}: expected a catalog file, found a folder")
        if path.exists():
            return
        if not create:
            raise CatalogError(
                f"{path}: expected a catalog file, found none",
                hint="it is made when the first result is registered; name another with --catalog",
            )
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise CatalogError(f"{path}: expected a folder that can be written, found {err.strerror}") from err


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    register_functions(connection)
    if _version(connection) == 0:
        _create(connection, path)
    found, version = connection.execute("PRAGMA application_id").fetchone()[0], _version(connection)
    if found != APPLICATION_ID:
        raise CatalogError(f"{path}: expected a geodl catalog, found another kind of SQLite database")
    if version > SCHEMA_VERSION:
        raise CatalogError(
            f"{path}: expected catalog version {SCHEMA_VERSION} or older, found {version}",
            hint="a newer geodl wrote it: upgrade this one",
        )
    if version < SCHEMA_VERSION:
        _upgrade(connection)
    # FULL, not NORMAL: an acknowledged Item survives a power cut, too.
    connection.execute("PRAGMA synchronous = FULL")


def _create(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] and not _version(connection):
        raise CatalogError(f"{path}: expected a geodl catalog, found another kind of SQLite database")
    _switch_to_wal(connection)
    with transaction(connection):
        if _version(connection):  # another process was faster
            return
        for statement in _TABLES.strip().split(";\n"):
            connection.execute(statement)
        _index_queryables(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _upgrade(connection: sqlite3.Connection) -> None:
    """Bring a catalog of an older geodl to today's tables, whole or not at all."""
    with transaction(connection):
        if _version(connection) == SCHEMA_VERSION:  # another process was faster
            return
        connection.execute("ALTER TABLE collections ADD COLUMN etag TEXT NOT NULL DEFAULT ''")
        for collection_id, content in connection.execute("SELECT id, content FROM collections").fetchall():
            etag = content_etag(content.encode())
            connection.execute("UPDATE collections SET etag = ? WHERE id = ?", (etag, collection_id))
        _index_queryables(connection)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _index_queryables(connection: sqlite3.Connection) -> None:
    for number, name in enumerate(QUERYABLES):
        connection.execute(
            f"CREATE INDEX IF NOT EXISTS items_queryable_{number} ON items (json_extract(props, '{json_path(name)}'))"
        )


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Switch the journal; SQLite does not wait for its turn here, so this does."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as err:
            if "locked" not in str(err) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _expected(err: sqlite3.Error) -> str:
    match getattr(err, "sqlite_errorname", "").split("_")[1:2]:
        case ["NOTADB"]:
            return "expected a geodl catalog, found a file that is no SQLite database"
        case ["CORRUPT"]:
            return f"expected a sound catalog, found a damaged one ({err})"
        case ["READONLY"] | ["CANTOPEN"] | ["PERM"]:
            return f"expected a file and folder that can be written, found: {err}"
        case ["BUSY"] | ["LOCKED"]:
            return f"expected a turn within {BUSY_S:.0f} s, found another program writing all the time"
        case ["FULL"] | ["IOERR"]:
            return f"expected room on a working disk, found: {err}"
    return f"the catalog refused: {err}"


def _remedy(err: sqlite3.Error) -> str | None:
    match getattr(err, "sqlite_errorname", "").split("_")[1:2]:
        case ["READONLY"] | ["CANTOPEN"] | ["PERM"]:
            return "reading a catalog, too, needs leave to write in its folder: copy it to one of yours"
        case ["CORRUPT"]:
            return "restore a copy, or remove the file and register the results again"
    return None
