"""From what is written to a catalog to runs in the ledger: each Item once, whatever happens."""

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from geodl_core.catalog.models import find_model, remove_model
from geodl_core.catalog.open import open_catalog
from geodl_core.domain.run.options import read_options
from geodl_core.service.ledger.cursors import read_cursor
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.runs import read_payload
from geodl_core.service.ledger.watches import pause_watch
from geodl_core.service.services import Services
from geodl_core.service.triggers.publish import publish
from geodl_core.service.watches import dispatch as dispatching
from geodl_core.service.watches.existing import apply_watch, reconcile_once
from geodl_core.service.watches.known import Known
from geodl_core.service.watches.remarks import last_remarks
from watched import collection, dispatch, opened, register, runs, scene, watch

ROOT = Path(__file__).parents[2]
FOREVER = """
import sys
from pathlib import Path
sys.path.insert(0, "tests")
from geodl_core.service.watches.dispatch import dispatch_once
from geodl_core.service.watches.known import Known
from watched import opened
with opened(Path(sys.argv[1])) as services:
    known = Known()
    print("ready", flush=True)
    while True:
        dispatch_once(services, known, limit=7)
"""


@pytest.fixture
def services(tmp_path):
    with opened(tmp_path) as found:
        register(found, tmp_path)
        collection(found)
        yield found


def reconcile(services, known=None):
    known, total = known or Known(), 0
    while count := reconcile_once(services, known, limit=3):
        total += count
    return total


def test_a_written_item_is_ordered(services):
    """An Item that matches becomes a run with the model's version and the watch's options; the outbox is read on."""
    watch(services, collections=["scenes"], aoi="10.5,45,12,46", priority=4, options={"radiometry": "raw"})
    services.catalog.put_item(scene())
    services.catalog.put_item(scene("far", geometry={"type": "Point", "coordinates": [50, 50]}))
    assert dispatch(services) > 0
    (run,) = runs(services)
    assert (run.watch, run.item_id, run.state, run.priority, run.depth) == ("w", "i", "queued", 4, 0)
    assert run.model.startswith("net@")
    assert read_options(dict(run.options), "run").radiometry == "raw"
    assert "10.5" in run.options["aoi"]
    assert read_payload(services.ledger, run.payload)["id"] == "i"
    assert read_cursor(services.ledger, dispatching.CURSOR) == services.catalog.outbox(0, 100)[-1].seq
    assert dispatch(services) == 0


def test_the_same_item_again_is_the_same_run(services):
    """Replacing an Item by itself, or with another time of change, orders nothing new; another asset does."""
    watch(services)
    for updated in ("2026-05-01T00:00:00Z", "2026-05-02T00:00:00Z"):
        services.catalog.put_item(scene(properties={"updated": updated}))
        dispatch(services)
    assert len(runs(services)) == 1
    services.catalog.put_item(scene(assets={"red": {"href": "https://example.com/new/red.tif"}}))
    dispatch(services)
    assert len(runs(services)) == 2


def test_one_acquisition_in_two_collections_is_one_run(services):
    """With `dedupe_by` the same tile and time is computed once."""
    collection(services, "again")
    watch(services, dedupe_by=["s2:tile_id", "datetime"])
    services.catalog.put_item(scene("a", properties={"s2:tile_id": "T1"}))
    services.catalog.put_item(scene("b", "again", properties={"s2:tile_id": "T1"}))
    services.catalog.put_item(scene("c", properties={"s2:tile_id": "T2"}))
    dispatch(services)
    assert [run.item_id for run in runs(services)] == ["a", "c"]


def test_deleted_items_are_passed(services):
    """What was deleted before anybody looked is not run, and what was written again is."""
    watch(services)
    services.catalog.put_items([scene("a"), scene("b")])
    services.catalog.delete_item("scenes", "a")
    services.catalog.delete_item("scenes", "b")
    services.catalog.put_item(scene("b"))
    dispatch(services)
    assert [run.item_id for run in runs(services)] == ["b"]


