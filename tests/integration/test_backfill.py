"""Back-fills: a range of days, newest first, foretold by a dry run, and gone on with after whatever stopped them."""

import json
import os
import signal
import sqlite3
import subprocess
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
import sqlalchemy as sa
from pyproj import Geod

from commands import geodl, geodl_here
from earth_search import EarthSearch, Manners
from forks import Forked
from geodl_core.domain.scan.estimate import Rates
from geodl_core.domain.scan.windows import Window
from geodl_core.service.ledger.tables import RUNS
from geodl_core.service.scans.backfill import Limits, backfill, survey
from geodl_core.service.scans.scan_watch import scan_once, work_on
from geodl_core.service.scans.scans import Asked, lease_scan, list_scans, open_scan
from scanning import C1, L2A, NOW, Waits, ignore, ordered, recorded, scene, scenes, serving, watch_of

pytestmark = pytest.mark.shared
MONTHS = Window(datetime(2025, 6, 1, tzinfo=UTC).timestamp(), datetime(2025, 8, 2, tzinfo=UTC).timestamp())
SOME = timedelta(days=61)


@pytest.fixture(scope="module")
def template(shared):
    return recorded(shared)


def past(template, count, days=60):
    """Return scenes evenly over the days before August 2."""
    end = datetime(2025, 8, 1, 23, tzinfo=UTC)
    return [scene(template, n, end - timedelta(days=days * n / count)) for n in range(count)]


def ids(items):
    return {item["id"] for item in items}


def days_of(services):
    with services.ledger.reading() as connection:
        return dict(connection.execute(sa.select(RUNS.c.day, sa.func.count()).group_by(RUNS.c.day)).all())


def test_a_dry_run_foretells_what_is_ordered(shared, template, tmp_path):
    """Scenes, area, time and price of a dry run are those of the runs that are ordered then; it orders none itself."""
    twins = [
        scene(recorded(shared, L2A), n, datetime.fromisoformat(one["properties"]["datetime"]), collection=L2A)
        for n, one in enumerate(past(template, 40))
    ]
    before = scene(template, 900, NOW - SOME - timedelta(days=20))
    with EarthSearch([*past(template, 40), *twins[:15], before], Manners(repeats_every=2, most_items=30)) as api:
        watch = watch_of(api.url, collections=[C1, L2A], dedupe_by=["s2:tile_id", "datetime"])
        with serving(tmp_path, watch) as services:
            whom = ignore, Waits()
            backfill(services, watch, Window(MONTHS.end - 5 * 86400, MONTHS.end), Limits(), whom)
            there = ordered(services)
            foretold = survey(services, (watch, "backfill", MONTHS), Rates(100.0, 2.0), whom)
            assert ordered(services) == there
            done = backfill(services, watch, MONTHS, Limits(), whom)
            assert foretold.total.new == done.ordered == len(ordered(services)) - len(there)
    assert foretold.total.scenes == 40
    assert sum(month.scenes for month in foretold.months) == 40
    assert [month.month for month in foretold.months] == ["2025-08", "2025-07", "2025-06"]
    corners = [10.2, 10.8, 10.8, 10.2], [45.2, 45.2, 45.8, 45.8]
    each = abs(Geod(ellps="WGS84").polygon_area_perimeter(*corners)[0]) / 1e6
    assert foretold.total.km2 == pytest.approx(each * done.ordered, rel=1e-9)
    assert foretold.total.price == pytest.approx(2.0 * foretold.total.km2 / 100.0)


def test_the_area_is_that_of_what_is_clipped(template, tmp_path):
    """A scene that reaches beyond the area counts with what lies in it, or whole where it is not clipped."""
    wide = scene(template, 1, NOW - timedelta(days=3), bounds=(9.0, 44.0, 12.0, 47.0))
    found = {}
    for clip in (True, False):
        (tmp_path / str(clip)).mkdir()
        with EarthSearch([wide]) as api:
            watch = watch_of(api.url, clip=clip)
            with serving(tmp_path / str(clip), watch) as services:
                result = survey(services, (watch, "backfill", MONTHS), Rates(), (ignore, Waits()))
                found[clip] = result.total.km2
    geod = Geod(ellps="WGS84")
    inner = geod.polygon_area_perimeter([10, 11, 11, 10], [45, 45, 46, 46])[0] / 1e6
    outer = geod.polygon_area_perimeter([9, 12, 12, 9], [44, 44, 47, 47])[0] / 1e6
    assert found == {True: pytest.approx(inner), False: pytest.approx(outer)}


def test_newest_days_come_first(template, tmp_path):
    """What was taken last is ordered first."""
    with EarthSearch(past(template, 60)) as api:
        watch = watch_of(api.url)
        with serving(tmp_path, watch) as services:
            steps = []

            def listen(report):
                steps.append(ordered(services))

            backfill(services, watch, MONTHS, Limits(), (listen, Waits()))
        taken = {item["id"]: item["properties"]["datetime"] for item in api.items}
    for first, second in pairwise(steps):
        assert not first or not second - first or min(map(taken.get, first)) > max(map(taken.get, second - first))
    assert len(steps[-1]) == 60


def test_a_limit_stops_and_the_same_command_goes_on(template, tmp_path):
    """With a limit so many new runs are ordered by a call, also where it ends in the middle of a page."""
    with EarthSearch(past(template, 60)) as api:
        watch = watch_of(api.url)
        with serving(tmp_path, watch) as services:
            counts = []
            for _ in range(4):
                report = backfill(services, watch, MONTHS, Limits(new_runs=25), (ignore, Waits()))
                counts.append((len(ordered(services)), report.state))
            assert counts[:3] == [(25, "held"), (50, "held"), (60, "done")]
            assert (report.matched, report.present) == (60, 60)
            assert scan_once(services) == 0


