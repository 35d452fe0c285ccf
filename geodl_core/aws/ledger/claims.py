"""Claims: orders that become runs of the table, each once, on days on which the brake of their watch leaves room.

A brake counts the runs of each day in a row of its own, and remembers for each number of runs that it was ever set to
the first day that may have room. What is full for a number is full for every smaller one, so that a claim begins at the
latest of the days that are remembered for its number and those above: it meets one full day at most, or as many as
others fill at the same moment, however far runs are put off and however the brake is raised and lowered.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from geodl_core.aws.ledger.ledger import (
    DAY_S,
    CloudRun,
    DynamoLedger,
    answers,
    change_run,
    change_steps,
    event_row,
    number,
    read_run,
    run_key,
    run_of,
    transact,
)
from geodl_core.domain.run.order import Order, order_id
from geodl_core.errors import CatalogError

MOST_DAYS = 3_660
"""That a brake puts a run off."""
MOST = "most_"
"""Beginning of the attributes that remember a day, before the number of runs that it is for."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What became of an order."""

    run: CloudRun
    is_new: bool


@dataclass(frozen=True, slots=True)
class Brake:
    """How many runs of a watch may start on a day (UTC)."""

    watch: str
    most: int


def claim_order(ledger: DynamoLedger, order: Order, most_per_day: int | None, held_by: str | None = None) -> Claim:
    """Put a run into the table, if it is not there: of many who try at once one succeeds.

    Args:
        ledger: where.
        order: what to run.
        most_per_day: brake of its watch, None for none.
        held_by: back-fill that starts it; None where whoever comes may.

    Raises:
        CatalogError: the table does not answer.
    """
    run_id, now = order_id(order), ledger.clock()
    found = read_run(ledger, run_id)
    if found is not None:
        return Claim(found, is_new=False)
    brake = None if order.watch is None or most_per_day is None else Brake(order.watch, most_per_day)
    for day in _days(ledger, brake, now):
        row = _row(order, run_id, (now, max(now, float(day * DAY_S))), held_by)
        if _put(ledger, row, brake, day):
            return Claim(run_of(row), is_new=True)
        found = read_run(ledger, run_id)
        if found is not None:
            return Claim(found, is_new=False)
    raise CatalogError(f"watch {order.watch}: its brake puts runs off by more than {MOST_DAYS // 366} years")


def release_run(ledger: DynamoLedger, run: CloudRun, brake: Brake) -> CloudRun:
    """Let go of a run that a back-fill holds and a watch with a brake orders, too: it starts on a day that has room.

    Args:
        ledger: where.
        run: as it was seen, queued; one that has changed since is left as it is.
        brake: of the watch.

    Raises:
        CatalogError: the table does not answer.
    """
    now = ledger.clock()
    for day in _days(ledger, brake, now):
        facts = {"not_before": number(max(now, float(day * DAY_S)))}
        steps = change_steps(ledger, run, "queued", f"ordered by {brake.watch}", facts)
        is_released = transact(ledger, [*steps, _count_step(ledger, brake, day)])
        found = read_run(ledger, run.id) or run
        if is_released or found.updated != run.updated:
            return found
    raise CatalogError(f"watch {brake.watch}: its brake puts runs off by more than {MOST_DAYS // 366} years")


def take_over(ledger: DynamoLedger, run: CloudRun, held_by: str) -> CloudRun:
    """Queue a run that was left behind by a back-fill that ended, as its next attempt; one that moves on is left.

    The attempt before may have an execution of which the run knows nothing, and no other may have its name.

    Args:
        ledger: where.
        run: as it was seen, queued or failed.
        held_by: back-fill that starts it from now on.

    Raises:
        CatalogError: the table does not answer.
    """
    facts = {"attempt": run.attempt + 1, "error": None, "not_before": 0, "held_by": held_by}
    change_run(ledger, run, "queued", f"listed by back-fill {held_by}", facts)
    return read_run(ledger, run.id) or run


def _days(ledger: DynamoLedger, brake: Brake | None, now: float) -> Iterator[int]:
    """Yield the days on which a run may start, from today on; who asks for another one has found the last one full."""
    today = int(now // DAY_S)
    first = today if brake is None else max(today, _first_day(ledger, brake))
    for day in range(first, today + MOST_DAYS):
        yield day if brake is not None else today
        if brake is not None:
            _note_full(ledger, brake, day + 1)


def _first_day(ledger: DynamoLedger, brake: Brake) -> int:
    """Return a day before which none has room; days are counted from 1970."""
    with answers(ledger):
        row = ledger.table.get_item(Key=_next_key(brake), ConsistentRead=True).get("Item", {})
    days = {int(name.removeprefix(MOST)): int(day) for name, day in row.items() if name.startswith(MOST)}
    return max((day for most, day in days.items() if most >= brake.most), default=0)


def _note_full(ledger: DynamoLedger, brake: Brake, day: int) -> None:
    """Remember that all days before this one are full."""
    with answers(ledger):
        try:
            ledger.table.update_item(
                Key=_next_key(brake),
                UpdateExpression="SET #most = :day",
                ConditionExpression="attribute_not_exists(#most) OR #most < :day",
                ExpressionAttributeNames={"#most": f"{MOST}{brake.most}"},
                ExpressionAttributeValues={":day": day},
            )
        except ClientError as error:
            # Somebody else has got further.
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise


def _next_key(brake: Brake) -> dict[str, str]:
    return {"pk": f"BRAKE#{brake.watch}#NEXT", "sk": "BRAKE"}


def _row(order: Order, run_id: str, times: tuple[float, float], held_by: str | None) -> dict[str, Any]:
    """Return the row of a new run, by when it was ordered and when it may start."""
    now, not_before = times
    return {
        **run_key(run_id),
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
        **({} if held_by is None else {"held_by": held_by}),
    }


def _put(ledger: DynamoLedger, row: Mapping[str, Any], brake: Brake | None, day: int) -> bool:
    """Store a new run and count it for its watch's day; False where it is there by now, or the day is full."""
    name = ledger.table.name
    event = event_row(str(row["id"]), 1, "queued", f"ordered by {row['watch'] or 'hand'}", ledger.clock())
    put = {"TableName": name, "Item": dict(row), "ConditionExpression": "attribute_not_exists(pk)"}
    steps: list[Any] = [{"Put": put}, {"Put": {"TableName": name, "Item": event}}]
    if brake is not None:
        steps.append(_count_step(ledger, brake, day))
    return transact(ledger, steps)


def _count_step(ledger: DynamoLedger, brake: Brake, day: int) -> dict[str, Any]:
    """Return the step of a transaction that counts a run for a day, and does not hold where that is full."""
    count = {
        "TableName": ledger.table.name,
        "Key": {"pk": f"BRAKE#{brake.watch}#{day}", "sk": "BRAKE"},
        "UpdateExpression": "ADD runs :one SET expires = :expires",
        "ConditionExpression": "attribute_not_exists(runs) OR runs < :most",
        "ExpressionAttributeValues": {":one": 1, ":most": brake.most, ":expires": (day + 8) * DAY_S},
    }
    return {"Update": count}
