"""The steps of an execution, each as its function takes it: what `geodl run` gives, whatever happens between them."""

import json
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from time import time

import boto3
import numpy as np
import pytest
import rasterio

from geodl_core.aws.ledger.ledger import cloud_history, move_run, read_run, retry_cloud_run
from geodl_core.aws.site.catalogs import publish_result
from geodl_core.aws.site.layout import order_url
from geodl_core.aws.site.model_index import resolve_model
from geodl_core.aws.site.register_model import add_model_to_bucket
from geodl_core.aws.site.registry import load_from_bucket
from geodl_core.aws.steps.fail_stage import fail_stage
from geodl_core.aws.steps.ingest import take_order
from geodl_core.aws.steps.merge_stage import merge_stage
from geodl_core.aws.steps.plan_stage import StageSite, plan_stage
from geodl_core.aws.steps.register_stage import RegisterSite, register_stage
from geodl_core.aws.topics.publish import Topic
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.cli.main import geodl
from geodl_core.domain.run.options import RunOptions, command_options
from geodl_core.domain.run.order import Order, order_id
from geodl_core.engine.load_model import load_model
from geodl_core.engine.open_worker import Means
from geodl_core.engine.plan_files import has_part, opened_plan, store_part, tasks_of
from geodl_core.engine.run_scene import RunRequest, run_scene
from geodl_core.engine.run_tasks import Listener, run_tasks
from geodl_core.errors import (
    CatalogError,
    DataError,
    InputError,
    ItemError,
    ModelError,
    OutOfMemoryError,
    RefusedError,
)
from geodl_core.io.package.package import load_package
from geodl_core.io.remote import object_stores
from geodl_core.io.remote.objects import read_object
from geodl_core.io.stac import read_item
from geodl_core.service.jobs.allowed_item import allowed_item
from geodl_core.service.jobs.read_job import job_of
from networks import conv_network, write_emd
from perfect import write_detector, write_objects
from runs import NOW, data_files
from scenes import write_raster, write_scene
from websites import send, website

EVENTS = Path(__file__).parents[1] / "events"
BANDS = {"0": "image:1", "1": "image:2"}


class Works:
    """A scene and a model, with a deployment to run them on."""

    def __init__(self, cloud, folder, item, emd, options):
        self.cloud, self.folder, self.item = cloud, folder, item
        self.package = load_package(str(emd))
        self.model, self.is_new = add_model_to_bucket(cloud.s3, cloud.bucket, self.package, NOW)
        self.options = RunOptions.model_validate(options)
        self.site = StageSite(cloud.bucket, cloud.ledger, cloud.s3)
        self.catalog = str(folder / "catalog.db")
        SqliteCatalog(self.catalog).close()
        self.topic = Topic(boto3.client("sns"), cloud.s3, cloud.topic, cloud.bucket)

    @property
    def reference(self):
        return f"{self.model['properties']['geodl:model']}@{self.model['properties']['version']}"

    def order(self, **options):
        """Order a run; return the event of its execution."""
        merged = RunOptions.model_validate({**self.options.model_dump(exclude_defaults=True), **options})
        order = Order(self.item, self.reference, merged)
        take_order(self.cloud.deployment, order, None)
        return {"run_id": order_id(order), "attempt": 1}

    def plan(self, event):
        return plan_stage(self.site, event)

    def shards(self, planned):
        """Compute all shards, as their jobs would; return how many were not there yet."""
        with opened_plan(planned["plan"]) as opened:
            lines = (
                read_object(f"s3://{planned['shards_bucket']}/{planned['shards_key']}", 1 << 20).decode().splitlines()
            )
            numbers = [json.loads(line)["n"] for line in lines]
            assert numbers == list(range(planned["of"]))
            missing = [task for task in tasks_of(opened, planned["of"]) if not has_part(opened, task)]
            listener = Listener(lambda _: None, lambda _: None)
            run_tasks(opened.planned, opened.package, Means(threads=1), missing, listener)
            for task in missing:
                store_part(opened, task)
        return len(missing)

    @contextmanager
    def opened(self):
        with SqliteCatalog(self.catalog) as catalog:
            yield catalog

    def register(self, event, now=NOW):
        def publish(catalog, item):
            return publish_result(self.topic, self.cloud.ledger, catalog, item)

        return register_stage(RegisterSite(self.cloud.ledger, self.opened, publish, lambda: now), event)

    def execute(self, event):
        """Take a run through all its steps; return what registration told."""
        planned = self.plan(event)
        if not planned["is_done"]:
            if not planned["is_empty"]:
                self.shards(planned)
            merge_stage(planned)
        return None if planned["is_done"] else self.register(planned)

    def whole(self, event):
        """Return the data files of `geodl run` for the same order."""
        options = command_options(self.options)
        package = load_from_bucket(self.cloud.s3, self.cloud.bucket, self.reference)
        asked = job_of(package, load_model(package), options, (self.folder / "whole", ""))
        request = RunRequest(self.item, asked.package, asked.model, asked.arguments, self.folder / "whole")
        with SqliteCatalog(self.folder / "whole.db") as catalog:
            done = run_scene(request, catalog, lambda: NOW, lambda _: None)
        return data_files(done.folder)

    def files(self, result):
        """Return the data files of a result in the bucket."""
        prefix = f"results/{result['collection']}/{result['id']}/"
        found = {key.removeprefix(prefix): f"{self.cloud.bucket.url}/{key}" for key in self.cloud.keys(prefix)}
        return {
            name: read_object(url, 1 << 26) for name, url in found.items() if not name.endswith(f"{result['id']}.json")
        }


