"""`/scans` and `/workers`: what goes on beside the runs, to be looked at."""

from collections.abc import Mapping
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Query

from geodl_core.service.ledger.leases import workers
from geodl_core.service.ledger.tables import UNITS
from geodl_core.service.numbers.metrics import SEEN_S
from geodl_core.service.runs.facts import stamp
from geodl_core.service.scans.scan_watch import report_of
from geodl_core.service.scans.scans import Scan, list_scans
from geodl_core.service.services import Services

MOST_SCANS = 1_000


def scans_router(services: Services) -> APIRouter:
    """Return the routes `/scans` and `/workers`, which change nothing."""
    router = APIRouter()

    @router.get("/scans", summary="Scans and back-fills", tags=["Scans"])
    def show_scans(limit: Annotated[int, Query(ge=1, le=MOST_SCANS)] = 100) -> dict[str, Any]:
        """List scans and back-fills, newest first, with what they have found so far."""
        return {"scans": [scan_facts(scan) for scan in list_scans(services.ledger, limit)]}

    @router.get("/workers", summary="Workers that are there", tags=["Workers"])
    def show_workers() -> dict[str, Any]:
        """List the workers that were heard of in the last two minutes, by name."""
        found = workers(services.ledger, services.ledger.clock() - SEEN_S)
        query = sa.select(UNITS.c.worker).where(UNITS.c.state == "leased").distinct()
        with services.ledger.reading() as connection:
            busy = set(connection.execute(query).scalars())
        return {"workers": [worker_facts(one, is_busy=one["name"] in busy) for one in found]}

    return router


def scan_facts(scan: Scan) -> dict[str, Any]:
    """Return a scan for JSON; its lease and the page where it stands are left out."""
    report = report_of(scan)
    return {
        **{name: getattr(scan, name) for name in ("id", "watch", "kind", "state", "priority", "tries", "budget")},
        **{name: stamp(getattr(scan, name)) for name in ("since", "until", "created", "updated", "not_before")},
        "share": report.share,
        "counts": {name: getattr(report, name) for name in ("pages", "found", "matched", "ordered", "present")},
        "refused": dict(report.refused),
        "notes": dict(report.notes),
        "error": None if scan.error is None else dict(scan.error),
    }


def worker_facts(worker: Mapping[str, Any], *, is_busy: bool) -> dict[str, Any]:
    """Return a worker for JSON: its name, what it can do, what it does (None: it waits), and when it was heard of."""
    # What it did last stays in its row for a while.
    doing = worker["doing"] if is_busy else None
    return {
        "name": worker["name"],
        "roles": str(worker["roles"]).split(),
        "doing": doing or None,
        "seen": stamp(worker["seen"]),
    }
