"""Scans in the ledger: opened, lent to whoever works on them, moved on page by page, ended."""

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from geodl_core.domain.run.state import MOST_TRIES
from geodl_core.domain.scan.windows import Kind, Window
from geodl_core.errors import GeodlError, InputError
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.runs import ReadyOrder, place_ready
from geodl_core.service.ledger.tables import WATCHES
from geodl_core.service.scans.tables import SCANS, make_scans

LEASE_S = 300.0
"""Longer than a page may take: a minute of silence, two of trickling, and the check of its Items."""
NO_COUNTS: dict[str, Any] = {"pages": 0, "found": 0, "matched": 0, "ordered": 0, "present": 0, "taken": 0}


@dataclass(frozen=True, slots=True)
class Scan:
    """A scan as the ledger keeps it. Times are seconds since 1970."""

    id: str
    watch: str
    kind: Kind
    since: float
    until: float
    state: Literal["open", "held", "done", "failed"]
    """`held`: it has ordered as much as it may until somebody asks for more."""
    priority: int
    digest: str | None
    place: Mapping[str, Any] | None
    api: Mapping[str, Any] | None
    counts: Mapping[str, Any]
    """`pages`, `found`, `matched`, `ordered`, `present`; `refused` and `notes` by their text."""
    budget: int | None
    brake: int | None
    tries: int
    not_before: float
    lease: str | None
    expires: float | None
    created: float
    updated: float
    error: Mapping[str, Any] | None

    @property
    def window(self) -> Window:
        """Of time."""
        return Window(self.since, self.until)


@dataclass(frozen=True, slots=True)
class Asked:
    """A scan that somebody asks for."""

    watch: str
    kind: Kind
    window: Window
    budget: int | None = None
    brake: int | None = None
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Advance:
    """What a page brought."""

    place: Mapping[str, Any] | None
    """None: the scan is done."""
    api: Mapping[str, Any]
    digest: str
    counts: Mapping[str, Any]
    """Of the scan, this page included, without what is ordered now."""


def scan_id(asked: Asked, origin: str | None) -> str:
    """Return a scan's id: the same for the same watch, kind, and origin, or window where it has no origin."""
    facts = [asked.watch, asked.kind, origin or [asked.window.start, asked.window.end]]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def open_scan(ledger: Ledger, asked: Asked) -> Scan:
    """Open a scan, or go on with the one of the same watch, kind and window: that failed, is held or was left.

    One that is done begins anew: what it finds has been ordered, but for Items that appeared since.

    Args:
        ledger: where.
        asked: what to scan.
    """
    make_scans(ledger)
    now, key = ledger.clock(), scan_id(asked, None)
    row = {**_fresh(), "id": key, "watch": asked.watch, "kind": asked.kind, "priority": asked.priority}
    row |= {"since": asked.window.start, "until": asked.window.end, "created": now, "updated": now}
    limits = {"budget": asked.budget, "brake": asked.brake}
    with ledger.writing() as connection:
        state = connection.execute(sa.select(SCANS.c.state).where(SCANS.c.id == key)).scalar()
        if state is None:
            connection.execute(SCANS.insert().values({**row, **limits}))
        else:
            again = _fresh() if state == "done" else {"state": "open", "tries": 0, "not_before": 0.0}
            change = SCANS.update().where(SCANS.c.id == key)
            connection.execute(change.values({**again, **limits, "error": None, "updated": now}))
        return _scan_of(connection, key)


def insert_scan(ledger: Ledger, asked: Asked, origin: str) -> bool:
    """Open a scan unless there was one of that origin, or one of the watch is under way.

    Args:
        ledger: where.
        asked: what to scan.
        origin: what it follows from, whatever its window is then.

    Returns:
        Whether it was opened.
    """
    make_scans(ledger)
    now = ledger.clock()
    key = scan_id(asked, origin)
    row = {**_fresh(), "id": key, "watch": asked.watch, "kind": asked.kind, "priority": asked.priority}
    row |= {"since": asked.window.start, "until": asked.window.end, "created": now, "updated": now}
    with ledger.writing() as connection:
        is_there = connection.execute(sa.select(SCANS.c.id).where(SCANS.c.id == key)).first() is not None
        if is_there or find_open(connection, asked.watch) is not None:
            return False
        connection.execute(SCANS.insert().values(row))
        return True