def allow_files(monkeypatch, folder):
    """Let Items name files of this machine, which functions never do."""

    monkeypatch.setattr("geodl_core.aws.steps.plan_stage.allowed_item", lambda item, _: allowed_item(item, (folder,)))


@pytest.fixture
def works(cloud, tmp_path, monkeypatch):
    """A class map to be made."""
    allow_files(monkeypatch, tmp_path)
    path, _ = write_scene(tmp_path)
    conv_network(tmp_path / "net.onnx")
    options = {"arguments": {"tile_size": 96}, "bands": BANDS, "shards": 3}
    return Works(cloud, tmp_path, read_item(str(path)), write_emd(tmp_path), options)


@pytest.fixture
def objects(cloud, tmp_path, monkeypatch):
    """Objects to be found."""
    allow_files(monkeypatch, tmp_path)
    boxes = [(20, 20, 60, 50, 0), (250, 200, 280, 240, 1), (300, 300, 330, 330, 2)]
    path = write_objects(tmp_path, boxes, (400, 420))
    return Works(cloud, tmp_path, read_item(str(path)), write_detector(tmp_path), {"shards": 2})


def test_a_class_map_is_that_of_one_machine(works):
    """Step by step through the bucket the files come out as `geodl run` writes them, to the byte."""
    event = works.order()
    planned = works.plan(event)
    assert (planned["of"], planned["merge"], planned["is_empty"], planned["is_done"]) == (3, "raster", False, False)
    assert works.shards(planned) == 3
    assert merge_stage(planned)["count"] == 300 * 410
    result = works.register(planned)
    assert works.files(result) == works.whole(event)
    run = read_run(works.cloud.ledger, event["run_id"])
    assert (run.state, run.result) == ("succeeded", {"collection": "geodl-net", "id": result["id"]})
    assert (run.shards, run.job_id is not None, run.tiles > 3) == (3, True, True)
    assert [line["state"] for line in cloud_history(works.cloud.ledger, run.id)] == [
        "queued",
        "claimed",
        "running",
        "succeeded",
    ]


def test_objects_are_those_of_one_machine(objects):
    """The same holds of a detector's table, which the plan sends to the function for vectors."""
    event = objects.order()
    planned = objects.plan(event)
    assert planned["merge"] == "vector"
    objects.shards(planned)
    assert merge_stage(planned)["count"] == 3
    assert objects.files(objects.register(planned)) == objects.whole(event)


def test_formats_of_gdal_are_merged_by_a_job(objects):
    """GPKG needs what the function lacks."""
    assert objects.plan(objects.order(formats=["gpkg"]))["merge"] == "batch"


