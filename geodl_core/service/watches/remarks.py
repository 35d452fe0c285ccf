"""What a watch could not do last: kept beside the watches, so that people see it where they look at them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from geodl_core.service.ledger.database import Ledger, insert_new
from geodl_core.service.ledger.runs import plain
from geodl_core.service.ledger.tables import METADATA
from geodl_core.service.watches.verdict import Remark

REMARKS = sa.Table(
    "watch_remarks",
    METADATA,
    sa.Column("watch", sa.Text, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    # How many there were in all.
    sa.Column("count", sa.Integer, nullable=False),
    # COLLECTION/ID of the Item.
    sa.Column("item", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
)


@dataclass(frozen=True, slots=True)
class LastRemark:
    """The last one of a watch."""

    watch: str
    at: float
    count: int
    item: str
    text: str


def prepare_remarks(ledger: Ledger) -> None:
    """Make the table where it is missing: ledgers are older than it."""
    with ledger.reading() as connection:
        is_there = sa.inspect(connection).has_table(REMARKS.name)
    if not is_there:
        with ledger.writing() as connection:
            REMARKS.create(connection, checkfirst=True)


def write_remarks(ledger: Ledger, connection: sa.Connection, remarks: Iterable[Remark]) -> None:
    """Keep remarks inside a writing transaction; of each watch the last one stays."""
    for one in remarks:
        values = {"at": ledger.clock(), "item": plain(one.item), "text": plain(one.text)}
        if not insert_new(ledger, connection, REMARKS, {"watch": one.watch, "count": 1, **values}):
            mine = REMARKS.c.watch == one.watch
            connection.execute(REMARKS.update().where(mine).values(**values, count=REMARKS.c.count + 1))


def last_remarks(ledger: Ledger) -> Mapping[str, LastRemark]:
    """Return the last remark of each watch that has any."""
    prepare_remarks(ledger)
    with ledger.reading() as connection:
        return {row["watch"]: LastRemark(**row) for row in connection.execute(sa.select(REMARKS)).mappings()}


def forget_remarks(ledger: Ledger, watch: str) -> None:
    """Remove a watch's remarks."""
    prepare_remarks(ledger)
    with ledger.writing() as connection:
        connection.execute(REMARKS.delete().where(REMARKS.c.watch == watch))
