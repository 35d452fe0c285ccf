"""The ledger on DynamoDB: runs, what happened to them, watches and their brakes, in one table.

| pk | sk | what |
|---|---|---|
| RUN#<id> | RUN | a run; `by_state` is an index over STATE#<state> and the time of the last change |
| RUN#<id> | EVENT#<time>#<state> | a line of its history |
| WATCH#<name> | WATCH | a watch's document |
| BRAKE#<watch>#<day> | BRAKE | how many runs of a watch count for a day |
| BRAKE#<watch>#NEXT | BRAKE | the first day that may have room, by how many runs a day may have |

Every change of a run is one transaction with its line of history, and is made only if the run is still in the state
that was seen. Times are seconds since 1970 (UTC).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from geodl_core.domain.run.state import FINAL, FOLLOWING, State
from geodl_core.errors import AbsentError, CatalogError, InputError

DAY_S = 86_400
BY_STATE = "by_state"
"""Name of the index."""
KEEP_S = 180 * DAY_S
"""How long a run that has ended is remembered."""
LAST = "LastEvaluatedKey"
"""Of a page: where it ends; the last page has none."""
MOST_CONFLICTS = 20
TRANSIENT = ("TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded")
"""Reasons for which a transaction is tried again."""
PAGE = 1_000
"""Rows that a query of the index looks at in one request."""


@dataclass(frozen=True, slots=True)
class DynamoLedger:
    """Access to the table."""

    table: Any
    """Of boto3's `dynamodb` resource."""
    clock: Callable[[], float]


@dataclass(frozen=True, slots=True)
class CloudRun:
    """A run as the table has it."""

    id: str
    state: State
    attempt: int
    """From 1; it is a part of the name of the execution."""
    priority: int
    watch: str | None
    item_collection: str | None
    item_id: str
    model: str
    created: float
    updated: float
    not_before: float
    """When it may start: later than `created` where its watch's brake says so."""
    is_forced: bool
    result: Mapping[str, Any] | None
    """Collection and id of the output Item."""
    error: Mapping[str, Any] | None
    """Class and message of what ended it."""
    job_id: str | None = None
    """Known once it was planned, as are shards and tiles."""
    shards: int = 0
    tiles: int = 0
    held_by: str | None = None
    """Back-fill that has listed it: the sweep leaves it alone until something has happened to it."""


def read_run(ledger: DynamoLedger, run_id: str) -> CloudRun | None:
    """Return a run, None where there is none."""
    with answers(ledger):
        row = ledger.table.get_item(Key=run_key(run_id), ConsistentRead=True).get("Item")
    return None if row is None else run_of(row)


def move_run(ledger: DynamoLedger, run_id: str, state: State, text: str, **facts: Any) -> CloudRun:
    """Bring a run into a state, with its line of history.

    A run that is there already, in the same attempt, is left as it is: a step that is repeated changes nothing.

    Args:
        ledger: where.
        run_id: of the run.
        state: that follows the one it is in.
        text: for the history.
        facts: further attributes of `CloudRun` to set.

    Raises:
        InputError: no such run, or the state does not follow.
        CatalogError: the table does not answer, or others change the run all the time.
    """
    for _ in range(10):
        run = read_run(ledger, run_id)
        if run is None:
            raise AbsentError(f"no run {run_id[:12]}")
        if run.state == state:
            return run
        if state not in FOLLOWING[run.state]:
            raise InputError(f"run {run_id[:8]}: {state} does not follow {run.state}")
        if change_run(ledger, run, state, text, facts):
            break
    else:
        raise CatalogError(f"run {run_id[:8]}: others change it all the time")
    moved = read_run(ledger, run_id)
    assert moved is not None
    return moved