def test_every_step_may_come_twice(works):
    """Planned, merged and registered again a run is what it was, and nothing is computed twice."""
    event = works.order()
    assert works.plan(event) == works.plan(event)
    planned = works.plan(event)
    works.shards(planned)
    assert works.shards(planned) == 0
    assert merge_stage(planned) == merge_stage(planned)
    first = works.register(planned)
    assert first["square_km"] > 0
    result = {name: first[name] for name in ("run_id", "collection", "id")}
    assert works.register(planned, NOW + timedelta(hours=1)) == result
    states = [line["state"] for line in cloud_history(works.cloud.ledger, event["run_id"])]
    assert states == ["queued", "claimed", "running", "succeeded"]
    told = works.plan(event)
    assert told["is_done"]
    assert works.files(first) == works.whole(event)


def test_a_result_that_is_there_is_found(works):
    """Another order of the same job ends at its plan with the result of the first; forced, it is computed anew."""
    result = works.execute(works.order())
    again = works.order(shards=2)
    planned = works.plan(again)
    assert planned["is_done"]
    run = read_run(works.cloud.ledger, again["run_id"])
    assert (run.state, run.result) == ("succeeded", {name: result[name] for name in ("collection", "id")})
    forced = retry_cloud_run(works.cloud.ledger, run.id, is_forced=True)
    planned = works.plan({"run_id": run.id, "attempt": forced.attempt})
    assert not planned["is_done"]
    assert works.shards(planned) == 2


def test_a_result_that_lost_a_file_is_made_again(works):
    """What is registered and not whole is no result."""
    result = works.execute(works.order())
    prefix = f"results/{result['collection']}/{result['id']}/"
    name = next(key for key in works.cloud.keys(prefix) if key.endswith(".tif"))
    works.cloud.s3.delete_object(Bucket=works.cloud.bucket.name, Key=name)
    assert not works.plan(works.order(shards=2))["is_done"]


def failed_at_its_item(works, event):
    """Compute and merge a run whose registering fails for good; return its next attempt."""
    planned = works.plan(event)
    works.shards(planned)
    merge_stage(planned)
    fail_stage(works.cloud.ledger, {**event, "error": {"Error": "CatalogError", "Cause": "it is down"}})
    return {"run_id": event["run_id"], "attempt": retry_cloud_run(works.cloud.ledger, event["run_id"]).attempt}


@pytest.mark.parametrize("kind", ["works", "objects"])
def test_a_run_that_failed_at_its_item_computes_nothing_again(kind, request):
    """Its next attempt goes from its plan to registering, and gives the files of `geodl run`."""
    works = request.getfixturevalue(kind)
    event = works.order()
    again = works.plan(failed_at_its_item(works, event))
    assert (again["is_merged"], again["is_done"], again["attempt"]) == (True, False, 2)
    assert not works.cloud.keys(f"work/{event['run_id']}/parts/")
    assert works.plan(again) == again
    result = works.register(again)
    assert works.files(result) == works.whole(event)
    history = cloud_history(works.cloud.ledger, event["run_id"])
    assert [line["state"] for line in history[-3:]] == ["claimed", "running", "succeeded"]
    assert "merged before" in history[-2]["text"]
    assert works.cloud.received()


def lose_a_result(works, event):
    key = next(key for key in works.cloud.keys("results/") if key.endswith(".tif"))
    works.cloud.s3.delete_object(Bucket=works.cloud.bucket.name, Key=key)


def cut_a_result(works, event):
    key = next(key for key in works.cloud.keys("results/") if key.endswith(".tif"))
    works.cloud.s3.put_object(Bucket=works.cloud.bucket.name, Key=key, Body=b"half of it")


def merge_another_job(works, event):
    where = {"Bucket": works.cloud.bucket.name, "Key": f"work/{event['run_id']}/merged.json"}
    merged = json.loads(works.cloud.s3.get_object(**where)["Body"].read())
    works.cloud.s3.put_object(**where, Body=json.dumps(merged | {"job_id": "0f" * 32}).encode())


def damage_what_was_merged(works, event):
    works.cloud.s3.put_object(
        Bucket=works.cloud.bucket.name, Key=f"work/{event['run_id']}/merged.json", Body=b'{"job_id": '
    )


