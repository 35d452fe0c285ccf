"""Work lent to workers: a lease ends unless its worker is heard of, and then somebody else gets the work.

A run is one unit `plan`, then as many units `shard` as the plan says, then one unit `finish`.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import random
from typing import Any

import sqlalchemy as sa

from geodl_core.domain.run.state import ACTIVE, FINAL, MOST_TRIES, State, pause_s
from geodl_core.service.ledger.database import Ledger, insert_new
from geodl_core.service.ledger.next_unit import KINDS, Crew, Kind, next_unit, of
from geodl_core.service.ledger.runs import Run, move, note, open_units, payload_of, plain, run_of
from geodl_core.service.ledger.tables import LOG_LINES, RUNS, UNITS, WORKERS

__all__ = [
    "KINDS",
    "Crew",
    "Failure",
    "Kind",
    "Planned",
    "Work",
    "beat",
    "failed",
    "finished",
    "hand_back",
    "lease_work",
    "log_lines",
    "planned",
    "shards_done",
    "workers",
]
MOST_LOG_LINES = 2_000
"""Of a run."""
ENDED = 0.0
"""In place of the time when a lease ends: its worker was seen to end."""
FORGOTTEN_S = 7 * 86_400.0
"""Workers that were not heard of for so long are not kept in mind."""


@dataclass(frozen=True, slots=True)
class Work:
    """What was lent: one unit, or several shards of one run."""

    lease: str
    kind: Kind
    numbers: tuple[int, ...]
    """Of shards; (0,) else."""
    run: Run
    item: Mapping[str, Any] | None
    """Source Item, for a plan."""
    expires_s: float
    """The lease ends so many seconds after its last heartbeat."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, as far as it may be told."""

    kind: str
    """Class of the error."""
    message: str
    hint: str | None
    is_transient: bool
    state: State
    """Of the run where it is not tried again."""
    is_work_lost: bool = False
    """Plan or parts of the run are not there any more: it has to be planned anew."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What planning found out."""

    job_id: str
    place: str
    shards: int
    tiles: int


def lease_work(ledger: Ledger, crew: Crew, chance: Callable[[], float] = random) -> Work | None:
    """Lend the most urgent work that a worker can do, None where there is none.

    Higher priority first; then what is nearer its end, so that few runs are open at a time; then the older run.
    """
    with ledger.reading() as connection:
        # Most calls find nothing: they should not take a turn among the writers.
        now = ledger.clock()
        is_idle = not _has_expired(connection, now) and next_unit(connection, crew, now) is None
        is_seen = _is_seen(connection, crew.name, now - ledger.lease_s / 3)
    if is_idle and is_seen:
        return None
    with ledger.writing() as connection:
        now = ledger.clock()
        _take_back(ledger, connection, now, chance)
        found = next_unit(connection, crew, now)
        if found is None:
            _see(ledger, connection, crew, "")
            return None
        run_id, kind = found
        run = run_of(connection, run_id)
        numbers = _open_numbers(connection, run_id, kind, crew.most_shards if kind == "shard" else 1, now)
        numbers = numbers[: _share(connection, len(numbers), now - ledger.lease_s)]
        lease = secrets.token_urlsafe(16)
        values = {"state": "leased", "lease": lease, "worker": crew.name, "expires": now + ledger.lease_s}
        connection.execute(UNITS.update().where(*of(run_id, kind), UNITS.c.n.in_(numbers)).values(**values))
        if run.state == "queued":
            move(connection, run_id, "claimed", now, f"claimed by {crew.name}")
        run = run_of(connection, run_id)
        _see(ledger, connection, crew, f"{kind} of {run_id[:8]}")
        item = payload_of(connection, run.payload) if kind == "plan" else None
        return Work(lease, kind, numbers, run, item, ledger.lease_s)


