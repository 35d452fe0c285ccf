"""The tables of the ledger: runs, their units of work, what happened to them, watches, and how far followers have read.

They lie beside the catalog's own, in the same SQLite file or in the schema `geodl` of the same PostgreSQL database.
Times are seconds since 1970 (UTC).
"""

import sqlalchemy as sa

SCHEMA_VERSION = 1
SCHEMA = "geodl"
"""In PostgreSQL; SQLite has none."""

METADATA = sa.MetaData()

VERSION = sa.Table("ledger_version", METADATA, sa.Column("version", sa.Integer, primary_key=True))

RUNS = sa.Table(
    "runs",
    METADATA,
    # The order's id (domain.run.order).
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("is_forced", sa.Boolean, nullable=False),
    sa.Column("watch", sa.Text),
    sa.Column("item_collection", sa.Text),
    sa.Column("item_id", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    # Output Collection that was asked for.
    sa.Column("collection", sa.Text),
    sa.Column("options", sa.JSON, nullable=False),
    # Digest of the source Item in `payloads`.
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("depth", sa.Integer, nullable=False),
    # The first day (since 1970, UTC) on which it may start, and counts for its watch's brake.
    sa.Column("day", sa.Integer, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("updated", sa.Float, nullable=False),
    sa.Column("started", sa.Float),
    sa.Column("finished", sa.Float),
    sa.Column("job_id", sa.Text),
    # Folder or URL of the plan, parts and results.
    sa.Column("place", sa.Text),
    sa.Column("shards", sa.Integer, nullable=False),
    sa.Column("tiles", sa.Integer, nullable=False),
    sa.Column("tiles_done", sa.Integer, nullable=False),
    sa.Column("result_collection", sa.Text),
    sa.Column("result_id", sa.Text),
    # Class, message and hint of what ended it.
    sa.Column("error", sa.JSON),
)
sa.Index("runs_state", RUNS.c.state, RUNS.c.priority.desc(), RUNS.c.created)
sa.Index("runs_watch", RUNS.c.watch, RUNS.c.day)
sa.Index("runs_job", RUNS.c.job_id)
sa.Index("runs_updated", RUNS.c.updated)
sa.Index("runs_created", RUNS.c.created.desc(), RUNS.c.id.desc())
sa.Index("runs_finished", RUNS.c.finished)
sa.Index("runs_payload", RUNS.c.payload)
sa.Index("runs_item", RUNS.c.item_collection, RUNS.c.item_id)

ASKS = sa.Table(
    "asks",
    METADATA,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("watch", sa.Text, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
)

UNITS = sa.Table(
    "units",
    METADATA,
    sa.Column("run_id", sa.Text, primary_key=True),
    # plan, shard or finish.
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("n", sa.Integer, primary_key=True),
    # open or leased; one that is done is taken away.
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("not_before", sa.Float, nullable=False),
    sa.Column("lease", sa.Text),
    sa.Column("worker", sa.Text),
    sa.Column("expires", sa.Float),
)
sa.Index("units_open", UNITS.c.state, UNITS.c.not_before)
sa.Index("units_lease", UNITS.c.lease)

PAYLOADS = sa.Table(
    "payloads",
    METADATA,
    sa.Column("digest", sa.Text, primary_key=True),
    # JSON, deflated.
    sa.Column("content", sa.LargeBinary, nullable=False),
)

HISTORY = sa.Table(
    "history",
    METADATA,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.Text, nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("worker", sa.Text),
    sa.Column("text", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)

LOG_LINES = sa.Table(
    "log_lines",
    METADATA,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.Text, nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("level", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)

WORKERS = sa.Table(
    "workers",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("roles", sa.Text, nullable=False),
    sa.Column("seen", sa.Float, nullable=False),
    sa.Column("doing", sa.Text),
)

WATCHES = sa.Table(
    "watches",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("document", sa.JSON, nullable=False),
    sa.Column("is_paused", sa.Boolean, nullable=False),
    # Grows with every change of any watch.
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("updated", sa.Float, nullable=False),
    # What was published before does not start its runs.
    sa.Column("since", sa.Float, nullable=False),
    # Of a schedule: when it fires next.
    sa.Column("next_at", sa.Float),
)

CURSORS = sa.Table(
    "cursors",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
)
