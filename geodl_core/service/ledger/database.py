"""The ledger: what keeps account of runs and watches, in the catalog's own database, SQLite or PostgreSQL."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy import event

from geodl_core.catalog.open import POSTGRES, open_catalog
from geodl_core.domain.place.href import hide_secrets, scrub
from geodl_core.errors import CatalogError, InputError
from geodl_core.service.ledger.tables import METADATA, SCHEMA, SCHEMA_VERSION, VERSION

BUSY_S = 60
"""How long a writer waits for its turn."""
LEASE_S = 60.0
WRITERS_LOCK = 0x67656F64
"""Key of PostgreSQL's advisory lock by which writers take turns, as they do in SQLite by themselves."""


class Ledger:
    """Access to the ledger's tables. Threads and processes share one; every writing block is whole or not at all.

    Args:
        location: path of a catalog file, made where it is missing, or `postgresql://…`.
        clock: seconds since 1970.
        lease_s: a worker that is not heard of for so long has lost its work.

    Raises:
        InputError: the location can have no ledger.
        CatalogError: it cannot be reached or written, or a newer geodl made it.
    """

    def __init__(self, location: str, clock: Callable[[], float] = time.time, lease_s: float = LEASE_S) -> None:
        if location.lower().startswith(("http://", "https://")):
            raise InputError(
                f"{hide_secrets(location)}: expected a catalog file or postgresql://, found the address of a server",
                hint="on the server's machine name its catalog file or postgresql:// address; from elsewhere runs, "
                "publish and worker take --server URL, and watches go through its API, /watches",
            )
        self.location = location
        self.clock = clock
        self.lease_s = lease_s
        self.is_sqlite = not location.startswith(POSTGRES)
        # Makes the catalog where it is missing, and says plainly what is wrong with one.
        with open_catalog(location):
            pass
        self._turn = threading.Lock()
        self._engine = _sqlite_engine(location) if self.is_sqlite else _postgres_engine(location)
        self._make_tables()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Give a connection on which all reads see one state."""
        with self._translated(), self._engine.connect() as connection:
            if not self.is_sqlite:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")  # noqa: PLW2901
            with connection.begin():
                yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Give a connection on which everything is stored, or nothing; writers take turns."""
        with self._turn, self._translated(), self._engine.connect() as connection:
            connection.info["writes"] = True
            try:
                with connection.begin():
                    if not self.is_sqlite:
                        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(WRITERS_LOCK)))
                    yield connection
            finally:
                connection.info.pop("writes", None)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.SQLAlchemyError as err:
            reason = scrub(str(getattr(err, "orig", err))).partition("\n")[0]
            raise CatalogError(f"{hide_secrets(self.location)}: the ledger does not answer ({reason})") from err

    def _make_tables(self) -> None:
        with self.reading() as connection:
            there = sa.inspect(connection).has_table(VERSION.name)
            found = connection.execute(sa.select(VERSION.c.version)).scalar() if there else None
        if found == SCHEMA_VERSION:
            return
        with self.writing() as connection:
            if not self.is_sqlite:
                connection.execute(sa.schema.CreateSchema(SCHEMA, if_not_exists=True))
            METADATA.create_all(connection)
            found = connection.execute(sa.select(VERSION.c.version)).scalar()
            if found is None:
                connection.execute(VERSION.insert().values(version=SCHEMA_VERSION))
            elif found > SCHEMA_VERSION:
                raise CatalogError(
                    f"{hide_secrets(self.location)}: expected ledger version {SCHEMA_VERSION} or older, found {found}",
                    hint="a newer geodl wrote it: upgrade this one",
                )


def insert_new(ledger: Ledger, connection: sa.Connection, table: sa.Table, values: dict[str, Any]) -> bool:
    """Insert a row where there is none of its key; return whether it was inserted."""
    if ledger.is_sqlite:
        from sqlalchemy.dialects.sqlite import insert  # noqa: PLC0415  # of the database in use
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]  # noqa: PLC0415  # as above
    # What it returns, not how many rows it says: drivers differ in that.
    key = next(iter(table.primary_key.columns))
    inserted = connection.execute(insert(table).values(**values).on_conflict_do_nothing().returning(key))
    return inserted.first() is not None


def _sqlite_engine(location: str) -> sa.Engine:
    path = Path(location.removeprefix("file://")).absolute()
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        connect_args={"timeout": BUSY_S, "isolation_level": None, "check_same_thread": False},
        pool_size=8,
        max_overflow=24,
        # What is written may be a secret, and errors are shown.
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        # As the catalog: whatever was acknowledged survives a power cut.
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # Python's module would begin late and upgrade the lock, which fails where two do it at once.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.info.get("writes") else "BEGIN")

    return engine


def _postgres_engine(location: str) -> sa.Engine:
    address = location.partition("://")[2]
    return sa.create_engine(
        f"postgresql+psycopg://{address}",
        connect_args={"options": f"-csearch_path={SCHEMA},public", "connect_timeout": 10},
        # A connection that the server has closed is replaced when it is asked for.
        pool_pre_ping=True,
        hide_parameters=True,
        pool_size=8,
        max_overflow=24,
    )
