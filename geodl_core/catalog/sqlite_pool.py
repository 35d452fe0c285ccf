"""Connections to one catalog file, lent to whichever thread asks."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geodl_core.catalog.sqlite_schema import open_connection, transaction, translated
from geodl_core.errors import CatalogError


class ConnectionPool:
    """Open connections that nobody uses now; as many are opened as are used at a time.

    Args:
        path: of the catalog.
        create: whether to make it where there is none.

    Raises:
        CatalogError: the file is missing, no catalog, or cannot be written.
    """

    def __init__(self, path: Path, create: bool) -> None:
        self._path = path
        self._create = create
        self._lock = threading.Lock()
        # Writers of one process queue here: SQLite's own waiting is a poll with growing pauses.
        self._turn = threading.Lock()
        self._is_closed = False
        self._idle: list[sqlite3.Connection] = [open_connection(path, create)]

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection on which all reads see one state."""
        with self._lent() as connection, transaction(connection, write=False):
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection on which everything is stored, or nothing."""
        with self._turn, self._lent() as connection, transaction(connection):
            yield connection

    @contextmanager
    def plain(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection outside of any transaction."""
        with self._lent() as connection:
            yield connection

    def close(self) -> None:
        """Close the connections; those in use follow when they come back."""
        with self._lock:
            idle, self._idle, self._is_closed = self._idle, [], True
        for connection in idle:
            _shut(connection)

    @contextmanager
    def _lent(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._is_closed:
                raise CatalogError(f"{self._path}: the catalog is closed")
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = open_connection(self._path, self._create)
        try:
            with translated(self._path):
                yield connection
        finally:
            with self._lock:
                is_kept = not self._is_closed
                if is_kept:
                    self._idle.append(connection)
            if not is_kept:
                _shut(connection)


def _shut(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("PRAGMA analysis_limit = 400")
        connection.execute("PRAGMA optimize")
    except sqlite3.Error:  # a reader without leave to write has nothing to keep
        pass
    finally:
        connection.close()
