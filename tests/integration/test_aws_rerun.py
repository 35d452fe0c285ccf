"""`geodl rerun` of results that a deployment made: model from its bucket, source Item from the order that it kept."""

import json
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from test_aws_stages import BANDS, Works

from commands import geodl_here
from geodl_core.aws.ledger.found_runs import runs_of_job
from geodl_core.aws.ledger.ledger import move_run, read_run, retry_cloud_run
from geodl_core.aws.ledger.orders import keep_order, read_kept_order
from geodl_core.aws.site.layout import order_url
from geodl_core.aws.site.register_model import add_model_to_bucket
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.domain.run.order import Order
from geodl_core.io.package.package import load_package
from geodl_core.io.remote.access import access_in_force
from geodl_core.io.remote.objects import delete, upload
from geodl_core.settings import Settings
from networks import conv_network, write_emd
from perfect import write_detector, write_objects
from runs import NOW, data_files
from scenes import smooth, write_raster, write_scene
from stacks import stack_of
from websites import send, website

OPTIONS = {"arguments": {"tile_size": 96}, "bands": BANDS, "shards": 3}


class Deployed(Works):
    """A scene in a bucket, and what a deployment makes of it, with nothing of it on this machine."""

    def __init__(self, cloud, folder, path, emd, options):
        item = json.loads(path.read_text())
        for asset in item["assets"].values():
            name = Path(asset["href"]).name
            upload(folder / name, f"{cloud.bucket.url}/scenes/{name}")
            asset["href"] = f"{cloud.bucket.url}/scenes/{name}"
        item["links"] = []
        super().__init__(cloud, folder, item, emd, options)
        path.write_text(json.dumps(item))
        self.stack = stack_of(cloud)

    def make(self, **options):
        """Order a run, take it through all steps; return its id, and the result's Item as the catalog has it."""
        event = self.order(**options)
        with access_in_force(Settings.from_env().access):
            planned = self.plan(event)
            result = self.execute(event) if not planned["is_done"] else None
        run = read_run(self.cloud.ledger, event["run_id"])
        assert run.state == "succeeded"
        assert result is None or run.result == {name: result[name] for name in ("collection", "id")}
        with self.opened() as catalog:
            return run, catalog.get_item(run.result["collection"], run.result["id"])

    def register(self, event, now=None):
        return super().register(event, now or datetime.fromtimestamp(self.cloud.clock.now, UTC))

    def lose_order(self, run):
        delete(order_url(self.cloud.bucket, run.id))


@pytest.fixture
def works(cloud, tmp_path, monkeypatch):
    """A class map to be made; commands run in an empty folder."""
    at_home(tmp_path, monkeypatch)
    path, _ = write_scene(tmp_path)
    conv_network(tmp_path / "net.onnx")
    return Deployed(cloud, tmp_path, path, write_emd(tmp_path), OPTIONS)


def at_home(folder, monkeypatch):
    monkeypatch.setenv("GEODL_CACHE", str(folder / "cache"))
    (folder / "home").mkdir()
    monkeypatch.chdir(folder / "home")


@contextmanager
def served(*items):
    """Serve Items as a STAC API does; give the URL of the first."""
    pages = {f"/collections/{item['collection']}/items/{item['id']}": json.dumps(item).encode() for item in items}
    with website(lambda asked: send(asked, 200 if asked.path in pages else 404, pages.get(asked.path, b""))) as site:
        yield f"http://127.0.0.1:{site.port}{next(iter(pages))}"


def rerun(*words):
    return geodl_here("rerun", *words)


def assert_equal(result, item):
    assert result.returncode == 0, (result.stdout, result.stderr)
    assert result.stdout.splitlines() == ["job      the same", *(f"equal    {key}" for key in item["assets"])]


def assert_refused(result, *parts, code=2):
    assert result.returncode == code, (result.stdout, result.stderr)
    assert "unexpected" not in result.stderr
    assert [part for part in parts if part not in result.stderr] == [], result.stderr


def by_id(item):
    return f"catalog:{item['collection']}/{item['id']}"


def test_a_class_map_is_computed_again(works):
    """From the STAC API or from the bucket, with nothing but the stack's name, to the same bytes; nothing is left."""
    _, item = works.make()
    said = item["properties"]["geodl:rerun"]
    assert said.startswith(f"geodl run catalog:scenes/scene --model {works.reference} ")
    with served(item) as url:
        assert_equal(rerun(url, "--stack", works.stack), item)
        told = rerun(url, "--stack", works.stack, "--json")
    assert (told.returncode, json.loads(told.stdout)["job_equal"]) == (0, True)
    assert_equal(rerun(by_id(item), "--stack", works.stack), item)
    assert not list(Path.cwd().iterdir())