@pytest.mark.parametrize("hurt", [lose_a_result, cut_a_result, merge_another_job, damage_what_was_merged])
def test_what_is_not_wholly_merged_is_computed_again(works, hurt):
    """A file that is gone or another one, or what was merged of another job, is no result to register."""
    event = works.order()
    again = failed_at_its_item(works, event)
    hurt(works, event)
    planned = works.plan(again)
    assert (planned["is_merged"], works.shards(planned)) == (False, 3)
    merge_stage(planned)
    assert works.files(works.register(planned)) == works.whole(event)


def test_a_forced_run_that_was_merged_is_computed_again(works):
    """Who forces a run has everything computed anew, whatever lies there."""
    event = works.order()
    failed_at_its_item(works, event)
    fail_stage(works.cloud.ledger, {**event, "attempt": 2, "error": {"Error": "States.Timeout", "Cause": ""}})
    forced = retry_cloud_run(works.cloud.ledger, event["run_id"], is_forced=True)
    planned = works.plan({**event, "attempt": forced.attempt})
    assert (planned["is_merged"], works.shards(planned)) == (False, 3)


def test_a_retry_is_cut_as_before(works):
    """Parts that are there serve the next attempt, also where the model has been found slower meanwhile."""
    works.options = RunOptions.model_validate({"arguments": {"tile_size": 96}, "bands": BANDS})
    row = {"pk": f"RATE#{works.reference}", "sk": "RATE", "pixels": 300 * 410, "started_ms": 0, "stopped_ms": 1_200_000}
    works.cloud.ledger.table.put_item(Item=row)
    event = works.order()
    planned = works.plan(event)
    assert works.shards(planned) == planned["of"] > 3
    key = works.cloud.keys(f"work/{event['run_id']}/parts/")[1]
    works.cloud.s3.delete_object(Bucket=works.cloud.bucket.name, Key=key)
    fail_stage(works.cloud.ledger, {**event, "error": {"Error": "States.Timeout", "Cause": ""}})
    works.cloud.ledger.table.put_item(Item=row | {"stopped_ms": 3_600_000})
    run = retry_cloud_run(works.cloud.ledger, event["run_id"])
    again = works.plan({**event, "attempt": run.attempt})
    assert (again["of"], works.shards(again)) == (planned["of"], 1)
    fail_stage(works.cloud.ledger, {**again, "error": {"Error": "States.Timeout", "Cause": ""}})
    run = retry_cloud_run(works.cloud.ledger, event["run_id"], is_forced=True)
    assert works.plan({**event, "attempt": run.attempt})["of"] > planned["of"]


def test_a_merge_without_memory_is_told_by_its_name(works, monkeypatch):
    """Whatever kind of MemoryError there is, the state machine hears of the one that it knows, and takes a job."""

    class ArrayError(MemoryError):
        """As numpy has one."""

    def refuse(*_, **__):
        raise ArrayError("3 TiB")

    planned = works.plan(works.order())
    monkeypatch.setattr("geodl_core.aws.steps.merge_stage.merge_plan", refuse)
    with pytest.raises(OutOfMemoryError, match="more memory than there is"):
        merge_stage(planned)


def test_an_empty_plan_needs_no_shard(works):
    """A scene of nodata alone is merged without a job, to the bytes of `geodl run`."""

    write_raster(works.folder / "scene.tif", np.zeros((2, 300, 410), "uint16"), nodata=0)
    event = works.order()
    planned = works.plan(event)
    assert (planned["is_empty"], planned["of"], planned["shard_pixels"]) == (True, 1, 0)
    merge_stage(planned)
    assert works.files(works.register(planned)) == works.whole(event)


def test_an_empty_plan_of_a_detector_needs_no_shard(objects):
    """The same holds of objects: the table has no rows."""

    raster = next(objects.folder.glob("*.tif"))
    with rasterio.open(raster, "r+") as dataset:
        dataset.nodata = 0
        dataset.write(np.zeros((dataset.count, *dataset.shape), dataset.dtypes[0]))
    event = objects.order()
    planned = objects.plan(event)
    assert planned["is_empty"]
    assert merge_stage(planned)["count"] == 0
    assert objects.files(objects.register(planned)) == objects.whole(event)


