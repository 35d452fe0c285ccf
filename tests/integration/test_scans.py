"""Scans of a public STAC API that misbehaves: all that is wanted is ordered, once, and nothing else."""

import json
from datetime import timedelta

import pytest
from shapely.geometry import box, mapping

from earth_search import PLAIN, PLANETARY_COMPUTER, EarthSearch, Manners
from geodl_core.domain.place.access import Access
from geodl_core.domain.watch.watch import read_watch
from geodl_core.errors import InputError, UnavailableError
from geodl_core.io.remote.access import access_in_force
from geodl_core.service.ledger.runs import RunFilter, list_runs, read_payload
from geodl_core.service.ledger.watches import put_watch
from geodl_core.service.scans.scan_watch import next_window, run_scan, scan_once, scan_watch
from geodl_core.service.scans.scans import Asked, open_scan
from geodl_core.service.scans.scheduler import fire_due
from postgres import database
from scanning import C1, L2A, NOW, ignore, ordered, recorded, scene, scenes, serving, watch_of

pytestmark = pytest.mark.shared


def never(seconds):
    raise AssertionError(f"waited {seconds} s")


@pytest.fixture(scope="module")
def template(shared):
    return recorded(shared)


def scan(services, watch, pause=never):
    return scan_watch(services, watch, None, ignore, pause)


def ids(items):
    return {item["id"] for item in items}


TRAPS = {
    "well-behaved": Manners(),
    "502 above ten Items": Manners(most_items=20),
    "502 now and then": Manners(fails_every=3),
    "pages that come twice": Manners(repeats_every=2),
    "query and filter are ignored": Manners(drops=("query", "filter")),
    "the area is ignored": Manners(drops=("intersects",)),
    "the time is ignored": Manners(drops=("datetime",)),
    "collections are ignored": Manners(drops=("collections",)),
    "everything is ignored": Manners(drops=("collections", "datetime", "intersects", "query", "filter")),
    "any order": Manners(is_shuffled=True),
    "the follow-up forgets": Manners(forgets=True),
    "links in a circle": Manners(goes_in_circle=True),
    "query is refused": Manners(refuses=("query",)),
    "no extension at all": Manners(conforms_to=PLAIN),
    "a filter extension": Manners(conforms_to=PLANETARY_COMPUTER),
    "a filter extension that refuses": Manners(conforms_to=PLANETARY_COMPUTER, refuses=("filter",)),
    "GET alone": Manners(has_post=False),
    "all at once": Manners(
        most_items=60, fails_every=5, repeats_every=3, drops=("query", "intersects"), is_shuffled=True
    ),
}


@pytest.mark.parametrize("manners", TRAPS.values(), ids=TRAPS.keys())
def test_all_that_is_wanted_is_ordered_whatever_the_api_does(template, tmp_path, manners):
    """Exactly the Items of the collection, window, area, cloud limit and filter are ordered."""
    wanted = scenes(template, 110)
    others = [
        *(scene(template, 1000 + n, NOW - timedelta(hours=20 * n), bounds=(20, 45, 21, 46)) for n in range(10)),
        *(scene(template, 2000 + n, NOW - timedelta(hours=15 * n), collection="sentinel-1") for n in range(10)),
        *(scene(template, 3000 + n, NOW - timedelta(days=12 + n)) for n in range(10)),
        *(scene(template, 4000 + n, NOW - timedelta(hours=20 * n), eo__cloud_cover=91.0) for n in range(10)),
        *(scene(template, 5000 + n, NOW - timedelta(hours=20 * n), platform="other") for n in range(10)),
    ]
    with EarthSearch([*wanted, *others], manners) as api:
        watch = watch_of(api.url, filter="platform = 'sentinel-2b'", source={"max_cloud": 50})
        with serving(tmp_path, watch) as services:
            report = scan(services, watch)
            assert ordered(services) == ids(wanted)
            assert report.state == "done"
            assert report.ordered == len(wanted)
            again = scan(services, watch)
    assert (again.ordered, again.present) == (0, again.matched)


