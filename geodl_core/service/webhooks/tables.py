"""The tables of webhooks, beside those of the ledger."""

import sqlalchemy as sa

from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.tables import METADATA

WEBHOOKS = sa.Table(
    "webhooks",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("url", sa.Text, nullable=False),
    # Signs what is sent, so that it has to be here as it is.
    sa.Column("secret", sa.Text, nullable=False),
    # Names of watches; none: of all runs.
    sa.Column("watches", sa.JSON, nullable=False),
    sa.Column("states", sa.JSON, nullable=False),
    # Whether it may lie on this machine or in a private network.
    sa.Column("is_private", sa.Boolean, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    # What happened before it was added is not told.
    sa.Column("from_seq", sa.Integer, nullable=False),
    sa.Column("delivered", sa.Integer, nullable=False),
    sa.Column("last_at", sa.Float),
    # What came of the last try: an answer's status, or why there was none.
    sa.Column("last_said", sa.Text),
)

DELIVERIES = sa.Table(
    "deliveries",
    METADATA,
    # Of the event, and of the message's signature.
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("webhook", sa.Text, nullable=False),
    # JSON as it is sent.
    sa.Column("body", sa.Text, nullable=False),
    # open or dead.
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("not_before", sa.Float, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("said", sa.Text),
)
sa.Index("deliveries_due", DELIVERIES.c.state, DELIVERIES.c.not_before)
sa.Index("deliveries_webhook", DELIVERIES.c.webhook)


def prepare_webhooks(ledger: Ledger) -> None:
    """Make the tables where they are missing."""
    with ledger.reading() as connection:
        there = sa.inspect(connection)
        if there.has_table(WEBHOOKS.name) and there.has_table(DELIVERIES.name):
            return
    with ledger.writing() as connection:
        METADATA.create_all(connection, tables=[WEBHOOKS, DELIVERIES])
