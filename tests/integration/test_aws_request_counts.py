"""What the cost model counts is what is asked of AWS, request by request, counted where a server takes them."""

import json
import os
from collections import Counter
from pathlib import Path

import boto3
import pytest

from cloud import DAY_S, ENVIRONMENT, make_cloud
from earth_search import EarthSearch
from geodl_core.aws.cost.cost import Work, backfill_entries, scene_entries
from geodl_core.aws.cost.schedule import Backfill, simulate
from geodl_core.aws.cost.setup import Setup
from geodl_core.aws.ledger.claims import claim_order
from geodl_core.aws.ledger.ledger import read_run
from geodl_core.aws.ledger.orders import keep_order
from geodl_core.aws.ledger.watches import put_cloud_watch
from geodl_core.aws.site.catalogs import publish_result
from geodl_core.aws.site.documents import write_document
from geodl_core.aws.site.layout import model_item_url
from geodl_core.aws.site.register_model import add_model_to_bucket
from geodl_core.aws.steps.ingest import Known, ingest
from geodl_core.aws.steps.merge_stage import merge_stage
from geodl_core.aws.steps.plan_stage import StageSite, plan_stage
from geodl_core.aws.steps.register_stage import RegisterSite, register_stage
from geodl_core.aws.steps.scan import Turn, scan_stage
from geodl_core.aws.topics.publish import Topic, publish_items
from geodl_core.catalog.model_versions import reference
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.cli.main import geodl
from geodl_core.domain.run.options import RunOptions
from geodl_core.domain.run.order import Order, order_id
from geodl_core.domain.watch.watch import read_watch
from geodl_core.engine.load_model import load_model
from geodl_core.engine.plan_files import opened_plan
from geodl_core.engine.write_scene import result_files
from geodl_core.io.package.package import load_package
from geodl_core.io.stac import read_item
from geodl_core.service.jobs.allowed_item import allowed_item
from networks import conv_network, write_emd
from perfect import write_detector, write_objects
from request_counts import UNKNOWN, counted_server
from runs import NOW
from scanning import C1, MODEL, Waits, scenes, watch_of
from scanning import NOW as SCAN_NOW
from scenes import write_scene

EVENTS = Path(__file__).parents[1] / "events"
BANDS = {"0": "image:1", "1": "image:2"}
NOTED_RATE = 1
"""Units of writing of the state machine itself: what the first shard took."""
COUNTED = ("sns_publish", "dynamodb_read", "dynamodb_write", "s3_put", "s3_get")


@pytest.fixture(scope="module")
def server():
    with counted_server() as found:
        yield found


@pytest.fixture
def counted(server, monkeypatch):
    """A deployment of its own, and what counts its requests."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "GEODL_"))]:
        monkeypatch.delenv(name)
    for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": server[0]}).items():
        monkeypatch.setenv(name, value)
    return make_cloud(), server[1]


class Scene:
    """A scene, a model and the steps of its run, each as its function takes it."""

    def __init__(self, around, item, emd, options):
        (self.cloud, self.requests), self.folder, self.patch = around
        self.item, self.package, self.options = {**item, "collection": "scenes"}, load_package(str(emd)), options
        added, _ = add_model_to_bucket(self.cloud.s3, self.cloud.bucket, self.package, NOW)
        self.model = reference(added)
        document = {"name": "w", "model": load_model(self.package).name, "collections": ["scenes"], "options": options}
        put_cloud_watch(self.cloud.ledger, read_watch(document, "w"), replaces=True)
        self.topic = Topic(boto3.client("sns"), self.cloud.s3, self.cloud.topic, self.cloud.bucket)
        self.catalog, self.known = str(self.folder / "catalog.db"), Known()
        SqliteCatalog(self.catalog).close()
        # A function that has run before knows the watches.
        self.ingest({**item, "id": "early", "collection": "others"})
        self.requests.clear()

    def ingest(self, item):
        return ingest(self.cloud.deployment, self.known, item, "message")

    def execute(self, event):
        """Take a run from its plan to its Item; return the plan's answer."""
        planned = plan_stage(StageSite(self.cloud.bucket, self.cloud.ledger, self.cloud.s3), event)
        for n in range(planned["of"]):
            # Each job is a container of its own, without what others have kept.
            self.patch.setenv("GEODL_CACHE", str(self.folder / f"cache-{n}"))
            geodl(["shard", planned["plan"], str(n), str(planned["of"]), "--quiet"], standalone_mode=False)
        merge_stage(planned)

        def publish(catalog, item):
            return publish_result(self.topic, self.cloud.ledger, catalog, item)

        site = RegisterSite(self.cloud.ledger, lambda: SqliteCatalog(self.catalog), publish, lambda: NOW)
        register_stage(site, planned)
        return planned

    def hear(self):
        """Let the result's message come in, as it does from the topic."""
        message = self.cloud.received()[-1]
        self.ingest(json.loads(message["Message"]))

    def work(self, planned):
        """Return what the cost model is told of the scene."""
        before = self.requests.counts.copy()
        with opened_plan(planned["plan"]) as opened:
            files, is_detector = len(result_files(opened.planned)), opened.planned.model.detector is not None
        self.requests.counts = before
        return Work(planned["of"], 60.0, "raster", 1.0, 1e6, files, is_detector=is_detector)

    def measured(self):
        counts = self.requests.counts
        assert not counts[UNKNOWN]
        return {
            "sns_publish": counts["PublishBatch"],
            "dynamodb_read": counts["read halves"] / 2,
            "dynamodb_write": counts["write units"] + NOTED_RATE,
            "s3_put": counts["s3 put"],
            "s3_get": counts["s3 get"],
        }