def test_a_missing_part_is_told(works):
    """Merging says which parts are not there."""
    with pytest.raises(DataError, match="3 of 3 parts are missing"):
        merge_stage(works.plan(works.order()))


def test_an_asset_that_vanished_is_told(works):
    """A scene whose raster is gone fails at its plan, permanently."""
    event = works.order()
    (works.folder / "scene.tif").unlink()
    with pytest.raises(ItemError, match="asset image"):
        works.plan(event)


def test_an_order_that_was_not_kept_is_told(works):
    """A run whose order expired says what to do."""
    event = works.order()
    works.cloud.s3.delete_object(
        Bucket=works.cloud.bucket.name, Key=order_url(works.cloud.bucket, event["run_id"]).split("/", 3)[3]
    )
    with pytest.raises(InputError, match="not kept any more"):
        works.plan(event)


def test_a_catalog_that_is_down_is_worth_another_try(works):
    """While the catalog does not answer the run stays as it is, and is registered later."""
    planned = works.plan(works.order())
    works.shards(planned)
    merge_stage(planned)
    path = Path(works.catalog)
    away = path.rename(path.with_suffix(".away"))
    works.catalog = "postgresql://geodl:secret@127.0.0.1:1/none"

    @contextmanager
    def down():
        raise CatalogError("the database does not answer")
        yield

    site = RegisterSite(works.cloud.ledger, down, lambda *_: None, lambda: NOW)
    with pytest.raises(CatalogError):
        register_stage(site, planned)
    assert read_run(works.cloud.ledger, planned["run_id"]).state == "running"
    works.catalog = str(away.rename(path))
    works.register(planned)
    assert read_run(works.cloud.ledger, planned["run_id"]).state == "succeeded"


def test_a_step_that_may_not_use_its_bucket_has_failed(works, monkeypatch):
    """Where a role lacks a permission the run has failed, not its Item: it says which, and a retry serves."""
    planned = works.plan(works.order())
    works.shards(planned)
    with website(lambda handler: send(handler, 403)) as site, monkeypatch.context() as patch:
        object_stores._store.cache_clear()
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{site.port}")
        with pytest.raises(RefusedError, match=r"plan\.json: access is refused: .* \(s3:GetObject") as caught:
            merge_stage(planned)
    object_stores._store.cache_clear()
    cause = json.dumps({"errorType": "RefusedError", "errorMessage": str(caught.value)})
    told = fail_stage(works.cloud.ledger, {**planned, "error": {"Error": "RefusedError", "Cause": cause}})
    assert (told["state"], told["cause"]) == ("failed", caught.value.message)
    retry_cloud_run(works.cloud.ledger, planned["run_id"])
    works.execute({"run_id": planned["run_id"], "attempt": 2})
    assert read_run(works.cloud.ledger, planned["run_id"]).state == "succeeded"


def test_a_model_that_may_not_be_read_is_none_that_is_gone(works, monkeypatch):
    """A role that may not read the files of a model is told so, not that there are none."""
    planned = works.order()
    with website(lambda handler: send(handler, 403)) as site, monkeypatch.context() as patch:
        object_stores._store.cache_clear()
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{site.port}")
        with pytest.raises(RefusedError, match=r"/models/.*access is refused"):
            works.plan(planned)
    object_stores._store.cache_clear()


def test_a_cancelled_run_goes_no_further(works):
    """What was cancelled is neither planned nor registered, and its failure changes nothing."""
    event = works.order()
    planned = works.plan(event)
    move_run(works.cloud.ledger, event["run_id"], "cancelled", "cancelled")
    for step in (works.plan, lambda one: works.register({**planned, **one})):
        with pytest.raises(InputError, match="is over, found it cancelled"):
            step(event)
    told = fail_stage(works.cloud.ledger, {**event, "error": {"Error": "InputError", "Cause": "x"}})
    assert told["state"] == "cancelled"


def test_a_late_attempt_does_not_end_a_new_one(works):
    """A run that was retried meanwhile is not touched by the attempt before."""
    event = works.order()
    planned = works.plan(event)
    fail_stage(works.cloud.ledger, {**event, "error": {"Error": "States.Timeout", "Cause": ""}})
    retry_cloud_run(works.cloud.ledger, event["run_id"])
    with pytest.raises(InputError, match="attempt 1 is over"):
        works.register(planned)
    fail_stage(works.cloud.ledger, {**event, "error": {"Error": "DataError", "Cause": "late"}})
    assert read_run(works.cloud.ledger, event["run_id"]).state == "queued"