def test_objects_are_computed_again(cloud, tmp_path, monkeypatch):
    """The same holds of a detector's table."""
    at_home(tmp_path, monkeypatch)
    boxes = [(20, 20, 60, 50, 0), (250, 200, 280, 240, 1), (300, 300, 330, 330, 2)]
    path = write_objects(tmp_path, boxes, (400, 420))
    works = Deployed(cloud, tmp_path, path, write_detector(tmp_path), {"shards": 2, "arguments": {"area": "true"}})
    _, item = works.make()
    assert_equal(rerun(by_id(item), "--stack", works.stack, "--out", "kept"), item)
    assert data_files(Path("kept", item["collection"], item["id"])) == works.files(item)


def test_a_result_that_differs_is_told(works):
    """Where the pixels of the scene were exchanged since, the result differs, and the exit code says so."""
    _, item = works.make()
    write_raster(works.folder / "scene.tif", np.stack([smooth((300, 410), 3), smooth((300, 410), 4)]), nodata=0)
    # What GDAL has read of a URL it keeps: another URL of the same pixels.
    upload(works.folder / "scene.tif", f"{works.cloud.bucket.url}/scenes/other.tif")
    (moved := works.folder / "moved.json").write_text(
        json.dumps({**works.item, "assets": {"image": {"href": f"{works.cloud.bucket.url}/scenes/other.tif"}}})
    )
    assert_refused(rerun(by_id(item), "--stack", works.stack, "--item", moved), "differ: classification", code=3)


def test_which_deployment_is_meant(works, monkeypatch):
    """GEODL_STACK says it, a catalog on the command line stands above it, and both are refused."""
    _, item = works.make()
    SqliteCatalog("c.db").close()
    assert_refused(rerun(by_id(item), "--catalog", "c.db"), "the catalog has no Item")
    monkeypatch.setenv("GEODL_STACK", works.stack)
    assert_equal(rerun(by_id(item)), item)
    assert_refused(rerun(by_id(item), "--catalog", "c.db"), "the catalog has no Item")
    assert_refused(rerun(by_id(item), "--catalog", "c.db", "--stack", works.stack), "--stack and --catalog exclude")
    with served(item) as url:
        assert_refused(rerun(url, "--catalog", "c.db"), "no registered model net; there are: none at all")


def test_results_that_there_are_not(works):
    """A result that the deployment has not, what is no name of one, and no deployment are each told."""
    _, item = works.make()
    assert_refused(
        rerun("catalog:geodl-net/none", "--stack", works.stack), f"stack {works.stack}: it has no result none"
    )
    assert_refused(rerun("catalog:geodl-net", "--stack", works.stack), "expected catalog:COLLECTION/ID")
    assert_refused(rerun(by_id(item), "--stack", "nowhere"), "stack nowhere: there is none")


def test_an_order_that_has_expired(works):
    """Without the order it is said what to do; --item names the source, in a file or at a URL."""
    run, item = works.make()
    works.lose_order(run)
    said = ("expected the order that named its source catalog:scenes/scene", works.cloud.bucket.url, "--item")
    assert_refused(rerun(by_id(item), "--stack", works.stack), *said)
    path = works.folder / "scene.json"
    assert_equal(rerun(by_id(item), "--stack", works.stack, "--item", path), item)
    with served(works.item) as url:
        assert_equal(rerun(by_id(item), "--stack", works.stack, "--item", url), item)


def test_a_run_that_the_ledger_forgot(works):
    """Where the ledger does not know any run of the job, it is the same."""
    run, item = works.make()
    works.cloud.ledger.table.delete_item(Key={"pk": f"RUN#{run.id}", "sk": "RUN"})
    assert_refused(rerun(by_id(item), "--stack", works.stack), "--item")
    properties = {name: value for name, value in item["properties"].items() if name != "geodl:job_id"}
    with served({**item, "properties": properties}) as url:
        assert_refused(rerun(url, "--stack", works.stack), "--item")


def test_a_source_with_an_address(works):
    """An Item that names its own URL comes from the order all the same, and from there once that has expired."""
    with served(works.item) as url:
        works.item["links"] = [{"rel": "self", "href": url, "type": "application/geo+json"}]
        run, item = works.make()
        assert item["properties"]["geodl:rerun"].startswith(f"geodl run {url} ")
    assert_equal(rerun(by_id(item), "--stack", works.stack), item)
    works.lose_order(run)
    result = rerun(by_id(item), "--stack", works.stack)
    assert_refused(result, "does not answer", code=75)
    port = int(url.split(":")[2].split("/")[0])
    with served(works.item) as other:
        other_port = other.split(":")[2].split("/")[0]
        moved = json.loads(json.dumps(item).replace(f":{port}/", f":{other_port}/"))
        with served(moved) as place:
            result = rerun(place, "--stack", works.stack)
    assert_equal(result, item)
    said = "note: no order of it is kept any more; its source is read from"
    assert f"{said} http://127.0.0.1:{other_port}/collections/scenes/items/scene\n" in result.stderr


