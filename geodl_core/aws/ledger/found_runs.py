"""Runs of a deployment as a person asks for them: by the beginning of an id, by their end, by count."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile

from geodl_core.aws.ledger.ledger import (
    BY_STATE,
    LAST,
    PAGE,
    CloudRun,
    DynamoLedger,
    StatePage,
    each_by_state,
    number,
    query_pages,
    read_run,
)
from geodl_core.domain.run.state import STATES, State
from geodl_core.errors import AbsentError, InputError

LEAST_ID, WHOLE_ID = 8, 64
MOST_COUNTED = 200_000
LOOKED_AT: tuple[State, ...] = ("running", "failed", "invalid", "claimed", "queued", "cancelled", "succeeded")
"""States in the order in which a run is looked for: those that people ask for first."""


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
    asked = StatePage(PAGE, is_newest_first=True, watch=watch)
    for state in states:
        yield from takewhile(lambda run: run.updated >= since_s, each_by_state(ledger, state, asked))


def runs_of_job(ledger: DynamoLedger, job_id: str, since_s: float) -> Iterator[str]:
    """Yield the ids of the runs that were laid out as a job.

    The index is not by job: all runs are looked at, unless the first found is enough. Those that changed since a result
    of the job was registered come first, of them those that succeeded, oldest first.

    Args:
        ledger: where.
        job_id: the whole id.
        since_s: seconds since 1970 at which the result was registered; 0 where that is not known.

    Raises:
        CatalogError: the table does not answer.
    """
    states = sorted(LOOKED_AT, key=lambda state: state != "succeeded")
    for side in (">=", "<"):
        for state in states:
            for page in query_pages(
                ledger,
                IndexName=BY_STATE,
                KeyConditionExpression=f"state_pk = :state AND updated {side} :since",
                FilterExpression="job_id = :job",
                ProjectionExpression="id",
                ExpressionAttributeValues={
                    ":state": f"STATE#{state}",
                    ":since": number(since_s),
                    ":job": job_id,
                },
                ScanIndexForward=side == ">=",
            ):
                yield from (str(row["id"]) for row in page["Items"])


def _beginning_with(ledger: DynamoLedger, beginning: str) -> CloudRun | None:
    for state in LOOKED_AT:
        ids = _ids(ledger, state, beginning)
        if len(ids) > 1:
            raise InputError(f"run {beginning}: several begin so: {', '.join(sorted(ids))}")
        if ids:
            return read_run(ledger, ids.pop())
    return None


def _ids(ledger: DynamoLedger, state: State, beginning: str) -> set[str]:
    """Return ids of runs in a state that begin so: those of the first page that has any.

    The index is not by id: all runs of the state are looked at.
    """
    for page in query_pages(
        ledger,
        IndexName=BY_STATE,
        KeyConditionExpression="state_pk = :state",
        FilterExpression="begins_with(id, :beginning)",
        ProjectionExpression="id",
        ExpressionAttributeValues={":state": f"STATE#{state}", ":beginning": beginning},
        ScanIndexForward=False,
    ):
        if page["Items"]:
            return {str(row["id"]) for row in page["Items"]}
    return set()


def _count(ledger: DynamoLedger, state: State) -> Count:
    count = 0
    for page in query_pages(
        ledger,
        IndexName=BY_STATE,
        KeyConditionExpression="state_pk = :state",
        ExpressionAttributeValues={":state": f"STATE#{state}"},
        Select="COUNT",
    ):
        count += int(page["Count"])
        if count >= MOST_COUNTED and LAST in page:
            return Count(count, is_all=False)
    return Count(count)