def test_the_result_is_published(works):
    """Whoever listens to the topic hears of a result once it is in the catalog, with the hrefs of the bucket."""
    result = works.execute(works.order())
    (message,) = works.cloud.received()
    item = json.loads(message["Message"])
    assert (item["collection"], item["id"]) == (result["collection"], result["id"])
    assert all(asset["href"].startswith(f"{works.cloud.bucket.url}/results/") for asset in item["assets"].values())
    assert message["MessageAttributes"]["collection"]["Value"] == result["collection"]


def test_shards_last_as_long_as_they_should(works):
    """Once it is known how fast a model is, a scene is cut so that a job takes about so long."""
    works.options = RunOptions.model_validate({"arguments": {"tile_size": 96}, "bands": BANDS})
    assert works.plan(works.order())["of"] == 1
    row = {"pk": f"RATE#{works.reference}", "sk": "RATE", "pixels": 300 * 410, "started_ms": 0, "stopped_ms": 1_200_000}
    works.cloud.ledger.table.put_item(Item=row)
    planned = works.plan(works.order(strict=True))
    assert planned["of"] > 3
    assert planned["shard_pixels"] / (300 * 410 / 1_200) == pytest.approx(300, rel=0.2)
    assert planned["model"] == works.reference


def test_a_model_comes_to_the_bucket_once(works, tmp_path):
    """The same model again changes nothing; another version is linked with it, and is what its name means."""
    before = {
        key: works.cloud.s3.head_object(Bucket=works.cloud.bucket.name, Key=key)["LastModified"]
        for key in works.cloud.keys("models/")
    }
    item, is_new = add_model_to_bucket(works.cloud.s3, works.cloud.bucket, works.package, NOW + timedelta(days=1))
    assert (item, is_new, works.is_new) == (works.model, False, True)
    assert sorted(before) == works.cloud.keys("models/")
    other = tmp_path / "other"
    other.mkdir()
    conv_network(other / "net.onnx", seed=9)
    with SqliteCatalog(tmp_path / "models.db") as catalog:
        second, is_new = add_model_to_bucket(
            works.cloud.s3, works.cloud.bucket, load_package(str(write_emd(other))), NOW + timedelta(days=1), catalog
        )
        kept = catalog.get_item("models", second["id"])
        first = catalog.get_item("models", item["id"])
    assert is_new
    assert kept == second
    assert [link["rel"] for link in second["links"]].count("predecessor-version") == 1
    assert [link["rel"] for link in first["links"]].count("successor-version") == 1
    found = resolve_model(works.cloud.s3, works.cloud.bucket, "net")
    assert found.reference == f"net@{second['properties']['version']}"
    assert all(asset["href"].startswith(f"{works.cloud.bucket.url}/models/net/") for asset in second["assets"].values())
    package = load_from_bucket(works.cloud.s3, works.cloud.bucket, found.reference)
    assert load_model(package).digest == second["properties"]["geodl:model_sha256"]


def test_the_command_brings_a_model(cloud, tmp_path, monkeypatch, capsys):
    """`geodl model add --store s3://…` registers in the bucket alone, and in a catalog where one is named."""
    monkeypatch.chdir(tmp_path)
    conv_network(tmp_path / "net.onnx")
    emd = str(write_emd(tmp_path))
    for said, more in (("registered net@", ()), ("already registered net@", ("--catalog", "named.db"))):
        if more:
            SqliteCatalog(tmp_path / "named.db").close()
        geodl(["model", "add", emd, "--store", cloud.bucket.url, *more], standalone_mode=False)
        assert capsys.readouterr().out.startswith(said)
    assert not (tmp_path / "geodl-out").exists()
    version = resolve_model(cloud.s3, cloud.bucket, "net").reference.partition("@")[2]
    with SqliteCatalog(tmp_path / "named.db") as catalog:
        assert catalog.get_item("models", f"net-{version}")["properties"]["version"] == version
    with pytest.raises(InputError, match="expected a folder, or s3"):
        geodl(["model", "add", emd, "--store", "gs://other"], standalone_mode=False)


