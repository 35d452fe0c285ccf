"""The ledger on DynamoDB: runs, what happened to them, watches and their brakes, in one table.

| pk | sk | what |
|---|---|---|
| RUN#<id> | RUN | a run; `by_state` is an index over STATE#<state> and the time of the last change |
| RUN#<id> | EVENT#<time>#<attempt> | a line of its history |
| WATCH#<name> | WATCH | a watch's document |
| BRAKE#<watch>#<day> | BRAKE | how many runs of a watch count for a day |

Every change of a run is one transaction with its line of history, and is made only if the run is still in the state
that was seen. Times are seconds since 1970 (UTC).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from geodl_core.domain.run.order import Order, order_id
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
MOST_DAYS = 3_660
"""That a brake puts a run off."""


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


@dataclass(frozen=True, slots=True)
class Claim:
    """What became of an order."""

    run: CloudRun
    is_new: bool


def claim_order(ledger: DynamoLedger, order: Order, most_per_day: int | None, held_until: float | None = None) -> Claim:
    """Put a run into the table, if it is not there: of many who try at once one succeeds.

    Args:
        ledger: where.
        order: what to run.
        most_per_day: brake of its watch, None for none.
        held_until: time until which nobody but a back-fill starts it; None for no such time.

    Raises:
        CatalogError: the table does not answer.
    """
    run_id, now = order_id(order), ledger.clock()
    today = int(now // DAY_S)
    for day in range(today, today + MOST_DAYS):
        found = read_run(ledger, run_id)
        if found is not None:
            return Claim(found, is_new=False)
        not_before = now if day == today else float(day * DAY_S)
        row = _row(order, run_id, now, not_before if held_until is None else max(not_before, held_until))
        if _put(ledger, row, (order.watch, day, most_per_day)):
            return Claim(_run(row), is_new=True)
    raise CatalogError(f"watch {order.watch}: its brake puts runs off by more than {MOST_DAYS // 366} years")


def read_run(ledger: DynamoLedger, run_id: str) -> CloudRun | None:
    """Return a run, None where there is none."""
    with answers(ledger):
        row = ledger.table.get_item(Key=_key(run_id), ConsistentRead=True).get("Item")
    return None if row is None else _run(row)


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
        if _change(ledger, run, state, text, facts):
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
    """Time of the last change beyond which the page begins, in the order asked for."""
    watch: str | None = None
    """That ordered them first; None for any."""


def list_by_state(ledger: DynamoLedger, state: State, asked: StatePage = StatePage()) -> list[CloudRun]:
    """Return runs in a state by the index, which may lag behind the table for a moment."""
    terms, values = ["state_pk = :state"], {":state": f"STATE#{state}"}
    if asked.edge is not None:
        terms.append(f"updated {'<' if asked.is_newest_first else '>'} :edge")
        values[":edge"] = number(asked.edge)  # type: ignore[assignment]
    more: dict[str, Any] = {}
    if asked.watch is not None:
        values[":watch"] = asked.watch
        more = {"FilterExpression": "#watch = :watch", "ExpressionAttributeNames": {"#watch": "watch"}}
    found: list[CloudRun] = []
    for page in query_pages(
        ledger,
        IndexName=BY_STATE,
        KeyConditionExpression=" AND ".join(terms),
        ExpressionAttributeValues=values,
        ScanIndexForward=not asked.is_newest_first,
        Limit=min(1_000, asked.limit),
        **more,
    ):
        found += [_run(row) for row in page["Items"]]
        if len(found) >= asked.limit:
            break
    return found[: asked.limit]


def cloud_history(ledger: DynamoLedger, run_id: str) -> list[dict[str, Any]]:
    """Return what happened to a run, oldest first: at, attempt, state, text."""
    with answers(ledger):
        found = ledger.table.query(
            KeyConditionExpression="pk = :pk AND begins_with(sk, :event)",
            ExpressionAttributeValues={":pk": f"RUN#{run_id}", ":event": "EVENT#"},
        )
    names = ("at", "attempt", "state", "text")
    return [{name: plain(row[name]) for name in names} for row in found["Items"]]


def _row(order: Order, run_id: str, now: float, not_before: float) -> dict[str, Any]:
    return {
        **_key(run_id),
        "id": run_id,
        "state": "queued",
        "state_pk": "STATE#queued",
        "attempt": 1,
        "priority": order.priority,
        "watch": order.watch,
        "item_collection": order.item.get("collection"),
        "item_id": str(order.item["id"]),
        "model": order.model,
        "created": number(now),
        "updated": number(now),
        "not_before": number(not_before),
        "is_forced": False,
    }


def _put(ledger: DynamoLedger, row: Mapping[str, Any], brake: tuple[str | None, int, int | None]) -> bool:
    """Store a new run and count it for its watch's day; False where it is there by now, or the day is full."""
    watch, day, most = brake
    event = _event(str(row["id"]), 1, "queued", f"ordered by {watch or 'hand'}", ledger.clock())
    put = {"TableName": ledger.table.name, "Item": dict(row), "ConditionExpression": "attribute_not_exists(pk)"}
    steps: list[Any] = [{"Put": put}, {"Put": {"TableName": ledger.table.name, "Item": event}}]
    if watch is not None and most is not None:
        count = {
            "TableName": ledger.table.name,
            "Key": {"pk": f"BRAKE#{watch}#{day}", "sk": "BRAKE"},
            "UpdateExpression": "ADD runs :one SET expires = :expires",
            "ConditionExpression": "attribute_not_exists(runs) OR runs < :most",
            "ExpressionAttributeValues": {":one": 1, ":most": most, ":expires": (day + 8) * DAY_S},
        }
        steps.append({"Update": count})
    return transact(ledger, steps)


