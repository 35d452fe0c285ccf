"""Workers: runs of the ledger come out as those of `geodl run`, whatever happens to who computes them."""

import json
import logging
import shutil
import signal
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from moto.server import ThreadedMotoServer

from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.domain.run.options import command_options
from geodl_core.engine.open_worker import Means
from geodl_core.engine.run_scene import RunRequest, run_scene
from geodl_core.io.remote.objects import download, join
from geodl_core.service.jobs.read_job import read_itemless_job
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.leases import Crew, lease_work, log_lines
from geodl_core.service.ledger.runs import cancel_run, history, retry_run
from geodl_core.service.services import Services
from geodl_core.service.workers.queue import LedgerQueue
from geodl_core.service.workers.steps import Site
from geodl_core.service.workers.worker import Shift, work_on
from orders import end, lending, make_works, place, run_now, start_worker, wait_for
from runs import NOW, data_files

SHAPE = (700, 900)
SHARDS = {"options": {"shards": 12}}


@pytest.fixture
def works(tmp_path, monkeypatch):
    """A scene, a model and an empty ledger."""
    for name in ("GEODL_OUT", "GEODL_CATALOG", "GEODL_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return make_works(tmp_path, SHAPE)


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A scene that takes a worker some seconds."""
    for name in ("GEODL_OUT", "GEODL_CATALOG", "GEODL_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return make_works(tmp_path, (2000, 2600))


def whole(works):
    """Return the data files of `run_scene` for the same order."""
    order = works.order()
    places = works.folder / "whole", str(works.folder / "catalog.db")
    asked = read_itemless_job(works.model, command_options(order.options), places)
    request = RunRequest(order.item, asked.package, asked.model, asked.arguments, works.folder / "whole")
    with SqliteCatalog(works.folder / "whole.db") as catalog:
        return data_files(run_scene(request, catalog, lambda: NOW, lambda event: None).folder)


def files_of(run):
    return data_files(Path(run.place))


def work_here(works, **more):
    """Do all there is to do in this process."""
    crew = Crew("here", **{name: more.pop(name) for name in list(more) if name in ("kinds", "most_shards")})
    with Ledger(works.catalog) as ledger, SqliteCatalog(works.catalog) as catalog:
        site = Site(works.out, works.catalog, catalog, Means(threads=1), local_roots=(Path("/"),), **more)
        shift = Shift(site, lambda: NOW, ends_when_idle=True)
        return work_on(LedgerQueue(ledger, crew), shift, threading.Event())


def events(works, run_id):
    with Ledger(works.catalog) as ledger:
        return [event.text for event in history(ledger, run_id)]


def test_an_ordered_run_gives_what_geodl_run_gives(works):
    """The data files are the same to the byte, the Item is registered, and nothing but the result is left."""
    (run_id,) = place(works, works.order(**SHARDS))
    worker = start_worker(works, "--once", "--shards-at-once", 5)
    _, errors = worker.communicate(timeout=60)
    assert worker.returncode == 0, errors
    run = run_now(works, run_id)
    assert run.state == "succeeded", events(works, run_id)
    assert files_of(run) == whole(works)
    with SqliteCatalog(works.catalog) as catalog:
        item = catalog.get_item(run.result_collection, run.result_id)
    assert item["properties"]["geodl:job_id"] == run.job_id
    assert run.tiles_done == run.tiles > 12
    left = {path.name for path in Path(run.place).iterdir()}
    assert not left & {"plan.json", "model.dlpk", "merged.json", "parts"}
    assert all(json.loads(line)["level"] == "info" for line in errors.splitlines())


def test_a_worker_killed_hard_is_replaced(works):
    """What a worker had that was killed with SIGKILL is done by another; parts that were finished are not made anew."""
    (run_id,) = place(works, works.order(**SHARDS))
    first = start_worker(works, "--shards-at-once", 2, "--lease", 2)
    parts = works.out
    # The first of two that it was lent: it has to be killed while it has work.
    wait_for(lambda: len(list(parts.glob("*/*/parts/*.part"))) >= 5, "fifth part")
    end(first, signal.SIGKILL)
    kept = {path: path.stat().st_mtime_ns for path in parts.glob("*/*/parts/*.part")}
    assert run_now(works, run_id).state == "running"
    second = start_worker(works, "--shards-at-once", 2, "--lease", 2)
    seen = {}

    def is_over():
        seen.update({path: path.stat().st_mtime_ns for path in kept if path.exists()})
        return run_now(works, run_id).state == "succeeded"

    wait_for(is_over, "success")
    end(second)
    assert all(seen[path] == kept[path] for path in seen)
    assert files_of(run_now(works, run_id)) == whole(works)
    assert any("was not heard of" in text for text in events(works, run_id))


def test_two_workers_share_a_run(works):
    """Two processes compute shards of one run, and the result is the same."""
    (run_id,) = place(works, works.order(**SHARDS))
    workers = [start_worker(works, "--shards-at-once", 1, "--name", name) for name in ("one", "two")]
    wait_for(lambda: run_now(works, run_id).state == "succeeded", "success")
    logs = [end(worker) for worker in workers]
    assert all('"shard"' in log for log in logs), logs
    assert files_of(run_now(works, run_id)) == whole(works)


def test_a_stopped_worker_hands_its_work_back(large):
    """SIGTERM ends a worker at once, with exit code 0; its work is open again, without a try counted."""
    (run_id,) = place(large, large.order(**SHARDS))
    worker = start_worker(large)
    wait_for(lambda: run_now(large, run_id).tiles_done > 0, "finished tile")
    end(worker)
    assert worker.returncode == 0
    assert run_now(large, run_id).state == "running"
    assert any("handed back" in text for text in events(large, run_id))
    with Ledger(large.catalog) as ledger:
        work = lease_work(ledger, Crew("next", most_shards=100))
    assert work is not None
    assert work.kind == "shard"


def test_a_worker_ends_with_its_parent(works):
    """A worker that was told so ends when its standard input is closed."""
    worker = start_worker(works, "--until-eof")
    worker.stdin.close()
    assert worker.wait(timeout=60) == 0
    worker.stderr.close()


def test_a_cancelled_run_is_left(large):
    """A worker notices that its run was cancelled, and goes on with the next."""
    first, second = place(large, large.order(**SHARDS), large.order(options={"arguments": {"tile_size": 1024}}))
    worker = start_worker(large)
    wait_for(lambda: run_now(large, first).tiles_done > 0, "finished tile")
    with Ledger(large.catalog) as ledger:
        cancel_run(ledger, first)
    wait_for(lambda: run_now(large, second).state == "succeeded", "success of the other")
    end(worker)
    assert run_now(large, first).state == "cancelled"
    assert run_now(large, first).result_id is None


def test_bad_input_is_invalid_and_is_not_tried_again(works):
    """A scene that is gone makes a run invalid at the first try, with a message that names it; others go on."""
    gone = {**works.item, "id": "gone", "assets": {"image": {**works.item["assets"]["image"], "href": "/no/such.tif"}}}
    bad, good = place(works, works.order(item=gone), works.order())
    work_here(works)
    run = run_now(works, bad)
    assert run.state == "invalid"
    assert run.attempt == 1
    assert "such.tif" in run.error["message"]
    assert run_now(works, good).state == "succeeded"


def test_items_may_not_name_any_file(works):
    """An Item from elsewhere may name files of the folders that are allowed alone."""
    (run_id,) = place(works, works.order())
    with Ledger(works.catalog) as ledger, SqliteCatalog(works.catalog) as catalog:
        site = Site(works.out, works.catalog, catalog, Means(), local_roots=(works.out,))
        work_on(LedgerQueue(ledger, Crew("here")), Shift(site, lambda: NOW, ends_when_idle=True), threading.Event())
    run = run_now(works, run_id)
    assert run.state == "invalid"
    assert "folder that Items may name" in run.error["message"]


def test_a_truncated_scene_fails_and_can_be_retried(works):
    """Damaged pixels fail a run; after they are mended a retry succeeds, with the same bytes as ever."""
    scene = works.folder / "scene.tif"
    sound = scene.read_bytes()
    expected = whole(works)
    scene.write_bytes(sound[: len(sound) // 2])
    (run_id,) = place(works, works.order())
    work_here(works)
    run = run_now(works, run_id)
    assert run.state in ("failed", "invalid"), run
    scene.write_bytes(sound)
    with Ledger(works.catalog) as ledger:
        retry_run(ledger, run_id)
    work_here(works)
    run = run_now(works, run_id)
    assert (run.state, run.attempt) == ("succeeded", 2)
    assert files_of(run) == expected


def test_a_result_that_is_there_is_found(works):
    """A run whose job was computed before, by another order, ends with the result that is there."""
    twin = {**works.item, "properties": {**works.item["properties"], "version": "2"}}
    first, second = place(works, works.order(), works.order(item=twin))
    work_here(works)
    runs = [run_now(works, run_id) for run_id in (first, second)]
    assert runs[0].job_id == runs[1].job_id
    assert runs[0].result_id == runs[1].result_id
    assert any("computed before" in text for text in events(works, second)), events(works, second)


def test_rerun_computes_anew(works):
    """A forced run computes what is there once more; the bytes are the same, and damage is mended."""
    (run_id,) = place(works, works.order())
    work_here(works)
    place_ = Path(run_now(works, run_id).place)
    expected = data_files(place_)
    raster = place_ / "classification.tif"
    raster.write_bytes(raster.read_bytes()[:-1] + b"x")
    with Ledger(works.catalog) as ledger:
        retry_run(ledger, run_id, is_forced=True)
    work_here(works)
    assert run_now(works, run_id).state == "succeeded"
    assert data_files(place_) == expected


def test_notes_of_a_run_are_in_its_log(works):
    """What was decided about a run, and what ended it, is kept with it."""
    gone = {**works.item, "id": "gone", "assets": {"image": {**works.item["assets"]["image"], "href": "/no/such.tif"}}}
    good, bad = place(works, works.order(), works.order(item=gone))
    work_here(works)
    with Ledger(works.catalog) as ledger:
        assert any(line["text"].startswith("values: ") for line in log_lines(ledger, good))
        (last,) = log_lines(ledger, bad)[-1:]
    assert last["level"] == "error"
    assert "such.tif" in last["text"]


def test_relative_hrefs_need_an_address(works):
    """An Item whose files lie beside an address that nobody knows is refused, and no file here is taken for its own."""
    image = {**works.item["assets"]["image"], "href": "./scene.tif"}
    item = {**works.item, "assets": {"image": image}, "links": []}
    (run_id,) = place(works, works.order(item=item))
    work_here(works)
    run = run_now(works, run_id)
    assert run.state == "invalid"
    assert "expected an absolute href, found './scene.tif'" in run.error["message"]


@contextmanager
def store(monkeypatch):
    """An object store with a bucket, and the environment that leads there."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    assert requests.put(f"http://{host}:{port}/bucket", timeout=10).ok
    env = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ALLOW_HTTP": "true",
    }
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    try:
        yield "s3://bucket/runs"
    finally:
        server.stop()