def test_watches_count_from_when_they_are_made(services):
    """Items that were published before a watch start none of its runs; a paused one orders nothing."""
    services.ledger.clock = (datetime.now(UTC) + timedelta(minutes=1)).timestamp
    services.catalog.put_item(scene("before"))
    watch(services, "late")
    services.ledger.clock = lambda: datetime.now(UTC).timestamp()
    watch(services, "asleep", options={"radiometry": "raw"})
    pause_watch(services.ledger, "asleep", is_paused=True)
    dispatch(services)
    assert runs(services) == []


def test_changes_of_watches_are_noticed(services):
    """A dispatcher that runs on sees watches that are added, changed, paused and resumed."""
    known = Known()
    services.catalog.put_item(scene("a"))
    dispatch(services, known)
    watch(services, filter="nothing = 1")
    services.catalog.put_item(scene("b"))
    dispatch(services, known)
    watch(services, replaces=True)
    services.catalog.put_item(scene("c"))
    dispatch(services, known)
    pause_watch(services.ledger, "w", is_paused=True)
    services.catalog.put_item(scene("d"))
    dispatch(services, known)
    pause_watch(services.ledger, "w", is_paused=False)
    services.catalog.put_item(scene("e"))
    dispatch(services, known)
    assert [run.item_id for run in runs(services)] == ["c", "e"]


def test_new_versions_of_a_model_are_noticed(services, tmp_path):
    """A watch that names a model takes its latest version at each match, one that names a version keeps it."""
    known = Known()
    first = watch(services, "latest")
    watch(services, "fixed", model=f"net@{register(services, tmp_path)['properties']['version']}")
    services.catalog.put_item(scene("a"))
    dispatch(services, known)
    assert len(runs(services)) == 1
    newer = register(services, tmp_path, seed=6)
    services.catalog.put_item(scene("b"))
    dispatch(services, known)
    versions = {run.watch: run.model for run in runs(services) if run.item_id == "b"}
    assert first.watch.model == "net"
    assert versions["latest"] == f"net@{newer['properties']['version']}" != versions["fixed"]


def test_what_is_wrong_with_one_stops_no_other(services, tmp_path):
    """A model that is gone and Items that cannot be read are remarked where people see it, and passed."""
    watch(services, "gone", model="ghost")
    watch(services, "good")
    broken = {"assets": {"red": {"title": "no href"}}, "links": [{"rel": "self", "href": 5}]}
    services.catalog.put_items([scene("a"), scene("bad", **broken), scene("empty", assets={}), scene("b")])
    dispatch(services)
    assert [run.item_id for run in runs(services)] == ["a", "b"]
    remarks = last_remarks(services.ledger)
    assert remarks["good"].item == "scenes/empty"
    assert remarks["good"].count == 2
    assert "ghost" in remarks["gone"].text or remarks["gone"].item in ("scenes/b", "scenes/empty")
    remove_model(services.catalog, tmp_path / "models", find_model(services.catalog, "net"), datetime.now(UTC))
    services.catalog.put_item(scene("c"))
    dispatch(services)
    assert len(runs(services)) == 2
    assert "no registered model net" in last_remarks(services.ledger)["good"].text


def test_loops_are_stopped_and_chains_run(services, tmp_path):
    """A result starts the watches of other models, never its own, and the remark says why."""
    register(services, tmp_path, "other")
    collection(services, "geodl-net")
    watch(services, "first")
    watch(services, "second", model="other")
    services.catalog.put_item(scene("a"))
    dispatch(services)
    link = {"rel": "derived_from", "href": "https://x/collections/scenes/items/a"}
    services.catalog.put_item(scene("a_net", "geodl-net", properties={"geodl:model": "net"}, links=[link]))
    dispatch(services)
    found = [(run.watch, run.item_id, run.depth) for run in runs(services)]
    assert sorted(found) == [("first", "a", 0), ("second", "a", 0), ("second", "a_net", 1)]
    assert "loop" in last_remarks(services.ledger)["first"].text