def retry_cloud_run(ledger: DynamoLedger, run_id: str, *, is_forced: bool = False) -> CloudRun:
    """Queue a run that has ended once more, as its next attempt.

    Raises:
        InputError: no such run, it has not ended, or it succeeded and is not forced.
    """
    run = read_run(ledger, run_id)
    if run is None:
        raise AbsentError(f"no run {run_id[:12]}")
    if run.state not in FINAL or (run.state == "succeeded" and not is_forced):
        raise InputError(f"run {run_id[:8]}: expected one that failed, found it {run.state}")
    facts = {"attempt": run.attempt + 1, "is_forced": is_forced or run.is_forced, "error": None, "not_before": 0}
    return move_run(ledger, run_id, "queued", "rerun" if is_forced else "retried", **facts)


@dataclass(frozen=True, slots=True)
class StatePage:
    """Which runs in a state to list."""

    limit: int = 100
    is_newest_first: bool = False
    """By the time of the last change; else the one changed longest ago comes first."""
    edge: float | None = None
    """Time of the last change at which the page begins, in the order asked for: runs of that time are in it."""
    watch: str | None = None
    """That ordered them first; None for any."""
    due: float | None = None
    """Only those that may start by this time, and that no back-fill holds."""


def list_by_state(ledger: DynamoLedger, state: State, asked: StatePage = StatePage()) -> list[CloudRun]:
    """Return runs in a state by the index, which may lag behind the table for a moment."""
    return list(islice(each_by_state(ledger, state, asked), asked.limit))


def each_by_state(ledger: DynamoLedger, state: State, asked: StatePage) -> Iterator[CloudRun]:
    """Yield runs in a state, all there are: whoever has enough stops, and nothing more is asked for.

    Of many that are passed over each is looked at once, since one request begins where the one before has ended.

    Raises:
        CatalogError: the table does not answer.
    """
    terms, values = ["state_pk = :state"], {":state": f"STATE#{state}"}
    if asked.edge is not None:
        terms.append(f"updated {'<=' if asked.is_newest_first else '>='} :edge")
        values[":edge"] = number(asked.edge)  # type: ignore[assignment]
    wanted: list[str] = []
    more: dict[str, Any] = {}
    if asked.watch is not None:
        wanted.append("#watch = :watch")
        values[":watch"] = asked.watch
        more["ExpressionAttributeNames"] = {"#watch": "watch"}
    if asked.due is not None:
        wanted.append("not_before <= :due AND attribute_not_exists(held_by)")
        values[":due"] = number(asked.due)  # type: ignore[assignment]
    if wanted:
        more["FilterExpression"] = " AND ".join(wanted)
    for page in query_pages(
        ledger,
        IndexName=BY_STATE,
        KeyConditionExpression=" AND ".join(terms),
        ExpressionAttributeValues=values,
        ScanIndexForward=not asked.is_newest_first,
        # What is passed over counts, too: with a filter the limit says nothing of how many are wanted.
        Limit=PAGE if wanted else min(PAGE, asked.limit),
        **more,
    ):
        for row in page["Items"]:
            yield run_of(row)


def cloud_history(ledger: DynamoLedger, run_id: str) -> list[dict[str, Any]]:
    """Return what happened to a run, oldest first: at, attempt, state, text."""
    with answers(ledger):
        found = ledger.table.query(
            KeyConditionExpression="pk = :pk AND begins_with(sk, :event)",
            ExpressionAttributeValues={":pk": f"RUN#{run_id}", ":event": "EVENT#"},
        )
    names = ("at", "attempt", "state", "text")
    return [{name: plain(row[name]) for name in names} for row in found["Items"]]


def change_run(ledger: DynamoLedger, run: CloudRun, state: State, text: str, facts: Mapping[str, Any]) -> bool:
    """Bring a run that was seen into a state, with its line of history; False where it has changed since.

    Nobody holds it any more, unless the facts say who does.

    Args:
        ledger: where.
        run: as it was seen.
        state: whether it follows is for the caller to know.
        text: for the history.
        facts: further attributes of `CloudRun` to set.

    Raises:
        CatalogError: the table does not answer.
    """
    return transact(ledger, change_steps(ledger, run, state, text, facts))