def find_open(connection: sa.Connection, watch: str) -> str | None:
    """Return the id of a watch's scan that is under way, inside a transaction."""
    query = sa.select(SCANS.c.id).where(SCANS.c.watch == watch, SCANS.c.kind == "scan", SCANS.c.state == "open")
    return connection.execute(query.order_by(SCANS.c.created.desc()).limit(1)).scalar()


def unfinished_scan(ledger: Ledger, watch: str) -> Scan | None:
    """Return a watch's scan that is under way."""
    make_scans(ledger)
    with ledger.reading() as connection:
        key = find_open(connection, watch)
        return None if key is None else _scan_of(connection, key)


def last_end(ledger: Ledger, watch: str) -> float | None:
    """Return until when a watch's scans have seen everything, None where none came to its end."""
    make_scans(ledger)
    query = sa.select(sa.func.max(SCANS.c.until)).where(
        SCANS.c.watch == watch, SCANS.c.kind == "scan", SCANS.c.state == "done"
    )
    with ledger.reading() as connection:
        return connection.execute(query).scalar()


def read_scan(ledger: Ledger, key: str) -> Scan:
    """Return a scan by its id.

    Raises:
        InputError: there is none.
    """
    make_scans(ledger)
    with ledger.reading() as connection:
        row = connection.execute(sa.select(SCANS).where(SCANS.c.id == key)).mappings().first()
    if row is None:
        raise InputError(f"no scan {key[:12]}")
    return Scan(**row)


def list_scans(ledger: Ledger, limit: int = 100) -> list[Scan]:
    """Return scans, newest first."""
    make_scans(ledger)
    query = sa.select(SCANS).order_by(SCANS.c.created.desc(), SCANS.c.id).limit(limit)
    with ledger.reading() as connection:
        return [Scan(**row) for row in connection.execute(query).mappings()]


def lease_scan(ledger: Ledger, key: str | None = None) -> Scan | None:
    """Lend a scan to the caller: that one, or the most urgent; None where there is none to be had now.

    Scheduled ones go before back-fills, and those of paused watches wait; one that nobody works on any more is taken
    over when its lease has ended.
    """
    make_scans(ledger)
    if key is None:
        # Most looks of a server find nothing: they should not take a turn among the writers.
        with ledger.reading() as connection:
            if _next_id(connection, key, ledger.clock()) is None:
                return None
    with ledger.writing() as connection:
        now = ledger.clock()
        found = _next_id(connection, key, now)
        if found is None:
            return None
        # Counted here, so that a page that ends its process is not tried for ever.
        values = {"lease": secrets.token_urlsafe(16), "expires": now + LEASE_S, "tries": SCANS.c.tries + 1}
        connection.execute(SCANS.update().where(SCANS.c.id == found).values(**values))
        return _scan_of(connection, found)


def move_scan(ledger: Ledger, scan: Scan, advance: Advance, orders: list[ReadyOrder], brake: int | None) -> bool:
    """Place a page's orders and move its scan on, both or neither; the lease is given back.

    Args:
        ledger: where.
        scan: as it was lent.
        advance: where it goes.
        orders: of the page.
        brake: how many runs of the watch may start on one day (UTC).

    Returns:
        False where the scan is no longer the caller's: nothing was stored.
    """
    with ledger.writing() as connection:
        if not _is_held(connection, scan):
            return False
        ordered, present, is_whole = _place(ledger, connection, (scan, brake), orders)
        budget = None if scan.budget is None else scan.budget - ordered
        values: dict[str, Any] = {"budget": budget, "api": advance.api, "digest": advance.digest}
        if is_whole:
            counts = dict(advance.counts)
            counts |= {"present": counts["present"] + present - counts["taken"], "taken": 0}
            state = "done" if advance.place is None else "held" if budget == 0 else "open"
            values |= {"place": advance.place, "state": state}
        else:
            # The page is asked for once more when there is room again.
            counts = {**_counts_of(scan, advance), "taken": scan.counts["taken"] + ordered}
            values |= {"state": "held"}
        counts["ordered"] = scan.counts["ordered"] + ordered
        _give_back(connection, scan, {**values, "counts": counts, "tries": 0, "not_before": 0.0}, ledger.clock())
        return True