def test_a_damaged_model_is_refused(works):
    """A network that was exchanged in the bucket is not run."""
    key = next(key for key in works.cloud.keys("models/") if key.endswith(".onnx"))
    works.cloud.s3.put_object(Bucket=works.cloud.bucket.name, Key=key, Body=b"other")
    with pytest.raises(ModelError, match="is not the file that was registered"):
        load_from_bucket(works.cloud.s3, works.cloud.bucket, works.reference)
    add_model_to_bucket(works.cloud.s3, works.cloud.bucket, works.package, NOW)
    load_from_bucket(works.cloud.s3, works.cloud.bucket, works.reference)


@pytest.mark.parametrize(
    ("name", "state", "kind", "said"),
    [
        ("fail_function", "invalid", "ItemError", "asset B04: expected a raster, found a web page"),
        ("fail_function_timeout", "failed", "Sandbox.Timedout", "took longer than it may"),
        ("fail_function_memory", "failed", "Runtime.ExitError", "out of memory"),
        ("fail_job_input", "invalid", "InputError", "geodl-shard-3: exit code 2"),
        ("fail_job_refused", "failed", "RefusedError", "geodl-shard-3: exit code 77"),
        ("fail_job_transient", "failed", "UnavailableError", "exit code 75, in 4 tries"),
        ("fail_job_memory", "failed", "OutOfMemoryError", "killed due to memory usage"),
        ("fail_job_spot", "failed", "UnavailableError", "taken away (Spot)"),
        ("fail_job_image", "failed", "States.TaskFailed", "CannotPullContainerError"),
        ("fail_job_timeout", "failed", "States.TaskFailed", "duration exceeded timeout"),
        ("fail_map", "failed", "States.ExceedToleratedFailureThreshold", "a shard failed"),
    ],
)
def test_a_cause_is_told_so_that_a_person_understands(works, name, state, kind, said):
    """What Lambda, Batch and Step Functions write becomes a line, and the state that the error's class means."""
    event = works.order()
    works.plan(event)
    told = fail_stage(works.cloud.ledger, json.loads((EVENTS / f"{name}.json").read_text()) | event)
    assert (told["state"], told["error"]) == (state, kind)
    run = read_run(works.cloud.ledger, event["run_id"])
    assert run.error == {"class": kind, "message": told["cause"]}
    assert said in told["cause"]
    assert run.state == state


def test_the_first_shard_that_fails_tells(works):
    """Of many that fail the first one's cause stays."""
    event = works.order()
    works.plan(event)
    fail_stage(
        works.cloud.ledger,
        {**event, "error": {"Error": "DataError", "Cause": '{"errorType":"DataError","errorMessage":"a block"}'}},
    )
    of_the_map = {"Error": "States.ExceedToleratedFailureThreshold", "Cause": "x"}
    fail_stage(works.cloud.ledger, {**event, "error": of_the_map})
    assert read_run(works.cloud.ledger, event["run_id"]).error["message"] == "a block"


def test_the_job_itself_says_what_it_failed_of(works):
    """Where its log can be read, the last line of error that the job wrote stands first."""
    logs = boto3.client("logs")
    logs.create_log_group(logGroupName="/geodl/batch")
    logs.create_log_stream(logGroupName="/geodl/batch", logStreamName="infer/default/abc")
    lines = ["planned", "error: asset B04: the file is another one than was planned for", "hint: plan again"]

    entries = [{"timestamp": int(time() * 1000), "message": line} for line in lines]
    logs.put_log_events(logGroupName="/geodl/batch", logStreamName="infer/default/abc", logEvents=entries)
    event = works.order()
    works.plan(event)
    cause = json.loads((EVENTS / "fail_job_input.json").read_text())
    told = fail_stage(works.cloud.ledger, cause | event, (logs, "/geodl/batch"))
    assert told["cause"].startswith(
        "asset B04: the file is another one than was planned for (geodl-shard-3: exit code 2"
    )
    logs.delete_log_group(logGroupName="/geodl/batch")
