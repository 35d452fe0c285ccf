"""Which work is lent next: the most urgent unit that is open, found among many without looking at all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import sqlalchemy as sa

from geodl_core.domain.run.state import ACTIVE, State
from geodl_core.service.ledger.tables import RUNS, UNITS

Kind = Literal["plan", "shard", "finish"]
KINDS: tuple[Kind, ...] = get_args(Kind)
RANKS: dict[Kind, int] = {"finish": 0, "shard": 1, "plan": 2}
"""What is nearer its end comes first."""
Conditions = tuple[sa.ColumnElement[bool], ...]
FEW_UNITS = 200
"""So many are sorted one by one; of more the runs are gone through in their order."""


@dataclass(frozen=True, slots=True)
class Crew:
    """Who asks for work, and for which."""

    name: str
    kinds: tuple[Kind, ...] = KINDS
    most_shards: int = 1
    """Shards of one run at a time."""
    most_runs: int = 4
    """Runs that may be under way at a time, of all workers together."""
    is_elsewhere: bool = False
    """On another machine: it reaches only plans that lie in an object store."""


def next_unit(connection: sa.Connection, crew: Crew, now: float) -> tuple[str, Kind] | None:
    """Return the run and kind of the most urgent open unit."""
    due = (UNITS.c.state == "open", UNITS.c.not_before <= now)
    some = sa.select(UNITS.c.n).where(*due).limit(FEW_UNITS + 1).subquery()
    count = connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()
    if not count:
        return None
    kinds = [kind for kind in RANKS if kind in crew.kinds]
    states: tuple[State, ...] = ACTIVE
    if "plan" in kinds and _has_room(connection, crew, now):
        states = ("queued", *ACTIVE)
    where = (RUNS.c.state.in_(states), *_bounds(crew))
    if count <= FEW_UNITS:
        return _next_of_units(connection, kinds, where, due)
    return _next_of_runs(connection, kinds, where, now)


def _next_of_units(
    connection: sa.Connection, kinds: Sequence[Kind], where: Conditions, due: Conditions
) -> tuple[str, Kind] | None:
    """Return the most urgent unit by sorting all that are due."""
    rank = sa.case(dict(RANKS), value=UNITS.c.kind)
    query = (
        sa.select(UNITS.c.run_id, UNITS.c.kind)
        .join(RUNS, RUNS.c.id == UNITS.c.run_id)
        .where(*due, UNITS.c.kind.in_(kinds), *where)
        .order_by(RUNS.c.priority.desc(), rank, RUNS.c.created, RUNS.c.id)
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else (row.run_id, row.kind)


def _next_of_runs(
    connection: sa.Connection, kinds: Sequence[Kind], where: Conditions, now: float
) -> tuple[str, Kind] | None:
    """Return the most urgent unit by going through the runs in their order, until one has something to do."""
    # No plain column, so that SQLite looks for the run's own units and not through all that are open.
    is_open = UNITS.c.state + "" == "open"
    found: list[tuple[tuple[int, int, float, str], Kind]] = []
    for kind in kinds:
        unit = sa.select(UNITS.c.n).where(*of(RUNS.c.id, kind), is_open, UNITS.c.not_before <= now).exists()
        # State by state: each is one range of an index, which is in order of urgency.
        for state in ("queued", *ACTIVE) if kind == "plan" else ("running",):
            query = (
                sa.select(RUNS.c.priority, RUNS.c.created, RUNS.c.id)
                .where(RUNS.c.state == state, unit, *where)
                .order_by(RUNS.c.priority.desc(), RUNS.c.created, RUNS.c.id)
                .limit(1)
            )
            row = connection.execute(query).first()
            if row is not None:
                found.append(((-row.priority, RANKS[kind], row.created, row.id), kind))
    if not found:
        return None
    key, kind = min(found)
    return key[3], kind


def _has_room(connection: sa.Connection, crew: Crew, now: float) -> bool:
    """Say whether another run may begin; one that waits for its next try leaves its place to others."""
    is_busy = (UNITS.c.state == "leased") | ((UNITS.c.state == "open") & (UNITS.c.not_before <= now))
    busy = sa.select(UNITS.c.run_id).where(UNITS.c.run_id == RUNS.c.id, is_busy).exists()
    some = sa.select(RUNS.c.id).where(RUNS.c.state.in_(ACTIVE), busy).limit(crew.most_runs).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()) < crew.most_runs


def _bounds(crew: Crew) -> Conditions:
    """Return which runs come into question, by what is known of their plans."""
    other = RUNS.alias()
    same = (other.c.job_id == RUNS.c.job_id, other.c.place == RUNS.c.place, other.c.id != RUNS.c.id)
    # One of the same job is under way: to plan it before that one has ended would be in vain.
    waits = sa.and_(RUNS.c.state == "queued", sa.select(other.c.id).where(*same, other.c.state.in_(ACTIVE)).exists())
    within = (RUNS.c.place.contains("://", autoescape=True),) if crew.is_elsewhere else ()
    return (~waits, *within)


def of(run_id: str | sa.ColumnElement[str], kind: str) -> Conditions:
    """Return which units are of a kind and a run."""
    return UNITS.c.run_id == run_id, UNITS.c.kind == kind
