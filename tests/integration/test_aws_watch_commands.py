"""Watches, scans, back-fills and publishing by the command line, on a deployment instead of a catalog here."""

import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import requests
from test_aws_scan import TEMPLATE, endless

from cloud import client, make_cloud
from commands import geodl_here
from controls import ACCOUNT, ROLE, controls_of, document_of, schedules_of
from earth_search import EarthSearch
from geodl_core.aws.ledger.watches import put_cloud_watch, read_cloud_watch
from geodl_core.aws.site.documents import read_document, write_document
from geodl_core.aws.site.layout import model_item_url
from geodl_core.aws.steps.ingest import Known
from geodl_core.aws.steps.scan import scan_stage
from geodl_core.aws.topics.publish import LARGE_BYTES, MOST_BYTES
from geodl_core.aws.watches import backfills
from geodl_core.aws.watches.stack_watches import apply_on_stack
from geodl_core.catalog.sqlite import SqliteCatalog
from networks import conv_network, write_emd
from scanning import MODEL, NOW, scenes, watch_of
from scenes import write_scene
from stac_documents import make_collection
from stacks import stack_of

ITEM = json.loads((Path(__file__).parents[1] / "events" / "item.json").read_text())


@dataclass
class Stacked:
    """A deployment with its stack."""

    cloud: object
    controls: object
    name: str

    def geodl(self, *arguments):
        return geodl_here(*arguments, "--stack", self.name)

    def told(self, *arguments):
        result = self.geodl(*arguments, "--json")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)


@pytest.fixture
def stacked(cloud):
    controls = controls_of(cloud)
    outputs = {
        "ScheduleGroup": controls.scheduling.group,
        "ScheduleRole": ROLE,
        "ScanFunction": controls.scan_function,
        "BackfillMachine": controls.backfill_machine,
    }
    return Stacked(cloud, controls, stack_of(cloud, **outputs))


def ok(result):
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_watch_is_kept_on_a_deployment(stacked):
    """Added by options, it is in the table with its schedule; listed, shown, paused, let go on and removed there."""
    options = ["--name", "daily", "-m", "water", "-c", "scenes", "--cron", "0 6 * * mon", "--timezone", "Europe/Vienna"]
    assert "daily: water over what its scans find" in ok(stacked.geodl("watch", "add", *options))
    again = stacked.geodl("watch", "add", *options)
    assert (again.returncode, "--replace" in again.stderr) == (2, True)
    ok(stacked.geodl("watch", "add", *options, "--replace", "--max-runs-per-day", "7"))
    assert schedules_of(stacked.controls)["daily"]["ScheduleExpression"] == "cron(0 6 ? * MON *)"
    (told,) = stacked.told("watch", "list")["watches"]
    assert (told["watch"]["name"], told["is_paused"], told["runs_today"]) == ("daily", False, 0)
    assert told["next_at"] > stacked.cloud.clock.now
    assert "daily" in ok(stacked.geodl("watch", "list"))
    ok(stacked.geodl("watch", "pause", "daily"))
    assert schedules_of(stacked.controls)["daily"]["State"] == "DISABLED"
    assert stacked.told("watch", "show", "daily")["next_at"] is None
    shown = ok(stacked.geodl("watch", "show", "daily"))
    assert "paused" in shown
    assert "Europe/Vienna" in shown
    ok(stacked.geodl("watch", "resume", "daily"))
    ok(stacked.geodl("watch", "remove", "daily"))
    assert schedules_of(stacked.controls) == {}
    gone = stacked.geodl("watch", "show", "daily")
    assert (gone.returncode, "no watch daily" in gone.stderr) == (2, True)
    assert ok(stacked.geodl("watch", "list")) == "no watches\n"


def test_watches_of_a_file_with_a_model_that_is_a_file(stacked, tmp_path):
    """A model beside the file of watches comes to the bucket first, and the watch names it there."""
    write_scene(tmp_path)
    conv_network(tmp_path / "net.onnx")
    emd = write_emd(tmp_path)
    (tmp_path / "watches.json").write_text(json.dumps([document_of("a"), {"name": "b", "model": emd.name}]))
    result = stacked.geodl("watch", "add", tmp_path / "watches.json", "--json")
    assert [one["model"] for one in json.loads(ok(result))] == ["water", "net"]
    assert "the watch takes the latest version" in result.stderr
    assert stacked.cloud.keys("models/net/")
    assert read_cloud_watch(stacked.cloud.ledger, "b").watch.model == "net"


