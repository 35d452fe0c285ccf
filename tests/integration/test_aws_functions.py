"""The functions as Lambda calls them: an event in, a small dict out, messages that fail told one by one."""

import hashlib
import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from geodl_core.aws.ledger.claims import claim_order
from geodl_core.aws.ledger.ledger import move_run, read_run
from geodl_core.aws.ledger.watches import put_cloud_watch
from geodl_core.aws.site.executions import execution_arn
from geodl_core.aws.site.register_model import add_model_to_bucket
from geodl_core.aws.steps.ingest import take_order
from geodl_core.catalog.pgstac.catalog import PgstacCatalog
from geodl_core.domain.run.options import RunOptions
from geodl_core.domain.run.order import Order, order_id
from geodl_core.domain.watch.watch import read_watch
from geodl_core.engine.open_worker import Means
from geodl_core.engine.plan_files import opened_plan, store_part, tasks_of
from geodl_core.engine.run_tasks import Listener, run_tasks
from geodl_core.errors import InputError
from geodl_core.io.package.package import load_package
from geodl_core.io.remote.objects import upload
from geodl_core.io.stac import read_item
from networks import conv_network, write_emd
from postgres import database
from runs import NOW
from scenes import write_scene
from stac_documents import make_collection, make_item

pytest.importorskip("aws_lambda_powertools", reason="the extra aws is not installed")
FUNCTIONS = Path(__file__).parents[2] / "functions"
EVENTS = Path(__file__).parents[1] / "events"


@dataclass
class Context:
    """What Lambda tells a handler of its call."""

    function_name: str = "geodl"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:geodl"
    aws_request_id: str = "52fdfc07-2182-154f-163f-5f0f9a621d72"

    def get_remaining_time_in_millis(self):
        return 300_000


def event(name):
    return json.loads((EVENTS / f"{name}.json").read_text())


@pytest.fixture
def environment(cloud, monkeypatch):
    """What the template tells the functions."""
    values = {
        "GEODL_BUCKET": cloud.bucket.url,
        "GEODL_TABLE": cloud.table,
        "GEODL_SCENE_MACHINE": cloud.deployment.machine,
        "GEODL_TOPIC": cloud.topic,
        "GEODL_TOKENS_SECRET": f"{cloud.table}-tokens",
        "POWERTOOLS_SERVICE_NAME": "geodl",
        "POWERTOOLS_METRICS_NAMESPACE": "geodl",
        "POWERTOOLS_TRACE_DISABLED": "true",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    tokens = [{"name": "a", "sha256": hashlib.sha256(b"gdl_a").hexdigest(), "scopes": ["admin"]}]
    boto3.client("secretsmanager").create_secret(Name=f"{cloud.table}-tokens", SecretString=json.dumps(tokens))
    return monkeypatch


@pytest.fixture
def load(environment):
    """Return a function that loads a function's handler as a cold start does."""

    def handler(name):
        spec = importlib.util.spec_from_file_location(f"functions_{name}", FUNCTIONS / name / "app.py")
        module = importlib.util.module_from_spec(spec)
        environment.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return lambda given: module.handler(given, Context())

    return handler


@pytest.fixture
def model(cloud, tmp_path):
    """A registered model, with a scene in the bucket that it may run over."""
    write_scene(tmp_path)
    conv_network(tmp_path / "net.onnx")
    item, _ = add_model_to_bucket(cloud.s3, cloud.bucket, load_package(str(write_emd(tmp_path))), NOW)
    upload(tmp_path / "scene.tif", f"{cloud.bucket.url}/scenes/scene.tif")
    return f"net@{item['properties']['version']}"


@pytest.fixture
def secret(request, cloud, environment):
    """A database with a catalog, whose address is a secret."""
    with database(request.getfixturevalue("postgres")) as dsn:
        boto3.client("secretsmanager").create_secret(Name=f"{cloud.table}-dsn", SecretString=dsn)
        environment.setenv("GEODL_CATALOG_SECRET", f"{cloud.table}-dsn")
        yield dsn


def test_handlers_are_short():
    """A function is a typed view of its event, one call, a small dict."""
    for path in FUNCTIONS.glob("*/app.py"):
        assert len(path.read_text().splitlines()) <= 40, path


def test_ingest_tells_of_each_message_that_failed(cloud, load, model):
    """Of a batch the good messages are done, the malformed ones come again, and nobody else's."""
    put_cloud_watch(cloud.ledger, read_watch({"name": "w", "model": "net"}, "w"), replaces=False)
    ingest = load("ingest")
    given = event("sqs_mixed")
    failed = [given["Records"][n]["messageId"] for n in (1, 2)]
    for _ in range(3):
        answer = ingest(given)
        assert [one["itemIdentifier"] for one in answer["batchItemFailures"]] == failed
    assert len(cloud.executions()) == 2
    assert ingest(event("sqs_sns_item")) == {"batchItemFailures": []}


def test_a_batch_that_fails_whole_is_told_as_such(load):
    """Where each message is poison each is told of; the function itself does not fail."""
    given = event("sqs_href")
    answer = load("ingest")(given)
    assert answer == {"batchItemFailures": [{"itemIdentifier": given["Records"][0]["messageId"]}]}


@pytest.mark.postgres
def test_a_run_through_all_functions(cloud, load, model, secret, tmp_path):
    """Planned, computed, merged, registered: pgstac has the Item, the topic has heard of it, the run has succeeded."""
    item = read_item(str(tmp_path / "scene.json"))
    item["assets"]["image"]["href"] = f"{cloud.bucket.url}/scenes/scene.tif"
    said = {"arguments": {"tile_size": 96}, "bands": {"0": "image:1", "1": "image:2"}, "shards": 2}
    options = RunOptions.model_validate(said)
    order = Order(item, model, options)
    take_order(cloud.deployment, order, None)
    asked = {"run_id": order_id(order), "attempt": 1}
    planned = load("plan")(asked)
    assert planned["of"] == 2
    with opened_plan(planned["plan"]) as opened:
        tasks = tasks_of(opened)
        run_tasks(opened.planned, opened.package, Means(threads=1), tasks, Listener(lambda _: None, lambda _: None))
        for task in tasks:
            store_part(opened, task)
    merged = load(f"merge_{planned['merge']}")(planned)
    assert merged["count"] == 300 * 410
    result = load("register")(planned)
    with PgstacCatalog(secret) as catalog:
        kept = catalog.get_item(result["collection"], result["id"])
    assert kept["assets"]["classification"]["href"].startswith(f"{cloud.bucket.url}/results/")
    assert read_run(cloud.ledger, asked["run_id"]).state == "succeeded"
    (message,) = cloud.received()
    assert json.loads(message["Message"])["id"] == result["id"]
    assert load("publish")(event("schedule_publish")) == {"published": 0}


@pytest.mark.postgres
def test_the_api_over_pgstac(cloud, load, secret):
    """Through the gateway's events anybody reads the catalog, whoever has a token writes, and the topic is told."""
    api = load("api")
    landing = api(event("http_get"))
    assert landing["statusCode"] == 200
    links = json.loads(landing["body"])["links"]
    assert {link["href"] for link in links if link["rel"] == "self"} == {
        "https://abc123.execute-api.us-east-1.amazonaws.com/"
    }

    def write(path, document, **headers):
        given = event("http_get")
        given["rawPath"] = given["requestContext"]["http"]["path"] = path
        given["requestContext"]["http"]["method"] = "POST"
        given["headers"] |= headers
        return api({**given, "body": json.dumps(document)})["statusCode"]

    assert write("/collections", make_collection("scenes")) == 401
    assert write("/collections", make_collection("scenes"), authorization="Bearer gdl_a") == 201
    assert write("/collections/scenes/items", make_item("i"), authorization="Bearer gdl_a") == 201
    (message,) = cloud.received()
    assert json.loads(message["Message"])["id"] == "i"


def test_the_status_api(cloud, load, model):
    """Routes of the gateway lead to runs and watches; what there is none of is said so."""
    runs = load("runs")
    answer = runs(event("http_list_runs"))
    assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"runs": []})
    given = event("http_put_watch")
    assert runs(given)["statusCode"] == 401
    given["headers"]["authorization"] = "Bearer gdl_a"
    assert "no registered model water" in runs(given)["body"]
    given["body"] = json.dumps({"name": "w", "model": "net"})
    assert runs(given)["statusCode"] == 200
    given = event("http_list_runs")
    given["rawPath"] = given["requestContext"]["http"]["path"] = f"/runs/{'0' * 64}/history"
    assert runs(given)["statusCode"] == 404
    given["rawPath"] = given["requestContext"]["http"]["path"] = "/nowhere"
    answer = runs(given)
    assert (answer["statusCode"], json.loads(answer["body"])["code"]) == (404, "NotFound")