def beat(ledger: Ledger, lease: str, tiles: int, lines: Sequence[tuple[str, str]] = ()) -> bool:
    """Keep a lease, and tell what was done since.

    Args:
        ledger: where.
        lease: of the work.
        tiles: finished since the heartbeat before.
        lines: (level, text) for the run's log.

    Returns:
        False where the work is no longer the worker's: its run was cancelled, or it was not heard of for too long.
    """
    with ledger.writing() as connection:
        now = ledger.clock()
        row = connection.execute(sa.select(UNITS.c.run_id, UNITS.c.worker).where(UNITS.c.lease == lease)).first()
        if row is None:
            return False
        connection.execute(UNITS.update().where(UNITS.c.lease == lease).values(expires=now + ledger.lease_s))
        # A worker that was lost has counted tiles that the next one counts anew.
        done = sa.case((RUNS.c.tiles_done + tiles > RUNS.c.tiles, RUNS.c.tiles), else_=RUNS.c.tiles_done + tiles)
        connection.execute(RUNS.update().where(RUNS.c.id == row.run_id).values(tiles_done=done, updated=now))
        connection.execute(WORKERS.update().where(WORKERS.c.name == row.worker).values(seen=now))
        _log(connection, row.run_id, row.worker, now, lines)
        return True


def planned(ledger: Ledger, lease: str, found: Planned) -> bool:
    """Store what planning found out, and open the shards.

    Returns:
        False where the lease had ended, or another run of the same job is under way: this one is planned again when
        that one has ended.
    """
    with ledger.writing() as connection:
        run = _leased_run(connection, lease)
        if run is None:
            return False
        now = ledger.clock()
        same = sa.select(RUNS.c.id).where(
            RUNS.c.job_id == found.job_id, RUNS.c.place == found.place, RUNS.c.state.in_(ACTIVE), RUNS.c.id != run.id
        )
        other = connection.execute(same.order_by(RUNS.c.created).limit(1)).scalar()
        values = {"job_id": found.job_id, "place": found.place, "shards": found.shards, "tiles": found.tiles}
        connection.execute(RUNS.update().where(RUNS.c.id == run.id).values(**values, tiles_done=0))
        if other is not None:
            _reopen(connection, lease, now, tries=0)
            move(connection, run.id, "queued", now, f"waits for run {other[:8]} of the same job")
            return False
        connection.execute(UNITS.delete().where(UNITS.c.lease == lease))
        if found.shards:
            open_units(connection, run.id, "shard", range(found.shards))
        else:
            open_units(connection, run.id, "finish", (0,))
        move(connection, run.id, "running", now, f"planned: {found.tiles} tiles in {found.shards} shards")
        return True


def shards_done(ledger: Ledger, lease: str) -> bool:
    """Note that all shards of a lease have their parts; after the last one of a run its end is opened."""
    with ledger.writing() as connection:
        run = _leased_run(connection, lease)
        if run is None:
            return False
        connection.execute(UNITS.delete().where(UNITS.c.lease == lease))
        if connection.execute(sa.select(UNITS.c.n).where(UNITS.c.run_id == run.id).limit(1)).first() is None:
            open_units(connection, run.id, "finish", (0,))
        return True


def finished(ledger: Ledger, lease: str, result: tuple[str, str], facts: Planned | None, text: str) -> bool:
    """Note that a run's result is registered.

    Args:
        ledger: where.
        lease: of the run's end, or of its plan, where the result was there already.
        result: Collection and id of the output Item.
        facts: with the lease of a plan.
        text: for the history.
    """
    with ledger.writing() as connection:
        run = _leased_run(connection, lease)
        if run is None:
            return False
        values: dict[str, Any] = {"result_collection": result[0], "result_id": result[1], "is_forced": False}
        if facts is not None:
            values |= {"job_id": facts.job_id, "place": facts.place, "shards": facts.shards, "tiles": facts.tiles}
            values["tiles_done"] = facts.tiles
        else:
            values["tiles_done"] = RUNS.c.tiles
        connection.execute(RUNS.update().where(RUNS.c.id == run.id).values(**values))
        move(connection, run.id, "succeeded", ledger.clock(), text)
        return True