def test_requests_are_few(template, tmp_path):
    """A window of ten days with few Items takes few requests, not one for each day."""
    with EarthSearch(scenes(template, 20)) as api:
        watch = watch_of(api.url)
        with serving(tmp_path, watch) as services:
            scan(services, watch)
        assert len(api.searches) <= 6
        assert {search.body["limit"] for search in api.searches} == {100}


def test_pages_are_halved_and_then_waited_for(template, tmp_path):
    """A service that fails is asked for 100, 50, 25, 12 and 10 Items, then after growing pauses, then given up."""
    with EarthSearch(scenes(template, 20), Manners(is_down=True)) as api:
        watch = watch_of(api.url)
        with serving(tmp_path, watch) as services:
            time = [NOW.timestamp()]
            services.ledger.clock = lambda: time[0]
            waits = []

            def wait(seconds):
                waits.append(seconds)
                time[0] += seconds

            with pytest.raises(UnavailableError, match=r"502, in 5 tries"):
                scan(services, watch, wait)
            assert [search.body["limit"] for search in api.searches] == [100, 50, 25, 12, 10, 10, 10, 10, 10]
            assert sum(waits) > 10
            api.manners.is_down = False
            assert scan(services, watch).ordered == 20


def test_a_pause_that_the_api_asks_for_is_made(template, tmp_path):
    """After 429 with Retry-After nobody asks for so long, and pages are not made smaller."""
    with EarthSearch(scenes(template, 3), Manners(fails_every=1, status=429, headers={"Retry-After": "40"})) as api:
        watch = watch_of(api.url)
        with serving(tmp_path, watch) as services:
            time = [NOW.timestamp()]
            services.ledger.clock = lambda: time[0]

            def wait(seconds):
                time[0] += seconds
                api.manners.fails_every = 0

            scan(services, watch, wait)
            first, second, *_ = api.searches
            assert first.body["limit"] == second.body["limit"] == 100
            assert len(api.searches) < 9
        assert time[0] >= NOW.timestamp() + 40


def test_next_links_to_another_host_are_not_followed(template, tmp_path):
    """Whoever answers does not choose whom geodl asks: the rest is found in shorter spans of the API itself."""
    wanted = scenes(template, 130, days=0.5)
    with EarthSearch(scenes(template, 1)) as elsewhere, EarthSearch(wanted) as api:
        api.manners.next_host = elsewhere.origin
        watch = watch_of(api.url)
        with serving(tmp_path, watch) as services:
            report = scan(services, watch)
            assert ordered(services) == ids(wanted)
        assert not elsewhere.searches
    assert any("same host" in note for note in report.notes)


def test_one_acquisition_in_two_collections_is_one_run(shared, template, tmp_path):
    """Earth Search lists a scene in two collections: told apart by tile and time, it is ordered once."""
    twice = []
    for number in range(12):
        at = NOW - timedelta(hours=9 * number + 1)
        twice += [scene(template, number, at), scene(recorded(shared, L2A), number, at, collection=L2A)]
    with EarthSearch(twice) as api:
        watch = watch_of(api.url, collections=[C1, L2A], dedupe_by=["s2:tile_id", "datetime"])
        with serving(tmp_path, watch) as services:
            report = scan(services, watch)
    assert (report.matched, report.ordered, report.present) == (24, 12, 12)


@pytest.mark.parametrize("conforms_to", [(), PLANETARY_COMPUTER], ids=["query", "filter"])
def test_late_items_are_found_by_when_they_appeared(template, tmp_path, conforms_to):
    """A scene taken a month ago and listed today is found, by `created`, where the API can select by it."""
    late = [scene(template, n, NOW - timedelta(days=30 + n), created=NOW - timedelta(days=1)) for n in range(5)]
    old = [scene(template, 100 + n, NOW - timedelta(days=30 + n)) for n in range(5)]
    manners = Manners(conforms_to=conforms_to) if conforms_to else Manners()
    with EarthSearch([*late, *old, *scenes(template, 8)[3:]], manners) as api:
        watch = watch_of(api.url)
        with serving(tmp_path, watch) as services:
            scan(services, watch)
            assert ordered(services) == ids(late) | ids(scenes(template, 8)[3:])