def test_a_source_that_lay_beside_the_function(works):
    """An Item whose own link is a relative path names a folder of the function: it comes from the order alone."""
    works.item["links"] = [{"rel": "self", "href": "./scene.json"}]
    run, item = works.make()
    assert "://" not in item["properties"]["geodl:rerun"].split()[2]
    assert_equal(rerun(by_id(item), "--stack", works.stack), item)
    works.lose_order(run)
    assert_refused(rerun(by_id(item), "--stack", works.stack), "--item")


def test_a_source_that_names_files_of_this_machine(works):
    """What strangers published is read by URLs alone, though the file be here."""
    run, item = works.make()
    order = read_kept_order(works.cloud.s3, works.cloud.bucket, run.id)
    assets = {"image": {**order.item["assets"]["image"], "href": str(works.folder / "scene.tif")}}
    keep_order(works.cloud.s3, works.cloud.bucket, run.id, Order({**order.item, "assets": assets}, order.model))
    assert_refused(rerun(by_id(item), "--stack", works.stack), "asset image: expected a public URL", "--item")


def test_another_run_of_the_same_job(works):
    """Of several runs of a job any whose order is kept will do, however they ended."""
    first, item = works.make()
    second, _ = works.make(shards=2)
    assert first.id != second.id
    works.lose_order(first)
    assert_equal(rerun(by_id(item), "--stack", works.stack), item)
    retry_cloud_run(works.cloud.ledger, second.id, is_forced=True)
    move_run(works.cloud.ledger, second.id, "cancelled", "cancelled")
    assert_equal(rerun(by_id(item), "--stack", works.stack), item)


def test_runs_are_found_by_their_job(works):
    """Every run of a job is found whatever is said of the time, those that changed since first."""
    first, _ = works.make()
    between = works.cloud.clock()
    second, _ = works.make(shards=2)
    works.make(arguments={"tile_size": 128})
    found = {since: list(runs_of_job(works.cloud.ledger, first.job_id, since)) for since in (0, between, 4e9)}
    assert found == {0: [first.id, second.id], between: [second.id, first.id], 4e9: [second.id, first.id]}
    assert list(runs_of_job(works.cloud.ledger, "0" * 64, between)) == []


def test_a_result_with_odd_times(works):
    """An Item whose time of creation was changed finds its order still."""
    _, item = works.make()
    for created in ("2999-01-01T00:00:00Z", "1970-01-01", "no time", None):
        odd = {**item, "properties": {**item["properties"], "created": created}}
        with served(odd) as url:
            assert_equal(rerun(url, "--stack", works.stack), item)


def test_without_a_deployment_it_is_asked_for(works):
    """Whoever names no deployment is told that one has what is missing here; so is who types the Item's own command."""
    _, item = works.make()
    words = item["properties"]["geodl:rerun"].split()
    path = works.folder / "result.json"
    path.write_text(json.dumps(item))
    assert_refused(rerun(path), "hint: --stack NAME has both")
    typed = geodl_here("run", works.folder / "scene.json", "-m", next(one for one in words if one.startswith("net@")))
    assert_refused(typed, "geodl rerun RESULT --stack NAME")


def test_a_model_that_was_removed(works):
    """A model that the bucket has no more is told; --model names it, in a file or by its name."""
    _, item = works.make()
    assert_equal(rerun(by_id(item), "--stack", works.stack, "--model", works.reference[:8]), item)
    assert geodl_here("model", "remove", works.reference, "--stack", works.stack).returncode == 0
    assert_refused(rerun(by_id(item), "--stack", works.stack), "no registered model net in", "geodl model add")
    assert_equal(rerun(by_id(item), "--stack", works.stack, "--model", works.folder / "net.emd"), item)


def test_a_result_of_this_machine(works, monkeypatch):
    """A result that no deployment made is computed as ever, also where GEODL_STACK names one that cannot be asked."""
    words = ("--band", "0=image:1", "--band", "1=image:2", "--json")
    done = geodl_here("run", works.folder / "scene.json", "-m", works.folder / "net.emd", *words)
    assert done.returncode == 0, done.stderr
    path = json.loads(done.stdout)["item"]
    monkeypatch.setenv("GEODL_STACK", "nowhere")
    assert_equal(rerun(path), json.loads(Path(path).read_text()))


def test_a_result_of_a_result(works, tmp_path):
    """A scene that is itself a result, whose own address is in the bucket, comes from the order."""
    _, first = works.make()
    package = load_package(str(write_emd(tmp_path, "net.onnx", "more.emd", ModelName="more")))
    works.model, _ = add_model_to_bucket(works.cloud.s3, works.cloud.bucket, package, NOW)
    works.item = first
    _, second = works.make(bands={"0": "classification:1", "1": "classification:1"})
    assert second["properties"]["geodl:rerun"].startswith("geodl run s3://")
    assert_equal(rerun(by_id(second), "--stack", works.stack), second)