def test_a_model_that_the_deployment_lacks_is_refused(stacked):
    """A watch whose model is registered elsewhere is not kept, and it is said where it is missing."""
    result = stacked.geodl("watch", "add", "--name", "w", "-m", "fire")
    assert (result.returncode, "no registered model fire in s3://" in result.stderr) == (2, True)


def test_places_exclude_one_another(stacked, tmp_path, monkeypatch):
    """Two places named are refused; a catalog that is named stands above the deployment of the environment."""
    both = stacked.geodl("watch", "list", "--catalog", tmp_path / "catalog.db")
    assert (both.returncode, "--stack and --catalog exclude" in both.stderr) == (2, True)
    monkeypatch.setenv("GEODL_STACK", stacked.name)
    assert "no watches" in ok(geodl_here("watch", "list"))
    ok(stacked.geodl("watch", "add", "--name", "w", "-m", "water"))
    assert "w" in ok(geodl_here("watch", "list"))
    with SqliteCatalog(tmp_path / "catalog.db"):
        pass
    assert ok(geodl_here("watch", "list", "--catalog", tmp_path / "catalog.db")) == "no watches\n"


def test_a_stack_that_there_is_not(stacked):
    """Each command says which deployment it did not find."""
    for words in (["watch", "list"], ["watch", "pause", "w"], ["scan", "w"], ["publish", "x.json"],
                  ["backfill", "w", "--from", "2025-01-01", "--to", "2025-01-02"]):  # fmt: skip
        result = geodl_here(*words, "--stack", "nowhere")
        assert (result.returncode, "stack nowhere: there is none" in result.stderr) == (2, True), words
        assert "AWS_DEFAULT_REGION another region" in result.stderr


@pytest.fixture
def searched(stacked):
    """A deployment with a watch over an API with scenes."""
    write_document(stacked.cloud.s3, model_item_url(stacked.cloud.bucket, "fields", "0123456789ab"), MODEL)
    with EarthSearch(scenes(TEMPLATE, 12)) as api:
        put_cloud_watch(stacked.cloud.ledger, watch_of(api.url), replaces=True)
        yield stacked


DAYS = ["--from", "2025-07-20", "--to", "2025-08-02"]


def test_a_dry_run_searches_from_here(searched):
    """What a back-fill of the deployment would order is counted here, and nothing is ordered or kept."""
    told = searched.told("backfill", "fields", *DAYS, "--dry-run", "--rate", "100", "--price", "2")
    assert (told["scenes"], told["new"]) == (12, 12)
    assert told["price"] == pytest.approx(told["area_km2"] / 50, abs=0.01)
    assert searched.cloud.executions() == []
    assert "nothing was ordered" in ok(searched.geodl("scan", "fields", "--dry-run"))


def test_a_backfill_is_started_once(searched):
    """The command starts the execution, says its name, and says the same when it is given again."""
    first = searched.told("backfill", "fields", *DAYS)
    assert (first["status"], first["since"], first["until"]) == (
        "RUNNING",
        "2025-07-20T00:00:00Z",
        "2025-08-03T00:00:00Z",
    )
    assert searched.told("backfill", "fields", *DAYS, "--again") == first
    assert first["name"] in ok(searched.geodl("backfill", "fields", *DAYS))
    refused = searched.geodl("backfill", "fields", *DAYS, "--limit", "5")
    assert (refused.returncode, "max_runs_per_day" in refused.stderr) == (2, True)


def test_an_api_that_does_not_answer_is_told_at_each_try(searched, monkeypatch):
    """A dry run that waits says so, and why, before each further try."""
    monkeypatch.setattr("geodl_core.service.scans.backfill.pause_s", lambda *_: 0.001)
    put_cloud_watch(searched.cloud.ledger, watch_of("http://127.0.0.1:9/"), replaces=True)
    done = searched.geodl("scan", "fields", "--dry-run")
    notes = [line for line in done.stderr.splitlines() if line.startswith("note: ")]
    assert (done.returncode, len(notes)) == (75, 4), done.stderr
    assert "no answer" in notes[0]


