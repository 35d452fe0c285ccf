"""`geodl aws cost`: what runs have used, times the table of prices, by watch."""

import json
import time
from dataclasses import replace

import pytest

from cloud import client
from commands import geodl_here
from geodl_core.aws.cost.prices import read_prices
from geodl_core.aws.ledger.ledger import move_run, number
from geodl_core.aws.operate.batch_jobs import read_job
from geodl_core.aws.operate.spending import read_result
from geodl_core.aws.site.layout import result_item_url
from geodl_core.aws.steps.ingest import take_order
from geodl_core.domain.run.order import Order
from stacks import stack_of

MODEL = "water@0123456789abcdef"
HOUR_S = 3_600


@pytest.fixture
def deployment(cloud, monkeypatch):
    """A deployment with the clock that people have, and the rate of a model's shard: an hour."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("GEODL_STACK", stack_of(cloud, parameters={"ShardCompute": "gpu-ec2"}))
    made = replace(cloud.deployment, ledger=replace(cloud.ledger, clock=time.time))
    times = {"started_ms": 0, "stopped_ms": HOUR_S * 1000, "pixels": 1}
    made.ledger.table.put_item(Item={"pk": f"RATE#{MODEL}", "sk": "RATE", **times})
    return made


def run(deployment, name, watch, shards, model=MODEL):
    """Take a run to its end, with a result of 2 km²."""
    item = {"id": name, "collection": "scenes", "properties": {}, "assets": {"image": {"href": "https://h/a.tif"}}}
    run_id = take_order(deployment, Order(item, model, watch=watch), None).run_id
    move_run(deployment.ledger, run_id, "running", "planned", job_id="a" * 64, shards=shards, tiles=4)
    result = {"collection": "geodl-water", "id": f"{name}_water"}
    move_run(deployment.ledger, run_id, "succeeded", "registered", result=result)
    place = result_item_url(deployment.bucket, collection=result["collection"], result_id=result["id"])
    counts = [{"value": 1, "count": 15_000}, {"value": 2, "count": 5_000}]
    document = {
        "properties": {"geodl:pixel_area_m2": 100.0, "proj:shape": [200, 200]},
        "assets": {"classification": {"file:size": 1_000_000, "classification:classes": counts}},
    }
    key = place.removeprefix(f"s3://{deployment.bucket.name}/")
    client("s3").put_object(Bucket=deployment.bucket.name, Key=key, Body=json.dumps(document).encode())
    return run_id


def told_by(words=()):
    done = geodl_here("aws", "cost", "--json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_machines_are_counted_by_their_hours(deployment):
    """Three runs of two shards of an hour each are six hours of the machine at its price; areas are summed."""
    for name in ("a", "b", "c"):
        run(deployment, name, "fields", shards=2)
    prices = read_prices()
    (watch,) = told_by()["watches"]
    assert (watch["watch"], watch["runs"], watch["job_s"]) == ("fields", {"succeeded": 3}, 6 * HOUR_S)
    hour = prices.usd("g6.xlarge") * prices.usd("gpu_spot_share")
    assert watch["usd"]["machines"] == pytest.approx(6 * hour, rel=1e-9)
    assert watch["area_km2"] == pytest.approx(3 * 20_000 * 100 / 1e6)
    assert watch["total_usd"] == pytest.approx(sum(watch["usd"].values()))


def test_watches_are_told_apart_the_dearest_first(deployment):
    """Each watch has its line; runs that nobody's watch ordered have theirs; other shards, other costs."""
    run(deployment, "a", "fields", shards=1)
    run(deployment, "b", "roads", shards=8)
    run(deployment, "c", None, shards=2)
    told = told_by()
    assert [one["watch"] for one in told["watches"]] == ["roads", "by hand", "fields"]
    assert [one["job_s"] for one in told["watches"]] == [8 * HOUR_S, 2 * HOUR_S, HOUR_S]
    assert told["runs"] == {"measured": 0, "estimated": 3, "unknown": 0, "all": True}


def test_only_the_days_asked_for_count(deployment):
    """What ended before is not in it."""
    old = run(deployment, "old", "fields", shards=1)
    key = {"pk": f"RUN#{old}", "sk": "RUN"}
    deployment.ledger.table.update_item(
        Key=key,
        UpdateExpression="SET updated = :at",
        ExpressionAttributeValues={":at": number(time.time() - 3 * 86_400)},
    )
    assert told_by(("--days", "2"))["watches"] == []
    assert len(told_by(("--days", "4"))["watches"]) == 1
    ratio = told_by(("--days", "4"))["standing_usd"] / told_by(("--days", "2"))["standing_usd"]
    assert ratio == pytest.approx(2)


def test_runs_of_which_no_times_are_known_say_so(deployment):
    """A model that no rate was noted of is counted without machines, and that is told."""
    run(deployment, "a", "fields", shards=4, model="new@0123456789abcdef")
    done = geodl_here("aws", "cost")
    assert "note     of 1 runs no times are known: they are counted without machines" in done.stdout
    assert told_by()["watches"][0]["usd"]["machines"] == 0


def test_the_table_for_people_fits_a_terminal(deployment):
    """No line is longer than 80 columns; each watch has its price of a run and a square kilometre."""
    run(deployment, "a", "a watch with a name that is rather long", shards=2)
    lines = geodl_here("aws", "cost").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    (row,) = [line for line in lines if line.startswith("a watch ")]
    assert row.split()[-1].startswith("$0.")
    assert any(line.startswith("standing $") for line in lines)


def test_nothing_yet_costs_what_stands(deployment):
    """Without a run only what is paid anyway is told."""
    lines = geodl_here("aws", "cost").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["days", "runs", "standing"]


def test_cost_explorer_that_knows_nothing_is_a_note(deployment):
    """--billed without an activated tag, or without leave, says so and does not fail."""
    done = geodl_here("aws", "cost", "--billed")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("note: ")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"{'a' * 64}-1-0", ("a" * 64, 1, 0)),
        (f"{'a' * 64}-12-4999", ("a" * 64, 12, 4_999)),
        (f"{'a' * 64}-2-merge", ("a" * 64, 2, None)),
    ],
)
def test_jobs_are_known_by_their_names(name, expected):
    """The name that the state machine gives says which run, attempt and shard a job belongs to."""
    job = read_job({"jobId": "1", "jobName": name, "status": "SUCCEEDED", "startedAt": 1_000, "stoppedAt": 61_000})
    assert (job.run_id, job.attempt, job.shard) == expected
    assert job.seconds == 60


@pytest.mark.parametrize("name", ["somebody-else-s", "x", "a-1-b", "a-b-1"])
def test_jobs_of_others_are_none_of_ours(name):
    """A job with another name belongs to no run."""
    assert read_job({"jobId": "1", "jobName": name, "status": "SUCCEEDED"}) is None


def test_areas_of_objects_are_those_of_the_grid():
    """A detector's counts are objects, not pixels: its area is that of the grid; without a place there is none."""
    properties = {"geodl:detections": 3, "geodl:pixel_area_m2": 1.0, "proj:shape": [1_000, 2_000]}
    asset = {"file:size": 5, "classification:classes": [{"count": 3}]}
    assert read_result({"properties": properties, "assets": {"detections": asset}}).area_km2 == 2
    assert read_result({"properties": {}, "assets": {"detections": asset}}).area_km2 is None
    assert read_result(None) is None
