"""Workers whose plans, parts or leases go while they work: runs end all the same, once, and leave nothing behind."""

import shutil
import signal
import sqlite3
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from geodl_core.catalog.models import add_model
from geodl_core.catalog.pgstac.catalog import PgstacCatalog
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.engine.open_worker import Means
from geodl_core.errors import InputError
from geodl_core.io.package.package import load_package
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.leases import Crew, Failure, Planned, lease_work, planned
from geodl_core.service.ledger.runs import cancel_run, history, place_orders, read_run, retry_run
from geodl_core.service.services import Services
from geodl_core.service.workers.heart import MOST_LINES, Heart, WorkStoppedError
from geodl_core.service.workers.http_queue import HttpQueue
from geodl_core.service.workers.queue import LedgerQueue
from geodl_core.service.workers.steps import Site, finish_run, plan_run
from geodl_core.service.workers.worker import Shift, work_on
from orders import end, lending, make_works, place, run_now, start_worker, wait_for
from postgres import PASSWORD, database
from runs import NOW, data_files

SHARDS = {"options": {"shards": 3}}
REMAINS = {"plan.json", "model.dlpk", "merged.json", "parts", ".lock"}


@pytest.fixture
def works(tmp_path, monkeypatch):
    """A scene, a model and an empty ledger."""
    for name in ("GEODL_OUT", "GEODL_CATALOG", "GEODL_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return make_works(tmp_path)


def site_of(works, catalog, **more):
    return Site(works.out, works.catalog, catalog, Means(threads=1), local_roots=(Path("/"),), **more)


def work_here(works, kinds=("plan", "shard", "finish"), clock=time.time, **more):
    """Do what there is to do now in this process."""
    with Ledger(works.catalog, clock=clock) as ledger, SqliteCatalog(works.catalog) as catalog:
        shift = Shift(site_of(works, catalog, **more), lambda: NOW, ends_when_idle=True)
        return work_on(LedgerQueue(ledger, Crew("here", kinds, most_shards=10)), shift, threading.Event())


def until_success(works, run_id, **more):
    """Work until a run has succeeded; what is tried again waits some seconds."""

    def is_over():
        work_here(works, **more)
        run = run_now(works, run_id)
        assert run.state not in ("failed", "invalid"), run.error
        return run.state == "succeeded"

    wait_for(is_over, "success")
    return run_now(works, run_id)


def expected_of(works):
    """Return the files of the same order's result, computed without trouble elsewhere."""
    other = make_works(works.folder / "other")
    (run_id,) = place(other, other.order(**SHARDS))
    return data_files(Path(until_success(other, run_id).place))


@pytest.fixture
def computed(works):
    """The id of a run of which nothing but the end is left to be done."""
    (works.folder / "other").mkdir()
    (run_id,) = place(works, works.order(**SHARDS))
    work_here(works, ("plan", "shard"))
    return run_id


@pytest.mark.parametrize("gone", ["", "plan.json", "model.dlpk", "parts"])
def test_a_run_whose_plan_or_parts_have_gone_is_planned_anew(works, computed, gone):
    """Somebody deletes the folder of results, or a part of it, before the end: the run succeeds with the same bytes."""
    folder = Path(run_now(works, computed).place)
    target = folder / gone
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    run = until_success(works, computed)
    assert run.attempt == 2
    assert data_files(folder) == expected_of(works)
    assert not {path.name for path in folder.iterdir()} & REMAINS
    with Ledger(works.catalog) as ledger:
        assert any("planned anew" in event.text for event in history(ledger, computed))


def test_a_run_whose_plan_goes_again_and_again_fails(works):
    """Workers that do not share their folders do not pass a run to and fro for ever, and it is not called invalid."""
    (run_id,) = place(works, works.order(**SHARDS))

    for hours in range(5):
        assert run_now(works, run_id).state == "queued"
        # Later: no pause is left.
        work_here(works, ("plan",), clock=lambda: time.time() + 3_600 * hours)  # noqa: B023  # is called here alone
        shutil.rmtree(works.out)
        work_here(works, ("shard",), clock=lambda: time.time() + 3_600 * hours)  # noqa: B023  # as above
    run = run_now(works, run_id)
    assert (run.state, run.attempt) == ("failed", 5)


def test_a_run_that_is_cancelled_while_it_ends_registers_nothing(works, computed):
    """What a person has cancelled does not appear in the catalog, though its parts are merged just then."""
    with Ledger(works.catalog) as ledger, SqliteCatalog(works.catalog) as catalog:
        queue = LedgerQueue(ledger, Crew("here", ("finish",)))
        work = queue.lease()
        cancel_run(ledger, computed)
        with Heart(queue, work, threading.Event()) as heart, pytest.raises(WorkStoppedError):
            finish_run(work, site_of(works, catalog), lambda: NOW, heart.confirm)
        assert catalog.get_collection("geodl-net") is None
    assert run_now(works, computed).state == "cancelled"


def test_who_comes_back_to_a_plan_that_is_another_s_takes_nothing_away(works, computed):
    """A worker that slept through its lease while it planned a forced run leaves the parts that others have made."""
    until_success(works, computed)
    with Ledger(works.catalog) as ledger:
        retry_run(ledger, computed, is_forced=True)
    with Ledger(works.catalog, lease_s=-1) as ledger:
        late = LedgerQueue(ledger, Crew("late", ("plan",)))
        work = late.lease()
    work_here(works, ("plan", "shard"))
    parts = sorted((Path(run_now(works, computed).place) / "parts").glob("*.part"))
    assert len(parts) == 3
    with Ledger(works.catalog) as ledger, SqliteCatalog(works.catalog) as catalog:
        late = LedgerQueue(ledger, Crew("late", ("plan",)))
        with Heart(late, work, threading.Event()) as heart, pytest.raises(WorkStoppedError):
            plan_run(work, site_of(works, catalog), heart.confirm)
    assert all(part.exists() for part in parts)
    assert until_success(works, computed).attempt == 2


def test_two_collections_of_one_job_each_get_their_result(works):
    """In an object store, too, two orders that differ in the output Collection alone lead to one Item in each."""
    store = f"file://{works.folder / 'store'}"
    orders = [works.order(collection=name, **SHARDS) for name in ("first", "second")]
    ids = place(works, *orders)
    work_here(works, ("plan",), store=store)
    runs = [until_success(works, run_id, store=store) for run_id in ids]
    assert runs[0].job_id == runs[1].job_id
    assert [run.result_collection for run in runs] == ["first", "second"]


def test_parts_of_another_number_of_shards_are_taken_away(works):
    """What a cancelled run left in an object store goes with the next run of the same job."""
    store = f"file://{works.folder / 'store'}"
    first, second = place(works, works.order(options={"shards": 2}), works.order(**SHARDS))
    with Ledger(works.catalog) as ledger:
        cancel_run(ledger, second)
    work_here(works, ("plan", "shard"), store=store)
    with Ledger(works.catalog) as ledger:
        cancel_run(ledger, first)
        retry_run(ledger, second)
    until_success(works, second, store=store)
    assert [path for path in (works.folder / "store" / "work").rglob("*") if path.is_file()] == []


class Refusing:
    """A queue of a server that no longer knows the worker's token."""

    def beat(self, lease, tiles, lines):
        raise InputError(f"refused: {lease}, {tiles}, {len(lines)}")


def test_a_worker_that_is_refused_stops_its_work(works):
    """A server that refuses the heartbeat itself ends the work, and notes that nobody takes do not pile up."""
    place(works, works.order())
    with Ledger(works.catalog) as ledger:
        work = lease_work(ledger, Crew("here"))
    heart = Heart(Refusing(), work, threading.Event())
    for number in range(2 * MOST_LINES):
        heart.note(f"note {number}")
    with heart:
        wait_for(lambda: heart.is_lost, "end of the work")
    assert len(heart._lines) <= MOST_LINES


def stop(worker, works):
    """Stop a process, but not while it writes to the ledger: in SQLite all others would wait for it."""
    while True:
        worker.send_signal(signal.SIGSTOP)
        with closing(sqlite3.connect(works.catalog, timeout=1)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                worker.send_signal(signal.SIGCONT)
                time.sleep(0.05)
            else:
                return


def test_a_sleeper_that_wakes_up_changes_nothing(works):
    """A worker that was stopped for longer than its lease, and goes on when another has ended its run, does no harm."""
    (works.folder / "wide").mkdir()
    large = make_works(works.folder / "wide", (2000, 2600))
    (run_id,) = place(large, large.order(options={"shards": 12}))
    sleeper = start_worker(large, "--lease", 1, "--shards-at-once", 3, "--name", "sleeper")
    wait_for(lambda: run_now(large, run_id).tiles_done > 0, "finished tile")
    stop(sleeper, large)
    other = start_worker(large, "--lease", 1, "--name", "other")
    wait_for(lambda: run_now(large, run_id).state == "succeeded", "success")
    end(other)
    run = run_now(large, run_id)
    before = data_files(Path(run.place))
    with SqliteCatalog(large.catalog) as catalog:
        item = catalog.get_item(run.result_collection, run.result_id)
    sleeper.send_signal(signal.SIGCONT)
    # It finds out, and takes what comes next.
    (following,) = place(large, large.order(options={"arguments": {"tile_size": 1024}}))
    wait_for(lambda: run_now(large, following).state == "succeeded", "success of the next")
    end(sleeper)
    assert run_now(large, run_id) == run
    assert data_files(Path(run.place)) == before
    with SqliteCatalog(large.catalog) as catalog:
        assert catalog.get_item(run.result_collection, run.result_id)["assets"] == item["assets"]


@pytest.mark.parametrize("assets", [{}, {"classification": {"href": "./classification.tif"}}])
def test_an_item_in_place_of_a_result_is_no_result(works, computed, assets):
    """An Item under a result's id that names no file with its size does not pass for the result."""
    run = until_success(works, computed)
    shutil.rmtree(run.place)
    with SqliteCatalog(works.catalog) as catalog:
        item = catalog.get_item(run.result_collection, run.result_id)
        catalog.put_items([{**item, "assets": assets}])
    twin = {**works.item, "properties": {**works.item["properties"], "version": "2"}}
    (again,) = place(works, works.order(item=twin, **SHARDS))
    assert until_success(works, again).result_id == run.result_id
    assert (Path(run.place) / "classification.tif").exists()


@contextmanager
def elsewhere(works):
    """A server that lends work of a ledger, and the queue of a worker that reaches it over HTTP alone."""
    store = f"file://{works.folder / 'store'}"
    with (
        Ledger(works.catalog) as ledger,
        SqliteCatalog(works.catalog) as catalog,
        lending(Services(catalog, ledger, works.out, store)) as server,
        HttpQueue(server, None, ("elsewhere", 10)) as queue,
    ):
        yield ledger, queue


def test_options_of_any_size_reach_workers_elsewhere(works):
    """An area of interest of megabytes, which only planning needs, keeps no worker on another machine from a shard."""
    ring = [[x / 70_000 - 90, (x % 2) * 0.001 - 45] for x in range(70_000)] + [[90, 45], [-90, -45]]
    area = {"type": "Polygon", "coordinates": [ring]}
    with elsewhere(works) as (ledger, queue):
        (run_id,) = place(works, works.order(options={"aoi": area}))
        assert len(str(run_now(works, run_id).options)) > 1 << 20
        plan = lease_work(ledger, Crew("here", ("plan",)))
        assert planned(ledger, plan.lease, Planned("job", "file:///none", 2, 2))
        assert queue.lease().run.id == run_id


def test_failures_of_any_length_are_told_from_elsewhere(works):
    """A message without end, of whatever characters, ends the run that it is about and not the worker."""
    with elsewhere(works) as (ledger, queue):
        (run_id,) = place(works, works.order())
        plan = lease_work(ledger, Crew("here", ("plan",)))
        assert planned(ledger, plan.lease, Planned("job", "file:///none", 2, 2))
        work = queue.lease()
        said = "\ud800\x00" + "x" * 100_000
        assert queue.failed(work.lease, Failure("E" * 200, said, said, is_transient=False, state="failed"))
    run = run_now(works, run_id)
    assert run.state == "failed"
    assert run.error["message"].endswith("xxx")


@pytest.mark.postgres
def test_a_database_that_is_restarted_loses_no_run(works, postgres):
    """PostgreSQL is killed and started three times while a worker works: the run succeeds, and no secret is logged."""
    (works.folder / "wide").mkdir()
    large = make_works(works.folder / "wide", (2000, 2600))
    order = large.order(options={"shards": 40})
    with database(postgres) as location, Ledger(location) as ledger:
        with PgstacCatalog(location) as catalog:
            add_model(catalog, works.folder / "models", load_package(str(large.folder / "net.emd")), NOW)
        run_id = place_orders(ledger, [order])[0].run_id
        options = ("--catalog", location, "--out", works.folder / "elsewhere", "--lease", 2, "--shards-at-once", 4)
        worker = start_worker(large, *options)
        for number in range(3):
            wait_for(lambda least=100 * number: read_run(ledger, run_id).tiles_done > least, "progress")
            postgres.stop()
            time.sleep(0.5)
            postgres.start()
        wait_for(lambda: read_run(ledger, run_id).state == "succeeded", "success")
        log = end(worker)
        found = data_files(Path(read_run(ledger, run_id).place))
    assert "does not answer" in log
    assert PASSWORD not in log
    assert quote(PASSWORD, safe="") not in log
    assert found == data_files(Path(until_success(large, place(large, order)[0]).place))