def test_a_backfill_that_failed_is_a_failure_of_the_command(searched, monkeypatch):
    """Who asks for a back-fill and is told that it has failed gets an exit code that says so; a stopped one is none."""
    given = searched.told("backfill", "fields", *DAYS)
    told = backfills._told
    for status, code in (("FAILED", 1), ("TIMED_OUT", 1), ("ABORTED", 0), ("SUCCEEDED", 0)):
        monkeypatch.setattr(backfills, "_told", lambda *asked, status=status: replace(told(*asked), status=status))
        done = searched.geodl("backfill", "fields", *DAYS)
        assert (done.returncode, f"{given['name']}: {status.lower()}" in done.stdout) == (code, True)


def test_a_backfill_is_stopped_and_begun_again(searched):
    """--stop ends it, and says how to go on; it needs a deployment, its days, and neither of what begins one."""
    nothing = searched.geodl("backfill", "fields", *DAYS, "--stop")
    assert (nothing.returncode, "watch fields: no back-fill of 2025-07-20" in nothing.stderr) == (2, True)
    name = searched.told("backfill", "fields", *DAYS)["name"]
    assert ok(searched.geodl("backfill", "fields", *DAYS, "--stop")).splitlines() == [
        f"backfill {name}: aborted; 0 found, 0 matched, 0 ordered",
        "next     --again begins anew: what was run is not run again",
    ]
    assert searched.told("backfill", "fields", *DAYS, "--stop")["status"] == "ABORTED"
    assert searched.told("backfill", "fields", *DAYS)["status"] == "ABORTED"
    assert searched.told("backfill", "fields", *DAYS, "--again")["status"] == "RUNNING"
    for words in (["--again"], ["--dry-run"]):
        refused = searched.geodl("backfill", "fields", *DAYS, "--stop", *words)
        assert (refused.returncode, "--stop: expected neither" in refused.stderr) == (2, True)
    here = geodl_here("backfill", "fields", *DAYS, "--stop", "--catalog", "nowhere.db")
    assert (here.returncode, "--stop: expected --stack" in here.stderr) == (2, True)


def test_what_scans_found_is_shown_with_their_watch(searched):
    """Shown are when the last scan was and what it found, and how the back-fills do; elsewhere there are none."""
    assert "last scan            none yet\n" in ok(searched.geodl("watch", "show", "fields"))
    name = searched.told("backfill", "fields", *DAYS)["name"]
    searched.cloud.clock.now = NOW.timestamp()
    scan_stage(searched.controls.deployment, Known(), {"watch": "fields"}, endless())
    shown = ok(searched.geodl("watch", "show", "fields"))
    assert re.search(r"^last scan +2025-08-02 .*; 12 found, 12 matched, 12 ordered$", shown, re.MULTILINE)
    assert f"back-fill            {name}: running; 0 found, 0 matched, 0 ordered\n" in shown


def test_a_scan_is_asked_for(searched):
    """The deployment's function is called; a window is the deployment's own affair, and a missing function is told."""
    missing = searched.geodl("scan", "fields")
    assert (missing.returncode, "scan of fields" in missing.stderr) == (75, True)
    simple = {"lambda": {"use_docker": False}}
    requests.post(f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/config", json=simple, timeout=9)
    name = searched.controls.scan_function.rpartition(":")[2]
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.13",
        Role=f"arn:aws:iam::{ACCOUNT}:role/{name}",
        Handler="app.handler",
        Code={"ZipFile": b"x"},
    )
    assert searched.told("scan", "fields") == {"watch": "fields", "asked": True}
    window = searched.geodl("scan", "fields", "--since", "2025-07-01")
    assert (window.returncode, "geodl backfill" in window.stderr) == (2, True)


