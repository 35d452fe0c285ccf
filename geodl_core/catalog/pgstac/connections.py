"""Connections to a pgstac database: lent to whichever thread asks, made anew when PostgreSQL was gone."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from geodl_core.errors import CatalogError, ItemError, QueryError

# What the pool complains of, each call's error says; without a handler it would go to the terminal as well.
logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
Connection = psycopg.Connection[tuple[Any, ...]]
MOST_CONNECTIONS = 10
CONNECT_S = 5
"""How long PostgreSQL may take to answer a new connection, and a thread waits for one that is free."""
TRIES = 6
"""How often a write is made that others got in the way of; the pauses grow from 20 ms to 320 ms."""
_PAUSE_S = 0.02
# Others got in the way: deadlocks, partitions made or bounded at the same time, the same Item written elsewhere.
_AGAIN = (
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
    psycopg.errors.CheckViolation,
    psycopg.errors.UniqueViolation,
    psycopg.errors.DuplicateTable,
    psycopg.errors.LockNotAvailable,
)
_NOT_READY = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.UndefinedObject,
    psycopg.errors.InvalidSchemaName,
)
SETTINGS = {"search_path": "pgstac, public", "timezone": "UTC", "jit": "off", "max_parallel_workers_per_gather": "0"}
"""What the SQL of this package relies on; compiling a query and starting processes for it takes longer than most do."""
_ASK = "SELECT " + ", ".join(f"current_setting('{name}')" for name in SETTINGS)
SETTING = "; ".join(
    f"SET {name} TO {value if name == 'search_path' else repr(value)}" for name, value in SETTINGS.items()
)
INIT_HINT = "geodl catalog init --catalog ADDRESS makes it ready"
T = TypeVar("T")


class RetryError(Exception):
    """What was read before the lock does not hold any more."""


class Pool:
    """Connections to one database, shared by the threads of a process.

    Args:
        dsn: `postgresql://user:password@host:port/database`, or libpq's key=value pairs.

    Raises:
        CatalogError: the address is none, or PostgreSQL does not answer.
    """

    def __init__(self, dsn: str) -> None:
        self.name = address_name(dsn)
        # Writers of one process queue here: waiting in PostgreSQL they would hold connections that readers need.
        self._turn = threading.Lock()
        connect(dsn).close()
        self._pool = ConnectionPool(
            dsn,
            min_size=1,
            max_size=MOST_CONNECTIONS,
            kwargs={"connect_timeout": CONNECT_S},
            configure=configure,
            check=ConnectionPool.check_connection,
            timeout=CONNECT_S,
            reconnect_timeout=CONNECT_S,
            open=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; those in use follow when they come back."""
        self._pool.close()

    @contextmanager
    def lent(self) -> Iterator[Connection]:
        """Lend a connection in a transaction: all of it is stored, or nothing."""
        with translated(self.name), self._pool.connection() as connection:
            yield connection

    def write(self, work: Callable[[Connection], T]) -> T:
        """Do work in a transaction, and again where others got in its way.

        Raises:
            CatalogError: the database does not answer, or others get in the way all the time.
        """
        with translated(self.name):
            for attempt in range(TRIES):
                try:
                    with self._turn, self._pool.connection() as connection:
                        return work(connection)
                except (*_AGAIN, RetryError) as err:
                    if attempt == TRIES - 1:
                        raise CatalogError(f"{self.name}: others write the same all the time; gave up") from err
                    time.sleep(_PAUSE_S * 2**attempt)
        raise AssertionError


def connect(dsn: str, autocommit: bool = False) -> Connection:
    """Return a connection of its own.

    Raises:
        CatalogError: the address is none, or PostgreSQL does not answer.
    """
    with translated(address_name(dsn)):
        connection = psycopg.connect(dsn, connect_timeout=CONNECT_S, autocommit=True)
        configure(connection)
        connection.autocommit = autocommit
        return connection


def configure(connection: Connection) -> None:
    """Set what the SQL of this package relies on, unless it is so: RDS Proxy shares no connection that set anything."""
    # Plans for the values at hand find indexes and partitions that general ones miss.
    connection.prepare_threshold = None
    if connection.execute(_ASK).fetchone() != tuple(SETTINGS.values()):
        connection.execute(SETTING)
    if not connection.autocommit:
        connection.commit()


def address_name(dsn: str) -> str:
    """Return a database's address without user and password, for messages."""
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.Error as err:
        raise CatalogError(
            "expected a database's address, found another text",
            hint="postgresql://user:password@host:5432/database; signs such as @ / % in a password are written as %40",
        ) from err
    host, port, name = (str(parts.get(key) or "") for key in ("host", "port", "dbname"))
    # A password with signs that are not escaped ends up in the other parts.
    if not (port or "0").replace(",", "").isdigit() or "@" in host + name or (host and "/" in name):
        return "postgresql://…"
    return f"postgresql://{host}{':' if port else ''}{port}/{name}"


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn PostgreSQL's complaints into one plain line about the database at `name`.

    Raises:
        CatalogError: it does not answer, or refuses.
        QueryError: it cannot compute what a search asks for.
        ItemError: a document holds what it cannot store.
    """
    try:
        yield
    except PoolClosed as err:
        raise CatalogError(f"{name}: the catalog is closed") from err
    except PoolTimeout as err:
        raise CatalogError(
            f"{name}: expected a connection within {CONNECT_S} s, found none", hint="is PostgreSQL running?"
        ) from err
    except _NOT_READY as err:
        raise CatalogError(f"{name}: expected a catalog of geodl, found another database", hint=INIT_HINT) from err
    except psycopg.errors.InsufficientPrivilege as err:
        raise CatalogError(
            f"{name}: the user may not do this ({_primary(err)})", hint="GRANT pgstac_admin TO the user"
        ) from err
    except (psycopg.errors.UntranslatableCharacter, psycopg.errors.CharacterNotInRepertoire) as err:
        raise ItemError("expected text without the character U+0000, which PostgreSQL cannot store, found it") from err
    except psycopg.errors.ProgramLimitExceeded as err:
        raise ItemError("expected values of 2,600 bytes at most in indexed properties, found a longer one") from err
    except psycopg.DataError as err:
        raise QueryError("a search asks for what cannot be computed or written in PostgreSQL") from err
    except psycopg.OperationalError as err:
        raise CatalogError(f"{name}: {_reason(err)}", hint="is PostgreSQL running, and the address right?") from err
    except psycopg.Error as err:
        raise CatalogError(f"{name}: the database refused: {_primary(err)}") from err


def _primary(err: psycopg.Error) -> str:
    lines = (err.diag.message_primary or type(err).__name__).splitlines()
    return lines[0][:200]


def _reason(err: psycopg.Error) -> str:
    """Return what a connection failed of: the end of libpq's sentence, which names no password."""
    if err.diag.message_primary:
        return f"the database does not answer: {_primary(err)}"
    last = str(err).strip().splitlines()[0].rpartition("failed: ")[2] if str(err).strip() else ""
    return "the database does not answer" + (f": {last[:200]}" if last and "@" not in last else "")