def _change(ledger: DynamoLedger, run: CloudRun, state: State, text: str, facts: Mapping[str, Any]) -> bool:
    """Move a run on; False where it is no longer in the state that was seen."""
    now = ledger.clock()
    values = {"state": state, "state_pk": f"STATE#{state}", "updated": number(now), **facts}
    if state in FINAL:
        values["expires"] = int(now + KEEP_S)
    sets = ", ".join(f"#{name} = :{name}" for name in values)
    update = {
        "TableName": ledger.table.name,
        "Key": _key(run.id),
        "UpdateExpression": f"SET {sets}" + ("" if state in FINAL else " REMOVE expires"),
        "ConditionExpression": "#state = :seen AND #updated = :at",
        "ExpressionAttributeNames": {f"#{name}": name for name in values},
        "ExpressionAttributeValues": {
            **{f":{name}": value for name, value in values.items()},
            ":seen": run.state,
            ":at": number(run.updated),
        },
    }
    event = _event(run.id, int(facts.get("attempt", run.attempt)), state, text, now)
    return transact(ledger, [{"Update": update}, {"Put": {"TableName": ledger.table.name, "Item": event}}])


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
                # Somebody else was at the same row at the same moment: that says nothing of the conditions.
                if "TransactionConflict" in reasons and "ConditionalCheckFailed" not in reasons:
                    continue
                return False
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


def _event(run_id: str, attempt: int, state: str, text: str, now: float) -> dict[str, Any]:
    key = {"pk": f"RUN#{run_id}", "sk": f"EVENT#{now:017.6f}#{state}"}
    return {**key, "at": number(now), "attempt": attempt, "state": state, "text": text, "expires": int(now + KEEP_S)}


def _key(run_id: str) -> dict[str, str]:
    return {"pk": f"RUN#{run_id}", "sk": "RUN"}


def _run(row: Mapping[str, Any]) -> CloudRun:
    optional = {name: plain(row.get(name)) for name in ("watch", "item_collection", "result", "error", "job_id")}
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