def test_a_watch_is_applied_to_what_is_there(stacked, tmp_path):
    """Items of the deployment's catalog that match are ordered and started once; a dry run orders none."""
    controls = stacked.controls
    stacked.geodl("watch", "add", "--name", "w", "-m", "water", "-c", "scenes", "--filter", "eo:cloud_cover < 20")
    with SqliteCatalog(tmp_path / "catalog.db") as catalog:
        catalog.put_collection(make_collection("scenes"))
        for number, cover in enumerate([5, 50, 7, 99]):
            properties = {**ITEM["properties"], "eo:cloud_cover": cover}
            catalog.put_item({**ITEM, "id": f"i{number}", "properties": properties})
        dry = list(apply_on_stack(controls, catalog, "w", is_dry=True))
        assert stacked.cloud.executions() == []
        done = list(apply_on_stack(controls, catalog, "w"))
        again = list(apply_on_stack(controls, catalog, "w"))
    assert {one.item for one in done} == {"scenes/i0", "scenes/i2"}
    assert [one.run_id for one in dry] == [one.run_id for one in done]
    assert ([one.is_new for one in done], [one.is_new for one in again]) == ([True, True], [False, False])
    assert len(stacked.cloud.executions()) == 2


def test_apply_wants_a_catalog(stacked):
    """A stack without a STAC API is told so."""
    stacked.geodl("watch", "add", "--name", "w", "-m", "water")
    result = stacked.geodl("watch", "apply", "w")
    assert (result.returncode, "StacApi" in result.stderr) == (2, True)


def documents(tmp_path):
    """Write the same two Items as every form that is published, and return the files."""
    items = [{**ITEM, "id": "a"}, {**ITEM, "id": "b"}]
    forms = {
        "collection.json": json.dumps({"type": "FeatureCollection", "features": items}),
        "items.ndjson": "\n".join(map(json.dumps, items)) + "\n\n",
        "list.json": json.dumps(items),
        "envelope.json": json.dumps({"Records": [{"Sns": {"Message": json.dumps(one)}} for one in items]}),
    }
    for name, text in forms.items():
        (tmp_path / name).write_text(text)
    return [tmp_path / name for name in forms]


def published(cloud):
    return sorted(json.loads(message["Message"])["id"] for message in cloud.received())


def test_items_are_published_to_a_topic(stacked, tmp_path):
    """Whatever form they come in, the same messages reach the deployment's topic, or any topic, with attributes."""
    cloud = stacked.cloud
    for file in documents(tmp_path):
        out = ok(stacked.geodl("publish", file))
        assert out.count("published   scenes/") == 2
        assert published(cloud) == ["a", "b"]
    other = make_cloud()
    (tmp_path / "i.json").write_text(json.dumps(ITEM))
    ok(geodl_here("publish", tmp_path / "i.json", "--topic", other.topic))
    (message,) = other.received()
    assert message["MessageAttributes"]["collection"]["Value"] == "scenes"
    assert cloud.received() == []


def test_a_dry_run_publishes_nothing(stacked, tmp_path):
    """It says what would be published and how large it is, and writes nothing."""
    large = {**ITEM, "properties": {**ITEM["properties"], "note": "x" * LARGE_BYTES}}
    (tmp_path / "i.ndjson").write_text(json.dumps(ITEM) + "\n" + json.dumps(large))
    out = ok(stacked.geodl("publish", tmp_path / "i.ndjson", "--dry-run", "--json"))
    results = [json.loads(line) for line in out.splitlines()]
    assert [one["outcome"] for one in results] == ["ready", "ready"]
    assert stacked.cloud.received() == []
    assert stacked.cloud.keys("large/") == []


def test_large_items_go_through_the_bucket_of_a_deployment(stacked, tmp_path):
    """Where a deployment is named a large Item goes by reference; a bare topic takes what SNS itself does."""
    large = {**ITEM, "properties": {**ITEM["properties"], "note": "x" * MOST_BYTES}}
    (tmp_path / "i.json").write_text(json.dumps(large))
    ok(stacked.geodl("publish", tmp_path / "i.json"))
    (message,) = stacked.cloud.received()
    assert read_document(stacked.cloud.s3, json.loads(message["Message"])["href"])["id"] == ITEM["id"]
    result = geodl_here("publish", tmp_path / "i.json", "--topic", stacked.cloud.topic)
    assert (result.returncode, "262,144 bytes" in result.stdout, "--stack" in result.stdout) == (2, True, True)


