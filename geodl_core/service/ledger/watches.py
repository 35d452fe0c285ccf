"""Watches in the ledger: kept, changed, paused; and when the scheduled ones fire next."""

from dataclasses import dataclass

import sqlalchemy as sa

from geodl_core.domain.watch.watch import Watch, read_watch, watch_json
from geodl_core.errors import InputError
from geodl_core.service.ledger.cursors import advance, read_cursor
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.tables import WATCHES

REVISION = "watches"
"""Cursor that counts the changes of watches."""


@dataclass(frozen=True, slots=True)
class StoredWatch:
    """A watch as the ledger keeps it. Times are seconds since 1970."""

    watch: Watch
    is_paused: bool
    revision: int
    """Of all watches the one changed last has the highest."""
    created: float
    updated: float
    since: float
    """When it was made, or let go on after a pause: what was published before does not start its runs."""
    next_at: float | None
    """When a scheduled one fires next; None until the scheduler has seen it."""


def put_watch(ledger: Ledger, watch: Watch, *, replaces: bool) -> StoredWatch:
    """Keep a watch; one of the same name is replaced, or refused.

    A replaced one stays paused if it was; its schedule begins anew.

    Raises:
        InputError: there is one of that name, and `replaces` is not given.
    """
    now = ledger.clock()
    with ledger.writing() as connection:
        found = _find(connection, watch.name)
        if found is not None and not replaces:
            raise InputError(f"watch {watch.name}: there is one already", hint="--replace takes its place")
        values = {"document": watch_json(watch), "revision": _next_revision(connection), "updated": now}
        if found is None:
            row = {"name": watch.name, "is_paused": False, "created": now, "since": now, **values}
            connection.execute(WATCHES.insert().values(**row))
        else:
            connection.execute(WATCHES.update().where(WATCHES.c.name == watch.name).values(**values, next_at=None))
        return _stored(_require(connection, watch.name))


def read_stored_watch(ledger: Ledger, name: str) -> StoredWatch:
    """Return a watch by its name.

    Raises:
        InputError: there is none.
    """
    with ledger.reading() as connection:
        return _stored(_require(connection, name))


def list_watches(ledger: Ledger) -> list[StoredWatch]:
    """Return all watches, by name."""
    with ledger.reading() as connection:
        rows = connection.execute(sa.select(WATCHES).order_by(WATCHES.c.name)).mappings().all()
    return [_stored(row) for row in rows]


def revision(ledger: Ledger) -> int:
    """Return a number that changes whenever a watch is added, changed, paused or removed."""
    return read_cursor(ledger, REVISION)


def pause_watch(ledger: Ledger, name: str, *, is_paused: bool) -> StoredWatch:
    """Pause a watch, or let it go on: what is published while it is paused does not start its runs.

    Raises:
        InputError: there is none.
    """
    now = ledger.clock()
    with ledger.writing() as connection:
        values = {"is_paused": is_paused, "revision": _next_revision(connection), "updated": now}
        if _require(connection, name)["is_paused"] and not is_paused:
            values["since"] = now
        connection.execute(WATCHES.update().where(WATCHES.c.name == name).values(**values, next_at=None))
        return _stored(_require(connection, name))


def remove_watch(ledger: Ledger, name: str) -> None:
    """Forget a watch; its runs and results stay.

    Raises:
        InputError: there is none.
    """
    with ledger.writing() as connection:
        _require(connection, name)
        connection.execute(WATCHES.delete().where(WATCHES.c.name == name))
        _next_revision(connection)


def set_next(ledger: Ledger, name: str, expected: float | None, next_at: float | None) -> bool:
    """Set when a watch fires next, if nobody else has: so of several schedulers one fires.

    Returns:
        False where `next_at` was no longer the expected one.
    """
    is_expected = WATCHES.c.next_at.is_(None) if expected is None else WATCHES.c.next_at == expected
    with ledger.writing() as connection:
        change = WATCHES.update().where(WATCHES.c.name == name, is_expected).values(next_at=next_at)
        return connection.execute(change).rowcount > 0


def _find(connection: sa.Connection, name: str) -> sa.RowMapping | None:
    return connection.execute(sa.select(WATCHES).where(WATCHES.c.name == name)).mappings().first()


def _require(connection: sa.Connection, name: str) -> sa.RowMapping:
    row = _find(connection, name)
    if row is None:
        names = connection.execute(sa.select(WATCHES.c.name).order_by(WATCHES.c.name).limit(20)).scalars().all()
        raise InputError(f"no watch {name}; there are: {', '.join(names) or 'none at all'}")
    return row


def _next_revision(connection: sa.Connection) -> int:
    return advance(connection, REVISION)


def _stored(row: sa.RowMapping) -> StoredWatch:
    watch = read_watch(row["document"], f"watch {row['name']}")
    names = ("is_paused", "revision", "created", "updated", "since", "next_at")
    return StoredWatch(watch, **{name: row[name] for name in names})
