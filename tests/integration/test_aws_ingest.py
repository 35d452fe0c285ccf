"""From messages to executions: what is started, once; what fails, and harms no neighbour; what a crash leaves."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from cloud import DAY_S
from geodl_core.aws.ledger.ledger import cloud_history, list_by_state, move_run, read_run
from geodl_core.aws.ledger.orders import read_kept_order
from geodl_core.aws.ledger.watches import pause_cloud_watch, put_cloud_watch, read_remark, remove_cloud_watch
from geodl_core.aws.site.documents import write_document
from geodl_core.aws.site.layout import large_url, model_item_url, order_url, result_item_url
from geodl_core.aws.steps.ingest import Known, ingest
from geodl_core.aws.steps.sweep import sweep
from geodl_core.domain.watch.watch import read_watch
from geodl_core.errors import CatalogError, ItemError, UnavailableError

EVENTS = Path(__file__).parents[1] / "events"
DOWN = ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, "StartExecution")


def event(name):
    return json.loads((EVENTS / f"{name}.json").read_text())


def register(cloud, name="water", version="0123456789abcdef", created="2026-01-01T00:00:00Z"):
    item = {"type": "Feature", "id": f"{name}-{version}", "properties": {"created": created}}
    write_document(cloud.s3, model_item_url(cloud.bucket, name, version), item)


def add_watch(cloud, name="w", **more):
    document = {"name": name, "model": "water", "collections": ["scenes"], **more}
    put_cloud_watch(cloud.ledger, read_watch(document, name), replaces=True)


@pytest.fixture
def ready(cloud):
    register(cloud)
    add_watch(cloud)
    return cloud


def take(cloud, name="sqs_sns_item", known=None, deployment=None):
    return ingest(deployment or cloud.deployment, known or Known(), event(name), "event")


def test_an_item_starts_an_execution(ready):
    """An Item that a watch wants becomes a run, an order in the bucket and an execution of the run's name."""
    (taken,) = take(ready)
    assert (taken.is_new, taken.is_started, taken.watch) == (True, True, "w")
    assert ready.executions() == [f"{taken.run_id}-1"]
    run = read_run(ready.ledger, taken.run_id)
    assert (run.state, run.model, run.item_id) == ("claimed", "water@0123456789abcdef", "S2B_33UXP_20260514")
    order = read_kept_order(ready.s3, ready.bucket, taken.run_id)
    assert order.item["assets"]["image"]["href"] == "https://scenes.example.com/S2B_33UXP_20260514.tif"
    assert (order.watch, order.depth) == ("w", 0)
    execution = ready.deployment.states.describe_execution(
        executionArn=ready.deployment.machine.replace(":stateMachine:", ":execution:") + f":{taken.run_id}-1"
    )
    assert json.loads(execution["input"]) == {"run_id": taken.run_id, "attempt": 1}


def test_fifty_times_the_same_item_is_one_execution(ready):
    """However often, in whatever order and envelope, and however many at a time an Item comes: it is run once."""
    names = ["sqs_sns_item", "sqs_raw_item", "item"] * 16 + ["item", "item"]
    random.Random(3).shuffle(names)
    with ThreadPoolExecutor(6) as pool:
        taken = [one for found in pool.map(lambda name: take(ready, name), names) for one in found]
    assert len(taken) == 50
    assert sum(one.is_new for one in taken) == 1
    assert len(ready.executions()) == 1
    states = [line["state"] for line in cloud_history(ready.ledger, taken[0].run_id)]
    assert states == ["queued", "claimed"]


def test_a_bad_item_harms_no_neighbour(ready):
    """Of a collection the good Items are run, the bad one is told of; so a second delivery starts nothing new."""
    known = Known()
    add_watch(ready, "any", collections=[])
    for _ in range(2):
        with pytest.raises(ItemError, match=r"features\[1\]"):
            take(ready, "sqs_collection", known)
    assert len(ready.executions()) == 2


