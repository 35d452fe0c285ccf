"""Scans and back-fills on AWS: page by page while there is time, and on from there; nothing twice, nothing lost."""

import json
from pathlib import Path

import pytest

from earth_search import EarthSearch, Manners
from geodl_core.aws.ledger.ledger import list_by_state, move_run, read_run
from geodl_core.aws.ledger.watches import put_cloud_watch
from geodl_core.aws.operate.overview import find_stuck
from geodl_core.aws.site.documents import write_document
from geodl_core.aws.site.layout import model_item_url
from geodl_core.aws.steps.ingest import Known
from geodl_core.aws.steps.scan import Turn, scan_stage
from geodl_core.aws.steps.sweep import sweep
from geodl_core.domain.watch.watch import read_watch
from geodl_core.errors import InputError, StoreError, UnavailableError
from scanning import C1, MODEL, NOW, Waits, scenes, watch_of

TEMPLATE = json.loads((Path(__file__).parents[1] / "events" / "item.json").read_text()) | {"collection": C1}
DAY_S = 86_400


def endless(pause=None):
    return Turn(lambda: 900.0, pause or Waits())


class Pages:
    """Time for so many pages."""

    def __init__(self, pages):
        self.left = pages + 1

    def __call__(self):
        self.left -= 1
        return 900.0 if self.left > 0 else 0.0


@pytest.fixture
def ready(cloud):
    """A deployment with a model, at the scenes' time."""
    cloud.clock.now = NOW.timestamp()
    write_document(cloud.s3, model_item_url(cloud.bucket, "fields", "0123456789ab"), MODEL)
    return cloud


def watch(cloud, api, **more):
    put_cloud_watch(cloud.ledger, watch_of(api.url, **more), replaces=True)


def lines_of(cloud, told):
    body = cloud.s3.get_object(Bucket=told["items_bucket"], Key=told["items_key"])["Body"].read().decode()
    return [json.loads(line) for line in body.splitlines()]


def test_a_scan_starts_what_it_finds(ready):
    """Each scene that the watch wants is run once, however often it is scanned."""
    with EarthSearch(scenes(TEMPLATE, 12)) as api:
        watch(ready, api)
        told = scan_stage(ready.deployment, Known(), {"watch": "fields"}, endless())
        assert (told["is_done"], told["matched"], told["ordered"]) == (True, 12, 12)
        ready.clock.now += 6 * 3600
        told = scan_stage(ready.deployment, Known(), {"watch": "fields"}, endless())
    assert (told["is_done"], told["ordered"]) == (True, 0)
    assert len(ready.executions()) == 12


def test_a_scan_goes_on_where_time_was_up(ready):
    """A function that runs out of time leaves the rest to the next call, which finds all that is left."""
    with EarthSearch(scenes(TEMPLATE, 40)) as api:
        watch(ready, api)
        calls = 0
        told = {"is_done": False}
        while not told["is_done"]:
            told = scan_stage(ready.deployment, Known(), {"watch": "fields"}, Turn(Pages(2), Waits()))
            calls += 1
    assert calls > 2
    assert len(ready.executions()) == 40


def test_an_api_that_is_down_loses_nothing(ready):
    """Pauses grow, then the call fails and is made again later."""
    waits = Waits()
    with EarthSearch(scenes(TEMPLATE, 5), Manners(is_down=True)) as api:
        watch(ready, api)
        with pytest.raises(UnavailableError):
            scan_stage(ready.deployment, Known(), {"watch": "fields"}, endless(waits))
        api.manners.is_down = False
        assert scan_stage(ready.deployment, Known(), {"watch": "fields"}, endless())["ordered"] == 5


def test_a_watch_of_what_is_published_cannot_be_scanned_for(ready):
    """Scans are for watches with a source, that there are."""
    with pytest.raises(InputError, match="no watch fields"):
        scan_stage(ready.deployment, Known(), {"watch": "fields"}, endless())
    published = read_watch({"name": "fields", "model": "fields", "collections": [C1]}, "w")
    put_cloud_watch(ready.ledger, published, replaces=False)
    with pytest.raises(InputError, match="mode schedule"):
        scan_stage(ready.deployment, Known(), {"watch": "fields"}, endless())


def backfill(number=0, **more):
    window = {"since": NOW.timestamp() - 10 * DAY_S, "until": NOW.timestamp()}
    return {"watch": "fields", "backfill": "bf-1", "number": number, **window, **more}


def test_a_backfill_lists_what_is_to_be_run(ready):
    """Its scenes are claimed and listed; the map starts them and no sweep does, however long that takes."""
    with EarthSearch(scenes(TEMPLATE, 12)) as api:
        watch(ready, api)
        told = scan_stage(ready.deployment, Known(), backfill(), endless())
    assert (told["is_done"], told["count"], told["number"]) == (True, 12, 1)
    lines = lines_of(ready, told)
    assert len({line["run_id"] for line in lines}) == 12
    assert all(read_run(ready.ledger, line["run_id"]).state == "queued" for line in lines)
    ready.clock.now += 3600
    assert sweep(ready.deployment).started == 0
    ready.clock.now += 400 * DAY_S
    assert sweep(ready.deployment).started == 0
    assert find_stuck(ready.deployment) == []
    # What the map did not start yet, and somebody else orders, is started for him.
    with EarthSearch(scenes(TEMPLATE, 12)) as api:
        watch(ready, api, source={"api": api.url, "lookback_days": 365})
        ready.clock.now = NOW.timestamp()
        assert scan_stage(ready.deployment, Known(), {"watch": "fields"}, endless())["started"] == 12
    assert {read_run(ready.ledger, line["run_id"]).held_by for line in lines} == {None}