def test_brakes_hold(services):
    """Runs beyond a watch's brake wait for later days, none is lost."""
    watch(services, max_runs_per_day=2)
    services.catalog.put_items([scene(str(n)) for n in range(5)])
    dispatch(services)
    days = [run.day for run in runs(services)]
    assert sorted(day - min(days) for day in days) == [0, 0, 1, 1, 2]


def test_of_several_dispatchers_one_takes_a_step(services):
    """Threads that dispatch the same outbox at once order each Item once and lose none."""
    watch(services)
    services.catalog.put_items([scene(str(n)) for n in range(60)])
    start = threading.Barrier(4)
    done = []

    def work():
        known = Known()
        start.wait()
        while read_cursor(services.ledger, dispatching.CURSOR) < last:
            done.append(dispatching.dispatch_once(services, known, limit=7))

    last = services.catalog.outbox(0, 1000)[-1].seq
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(run.item_id for run in runs(services)) == sorted(str(n) for n in range(60))
    assert sum(done) == last


def test_a_killed_dispatcher_loses_nothing(services, tmp_path):
    """kill -9 at any moment, again and again, and each Item is ordered in the end, once."""
    watch(services)
    for batch in range(4):
        services.catalog.put_items([scene(f"{batch}-{n}") for n in range(40)])
        process = subprocess.Popen([sys.executable, "-c", FOREVER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        threading.Event().wait(0.01 * (batch + 1))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    dispatch(services)
    expected = {f"{batch}-{n}" for batch in range(4) for n in range(40)}
    assert sorted(run.item_id for run in runs(services)) == sorted(expected)


def test_who_is_overtaken_has_written_nothing(services, monkeypatch):
    """Where the cursor moved meanwhile, neither orders nor remarks of the slower one are kept."""
    watch(services)
    services.catalog.put_item(scene())
    rows = services.catalog.outbox(0, 100)
    known = Known()
    judge = dispatching.judge

    def slow(*arguments):
        monkeypatch.setattr(dispatching, "judge", judge)
        dispatch(services)
        return judge(*arguments)

    monkeypatch.setattr(dispatching, "judge", slow)
    assert dispatching.dispatch_once(services, known) == 0
    assert len(runs(services)) == 1
    assert read_cursor(services.ledger, dispatching.CURSOR) == rows[-1].seq


def test_items_that_arrived_unseen_are_found(services):
    """A reconcile scan orders what has no line in the outbox, once, and only what is newer than the watch."""
    watch(services, collections=["scenes"])
    now = datetime.now(UTC)
    stamp = (now + timedelta(seconds=1)).isoformat()
    old = (now - timedelta(days=3)).isoformat()
    services.catalog.put_items(
        [scene(f"new{n}", properties={"created": stamp}) for n in range(7)]
        + [scene("updated", properties={"created": old, "updated": stamp})]
        + [scene("plain", properties={"datetime": stamp})]
        + [scene("old", properties={"created": old}), scene("ancient")]
    )
    reconcile(services)
    found = sorted(run.item_id for run in runs(services))
    assert found == sorted([*(f"new{n}" for n in range(7)), "updated", "plain"])
    reconcile(services)
    assert len(runs(services)) == 9
    assert dispatch(services) > 0
    # What the outbox tells counts from when it was written, whatever the Items say of themselves.
    assert len(runs(services)) == 11


def test_a_watch_is_applied_to_what_is_there(services):
    """`apply` orders the matching Items of the catalog, tells of each, and orders none twice; a dry run orders none."""
    services.catalog.put_items([scene(str(n), properties={"n": n}) for n in range(6)])
    watch(services, collections=["scenes"], aoi="10,45,11,46", filter="n >= 2")
    dry = [(one.item, one.is_new) for one in apply_watch(services, "w", is_dry=True)]
    assert dry == [(f"scenes/{n}", True) for n in range(2, 6)]
    assert runs(services) == []
    first = list(apply_watch(services, "w"))
    assert [one.is_new for one in first] == [True] * 4
    assert [one.is_new for one in apply_watch(services, "w")] == [False] * 4
    assert [one.is_new for one in apply_watch(services, "w", is_dry=True)] == [False] * 4
    assert {run.id for run in runs(services)} == {one.run_id for one in first}


def test_every_backend_is_dispatched(place, tmp_path):
    """Embedded and in PostgreSQL alike an Item is ordered once, by its outbox, a reconcile scan and by hand."""
    with Ledger(place) as ledger, open_catalog(place) as catalog:
        services = Services(catalog, ledger, tmp_path)
        register(services, tmp_path)
        watch(services, collections=["scenes"], aoi="10.5,45,12,46", filter="eo:cloud_cover < 20")
        cloud = {"eo:cloud_cover": 3, "updated": (datetime.now(UTC) + timedelta(seconds=1)).isoformat()}
        assert [one.outcome for one in publish(services, scene(properties=cloud), "body")] == ["published"]
        assert [one.outcome for one in publish(services, scene(properties=cloud), "body")] == ["unchanged"]
        publish(services, scene("cloudy", properties={**cloud, "eo:cloud_cover": 30}), "body")
        dispatch(services)
        assert [run.item_id for run in runs(services)] == ["i"]
        reconcile(services)
        assert [one.is_new for one in apply_watch(services, "w")] == [False]
        assert [run.item_id for run in runs(services)] == ["i"]
        watch(services, "ghost", model="ghost")
        publish(services, scene("next", properties=cloud), "body")
        dispatch(services)
        assert last_remarks(ledger)["ghost"].item == "scenes/next"
        assert len(runs(services)) == 2


def test_the_outbox_is_pruned_behind_the_dispatcher(services):
    """Old rows that were read go, and none that was not."""
    watch(services)
    services.catalog.put_item(scene())
    dispatch(services)
    count = len(services.catalog.outbox(0, 1000))
    later = type(services)(
        services.catalog, services.ledger, services.out, now=lambda: datetime.now(UTC) + timedelta(days=8)
    )
    assert dispatching.dispatch_once(later, Known()) == 0
    assert count > 0
    assert services.catalog.outbox(0, 1000) == []
    services.catalog.put_item(scene("next"))
    assert dispatch(services) == 1


def test_hrefs_that_are_no_urls_stand_in_nobody_s_way(services):
    """An Item whose asset has an address that no library reads stops none of those that come after it."""
    watch(services)
    bad = scene("bad", assets={"red": {"href": "http://[x/red.tif", "type": "image/tiff"}})
    assert publish(services, bad, "body")[0].outcome == "published"
    services.catalog.put_item(scene("good"))
    dispatch(services)
    assert "good" in [run.item_id for run in runs(services)]
    assert services.catalog.outbox(read_cursor(services.ledger, dispatching.CURSOR), 10) == []


def test_what_was_published_during_a_pause_stays_unrun(services):
    """After a watch was let go on neither the outbox nor a reconcile scan orders what appeared while it was paused."""
    known, late = Known(), Known()
    begin = datetime.now(UTC)
    services.ledger.clock = begin.timestamp
    watch(services)
    pause_watch(services.ledger, "w", is_paused=True)
    during = (begin + timedelta(hours=1)).isoformat()
    services.catalog.put_item(scene("during", properties={"created": during, "updated": during}))
    services.ledger.clock = (begin + timedelta(hours=2)).timestamp
    pause_watch(services.ledger, "w", is_paused=False)
    # To let one go on that is not paused changes nothing.
    services.ledger.clock = (begin + timedelta(hours=4)).timestamp
    pause_watch(services.ledger, "w", is_paused=False)
    after = (begin + timedelta(hours=3)).isoformat()
    services.catalog.put_items([scene("after", properties={"created": after, "updated": after})])
    dispatch(services, known)
    reconcile(services, late)
    assert [run.item_id for run in runs(services)] == ["after"]