def test_failures_and_what_was_left_lying(cloud, load, model, tmp_path):
    """The last step of a failed execution writes its cause; the sweep counts what it did."""
    item = {"id": "x", "collection": "c", "properties": {}, "assets": {"a": {"href": "https://h/a.tif"}}}
    taken = take_order(cloud.deployment, Order(item, model), None)
    told = load("fail")({**event("fail_job_memory"), "run_id": taken.run_id, "attempt": 1})
    assert (told["state"], told["error"]) == ("failed", "OutOfMemoryError")
    swept = load("sweep")({})
    assert swept == dict.fromkeys(("started", "restarted", "ended", "stalled", "scheduled", "resumed"), 0)


def test_what_the_sweep_does_is_measured(cloud, load, capsys):
    """Runs that it starts and ends count as those that others start and that fail, by whatever way it hears of them."""
    states, item = cloud.deployment.states, {"collection": "c", "properties": {}, "assets": {}}
    ids = [take_order(cloud.deployment, Order({**item, "id": name}, "m@1"), None).run_id for name in "ab"]
    for run_id in ids:
        move_run(cloud.ledger, run_id, "running", "planned")
        states.stop_execution(executionArn=execution_arn(cloud.deployment.machine, f"{run_id}-1"))
    claim_order(cloud.ledger, Order({**item, "id": "c"}, "m@1"), None)
    capsys.readouterr()
    sweep, found = load("sweep"), []
    for given in ({"source": "aws.states", "detail": {"name": f"{ids[0]}-1"}}, {}):
        sweep(given)
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
        found.append({name: sum(line.get(name, [0.0])[0] for line in lines) for name in ("RunsFailed", "RunsStarted")})
    assert found == [{"RunsFailed": 1.0, "RunsStarted": 0.0}, {"RunsFailed": 1.0, "RunsStarted": 1.0}]


def test_a_function_that_is_not_told_enough_says_so(load, environment):
    """Without its table a function fails at its start, and names the variable."""
    environment.delenv("GEODL_TABLE")

    with pytest.raises(InputError, match="table") as caught:
        load("plan")
    assert "GEODL_TABLE" in caught.value.hint