def test_what_a_backfill_has_let_go_of_is_swept_as_all_is(ready):
    """A run that was started, and whose execution there is not, is the sweep's again."""
    with EarthSearch(scenes(TEMPLATE, 1)) as api:
        watch(ready, api)
        (line,) = lines_of(ready, scan_stage(ready.deployment, Known(), backfill(), endless()))
    move_run(ready.ledger, line["run_id"], "claimed", "execution started")
    ready.clock.now += 3600
    assert sweep(ready.deployment).restarted == 1


def test_a_brake_that_is_put_on_holds_for_what_was_listed(ready):
    """Where a back-fill was stopped because it was too much, and its watch has a brake now, that counts all runs."""
    with EarthSearch(scenes(TEMPLATE, 7)) as api:
        watch(ready, api)
        scan_stage(ready.deployment, Known(), backfill(), endless())
        watch(ready, api, max_runs_per_day=3)
        told = [scan_stage(ready.deployment, Known(), backfill(backfill="bf-2"), endless()) for _ in range(2)]
    assert told[0]["started"] == 3
    counts = [len(ready.executions())]
    for _ in range(3):
        ready.clock.now += DAY_S
        sweep(ready.deployment)
        counts.append(len(ready.executions()))
    assert counts == [3, 6, 7, 7]


def test_a_braked_backfill_goes_on_where_it_was(ready):
    """Of a watch with a brake the place is kept after each page: who is killed begins no page anew but the last."""

    class Killed(Exception):
        pass

    pages = []

    def left_s():
        pages.append(0)
        if len(pages) == 3:
            raise Killed
        return 900.0

    with EarthSearch(scenes(TEMPLATE, 40)) as api:
        watch(ready, api, max_runs_per_day=30)
        with pytest.raises(Killed):
            scan_stage(ready.deployment, Known(), backfill(), Turn(left_s, Waits()))
        before = len(list_by_state(ready.ledger, "queued")) + len(list_by_state(ready.ledger, "claimed"))
        told = scan_stage(ready.deployment, Known(), backfill(), endless())
    assert 0 < before < 40
    assert (told["is_done"], told["ordered"], told["found"] < 40) == (True, 40 - before, True)


def test_a_backfill_in_several_lists(ready, monkeypatch):
    """Each call lists the next scenes; together they are all, each once."""
    monkeypatch.setattr("geodl_core.aws.steps.scan.CHUNK", 5)
    seen, number, is_done = [], 0, False
    with EarthSearch(scenes(TEMPLATE, 23)) as api:
        watch(ready, api)
        while not is_done:
            told = scan_stage(ready.deployment, Known(), backfill(number), endless())
            seen += [line["run_id"] for line in lines_of(ready, told)]
            number, is_done = told["number"], told["is_done"]
    assert number > 2
    assert len(seen) == len(set(seen)) == 23


def test_a_backfill_asked_for_the_same_list_again_gives_it(ready):
    """Where an answer was lost, the same question is answered as before, and no scene is skipped."""
    with EarthSearch(scenes(TEMPLATE, 9)) as api:
        watch(ready, api)
        first = scan_stage(ready.deployment, Known(), backfill(), Turn(Pages(3), Waits()))
        assert not first["is_done"]
        assert scan_stage(ready.deployment, Known(), backfill(), endless()) == first
        seen = [line["run_id"] for line in lines_of(ready, first)]
        told = first
        while not told["is_done"]:
            told = scan_stage(ready.deployment, Known(), backfill(told["number"]), endless())
            seen += [line["run_id"] for line in lines_of(ready, told)]
    assert len(seen) == len(set(seen)) == 9


def test_a_backfill_killed_before_its_list_is_written_lists_all(ready, monkeypatch):
    """Scenes that were claimed and not listed are listed by the next call."""

    def die(*_):
        raise StoreError("killed")

    with EarthSearch(scenes(TEMPLATE, 7)) as api:
        watch(ready, api)
        with monkeypatch.context() as patch, pytest.raises(StoreError):
            patch.setattr("geodl_core.aws.steps.scan.write_lines", die)
            scan_stage(ready.deployment, Known(), backfill(), endless())
        assert len(list_by_state(ready.ledger, "queued")) == 7
        assert scan_stage(ready.deployment, Known(), backfill(), endless())["count"] == 7


def test_a_backfill_without_days_is_refused(ready):
    """It says what is missing."""
    with EarthSearch([]) as api:
        watch(ready, api)
        with pytest.raises(InputError, match="since and until"):
            scan_stage(ready.deployment, Known(), {"watch": "fields", "backfill": "x"}, endless())