def postpone_scan(ledger: Ledger, scan: Scan, pause_s: float, values: Mapping[str, Any]) -> None:
    """Give a scan back, to be gone on with after a pause.

    Args:
        ledger: where.
        scan: as it was lent.
        pause_s: how long nobody should try.
        values: what else changed, by column.
    """
    with ledger.writing() as connection:
        if _is_held(connection, scan):
            now = ledger.clock()
            _give_back(connection, scan, {"not_before": now + pause_s, **values}, now)


def fail_scan(ledger: Ledger, scan: Scan, error: GeodlError) -> None:
    """End a scan by an error; where it stands is kept."""
    told = {"class": type(error).__name__, "message": error.message, "hint": error.hint}
    with ledger.writing() as connection:
        if _is_held(connection, scan):
            _give_back(connection, scan, {"state": "failed", "error": told}, ledger.clock())


def is_hopeless(tries: int) -> bool:
    """Say whether so many tries of one page are enough."""
    return tries >= MOST_TRIES


def prune_scans(ledger: Ledger, before: float) -> int:
    """Forget scans that ended before a time, but for the last one of each watch; return how many."""
    make_scans(ledger)
    last = sa.select(sa.func.max(SCANS.c.until)).where(SCANS.c.kind == "scan", SCANS.c.state == "done")
    last = last.group_by(SCANS.c.watch)
    ended = SCANS.c.state.in_(("done", "failed")) & (SCANS.c.updated < before) & ~SCANS.c.until.in_(last)
    with ledger.writing() as connection:
        return connection.execute(SCANS.delete().where(ended)).rowcount


def _fresh() -> dict[str, Any]:
    none = dict.fromkeys(("digest", "place", "api", "lease", "expires", "error"))
    return {**none, "state": "open", "counts": NO_COUNTS, "tries": 0, "not_before": 0.0}


def _counts_of(scan: Scan, advance: Advance) -> dict[str, Any]:
    """Return a scan's counts without its last page; a scan that has begun anew has none."""
    return dict(scan.counts) if scan.digest in (None, advance.digest) else dict(NO_COUNTS)


def _next_id(connection: sa.Connection, key: str | None, now: float) -> str | None:
    is_free = SCANS.c.lease.is_(None) | (SCANS.c.expires < now)
    query = sa.select(SCANS.c.id).where(SCANS.c.state == "open", is_free, SCANS.c.not_before <= now)
    if key is not None:
        return connection.execute(query.where(SCANS.c.id == key)).scalar()
    rank = sa.case((SCANS.c.kind == "scan", 0), else_=1)
    paused = sa.select(WATCHES.c.name).where(WATCHES.c.is_paused)
    order = SCANS.c.priority.desc(), rank, SCANS.c.updated, SCANS.c.id
    return connection.execute(query.where(~SCANS.c.watch.in_(paused)).order_by(*order).limit(1)).scalar()


def _place(
    ledger: Ledger, connection: sa.Connection, whose: tuple[Scan, int | None], orders: list[ReadyOrder]
) -> tuple[int, int, bool]:
    """Place orders as far as the budget goes; return how many were new and known, and whether these were all."""
    scan, brake = whose
    brakes = {} if brake is None else {scan.watch: brake}
    ordered = present = 0
    for order in orders:
        if scan.budget is not None and ordered >= scan.budget:
            return ordered, present, False
        [placed] = place_ready(ledger, connection, [order], brakes)
        ordered, present = ordered + placed.is_new, present + (not placed.is_new)
    return ordered, present, True


def _is_held(connection: sa.Connection, scan: Scan) -> bool:
    return connection.execute(sa.select(SCANS.c.lease).where(SCANS.c.id == scan.id)).scalar() == scan.lease


def _give_back(connection: sa.Connection, scan: Scan, values: Mapping[str, Any], now: float) -> None:
    given = {**values, "lease": None, "expires": None, "updated": now}
    connection.execute(SCANS.update().where(SCANS.c.id == scan.id).values(**given))


def _scan_of(connection: sa.Connection, key: str) -> Scan:
    return Scan(**connection.execute(sa.select(SCANS).where(SCANS.c.id == key)).mappings().one())