def test_workers_elsewhere_share_a_run_and_one_is_killed(works, monkeypatch):
    """Two workers that see neither catalog nor scene's folder lease shards over HTTP; one is killed, the other ends it.

    The result in the object store has the bytes that `geodl run` gives.
    """
    (run_id,) = place(works, works.order(**SHARDS))
    with store(monkeypatch) as url, Ledger(works.catalog, lease_s=2) as ledger, SqliteCatalog(works.catalog) as catalog:
        work_here(works, kinds=("plan",), store=url)
        assert run_now(works, run_id).place.startswith(join(url, "work"))
        with lending(Services(catalog, ledger, works.out, url)) as server:
            workers = [start_worker(works, "--server", server, "--shards-at-once", 1) for _ in range(2)]
            wait_for(lambda: run_now(works, run_id).tiles_done > 5, "progress")
            end(workers[0], signal.SIGKILL)
            work_here(works, kinds=("finish",), store=url)

            def is_over():
                work_here(works, kinds=("finish",), store=url)
                return run_now(works, run_id).state == "succeeded"

            wait_for(is_over, "success")
            end(workers[1])
        run = run_now(works, run_id)
        item = catalog.get_item(run.result_collection, run.result_id)
        expected = whole(works)
        fetched = fetch(item, works.folder / "fetched")
    assert fetched == {name: expected[name] for name in fetched}
    assert set(fetched) >= {"classification.tif", "preview.png"}


def fetch(item, folder):
    """Return the assets of a result, by file name."""
    found = {}
    for asset in item["assets"].values():
        name = asset["href"].rpartition("/")[2]
        (folder / name).parent.mkdir(exist_ok=True)
        download(asset["href"], folder / name)
        found[name] = (folder / name).read_bytes()
    shutil.rmtree(folder)
    return found


def test_a_server_without_store_lends_nothing(works):
    """Workers elsewhere are told plainly that this server has no store, and end."""
    with (
        Ledger(works.catalog) as ledger,
        SqliteCatalog(works.catalog) as catalog,
        lending(Services(catalog, ledger, works.out)) as server,
    ):
        worker = start_worker(works, "--server", server, "--once")
        _, errors = worker.communicate(timeout=60)
    assert worker.returncode == 2
    assert "without --store" in errors