def modelled(entries):
    sums = Counter()
    for entry in entries:
        sums[entry.price] += entry.count
    return {name: sums[name] for name in COUNTED}


def course(work, **more):
    return simulate(Backfill(**{"scenes": 1, "shards": work.shards, "job_s": work.job_s, "max_vcpus": 64, **more}))


@pytest.fixture(params=["classes", "objects"])
def make(request, counted, tmp_path, monkeypatch):
    """What makes a scene to be run in so many shards."""
    monkeypatch.setattr("geodl_core.aws.steps.plan_stage.allowed_item", lambda item, _: allowed_item(item, (tmp_path,)))
    around = (counted, tmp_path, monkeypatch)

    def classes(shards):
        path, _ = write_scene(tmp_path)
        conv_network(tmp_path / "net.onnx")
        options = {"arguments": {"tile_size": 96}, "bands": BANDS, "shards": shards}
        return Scene(around, read_item(str(path)), write_emd(tmp_path), options)

    def objects(shards):
        boxes = [(20, 20, 60, 50, 0), (250, 200, 280, 240, 1), (300, 300, 330, 330, 2)]
        path = write_objects(tmp_path, boxes, (400, 420))
        return Scene(
            (counted, tmp_path, monkeypatch), read_item(str(path)), write_detector(tmp_path), {"shards": shards}
        )

    return {"classes": classes, "objects": objects}[request.param]


@pytest.mark.parametrize("shards", [1, 3])
def test_a_scene_asks_for_what_the_model_counts(make, shards, capsys):
    """From its publication to its result's every request of a scene is in the cost model, and no other."""
    scene = make(shards)
    publish_items(scene.topic, [scene.item])
    (taken,) = scene.ingest(scene.item)
    planned = scene.execute({"run_id": taken.run_id, "attempt": 1})
    assert planned["of"] == shards
    scene.hear()
    work = scene.work(planned)
    assert scene.measured() == modelled(scene_entries(work, Setup(), course(work), is_alone=True))
    assert scene.requests.counts["AWSStepFunctions.StartExecution"] == 1


def test_a_scene_of_a_backfill_asks_for_what_the_model_counts(make, capsys):
    """Listed, planned by who finds it queued, and heard of once: so it is counted."""
    scene = make(2)
    order = Order(scene.item, scene.model, RunOptions(**scene.options))
    run_id = order_id(order)
    # As scan's list does.
    assert read_run(scene.cloud.ledger, run_id) is None
    keep_order(scene.cloud.s3, scene.cloud.bucket, run_id, order)
    claim_order(scene.cloud.ledger, order, None, "w-20250301-20251101-0123456789ab-1")
    planned = scene.execute({"run_id": run_id, "attempt": 1})
    scene.hear()
    work = scene.work(planned)
    entries = backfill_entries(work, Setup(), course(work))
    assert scene.measured() == modelled(entries)


def test_listing_asks_for_what_the_model_counts(counted):
    """Each Item of a back-fill's list is looked for, its order is written, and it is claimed; nothing else grows."""
    cloud, requests = counted
    cloud.clock.now = SCAN_NOW.timestamp()
    write_document(cloud.s3, model_item_url(cloud.bucket, "fields", "0123456789ab"), MODEL)
    template = json.loads((EVENTS / "item.json").read_text()) | {"collection": C1}
    asked = {"watch": "fields", "since": SCAN_NOW.timestamp() - 10 * DAY_S, "until": SCAN_NOW.timestamp(), "number": 0}
    found, all_scenes = [], scenes(template, 16)
    for some in (all_scenes[:4], all_scenes[4:]):
        with EarthSearch(some) as api:
            put_cloud_watch(cloud.ledger, watch_of(api.url), replaces=True)
            requests.clear()
            event = {**asked, "backfill": f"of-{len(some)}"}
            told = scan_stage(cloud.deployment, Known(), event, Turn(lambda: 900.0, Waits()))
        found.append((told["count"], requests.counts.copy()))
    (few, before), (many, after) = found
    assert not after[UNKNOWN]
    grown = {name: (after[name] - before[name]) / (many - few) for name in ("read halves", "write units", "s3 put")}
    assert grown == {"read halves": 4, "write units": 5, "s3 put": 1}
