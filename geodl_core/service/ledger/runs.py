"""Runs in the ledger: placed, looked up, listed, moved from state to state; each move with a line of history."""

import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from geodl_core.domain.run.options import options_json
from geodl_core.domain.run.order import Order, order_id
from geodl_core.domain.run.state import FINAL, FOLLOWING, STATES, State
from geodl_core.errors import InputError
from geodl_core.service.ledger.database import Ledger, insert_new
from geodl_core.service.ledger.tables import ASKS, HISTORY, LOG_LINES, PAYLOADS, RUNS, UNITS

DAY_S = 86_400
MOST_SEQ = 2**31 - 1
"""Of a line of history or log, in any database."""
MOST_TEXT = 2_000
"""Characters of a line of history or log."""
MOST_PRUNED = 1_000
"""Runs forgotten at a time: others wait for their turn to write."""


@dataclass(frozen=True, slots=True)
class ReadyOrder:
    """An order with its id and its Item packed."""

    order: Order
    run_id: str
    digest: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of an order."""

    run_id: str
    is_new: bool
    """False where the same was ordered before."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run as the ledger knows it. Times are seconds since 1970."""

    id: str
    state: State
    priority: int
    attempt: int
    """From 1; a person's retry or rerun adds one."""
    is_forced: bool
    """Computes anew what exists."""
    watch: str | None
    item_collection: str | None
    item_id: str
    model: str
    """`NAME@VERSION`."""
    collection: str | None
    """Output Collection that was asked for."""
    options: Mapping[str, Any]
    """As `domain.run.options.options_json`."""
    payload: str
    depth: int
    day: int
    created: float
    updated: float
    started: float | None
    finished: float | None
    job_id: str | None
    """Known once it was planned."""
    place: str | None
    """Folder or URL of plan, parts and results."""
    shards: int
    tiles: int
    tiles_done: int
    result_collection: str | None
    result_id: str | None
    error: Mapping[str, Any] | None
    """`class`, `message`, `hint` of what ended it."""


