"""The ledger on DynamoDB: claims, states, brakes, retries."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from geodl_core.aws.ledger import found_runs
from geodl_core.aws.ledger.claims import claim_order
from geodl_core.aws.ledger.found_runs import ended_since
from geodl_core.aws.ledger.ledger import (
    BY_STATE,
    DynamoLedger,
    cloud_history,
    list_by_state,
    move_run,
    read_run,
    retry_cloud_run,
)
from geodl_core.domain.run.order import Order, order_id
from geodl_core.errors import CatalogError, InputError

DAY_S = 86_400
MOST_CALLS = 6
"""Run and day are read; where the day is full the run is read again, that is noted, and the next day is tried."""


def item(name="scene"):
    return {"id": name, "collection": "scenes", "properties": {}, "assets": {"image": {"href": "https://h/a.tif"}}}


class Clock:
    """Seconds that a test sets."""

    def __init__(self):
        self.now = 20_000.5 * DAY_S

    def __call__(self):
        self.now += 0.001
        return self.now


@pytest.fixture
def ledger(monkeypatch):
    """A table as the template makes it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        text = dict.fromkeys(("pk", "sk", "state_pk"), "S") | {"updated": "N"}
        table = boto3.resource("dynamodb").create_table(
            TableName="ledger",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind in text.items()],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": BY_STATE,
                    "KeySchema": [
                        {"AttributeName": "state_pk", "KeyType": "HASH"},
                        {"AttributeName": "updated", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        yield DynamoLedger(table, Clock())


def test_an_order_is_claimed_once(ledger):
    """Of twenty who claim the same order at once one gets a new run, the others the same one."""
    order = Order(item(), "water@1234", watch="w")
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: claim_order(ledger, order, None), range(20)))
    assert sum(claim.is_new for claim in claims) == 1
    assert {claim.run.id for claim in claims} == {order_id(order)}
    assert [event["text"] for event in cloud_history(ledger, order_id(order))] == ["ordered by w"]


def test_a_run_goes_its_way_once(ledger):
    """Each step is written down once, however often it is told; a step that does not follow is refused."""
    run_id = claim_order(ledger, Order(item(), "water@1234"), None).run.id
    for _ in range(2):
        move_run(ledger, run_id, "claimed", "execution started")
    move_run(ledger, run_id, "running", "planned")
    with pytest.raises(InputError, match="does not follow"):
        move_run(ledger, run_id, "claimed", "late")
    run = move_run(ledger, run_id, "succeeded", "registered", result={"collection": "c", "id": "i"})
    assert (run.state, run.result) == ("succeeded", {"collection": "c", "id": "i"})
    assert [event["state"] for event in cloud_history(ledger, run_id)] == ["queued", "claimed", "running", "succeeded"]
    assert [found.id for found in list_by_state(ledger, "succeeded")] == [run_id]
    assert list_by_state(ledger, "queued") == []


