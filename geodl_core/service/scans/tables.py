"""The table of scans, beside those of the ledger."""

import sqlalchemy as sa

from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.tables import METADATA

SCANS = sa.Table(
    "scans",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("watch", sa.Text, nullable=False),
    # scan or backfill.
    sa.Column("kind", sa.Text, nullable=False),
    # Seconds since 1970; the end is not a part of the window.
    sa.Column("since", sa.Float, nullable=False),
    sa.Column("until", sa.Float, nullable=False),
    # open, held, done or failed.
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    # Of the watch with which it began: another one begins anew.
    sa.Column("digest", sa.Text),
    # domain.scan.place.place_json, None at the beginning.
    sa.Column("place", sa.JSON(none_as_null=True)),
    # What the API can do, found on its landing page.
    sa.Column("api", sa.JSON(none_as_null=True)),
    sa.Column("counts", sa.JSON, nullable=False),
    # New runs that it may order before it is held; None: as many as there are.
    sa.Column("budget", sa.Integer),
    # Of its runs on one day (UTC), if lower than the watch's.
    sa.Column("brake", sa.Integer),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("not_before", sa.Float, nullable=False),
    sa.Column("lease", sa.Text),
    sa.Column("expires", sa.Float),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("updated", sa.Float, nullable=False),
    # Class, message and hint of what stopped it.
    sa.Column("error", sa.JSON(none_as_null=True)),
)
sa.Index("scans_state", SCANS.c.state, SCANS.c.priority.desc(), SCANS.c.created)
sa.Index("scans_watch", SCANS.c.watch, SCANS.c.kind, SCANS.c.state)


def make_scans(ledger: Ledger) -> None:
    """Make the table where a ledger of before it lacks it."""
    with ledger.reading() as connection:
        if sa.inspect(connection).has_table(SCANS.name):
            return
    with ledger.writing() as connection:
        SCANS.create(connection, checkfirst=True)