def test_each_item_leaves_a_line(ready, caplog):
    """The log says of each Item which runs it led to, or that no watch wants it; also of those beside a bad one."""
    other = {**event("item"), "id": "other", "collection": "others", "assets": {}}
    several = {"type": "FeatureCollection", "features": [event("item"), {"type": "Feature", "id": "x"}, other]}
    with caplog.at_level("INFO", logger="geodl.ingest"), pytest.raises(ItemError, match=r"features\[1\]: expected a"):
        ingest(ready.deployment, Known(), several, "m")
    (run,) = list_by_state(ready.ledger, "claimed")
    taken, unwanted = caplog.records
    assert taken.facts == {"item": "scenes/S2B_33UXP_20260514", "runs": {"w": run.id}}
    assert (unwanted.message, unwanted.facts["item"]) == ("item that no watch wants", "others/other")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("this is no JSON", "expected JSON"),
        ({"no": "item"}, "expected a STAC Item"),
        ({"type": "Feature", "id": "x"}, "found a Feature without properties, assets, stac_version"),
        ({**event("item"), "id": ""}, "found a Feature without id"),
        ({**event("item"), "assets": ["a"]}, "found a Feature without assets"),
        ({"href": "file:///etc/passwd"}, "expected the http"),
        ({"href": "s3://others/secret.json"}, "expected the http"),
        ({"collection": "scenes", "id": "x"}, "no catalog is configured"),
        ({"Records": []}, "found none"),
    ],
)
def test_poison_is_told(ready, body, said):
    """What is no Item, or may not be fetched, fails each time and says why."""
    with pytest.raises(ItemError, match=said):
        ingest(ready.deployment, Known(), {"body": body}, "m")
    assert ready.executions() == []


def test_an_address_inside_the_cloud_is_not_asked(ready):
    """The metadata service, which gives out credentials, is no place of Items."""
    with pytest.raises(ItemError, match="refused"):
        take(ready, "sqs_href")


def test_an_item_by_name_comes_from_the_catalog(ready):
    """A message with collection and id is looked up where there is a catalog."""
    asked = []

    def lookup(*key):
        asked.append(key)
        return event("item") if len(asked) == 1 else None

    (taken,) = ingest(ready.deployment, Known(), event("sqs_key"), "event", lookup)
    assert taken.is_started
    with pytest.raises(ItemError, match="no such Item"):
        ingest(ready.deployment, Known(), event("sqs_key"), "event", lookup)


def test_a_large_item_comes_from_the_bucket(ready):
    """An Item that was too large for a message is fetched from where publishing put it."""
    url = large_url(ready.bucket, "0" * 64)
    write_document(ready.s3, url, event("item"))
    (taken,) = ingest(ready.deployment, Known(), {"href": url}, "m")
    assert taken.is_started


def test_a_crash_between_claim_and_start_is_healed_by_the_next_delivery(ready):
    """Who dies before the execution is started leaves a run that the same message starts; of two later ones, once."""
    with pytest.raises(UnavailableError):
        take(ready, deployment=ready.refusing(start_execution=DOWN))
    (run,) = list_by_state(ready.ledger, "queued")
    assert ready.executions() == []
    (taken,) = take(ready)
    assert (taken.is_new, taken.is_started, taken.run_id) == (False, True, run.id)
    assert take(ready)[0].is_started is False
    assert ready.executions() == [f"{run.id}-1"]


def test_a_crash_after_the_start_is_healed(ready, monkeypatch):
    """Who dies between start and the note of it leaves an execution that is not started twice."""

    def die(*_):
        raise CatalogError("killed")

    with monkeypatch.context() as patch, pytest.raises(UnavailableError):
        patch.setattr("geodl_core.aws.site.executions.note_started", die)
        take(ready)
    assert len(ready.executions()) == 1
    (taken,) = take(ready)
    assert read_run(ready.ledger, taken.run_id).state == "claimed"
    assert len(ready.executions()) == 1


def test_what_is_faster_than_the_note_stays(ready, monkeypatch):
    """An execution that has come to `running` before its start was noted is not set back."""
    start = ready.deployment.states.start_execution

    class Fast:
        def start_execution(self, **asked):
            answer = start(**asked)
            run_id = asked["name"].rpartition("-")[0]
            for state in ("claimed", "running"):
                move_run(ready.ledger, run_id, state, state)
            return answer

    (taken,) = take(ready, deployment=replace(ready.deployment, states=Fast()))
    assert read_run(ready.ledger, taken.run_id).state == "running"


def test_the_order_is_there_before_the_claim(ready, monkeypatch):
    """Whoever sees a run finds its order: a crash between the two leaves no run without one."""

    def die(*_):
        raise CatalogError("killed")

    with monkeypatch.context() as patch, pytest.raises(UnavailableError):
        patch.setattr("geodl_core.aws.steps.ingest.claim_order", die)
        take(ready)
    assert [key.startswith("orders/") for key in ready.keys("orders/")] == [True]
    assert list_by_state(ready.ledger, "queued") == []
    assert take(ready)[0].is_new


