"""How far a follower has read, kept so that of several processes just one takes a step."""

import sqlalchemy as sa

from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.tables import CURSORS


def read_cursor(ledger: Ledger, name: str) -> int:
    """Return where a follower stands, 0 where it never was."""
    with ledger.reading() as connection:
        return position_of(connection, name)


def position_of(connection: sa.Connection, name: str) -> int:
    """Return where a follower stands, inside a transaction."""
    return int(connection.execute(sa.select(CURSORS.c.position).where(CURSORS.c.name == name)).scalar() or 0)


def move_cursor(connection: sa.Connection, name: str, expected: int, position: int) -> bool:
    """Move a follower on inside a writing transaction, if it still stands where it was expected.

    Returns:
        False where another process was faster: then nothing of the transaction should be kept.
    """
    if position_of(connection, name) != expected:
        return False
    set_cursor(connection, name, position)
    return True


def advance(connection: sa.Connection, name: str) -> int:
    """Count on by one inside a writing transaction; return the new number."""
    position = position_of(connection, name) + 1
    set_cursor(connection, name, position)
    return position


def set_cursor(connection: sa.Connection, name: str, position: int) -> None:
    """Set where a follower stands, inside a writing transaction."""
    if connection.execute(CURSORS.update().where(CURSORS.c.name == name).values(position=position)).rowcount == 0:
        connection.execute(CURSORS.insert().values(name=name, position=position))
