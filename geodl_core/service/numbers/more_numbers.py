"""Numbers of scans and webhooks, for the metrics."""

import sqlalchemy as sa

from geodl_core.service.ledger.database import Ledger
from geodl_core.service.numbers.metrics import Source
from geodl_core.service.scans.tables import SCANS, make_scans
from geodl_core.service.webhooks.tables import DELIVERIES, WEBHOOKS, prepare_webhooks


def more_numbers(ledger: Ledger) -> tuple[Source, ...]:
    """Return what may be counted of scans and of messages to webhooks; their tables are made where they are missing."""
    make_scans(ledger)
    prepare_webhooks(ledger)

    def scans() -> dict[str, float]:
        query = sa.select(SCANS.c.state, sa.func.count()).group_by(SCANS.c.state)
        with ledger.reading() as connection:
            found = {str(row[0]): float(row[1]) for row in connection.execute(query)}
        return {state: found.get(state, 0.0) for state in ("open", "held", "done", "failed")}

    def waiting() -> dict[str, float]:
        query = sa.select(DELIVERIES.c.state, sa.func.count()).group_by(DELIVERIES.c.state)
        with ledger.reading() as connection:
            found = {str(row[0]): float(row[1]) for row in connection.execute(query)}
        return {state: found.get(state, 0.0) for state in ("open", "dead")}

    def sent() -> dict[str, float]:
        with ledger.reading() as connection:
            total = connection.execute(sa.select(sa.func.sum(WEBHOOKS.c.delivered))).scalar()
        return {"": float(total or 0)}

    return (
        Source("geodl_scans", "Scans by state.", scans, "state"),
        Source("geodl_webhook_messages", "Messages to webhooks that were not delivered, by state.", waiting, "state"),
        Source("geodl_webhook_delivered", "Messages that webhooks have taken.", sent),
    )
