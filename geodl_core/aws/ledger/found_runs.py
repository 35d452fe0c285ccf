"""Runs of a deployment as a person asks for them: by the beginning of an id, by their end, by count."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from geodl_core.aws.ledger.ledger import (
    BY_STATE,
    CloudRun,
    DynamoLedger,
    StatePage,
    answers,
    list_by_state,
    read_run,
)
from geodl_core.domain.run.state import STATES, State
from geodl_core.errors import AbsentError, InputError

LEAST_ID, WHOLE_ID = 8, 64
MOST_COUNTED = 200_000
LOOKED_AT: tuple[State, ...] = ("running", "failed", "invalid", "claimed", "queued", "cancelled", "succeeded")
"""States in the order in which a run is looked for: those that people ask for first."""
PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Count:
    """How many runs are in a state."""

    runs: int
    is_all: bool = True
    """False where there are more than were counted."""


def find_run(ledger: DynamoLedger, text: str) -> CloudRun:
    """Return a run by its id, or the first 8 characters of it or more.

    Raises:
        InputError: there is none, or it is too short to be looked for.
        CatalogError: the table does not answer.
    """
    wanted = text.lower()
    if len(wanted) < LEAST_ID or not all(letter in "0123456789abcdef" for letter in wanted):
        raise InputError(f"run {text[:80]!r}: expected its id, or the first {LEAST_ID} characters of it or more")
    found = read_run(ledger, wanted) if len(wanted) == WHOLE_ID else _beginning_with(ledger, wanted)
    if found is None:
        raise AbsentError(f"no run {text[:WHOLE_ID]}", hint="geodl aws status shows those that failed or are stuck")
    return found


def count_runs(ledger: DynamoLedger) -> Mapping[State, Count]:
    """Return how many runs are in each state, by the index.

    Raises:
        CatalogError: the table does not answer.
    """
    return {state: _count(ledger, state) for state in STATES}


def ended_since(
    ledger: DynamoLedger, states: tuple[State, ...], since_s: float, watch: str | None
) -> Iterator[CloudRun]:
    """Yield the runs that came into a state since a time, newest first in each.

    Args:
        ledger: where.
        states: of the runs.
        since_s: seconds since 1970.
        watch: that ordered them; None for any.
    """
    for state in states:
        edge: float | None = None
        while True:
            page = list_by_state(ledger, state, StatePage(PAGE, is_newest_first=True, edge=edge, watch=watch))
            for run in page:
                if run.updated < since_s:
                    break
                yield run
            else:
                if len(page) == PAGE:
                    edge = page[-1].updated
                    continue
            break


def _beginning_with(ledger: DynamoLedger, beginning: str) -> CloudRun | None:
    for state in LOOKED_AT:
        ids = {str(row["id"]) for row in _rows(ledger, state, beginning)}
        if len(ids) > 1:
            raise InputError(f"run {beginning}: several begin so: {', '.join(sorted(ids))}")
        if ids:
            return read_run(ledger, ids.pop())
    return None


def _rows(ledger: DynamoLedger, state: State, beginning: str) -> Iterator[Mapping[str, object]]:
    """Yield the ids of runs in a state that begin so. The index is not by id: all of the state are looked at."""
    more: dict[str, object] = {}
    while True:
        with answers(ledger):
            page = ledger.table.query(
                IndexName=BY_STATE,
                KeyConditionExpression="state_pk = :state",
                FilterExpression="begins_with(id, :beginning)",
                ProjectionExpression="id",
                ExpressionAttributeValues={":state": f"STATE#{state}", ":beginning": beginning},
                ScanIndexForward=False,
                **more,
            )
        yield from page["Items"]
        if page["Items"] or "LastEvaluatedKey" not in page:
            return
        more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def _count(ledger: DynamoLedger, state: State) -> Count:
    count = 0
    more: dict[str, object] = {}
    while True:
        with answers(ledger):
            page = ledger.table.query(
                IndexName=BY_STATE,
                KeyConditionExpression="state_pk = :state",
                ExpressionAttributeValues={":state": f"STATE#{state}"},
                Select="COUNT",
                **more,
            )
        count += int(page["Count"])
        if "LastEvaluatedKey" not in page:
            return Count(count)
        if count >= MOST_COUNTED:
            return Count(count, is_all=False)
        more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