def test_a_brake_puts_runs_off(ledger):
    """Runs beyond a watch's brake may start on the next day that has room; those without brake start at once."""
    claims = [claim_order(ledger, Order(item(f"s{n}"), "water@1234", watch="w"), 2) for n in range(5)]
    days = [int(claim.run.not_before // DAY_S) for claim in claims]
    assert days == [20_000, 20_000, 20_001, 20_001, 20_002]
    assert all(claim.run.not_before >= claim.run.created for claim in claims)
    again = claim_order(ledger, Order(item("s0"), "water@1234", watch="w"), 2)
    assert not again.is_new
    free = claim_order(ledger, Order(item("free"), "water@1234", watch="other"), None)
    assert free.run.not_before == free.run.created


@pytest.fixture
def claim(ledger):
    """Return a function that claims a new order of a watch with a brake: its day, and how many calls that took."""
    calls, names = [], count()
    ledger.table.meta.client.meta.events.register("before-parameter-build.dynamodb", lambda **_: calls.append(1))

    def make(most):
        calls.clear()
        run = claim_order(ledger, Order(item(f"n{next(names)}"), "water@1234", watch="w"), most).run
        return max(int(run.not_before // DAY_S), int(ledger.clock.now // DAY_S)) - 20_000, len(calls)

    return make


def days_of(claim, most, times):
    """Return the days of so many claims, each of which takes few calls."""
    found = [claim(most) for _ in range(times)]
    assert max(calls for _, calls in found) <= MOST_CALLS
    return [day for day, _ in found]


def test_a_claim_takes_the_same_calls_however_far_it_is_put_off(claim):
    """The day is not searched for from today on: the first claim asks no less than the last."""
    found = [claim(1) for _ in range(60)]
    assert [day for day, _ in found] == list(range(60))
    assert {calls for _, calls in found[1:]} == {MOST_CALLS}
    found = [claim(5) for _ in range(60)]
    assert max(calls for _, calls in found) <= MOST_CALLS
    assert sum(calls for _, calls in found) < 60 * 4


def test_a_brake_that_is_raised_and_lowered(claim):
    """Raised, runs go to days that were full; lowered, to those that are not full by then; and back at once."""
    assert days_of(claim, 2, 6) == [0, 0, 1, 1, 2, 2]
    assert days_of(claim, 3, 2) == [0, 1]
    assert days_of(claim, 1, 3) == [3, 4, 5]
    assert days_of(claim, 3, 4) == [2, 3, 3, 4]
    assert days_of(claim, 2, 2) == [5, 6]
    assert days_of(claim, 1, 1) == [7]
    assert days_of(claim, 9, 9) == [0] * 6 + [1] * 3


def test_a_brake_goes_with_the_days(claim, ledger):
    """What lies back is past: a claim goes to today where that has room, else to the next day that has."""
    assert days_of(claim, 1, 5) == [0, 1, 2, 3, 4]
    ledger.clock.now += 2 * DAY_S
    assert days_of(claim, 1, 1) == [5]
    ledger.clock.now += 30 * DAY_S
    assert days_of(claim, 1, 3) == [32, 33, 34]


def test_days_that_were_full_before_are_passed_over(claim, ledger):
    """Counts of days that nobody has remembered as full hold: each is asked once, by one claim."""
    for day in range(20_000, 20_010):
        ledger.table.put_item(Item={"pk": f"BRAKE#w#{day}", "sk": "BRAKE", "runs": 2})
    assert claim(2)[0] == 10
    assert days_of(claim, 2, 3) == [10, 11, 11]


def test_a_table_that_is_busy_fills_no_day(claim, ledger, monkeypatch):
    """A transaction that is refused for another reason than its conditions says nothing of room."""
    client = ledger.table.meta.client
    write, refusals = client.transact_write_items, ["ThrottlingError", "TransactionConflict", "ValidationError"]

    def refuse(**asked):
        if refusals:
            told = {"Error": {"Code": "TransactionCanceledException", "Message": ""}}
            raise ClientError({**told, "CancellationReasons": [{"Code": refusals.pop(0)}]}, "TransactWriteItems")
        return write(**asked)

    monkeypatch.setattr(client, "transact_write_items", refuse)
    with pytest.raises(CatalogError, match="does not answer"):
        claim(1)
    assert claim(1)[0] == 0


def test_runs_of_the_same_moment_are_all_told(ledger, monkeypatch):
    """Where many came into a state at once a page's end among them leaves none out."""
    monkeypatch.setattr(found_runs, "PAGE", 2)
    still = replace(ledger, clock=lambda: 20_000.5 * DAY_S)
    ids = {claim_order(still, Order(item(f"s{n}"), "water@1234"), None).run.id for n in range(7)}
    assert sorted(run.id for run in ended_since(still, ("queued",), 20_000.5 * DAY_S, None)) == sorted(ids)
    assert list(ended_since(still, ("queued",), 20_000.6 * DAY_S, None)) == []


def test_a_failed_run_can_be_retried(ledger):
    """A retry is the next attempt of the same run; what succeeded is computed anew by force alone."""
    run_id = claim_order(ledger, Order(item(), "water@1234"), None).run.id
    with pytest.raises(InputError, match="expected one that failed"):
        retry_cloud_run(ledger, run_id)
    move_run(ledger, run_id, "failed", "it broke", error={"class": "DataError", "message": "a block"})
    run = retry_cloud_run(ledger, run_id)
    assert (run.state, run.attempt, run.error) == ("queued", 2, None)
    for state in ("claimed", "running", "succeeded"):
        move_run(ledger, run_id, state, state)
    with pytest.raises(InputError, match="expected one that failed"):
        retry_cloud_run(ledger, run_id)
    forced = retry_cloud_run(ledger, run_id, is_forced=True)
    assert (forced.state, forced.attempt, forced.is_forced) == ("queued", 3, True)
    stored = ledger.table.get_item(Key={"pk": f"RUN#{run_id}", "sk": "RUN"})["Item"]
    assert "expires" not in stored


def test_unknown_runs_are_named(ledger):
    """A run that is not there is said to be none."""
    assert read_run(ledger, "0" * 64) is None
    with pytest.raises(InputError, match="no run 000"):
        move_run(ledger, "0" * 64, "claimed", "x")