def change_steps(ledger: DynamoLedger, run: CloudRun, state: State, text: str, facts: Mapping[str, Any]) -> list[Any]:
    """Return the steps of the transaction of `change_run`."""
    now = ledger.clock()
    values = {"state": state, "state_pk": f"STATE#{state}", "updated": number(now), **facts}
    if state in FINAL:
        values["expires"] = int(now + KEEP_S)
    sets = ", ".join(f"#{name} = :{name}" for name in values)
    gone = ", ".join(name for name in ("expires", "held_by") if name not in values)
    update = {
        "TableName": ledger.table.name,
        "Key": run_key(run.id),
        "UpdateExpression": f"SET {sets}" + (f" REMOVE {gone}" if gone else ""),
        "ConditionExpression": "#state = :seen AND #updated = :at",
        "ExpressionAttributeNames": {f"#{name}": name for name in values},
        "ExpressionAttributeValues": {
            **{f":{name}": value for name, value in values.items()},
            ":seen": run.state,
            ":at": number(run.updated),
        },
    }
    event = event_row(run.id, int(facts.get("attempt", run.attempt)), state, text, now)
    return [{"Update": update}, {"Put": {"TableName": ledger.table.name, "Item": event}}]


def transact(ledger: DynamoLedger, steps: list[Any]) -> bool:
    """Write all of some steps; False where a condition of one does not hold, and nothing was written.

    Raises:
        CatalogError: the table does not answer, or others write the same rows all the time.
    """
    client = ledger.table.meta.client
    for _ in range(MOST_CONFLICTS):
        with answers(ledger):
            try:
                client.transact_write_items(TransactItems=steps)
            except ClientError as error:
                if error.response["Error"]["Code"] != "TransactionCanceledException":
                    raise
                reasons = {reason.get("Code") for reason in error.response.get("CancellationReasons", ())}
                if "ConditionalCheckFailed" in reasons:
                    return False
                # Somebody else was at the same row at the same moment: that says nothing of the conditions.
                if reasons.isdisjoint(TRANSIENT):
                    raise
                continue
        return True
    raise CatalogError(f"table {ledger.table.name}: others write the same rows all the time")


def query_pages(ledger: DynamoLedger, **asked: Any) -> Iterator[Mapping[str, Any]]:
    """Yield what a query of the table finds, page by page; the next one is asked for when it is wanted.

    Args:
        ledger: whose table.
        asked: as DynamoDB takes a query.

    Raises:
        CatalogError: the table does not answer.
    """
    more: dict[str, Any] = {}
    while True:
        with answers(ledger):
            page: Mapping[str, Any] = ledger.table.query(**asked, **more)
        yield page
        if LAST not in page:
            return
        more = {"ExclusiveStartKey": page[LAST]}


@contextmanager
def answers(ledger: DynamoLedger) -> Iterator[None]:
    """Turn what boto3 raises into CatalogError."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise CatalogError(f"table {ledger.table.name}: it does not answer ({error})") from error


def event_row(run_id: str, attempt: int, state: str, text: str, now: float) -> dict[str, Any]:
    """Return the row of a line of history."""
    key = {"pk": f"RUN#{run_id}", "sk": f"EVENT#{now:017.6f}#{state}"}
    return {**key, "at": number(now), "attempt": attempt, "state": state, "text": text, "expires": int(now + KEEP_S)}


def run_key(run_id: str) -> dict[str, str]:
    """Return the key of a run's row."""
    return {"pk": f"RUN#{run_id}", "sk": "RUN"}


def run_of(row: Mapping[str, Any]) -> CloudRun:
    """Return the run that a row has."""
    options = ("watch", "item_collection", "result", "error", "job_id", "held_by")
    optional = {name: plain(row.get(name)) for name in options}
    counts: dict[str, Any] = {name: int(row.get(name, 0)) for name in ("shards", "tiles")}
    names = ("id", "state", "attempt", "priority", "item_id", "model", "created", "updated", "not_before", "is_forced")
    return CloudRun(**optional, **counts, **{name: plain(row[name]) for name in names})


def number(value: float) -> Decimal:
    """Return a number as DynamoDB takes it."""
    return Decimal(repr(value))


def plain(value: Any) -> Any:
    """Return a value without DynamoDB's decimals."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    return value