@dataclass(frozen=True, slots=True)
class Event:
    """A line of a run's history."""

    seq: int
    run_id: str
    at: float
    attempt: int
    state: State
    worker: str | None
    text: str


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs to list; None does not restrict."""

    states: tuple[State, ...] = ()
    watch: str | None = None
    model: str | tuple[str, ...] | None = None
    """`NAME` or `NAME@VERSION`, or several of them."""
    item: tuple[str | None, str] | None = None
    """Collection and id of the source."""
    since: float | None = None
    """Of `updated`."""
    created: tuple[float | None, float | None] = (None, None)
    """First and last moment of `created`."""
    lasted_s: tuple[float | None, float | None] = (None, None)
    """Shortest and longest time since it was started, up to its end or up to now."""
    limit: int = 100
    before: tuple[float, str] | None = None
    """`created` and id of the last one of the page before; newest come first."""
    ids: tuple[str, ...] = field(default=())


def place_orders(ledger: Ledger, orders: Sequence[Order], brakes: Mapping[str, int] | None = None) -> list[Placed]:
    """Put orders into the ledger, all or none; one that is there already is left as it is.

    Args:
        ledger: where.
        orders: what to run.
        brakes: of watches, how many runs may start on one day (UTC); those beyond wait for a later day.
    """
    ready = ready_orders(orders)
    with ledger.writing() as connection:
        return place_ready(ledger, connection, ready, brakes or {})


def ready_orders(orders: Sequence[Order]) -> list[ReadyOrder]:
    """Return orders with what is computed of them, before anybody has to wait for a turn to write."""
    return [ReadyOrder(order, order_id(order), *_packed(order.item)) for order in orders]


def place_ready(
    ledger: Ledger, connection: sa.Connection, ready: Sequence[ReadyOrder], brakes: Mapping[str, int]
) -> list[Placed]:
    """Put orders into the ledger inside a writing transaction; see `place_orders`."""
    return [_place(ledger, connection, each, brakes) for each in ready]


def read_run(ledger: Ledger, run_id: str) -> Run:
    """Return a run by its id or the first characters of it, eight at least.

    Raises:
        InputError: there is none, or several.
    """
    if not re.fullmatch(r"[0-9a-f]{8,64}", run_id):
        raise InputError(f"run {run_id[:80]!r}: expected its id, or at least the first eight characters of it")
    # A range, which an index serves; `g` stands behind all digits of an id.
    query = sa.select(RUNS).where(RUNS.c.id >= run_id, RUNS.c.id < f"{run_id}g").limit(2)
    with ledger.reading() as connection:
        rows = connection.execute(query).mappings().all()
    if len(rows) != 1:
        raise InputError(f"run {run_id}: expected one, found {'several' if rows else 'none'}")
    return _run(rows[0])


def list_runs(ledger: Ledger, asked: RunFilter) -> list[Run]:
    """Return a page of runs, newest first."""
    with ledger.reading() as connection:
        return [_run(row) for row in connection.execute(_listing(asked, ledger.clock())).mappings()]


def count_states(ledger: Ledger) -> dict[State, int]:
    """Return how many runs are in each state."""
    query = sa.select(RUNS.c.state, sa.func.count()).group_by(RUNS.c.state)
    with ledger.reading() as connection:
        found = {row[0]: int(row[1]) for row in connection.execute(query)}
    return {state: found.get(state, 0) for state in STATES}


def read_payload(ledger: Ledger, digest: str) -> dict[str, Any]:
    """Return the source Item of a run by `Run.payload`."""
    with ledger.reading() as connection:
        return payload_of(connection, digest)


def payload_of(connection: sa.Connection, digest: str) -> dict[str, Any]:
    """Return a source Item, inside a transaction."""
    content = connection.execute(sa.select(PAYLOADS.c.content).where(PAYLOADS.c.digest == digest)).scalar_one()
    found: dict[str, Any] = json.loads(zlib.decompress(content))
    return found


def history(ledger: Ledger, run_id: str | None, after: int = 0, limit: int = 1_000) -> list[Event]:
    """Return what happened to a run, or to all runs, after `after`, the `seq` of the last event seen."""
    query = sa.select(HISTORY).where(HISTORY.c.seq > after).order_by(HISTORY.c.seq).limit(limit)
    if run_id is not None:
        query = query.where(HISTORY.c.run_id == run_id)
    with ledger.reading() as connection:
        return [Event(**row) for row in connection.execute(query).mappings()]


def retry_run(ledger: Ledger, run_id: str, is_forced: bool = False) -> Run:
    """Queue a run that has ended once more; parts that are there are used, unless it is forced.

    Raises:
        InputError: it has not ended, or it succeeded and is not forced.
    """
    run = read_run(ledger, run_id)
    now = ledger.clock()
    with ledger.writing() as connection:
        current = run_of(connection, run.id)
        if current.state not in FINAL or (current.state == "succeeded" and not is_forced):
            hint = "geodl runs rerun computes it anew" if current.state == "succeeded" else "geodl runs cancel ends it"
            raise InputError(f"run {run.id[:8]}: expected one that failed, found it {current.state}", hint=hint)
        values = {"attempt": current.attempt + 1, "error": None, "started": None, "finished": None, "tiles_done": 0}
        # What was to be computed anew still is, if it failed to be.
        values["is_forced"] = is_forced or current.is_forced
        connection.execute(RUNS.update().where(RUNS.c.id == run.id).values(**values))
        move(connection, run.id, "queued", now, "rerun" if is_forced else "retried")
        open_units(connection, run.id, "plan", (0,))
        return run_of(connection, run.id)


def cancel_run(ledger: Ledger, run_id: str) -> Run:
    """Stop a run; who computes it notices with the next heartbeat. One that has ended is left as it is."""
    run = read_run(ledger, run_id)
    with ledger.writing() as connection:
        if run_of(connection, run.id).state not in FINAL:
            move(connection, run.id, "cancelled", ledger.clock(), "cancelled")
        return run_of(connection, run.id)


def move(connection: sa.Connection, run_id: str, state: State, at: float, text: str = "") -> None:
    """Bring a run into a state, with its line of history; final states take its units away.

    Raises:
        InputError: the state does not follow the one it is in.
    """
    current = run_of(connection, run_id)
    if state not in FOLLOWING[current.state]:
        raise InputError(f"run {run_id[:8]}: {state} does not follow {current.state}")
    values: dict[str, Any] = {"state": state, "updated": at}
    if state == "claimed" and current.started is None:
        values["started"] = at
    if state in FINAL:
        values["finished"] = at
        connection.execute(UNITS.delete().where(UNITS.c.run_id == run_id))
    connection.execute(RUNS.update().where(RUNS.c.id == run_id).values(**values))
    note(connection, run_of(connection, run_id), at, text)


def note(connection: sa.Connection, run: Run, at: float, text: str, worker: str | None = None) -> None:
    """Write a line of history; the run stays in its state."""
    line = {"run_id": run.id, "at": at, "attempt": run.attempt, "state": run.state, "worker": worker}
    connection.execute(HISTORY.insert().values(**line, text=plain(text)))


def plain(text: str) -> str:
    """Return a text as every database takes it: no NUL, no halves of surrogate pairs, not without end."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()[:MOST_TEXT]


def run_of(connection: sa.Connection, run_id: str) -> Run:
    """Return a run that is known to be there, inside a transaction."""
    return _run(connection.execute(sa.select(RUNS).where(RUNS.c.id == run_id)).mappings().one())


def open_units(
    connection: sa.Connection, run_id: str, kind: str, numbers: Iterable[int], not_before: float = 0.0
) -> None:
    """Add units of work that may be leased, one at least."""
    common = {"run_id": run_id, "kind": kind, "state": "open", "tries": 0, "not_before": not_before}
    connection.execute(UNITS.insert(), [{**common, "n": n} for n in numbers])