def test_a_brake_puts_runs_off_and_the_sweep_starts_them(ready):
    """Of five Items a day has room for two; the others are started by the sweep when their day has come."""
    add_watch(ready, max_runs_per_day=2)
    known = Known()
    for number in range(5):
        item = {**event("item"), "id": f"scene{number}"}
        ingest(ready.deployment, known, item, "m")
    assert len(ready.executions()) == 2
    for days, started in ((0, 0), (1, 2), (1, 1), (1, 0)):
        ready.clock.now += days * DAY_S + 600
        assert sweep(ready.deployment).started == started
    assert len(ready.executions()) == 5


def test_a_duplicate_does_not_start_what_is_put_off(ready):
    """The same message again does not outwit a brake."""
    add_watch(ready, max_runs_per_day=1)
    for name in ("one", "two", "two"):
        ingest(ready.deployment, Known(), {**event("item"), "id": name}, "m")
    assert len(ready.executions()) == 1


def test_watches_are_followed(ready):
    """What is added, paused or removed counts from the next message on."""
    known = Known()
    pause_cloud_watch(ready.ledger, "w", is_paused=True)
    assert take(ready, known=known) == []
    pause_cloud_watch(ready.ledger, "w", is_paused=False)
    assert len(take(ready, known=known)) == 1
    remove_cloud_watch(ready.ledger, "w")
    assert take(ready, known=known) == []
    add_watch(ready, "clear", filter="eo:cloud_cover < 5")
    assert take(ready, known=known) == []
    add_watch(ready, "cloudy", filter="eo:cloud_cover > 5", output_collection="c")
    assert [one.watch for one in take(ready, known=known)] == ["cloudy"]


def test_scheduled_watches_are_not_asked(ready):
    """A watch that scans does not look at what is published."""
    add_watch(ready, mode="schedule", schedule={"every": "PT6H"})
    assert take(ready) == []


def test_the_version_registered_last_is_run(ready):
    """A name means the newest version, a version that one; one that there is not is remarked, and stops nothing."""
    register(ready, version="fedcba9876543210", created="2026-02-01T00:00:00Z")
    add_watch(ready, "pinned", model="water@0123", output_collection="p")
    add_watch(ready, "lost", model="water@9999", output_collection="l")
    add_watch(ready, "none", model="fire", output_collection="f")
    models = {one.watch: read_run(ready.ledger, one.run_id).model for one in take(ready)}
    assert models == {"w": "water@fedcba9876543210", "pinned": "water@0123456789abcdef"}
    assert "no version 9999" in read_remark(ready.ledger, "lost")["text"]
    assert "no registered model fire" in read_remark(ready.ledger, "none")["text"]


def test_versions_are_looked_for_once_a_minute(ready):
    """A new version is taken within a minute, and the bucket is not listed for each Item."""
    known = Known()
    take(ready, known=known)
    register(ready, version="fedcba9876543210", created="2026-02-01T00:00:00Z")
    for wait_s, version in ((30, "0123456789abcdef"), (31, "fedcba9876543210")):
        ready.clock.now += wait_s
        item = {**event("item"), "id": f"after {wait_s}"}
        (taken,) = ingest(ready.deployment, known, item, "m")
        assert read_run(ready.ledger, taken.run_id).model == f"water@{version}"


def test_a_watch_does_not_run_over_its_own_results(ready):
    """A result of the same model, or one that descends from one by the bucket's Items, is passed over."""
    own = {**event("item"), "id": "result", "collection": "geodl-water"}
    own["properties"] = {**own["properties"], "geodl:model": "water"}
    add_watch(ready, collections=[])
    assert ingest(ready.deployment, Known(), own, "m") == []
    write_document(ready.s3, result_item_url(ready.bucket, "geodl-water", "result"), own)
    child = {**event("item"), "id": "child", "collection": "geodl-other"}
    child["links"] = [{"rel": "derived_from", "href": f"{ready.bucket.url}/results/geodl-water/result/result.json"}]
    child["properties"] = {**child["properties"], "geodl:model": "other", "geodl:source": "geodl-water/result"}
    assert ingest(ready.deployment, Known(), child, "m") == []
    assert read_remark(ready.ledger, "w")["count"] == 2


def test_a_table_that_is_down_is_worth_another_try(ready):
    """Nothing is lost while the ledger does not answer: the message comes again."""

    other = replace(ready.ledger, table=boto3.resource("dynamodb").Table("nowhere"))
    with pytest.raises(CatalogError, match="nowhere"):
        take(ready, deployment=replace(ready.deployment, ledger=other))
    assert len(take(ready)) == 1


def test_orders_lie_where_the_layout_says(ready):
    """The order's key is that of the layout."""
    (taken,) = take(ready)
    assert ready.keys("orders/") == [order_url(ready.bucket, taken.run_id).removeprefix(f"{ready.bucket.url}/")]
