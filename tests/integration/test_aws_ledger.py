"""The ledger on DynamoDB: claims, states, brakes, retries."""

from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from moto import mock_aws

from geodl_core.aws.ledger.ledger import (
    BY_STATE,
    DynamoLedger,
    claim_order,
    cloud_history,
    list_by_state,
    move_run,
    read_run,
    retry_cloud_run,
)
from geodl_core.domain.run.order import Order, order_id
from geodl_core.errors import InputError

DAY_S = 86_400


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