def test_what_cannot_be_published_stops_nothing_else(stacked, tmp_path):
    """Of a file with bad lines the good ones are published, and each bad one is told with its place."""
    local = {**ITEM, "id": "local", "assets": {"a": {"href": str(tmp_path / "a.tif")}}}
    bare = {name: value for name, value in ITEM.items() if name != "collection"}
    lines = [json.dumps({**ITEM, "id": "a"}), "{no json", json.dumps(local), json.dumps({**bare, "id": "bare"}), "3",
             json.dumps({**ITEM, "id": "z"}), json.dumps({"collection": "scenes", "id": "known"})]  # fmt: skip
    (tmp_path / "i.ndjson").write_text("\n".join(lines))
    result = stacked.geodl("publish", tmp_path / "i.ndjson", "--json")
    told = [json.loads(line) for line in result.stdout.splitlines()]
    outcomes = [one["outcome"] for one in told]
    assert outcomes == ["published", "refused", "refused", "refused", "refused", "published", "refused"]
    assert "URL that the deployment can read" in told[2]["text"]
    assert (result.returncode, "5 of 7 refused" in result.stderr) == (2, True)
    assert published(stacked.cloud) == ["a", "z"]
    assert "refused     bare  " in stacked.geodl("publish", tmp_path / "i.ndjson").stdout
    given = stacked.geodl("publish", tmp_path / "i.ndjson", "--collection", "given", "--json")
    assert json.loads(given.stdout.splitlines()[3])["collection"] == "given"


def test_topics_that_there_are_not(stacked, tmp_path):
    """What is no ARN, a topic that there is not, and two places are each refused in a sentence."""
    (tmp_path / "i.json").write_text(json.dumps(ITEM))
    wrong = geodl_here("publish", tmp_path / "i.json", "--topic", "geodl-items")
    assert (wrong.returncode, "expected the ARN of a topic" in wrong.stderr) == (2, True)
    fifo = geodl_here("publish", tmp_path / "i.json", "--topic", f"{stacked.cloud.topic}.fifo")
    assert (fifo.returncode, "ARN of a topic" in fifo.stderr) == (2, True)
    away = geodl_here("publish", tmp_path / "i.json", "--topic", stacked.cloud.topic + "x")
    assert (away.returncode, "refused (NotFound)" in away.stderr) == (2, True)
    both = stacked.geodl("publish", tmp_path / "i.json", "--topic", stacked.cloud.topic)
    assert (both.returncode, "exclude one another" in both.stderr) == (2, True)
    dry = geodl_here("publish", tmp_path / "i.json", "--dry-run")
    assert (dry.returncode, "--dry-run: expected --topic or --stack" in dry.stderr) == (2, True)


def test_lines_are_published_to_a_catalog_too(tmp_path):
    """The same file goes into a catalog here."""
    file = documents(tmp_path)[1]
    out = ok(geodl_here("publish", file, "--catalog", tmp_path / "catalog.db"))
    assert out.count("published") == 2
    with SqliteCatalog(tmp_path / "catalog.db") as catalog:
        assert catalog.get_item("scenes", "b")


def test_a_watch_that_is_shown_can_be_put_again(stacked, tmp_path):
    """What is shown of a watch is its document: put again it is the same watch."""
    options = ["--aoi", "5,45,6,46", "--max-runs-per-day", "3", "--arg", "threshold=0.5", "--every", "PT6H", "-c", "s"]
    ok(stacked.geodl("watch", "add", "--name", "w", "-m", "water", *options))
    before = read_cloud_watch(stacked.cloud.ledger, "w")
    (tmp_path / "w.json").write_text(json.dumps(stacked.told("watch", "show", "w")["watch"]))
    ok(stacked.geodl("watch", "add", tmp_path / "w.json", "--replace"))
    after = read_cloud_watch(stacked.cloud.ledger, "w")
    assert after.watch == before.watch
    assert after.revision == before.revision + 1