def test_windows_overlap(template, tmp_path):
    """The next scan looks back behind the one before, and orders only what is new."""
    items = scenes(template, 10)
    with EarthSearch(items[2:]) as api:
        watch = watch_of(api.url, source={"lookback_days": 4})
        with serving(tmp_path, watch) as services:
            first = scan(services, watch)
    with EarthSearch(items) as api:
        watch = watch_of(api.url, source={"lookback_days": 4})
        with serving(tmp_path, watch, NOW + timedelta(days=1)) as services:
            second = scan(services, watch)
            within = [item for item in items if item["properties"]["datetime"] >= "2025-07-29T12"]
            assert ordered(services) == ids(within)
    assert (first.matched, first.ordered) == (3, 3)
    assert (second.matched, second.ordered, second.present) == (5, 2, 3)


def test_a_long_gap_is_caught_up_with(template, tmp_path):
    """After weeks without a scan the window reaches back to the last one."""
    with EarthSearch([]) as api:
        watch = watch_of(api.url)
        with serving(tmp_path, watch, NOW - timedelta(days=60)) as services:
            scan(services, watch)
    items = scenes(template, 30, days=59)
    with EarthSearch(items) as api:
        watch = watch_of(api.url)
        with serving(tmp_path, watch) as services:
            scan(services, watch)
            assert ordered(services) == ids(items)


@pytest.mark.parametrize("has_post", [True, False], ids=["POST", "GET"])
def test_an_area_over_the_antimeridian_is_asked_for_in_two(template, tmp_path, has_post):
    """Scenes on both sides of 180° are found, and none of the other half of the Earth."""
    sides = [(178.5, -17.0, 179.5, -16.0), (-179.5, -17.0, -178.5, -16.0)]
    wanted = [scene(template, n, NOW - timedelta(hours=n + 1), bounds=sides[n % 2]) for n in range(20)]
    others = [scene(template, 50 + n, NOW - timedelta(hours=n + 1), bounds=(10, -17, 11, -16)) for n in range(20)]
    aoi = {
        "type": "MultiPolygon",
        "coordinates": [
            [[[178, -18], [180, -18], [180, -15], [178, -15], [178, -18]]],
            [[[-180, -18], [-178, -18], [-178, -15], [-180, -15], [-180, -18]]],
        ],
    }
    with EarthSearch([*wanted, *others], Manners(has_post=has_post)) as api:
        watch = watch_of(api.url, aoi=aoi)
        with serving(tmp_path, watch) as services:
            report = scan(services, watch)
            assert ordered(services) == ids(wanted)
        assert sum(search.items for search in api.searches) == report.found == len(wanted)


def test_cover_is_checked(template, tmp_path):
    """Scenes that cover less of the area than is asked for are left out."""
    least = scene(template, 1, NOW - timedelta(hours=5), bounds=(10.0, 45.0, 10.3, 46.0))
    most = scene(template, 2, NOW - timedelta(hours=6), bounds=(9.0, 44.0, 10.9, 47.0))
    with EarthSearch([least, most]) as api:
        watch = watch_of(api.url, source={"min_cover": 0.8})
        with serving(tmp_path, watch) as services:
            report = scan(services, watch)
            assert ordered(services) == {most["id"]}
    assert report.refused == {"cover": 1}


def test_orders_carry_the_item_as_the_api_has_it(template, tmp_path):
    """The source Item of a run has absolute hrefs, the API's link to itself, and is clipped to the watch's area."""
    item = scene(template, 1, NOW - timedelta(hours=5))
    item["assets"]["red"] = {"href": "../red.tif"}
    with EarthSearch([item]) as api:
        watch = watch_of(api.url)
        with serving(tmp_path, watch) as services:
            scan(services, watch)
            [run] = list_runs(services.ledger, RunFilter())
            payload = read_payload(services.ledger, run.payload)
        place = f"{api.url}/collections/{C1}/items"
    assert [link["href"] for link in payload["links"] if link["rel"] == "self"] == [f"{place}/{item['id']}"]
    assert payload["assets"]["red"]["href"] == f"{place.rpartition('/')[0]}/red.tif"
    assert run.options == {"aoi": watch.aoi}
    assert (run.model, run.watch) == ("fields@0123456789ab", "fields")