def failed(ledger: Ledger, lease: str, failure: Failure, chance: Callable[[], float] = random) -> bool:
    """Note that work failed: it is tried again after a pause, its run is planned anew, or ends."""
    with ledger.writing() as connection:
        run = _leased_run(connection, lease)
        if run is None:
            return False
        now = ledger.clock()
        rows = connection.execute(sa.select(UNITS).where(UNITS.c.lease == lease)).mappings().all()
        if failure.is_work_lost and run.attempt < MOST_TRIES:
            _plan_anew(connection, run, now, pause_s(run.attempt, chance()), f"{_name(rows)}: {failure.message}")
            return True
        tries = max(int(row["tries"]) for row in rows) + 1
        _fail(connection, run, (failure, _name(rows), str(rows[0]["worker"])), tries, now)
        if failure.is_transient and tries < MOST_TRIES:
            _reopen(connection, lease, now + pause_s(tries, chance()), tries=1)
        return True


def hand_back(ledger: Ledger, lease: str, text: str) -> None:
    """Give work back that was not finished, so that somebody else may have it at once."""
    with ledger.writing() as connection:
        run = _leased_run(connection, lease)
        if run is not None:
            _reopen(connection, lease, ledger.clock(), tries=0)
            note(connection, run, ledger.clock(), text)


def workers(ledger: Ledger, since: float) -> list[dict[str, Any]]:
    """Return the workers that were heard of since a time, by name."""
    query = sa.select(WORKERS).where(WORKERS.c.seen >= since).order_by(WORKERS.c.name)
    with ledger.reading() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def log_lines(ledger: Ledger, run_id: str, after: int = 0) -> list[dict[str, Any]]:
    """Return the log of a run after `after`, the `seq` of the last line seen."""
    query = sa.select(LOG_LINES).where(LOG_LINES.c.run_id == run_id, LOG_LINES.c.seq > after).order_by(LOG_LINES.c.seq)
    with ledger.reading() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def _open_numbers(connection: sa.Connection, run_id: str, kind: str, most: int, now: float) -> tuple[int, ...]:
    query = sa.select(UNITS.c.n).where(*of(run_id, kind), UNITS.c.state == "open", UNITS.c.not_before <= now)
    return tuple(connection.execute(query.order_by(UNITS.c.n).limit(most)).scalars())


def _is_seen(connection: sa.Connection, name: str, since: float) -> bool:
    query = sa.select(WORKERS.c.name).where(WORKERS.c.name == name, WORKERS.c.seen >= since)
    return connection.execute(query).first() is not None