def prune_runs(ledger: Ledger, before: float) -> int:
    """Forget some of the runs that ended before a time, with their history and logs; return how many.

    The results stay. The same order places a new run then, which finds them.
    """
    ended = sa.select(RUNS.c.id, RUNS.c.payload).where(RUNS.c.finished < before)
    ended = ended.order_by(RUNS.c.finished).limit(MOST_PRUNED)
    with ledger.reading() as connection:
        if connection.execute(ended).first() is None:
            return 0
    with ledger.writing() as connection:
        rows = connection.execute(ended).all()
        ids, payloads = [row.id for row in rows], {row.payload for row in rows}
        for table in (HISTORY, LOG_LINES, ASKS):
            connection.execute(table.delete().where(table.c.run_id.in_(ids)))
        connection.execute(RUNS.delete().where(RUNS.c.id.in_(ids)))
        is_used = sa.select(RUNS.c.id).where(RUNS.c.payload == PAYLOADS.c.digest).exists()
        connection.execute(PAYLOADS.delete().where(PAYLOADS.c.digest.in_(payloads), ~is_used))
    return len(rows)


def _place(ledger: Ledger, connection: sa.Connection, ready: ReadyOrder, brakes: Mapping[str, int]) -> Placed:
    order, run_id = ready.order, ready.run_id
    now = ledger.clock()
    if order.watch is not None:
        insert_new(ledger, connection, ASKS, {"run_id": run_id, "watch": order.watch, "at": now})
    if connection.execute(sa.select(RUNS.c.id).where(RUNS.c.id == run_id)).first():
        return Placed(run_id, is_new=False)
    today = int(now // DAY_S)
    day = _day(connection, order.watch, brakes.get(order.watch or ""), today)
    insert_new(ledger, connection, PAYLOADS, {"digest": ready.digest, "content": ready.content})
    row = {
        "id": run_id,
        "state": "queued",
        "priority": order.priority,
        "attempt": 1,
        "is_forced": False,
        "watch": order.watch,
        "item_collection": order.item.get("collection"),
        "item_id": str(order.item["id"]),
        "model": order.model,
        "collection": order.collection,
        "options": options_json(order.options),
        "payload": ready.digest,
        "depth": order.depth,
        "day": day,
        "created": now,
        "updated": now,
        "shards": 0,
        "tiles": 0,
        "tiles_done": 0,
    }
    connection.execute(RUNS.insert().values(**row))
    open_units(connection, run_id, "plan", (0,), 0.0 if day == today else float(day * DAY_S))
    waits = "" if day == today else f", from {day - today} days on: its watch's brake"
    note(connection, run_of(connection, run_id), now, f"ordered by {order.watch or 'hand'}{waits}")
    return Placed(run_id, is_new=True)


def _day(connection: sa.Connection, watch: str | None, most: int | None, today: int) -> int:
    """Return the first day from today on on which the watch has room for another run."""
    if watch is None or most is None:
        return today
    query = (
        sa.select(RUNS.c.day, sa.func.count())
        .where(RUNS.c.watch == watch, RUNS.c.day >= today)
        .group_by(RUNS.c.day)
        .order_by(RUNS.c.day)
    )
    taken = {int(day): int(count) for day, count in connection.execute(query)}
    day = today
    while taken.get(day, 0) >= most:
        day += 1
    return day


def _packed(item: Mapping[str, Any]) -> tuple[str, bytes]:
    text = json.dumps(item, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(text).hexdigest(), zlib.compress(text, 6)


def _listing(asked: RunFilter, now: float) -> sa.Select[Any]:
    query = sa.select(RUNS).order_by(RUNS.c.created.desc(), RUNS.c.id.desc()).limit(asked.limit)
    if asked.states:
        query = query.where(RUNS.c.state.in_(asked.states))
    if asked.watch is not None:
        query = query.where(RUNS.c.id.in_(sa.select(ASKS.c.run_id).where(ASKS.c.watch == asked.watch)))
    if asked.model is not None:
        names = (asked.model,) if isinstance(asked.model, str) else asked.model
        same = (RUNS.c.model.startswith(f"{name}@", autoescape=True) for name in names)
        query = query.where(sa.or_(RUNS.c.model.in_(names), *same))
    if asked.item is not None:
        query = query.where(RUNS.c.item_collection == asked.item[0], RUNS.c.item_id == asked.item[1])
    if asked.since is not None:
        query = query.where(RUNS.c.updated >= asked.since)
    if asked.ids:
        query = query.where(RUNS.c.id.in_(asked.ids))
    if asked.before is not None:
        query = query.where(sa.tuple_(RUNS.c.created, RUNS.c.id) < sa.tuple_(*map(sa.literal, asked.before)))
    lasted = sa.func.coalesce(RUNS.c.finished, sa.literal(now)) - RUNS.c.started
    return query.where(*_within(RUNS.c.created, asked.created), *_within(lasted, asked.lasted_s))


def _within(value: sa.ColumnElement[Any], bounds: tuple[float | None, float | None]) -> list[sa.ColumnElement[bool]]:
    least, most = bounds
    found = [] if least is None else [value >= least]
    return found if most is None else [*found, value <= most]


def _run(row: Any) -> Run:
    return Run(**row)