def test_items_that_are_none_stop_nothing(template, tmp_path):
    """Items with wrong types, no geometry, no id or endless text are refused; the others are ordered."""
    good = scenes(template, 3)
    with EarthSearch(good) as api:
        for number, poison in enumerate(
            [
                {"geometry": None},
                {"geometry": {"type": "Polygon", "coordinates": "no"}},
                {"properties": None},
                {"id": 7},
                {"id": "bell\u0007"},
                {"id": "half\ud800"},
                {"assets": None},
                {"assets": []},
                {"links": "no"},
                {"stac_version": "99"},
                {"properties": {**good[0]["properties"], "text": "x" * (3 << 20)}},
            ]
        ):
            item = {**scene(template, 100 + number, NOW - timedelta(hours=4)), "bbox": None}
            api.items.append(item)
            api.texts[id(item)] = json.dumps({**item, **poison})
            api.shapes[id(item)] = api.shapes[id(good[0])]
        watch = watch_of(api.url)
        with serving(tmp_path, watch) as services:
            report = scan(services, watch)
            assert ids(good) <= ordered(services)
    assert report.state == "done"
    assert sum(report.refused.values()) >= 9


def test_a_changed_watch_is_scanned_anew(template, tmp_path):
    """What was asked for the old version of a watch is not gone on with for the new one."""

    items = scenes(template, 50)
    beside = [scene(template, 500 + n, NOW - timedelta(hours=1 + 4 * n), bounds=(20, 45, 21, 46)) for n in range(50)]
    with EarthSearch([*items, *beside]) as api:
        watch = watch_of(api.url)
        with serving(tmp_path, watch) as services:
            opened = open_scan(services.ledger, Asked("fields", "scan", next_window(services, watch)))
            assert scan_once(services) == 1
            before = ordered(services)
            assert before
            moved = watch_of(api.url, aoi=mapping(box(20, 45, 21, 46)))
            put_watch(services.ledger, moved, replaces=True)
            run_scan(services, opened.id, ignore, never)
            assert ordered(services) - before == ids(beside)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model": "nothing"}, "no registered model nothing"),
        ({"mode": "item", "schedule": None, "source": None}, "expected one of mode schedule"),
        ({"filter": "eo:cloud_cover <"}, "cannot read CQL2"),
    ],
)
def test_what_cannot_be_scanned_for_is_said_at_once(tmp_path, changes, complaint):
    """A watch without a model, a source or a readable filter is refused before anything is kept."""
    with EarthSearch([]) as api:
        document = watch_of(api.url).model_dump() | changes

        watch = read_watch({name: value for name, value in document.items() if value is not None}, "watch")
        with serving(tmp_path, watch) as services, pytest.raises(InputError, match=complaint):
            scan(services, watch)
        assert not api.searches


def test_service_mode_asks_public_hosts_alone(template, tmp_path):
    """In service mode an API on this machine is refused, whoever wrote the watch."""
    with EarthSearch(scenes(template, 3)) as api, access_in_force(Access(is_service=True)):
        watch = watch_of(api.url)
        with serving(tmp_path, watch) as services, pytest.raises(InputError, match="refused"):
            scan(services, watch)
        assert not api.searches


@pytest.mark.postgres
def test_scans_on_postgresql(template, tmp_path, postgres):
    """Scans, firings and back-fills are kept in PostgreSQL as in a file."""
    items = scenes(template, 130)
    with database(postgres) as location, EarthSearch(items, Manners(most_items=60)) as api:
        watch = watch_of(api.url)
        with serving(tmp_path, watch, location=location) as services:
            now = services.ledger.clock()
            assert [fire_due(services.ledger, now) for _ in range(3)] == [0, 1, 0]
            while scan_once(services):
                pass
            assert ordered(services) == ids(items)
            assert scan(services, watch).ordered == 0