def _share(connection: sa.Connection, count: int, since: float) -> int:
    """Return how many of the open shards one worker takes: less and less, so that all end at about the same time.

    Guided self-scheduling (Polychronopoulos and Kuck, 1987), with half the usual share since workers differ in speed.
    """
    query = sa.select(sa.func.count()).where(WORKERS.c.seen >= since, WORKERS.c.roles.contains("shard"))
    others = int(connection.execute(query).scalar_one())
    return count if others <= 1 else max(1, -(-count // (2 * others)))


def _has_expired(connection: sa.Connection, now: float) -> bool:
    query = sa.select(UNITS.c.run_id).where(UNITS.c.state == "leased", UNITS.c.expires < now).limit(1)
    return connection.execute(query).first() is not None


def _take_back(ledger: Ledger, connection: sa.Connection, now: float, chance: Callable[[], float]) -> None:
    """Open what was lent to workers that are not heard of; work that killed several of them is not lent again."""
    query = sa.select(UNITS).where(UNITS.c.state == "leased", UNITS.c.expires < now).order_by(UNITS.c.lease, UNITS.c.n)
    rows = connection.execute(query).mappings().all()
    for lease in dict.fromkeys(row["lease"] for row in rows):
        lost = [row for row in rows if row["lease"] == lease]
        run, tries = run_of(connection, lost[0]["run_id"]), max(int(row["tries"]) for row in lost) + 1
        if run.state in FINAL:  # another lease of the same run has just ended it
            continue
        why = "ended" if lost[0]["expires"] == ENDED else f"was not heard of for {ledger.lease_s:g} s"
        failure = Failure(
            kind="WorkerLost",
            message=f"{_name(lost)}: the worker {lost[0]['worker']} {why}",
            hint="it was stopped hard or ran out of memory: geodl runs logs, or the system's log, may say more",
            is_transient=True,
            state="failed",
        )
        _fail(connection, run, (failure, _name(lost), str(lost[0]["worker"])), tries, now)
        if tries < MOST_TRIES:
            # The first time it is most likely the worker's own misfortune.
            _reopen(connection, str(lease), now if tries == 1 else now + pause_s(tries, chance()), tries=1)


def _fail(
    connection: sa.Connection,
    run: Run,
    what: tuple[Failure, str, str],
    tries: int,
    now: float,
) -> None:
    """Write down a failure; end the run where it is not tried again."""
    failure, unit, worker = what
    said = failure.message if failure.message.startswith(unit) else f"{unit}: {failure.message}"
    if failure.is_transient and tries < MOST_TRIES:
        note(connection, run, now, f"try {tries} of {MOST_TRIES} failed, {said}", worker)
        return
    hint = None if failure.hint is None else plain(failure.hint)
    error = {"class": failure.kind, "message": plain(failure.message), "hint": hint}
    connection.execute(RUNS.update().where(RUNS.c.id == run.id).values(error=error))
    move(connection, run.id, failure.state, now, said)


def _plan_anew(connection: sa.Connection, run: Run, now: float, after_s: float, why: str) -> None:
    """Begin another attempt; whoever computes for the one that is given up notices with the next heartbeat."""
    connection.execute(UNITS.delete().where(UNITS.c.run_id == run.id))
    connection.execute(RUNS.update().where(RUNS.c.id == run.id).values(attempt=run.attempt + 1, tiles_done=0))
    move(connection, run.id, "queued", now, f"planned anew after {why}")
    open_units(connection, run.id, "plan", (0,), now + after_s)


def _name(rows: Sequence[sa.RowMapping]) -> str:
    first, last = rows[0], rows[-1]
    if first["kind"] != "shard":
        return "planning" if first["kind"] == "plan" else "finishing"
    return f"shard {first['n']}" if len(rows) == 1 else f"shards {first['n']}–{last['n']}"


def _reopen(connection: sa.Connection, lease: str, not_before: float, tries: int) -> None:
    values = {"state": "open", "lease": None, "worker": None, "expires": None, "not_before": not_before}
    added = UNITS.c.tries + tries
    connection.execute(UNITS.update().where(UNITS.c.lease == lease).values(**values, tries=added))


def _leased_run(connection: sa.Connection, lease: str) -> Run | None:
    run_id = connection.execute(sa.select(UNITS.c.run_id).where(UNITS.c.lease == lease).limit(1)).scalar()
    return None if run_id is None else run_of(connection, run_id)


def _see(ledger: Ledger, connection: sa.Connection, crew: Crew, doing: str) -> None:
    values = {"roles": " ".join(crew.kinds), "seen": ledger.clock(), "doing": doing}
    if insert_new(ledger, connection, WORKERS, {"name": crew.name, **values}):
        connection.execute(WORKERS.delete().where(WORKERS.c.seen < ledger.clock() - FORGOTTEN_S))
    else:
        connection.execute(WORKERS.update().where(WORKERS.c.name == crew.name).values(**values))


def _log(connection: sa.Connection, run_id: str, worker: str, now: float, lines: Sequence[tuple[str, str]]) -> None:
    if not lines:
        return
    count = connection.execute(sa.select(sa.func.count()).where(LOG_LINES.c.run_id == run_id)).scalar_one()
    for level, text in lines[: max(0, MOST_LOG_LINES - count)]:
        row = {"run_id": run_id, "at": now, "worker": worker, "level": level, "text": plain(text)}
        connection.execute(LOG_LINES.insert().values(**row))