def test_brakes_hold(template, tmp_path):
    """No more runs start on a day than the watch, or the back-fill, allows."""
    with EarthSearch(past(template, 30)) as api:
        watch = watch_of(api.url, max_runs_per_day=12)
        with serving(tmp_path, watch) as services:
            backfill(services, watch, Window(MONTHS.end - 32 * 86400, MONTHS.end), Limits(), (ignore, Waits()))
            assert max(days_of(services).values()) == 12
            backfill(services, watch, MONTHS, Limits(runs_per_day=5), (ignore, Waits()))
            days = days_of(services)
            today = min(days)
            # The first back-fill took twelve and four, the second one adds up to five a day.
            assert days == {today: 12, today + 1: 5, today + 2: 5, today + 3: 5, today + 4: 3}
            assert len(ordered(services)) == 30


def test_a_killed_backfill_goes_on_at_its_page(template, tmp_path):
    """After kill -9 the same command goes on at the page where it stopped: nothing is lost, no page is read anew."""
    with EarthSearch(past(template, 90), Manners(most_items=12, delay_s=0.05)) as api:
        watch = watch_of(api.url)
        with serving(tmp_path, watch):
            pass
        words = ["backfill", "fields", "--from", "2025-06-01", "--to", "2025-08-01", "--json"]
        words += ["--catalog", str(tmp_path / "catalog.db")]
        cache = str(tmp_path / "cache")
        kills = 0
        for pages in (4, 9):
            streams = (subprocess.DEVNULL, subprocess.DEVNULL, subprocess.PIPE)
            with Forked(words, streams, {**os.environ, "GEODL_CACHE": cache}) as process:
                deadline = time.monotonic() + 60
                while sum(search.status == 200 for search in api.searches) < pages and time.monotonic() < deadline:
                    assert process.poll() is None, process.stderr.read()
                    time.sleep(0.01)
                process.send_signal(signal.SIGKILL)
            kills += 1
            expire_leases(tmp_path)
        with serving(tmp_path, watch) as services:
            assert 0 < len(ordered(services)) < 90
        result = geodl(*words, GEODL_CACHE=cache)
        with serving(tmp_path, watch) as services:
            assert ordered(services) == ids(api.items)
        answered = [json.dumps(search.body, sort_keys=True) for search in api.searches if search.status == 200]
    assert json.loads(result.stdout)["ordered"] == 90
    assert len(answered) - len(set(answered)) <= kills


def expire_leases(folder):
    """Let the time pass after which a dead process's scan is taken over."""
    connection = sqlite3.connect(folder / "catalog.db")
    with connection:
        connection.execute("UPDATE scans SET expires = 0 WHERE lease IS NOT NULL")
    connection.close()


def test_a_scan_is_lent_to_one_and_taken_over_when_its_lease_has_ended(template, tmp_path):
    """Two servers do not work on one scan; what a dead one held is taken over, and its late answer is not stored."""
    with EarthSearch(scenes(template, 10)) as api:
        watch = watch_of(api.url)
        with serving(tmp_path, watch) as services:
            time_ = [NOW.timestamp()]
            services.ledger.clock = lambda: time_[0]
            open_scan(services.ledger, Asked("fields", "backfill", MONTHS))
            first = lease_scan(services.ledger)
            assert first is not None
            assert lease_scan(services.ledger) is None
            time_[0] += 301
            second = lease_scan(services.ledger)
            assert second is not None
            assert second.lease != first.lease
            work_on(services, second)
            [after] = list_scans(services.ledger)
            work_on(services, first)
            [unchanged] = list_scans(services.ledger)
            assert unchanged == after


def test_commands_tell_what_they_do(template, tmp_path, monkeypatch):
    """The commands print a report, a table or a document, and say plainly what is wrong."""
    monkeypatch.setenv("GEODL_CACHE", str(tmp_path / "cache"))
    catalog = "--catalog", tmp_path / "catalog.db"
    with EarthSearch(past(template, 12)) as api:
        watch = watch_of(api.url)
        with serving(tmp_path, watch):
            pass
        days = "--from", "2025-06-01", "--to", "2025-08-01"
        dry = geodl_here("backfill", "fields", *days, "--dry-run", "--rate", 500, "--price", 2, *catalog)
        assert dry.returncode == 0, dry.stderr
        assert "2025-07" in dry.stdout
        assert dry.stdout.endswith("nothing was ordered\n")
        document = json.loads(geodl_here("backfill", "fields", *days, "--dry-run", "--json", *catalog).stdout)
        assert (document["scenes"], document["new"], document["seconds"]) == (12, 12, None)
        done = geodl_here("backfill", "fields", *days, *catalog)
        assert "ordered  12 runs; 0 ordered before" in done.stdout
        again = json.loads(geodl_here("scan", "fields", "--since", "2025-07-01", "--json", *catalog).stdout)
        assert again["ordered"] == 0
        assert again["present"] == again["matched"] > 0
    wrong = geodl_here("backfill", "fields", "--from", "2025-08-01", "--to", "2025-06-01", *catalog)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: expected a start before the end")
    nobody = geodl_here("scan", "meadows", *catalog)
    assert nobody.stderr.startswith("error: no watch meadows; there are: fields")
