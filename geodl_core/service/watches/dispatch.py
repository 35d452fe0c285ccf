"""From the catalog's outbox to orders: each Item that was written is matched, at least once."""

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from geodl_core.catalog.sqlite import OutboxRow
from geodl_core.domain.watch.match import MODELS, is_looked_at, match_item
from geodl_core.service.ledger.cursors import move_cursor, read_cursor
from geodl_core.service.ledger.runs import Placed, place_ready
from geodl_core.service.services import Services
from geodl_core.service.watches.judge import Judged, judge
from geodl_core.service.watches.known import Known, refresh
from geodl_core.service.watches.remarks import write_remarks

LOG = logging.getLogger("geodl.watches")
CURSOR = "outbox"
"""How far the dispatcher has read, in the ledger."""
MOST_IDLE = 10_000
"""Rows of the outbox that are passed at once where no watch looks."""
SKEW_S = 5.0
"""Between the clocks of a catalog and a ledger on different machines."""
KEPT = timedelta(days=7)
"""Rows of the outbox that were read stay so long."""
PRUNE_EVERY_S = 3600.0


def dispatch_once(services: Services, known: Known, limit: int = 500) -> int:
    """Order the runs of Items that were written since the last time.

    The orders and the cursor are written in one transaction: who is killed before it has done nothing, and of several
    processes one is faster and the others have done nothing. An Item that was published before a watch was made does
    not start its runs.

    Args:
        services: catalog and ledger.
        known: remembers watches and models between calls; one for each thread.
        limit: rows of the outbox.

    Returns:
        How many rows of the outbox were dealt with; 0 where there were none.

    Raises:
        CatalogError: catalog or ledger do not answer; nothing was done.
    """
    refresh(services, known)
    position = read_cursor(services.ledger, CURSOR)
    if position != known.position:
        # Somebody else has read what came between; models may have changed there.
        known.models.clear()
    rows = services.catalog.outbox(position, limit if known.index.watches else MOST_IDLE)
    if not rows:
        known.position = position
        _prune(services, known, position)
        return 0
    if any(row.collection_id == MODELS for row in rows):
        known.models.clear()
    judged = [_judged(services, known, row) for row in _latest(rows)]
    if not place(services, known, judged, (position, int(rows[-1].seq))):
        return 0
    known.position = int(rows[-1].seq)
    return len(rows)


def place(services: Services, known: Known, judged: Iterable[Judged], cursor: tuple[int, int] | None) -> bool:
    """Write down what was judged; with a cursor all of it or, where somebody else was faster, nothing.

    Args:
        services: for the ledger.
        known: for the brakes of watches.
        judged: of some Items.
        cursor: the outbox's, where it is expected to stand and where it goes; None leaves it.

    Returns:
        False where somebody else was faster.
    """
    found = [one for one in judged if one.orders or one.remarks]
    orders = [order for one in found for order in one.orders]
    if not found and cursor is None:
        return True
    ledger = services.ledger
    with ledger.writing() as connection:
        if cursor is not None and not move_cursor(connection, CURSOR, *cursor):
            return False
        placed = place_ready(ledger, connection, orders, known.brakes)
        write_remarks(ledger, connection, (remark for one in found for remark in one.remarks))
    _log(placed)
    return True


def is_new_to(known: Known, watch: str, moment: float) -> bool:
    """Say whether something that was published at a moment came after a watch was made, or let go on."""
    return moment >= known.since.get(watch, 0.0) - SKEW_S


def _latest(rows: Iterable[OutboxRow]) -> list[OutboxRow]:
    """Return the last write of each Item that is not a deletion."""
    last = {(row.collection_id, row.item_id): row for row in rows if row.item_id is not None}
    return [row for row in last.values() if row.op != "delete"]


def _judged(services: Services, known: Known, row: OutboxRow) -> Judged:
    if not is_looked_at(known.index, row.collection_id):
        return Judged()
    stored = services.catalog.read_item(row.collection_id, str(row.item_id))
    if stored is None:
        return Judged()
    at = row.at.timestamp()
    item: Mapping[str, Any] = stored.content
    watches = [watch for watch in match_item(known.index, item) if is_new_to(known, watch.name, at)]
    return judge(services, known, item, watches)


def _log(placed: Iterable[Placed]) -> None:
    for one in placed:
        if one.is_new:
            LOG.info("run ordered", extra={"facts": {"run": one.run_id}})


def _prune(services: Services, known: Known, position: int) -> None:
    """Take old rows out of the outbox, now and then, where the catalog can."""
    now = services.now().timestamp()
    prune = getattr(services.catalog, "prune_outbox", None)
    if prune is None or now - known.pruned_at < PRUNE_EVERY_S:
        return
    known.pruned_at = now
    prune(position, datetime.fromtimestamp(now, UTC) - KEPT)
