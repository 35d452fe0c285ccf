"""The local check of Items: it agrees with shapely and brute force, and nothing in an Item raises an error."""

import json

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import box, mapping

from geodl_core.domain.scan.check import Verdict, cover, equal_area_size, judge, make_check
from geodl_core.domain.scan.estimate import Rates, area_km2, scene_of, tally
from geodl_core.domain.scan.item import item_location, settled_item
from geodl_core.domain.scan.windows import DAY_S, Window, stamp
from geodl_core.domain.watch.watch import read_watch

WINDOW = Window(1e9, 1e9 + 10 * DAY_S)
BASES = ("datetime", "created", "updated")
AREA = box(10, 45, 11, 46)


def check_of(**changes):
    document = {"name": "a", "model": "m", "collections": ["s2"], "aoi": mapping(AREA), "mode": "schedule"}
    document |= {"schedule": {"every": 3600}, "source": changes.pop("source", {}), **changes}
    return make_check(read_watch(document, "watch"), WINDOW, BASES)


def item_of(shape=AREA, at=WINDOW.start + 5, **properties):
    return {
        "type": "Feature",
        "id": "a",
        "collection": "s2",
        "geometry": mapping(shape),
        "bbox": list(shape.bounds),
        "properties": {"datetime": stamp(at), **properties},
    }


corner = st.tuples(st.floats(5, 15), st.floats(40, 50))


@given(corner, corner, corner)
def test_areas_are_met_as_shapely_says(first, second, third):
    """An Item is wanted just where its footprint and the area have more in common than a border."""
    shape = shapely.Polygon([first, second, third])
    if shape.is_valid and shape.area > 1e-6:
        expected = AREA.intersects(shape) and not AREA.touches(shape)
        assert (judge(check_of(), item_of(shape), 0, WINDOW).refusal is None) == expected


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({}, None),
        ({"properties": {"datetime": stamp(WINDOW.start - 1)}}, "time"),
        ({"properties": {"datetime": stamp(WINDOW.end)}}, "time"),
        ({"properties": {"datetime": None}}, "time"),
        ({"properties": {"start_datetime": stamp(0), "end_datetime": stamp(2e9)}}, None),
        ({"collection": "s1"}, "collection"),
        ({"geometry": mapping(box(0, 0, 1, 1)), "bbox": [0, 0, 1, 1]}, "area"),
        ({"geometry": None}, "geometry"),
        ({"geometry": {"type": "Polygon", "coordinates": [[[1, 2], [None, 3]]]}}, "geometry"),
        ({"properties": {"datetime": stamp(WINDOW.start), "eo:cloud_cover": 31}}, "cloud"),
        ({"properties": {"datetime": stamp(WINDOW.start), "eo:cloud_cover": "31"}}, None),
        ({"properties": {"datetime": stamp(WINDOW.start), "deprecated": True}}, "deprecated"),
        ({"id": ""}, "item"),
        ({"id": "a\x00"}, "item"),
        ({"type": "Catalog"}, "item"),
        ({"properties": 7}, "time"),
    ],
)
def test_reasons(changes, refusal):
    """Each reason is told by its name."""
    assert judge(check_of(source={"max_cloud": 30}), {**item_of(), **changes}, 0, WINDOW).refusal == refusal


def test_items_that_appeared_are_wanted_once():
    """An old Item that was made within the window is found by `created`, and not once more by `updated`."""
    late = item_of(at=1e8, created=stamp(WINDOW.start), updated=stamp(WINDOW.start))
    found = [judge(check_of(), late, basis, WINDOW).refusal for basis in range(3)]
    assert found == ["time", None, "seen"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(["type", "id", "geometry", "bbox", "properties", "datetime", "coordinates"])
                | st.text(),
                x,
            )
        ),
    )
)
def test_nothing_in_an_item_raises(document):
    """Whatever stands in a page, the check answers."""
    check = check_of(filter="eo:cloud_cover < 20", source={"min_cover": 0.5, "max_cloud": 30})
    assert isinstance(judge(check, document, 0, WINDOW), Verdict)
    for key in ("geometry", "bbox", "properties", "id"):
        assert isinstance(judge(check, {**item_of(), key: document}, 0, WINDOW), Verdict)


def test_cover_is_a_share_of_the_area():
    """Half of the area's width is half of it; of its height a little more in the south, where degrees are wider."""
    check = check_of()
    assert cover(check, box(10, 40, 10.5, 50)) == pytest.approx(0.5)
    assert 0.5 < cover(check, box(5, 40, 15, 45.5)) < 0.51
    assert equal_area_size(box(0, 0, 90, 90)) == pytest.approx(90)


def test_areas_in_km2():
    """The eighth of the ellipsoid has its share of the Earth's surface; halves over the antimeridian add up."""
    octant = shapely.segmentize(box(0, 0, 90, 90), 1)
    assert area_km2(octant) == pytest.approx(510_065_621.7 / 8, rel=1e-4)
    halves = shapely.MultiPolygon([box(179, 0, 180, 1), box(-180, 0, -179, 1)])
    assert area_km2(halves) == pytest.approx(2 * area_km2(box(0, 0, 1, 1)))
    assert area_km2(shapely.GeometryCollection([shapely.Point(0, 0), box(0, 0, 1, 1)])) == area_km2(box(0, 0, 1, 1))


def test_months_add_up():
    """Sums of months are those of all; area, time and price are of what is new."""
    scenes = [scene_of(item_of(at=1e9 + n * 5 * DAY_S), AREA, is_new=n % 2 == 0) for n in range(30)]
    total, months = tally(scenes, Rates(1000.0, 3.0))
    assert (total.scenes, total.new) == (30, 15)
    for name in ("scenes", "new", "km2", "hours", "price"):
        assert sum(getattr(month, name) for month in months) == pytest.approx(getattr(total, name))
    assert total.price == pytest.approx(3 * 15 * area_km2(AREA) / 1000)
    assert [month.month for month in months] == sorted((month.month for month in months), reverse=True)


def test_items_are_settled():
    """Relative hrefs become absolute, buckets stay, and the API's own link stands for a foreign one."""
    api = "https://stac.example.com/v1"
    item = {
        **item_of(),
        "stac_version": "1.0.0",
        "links": [{"rel": "self", "href": "https://elsewhere.example.com/a"}, {"rel": "via", "href": "s3://b/c"}, "no"],
        "assets": {"a": {"href": "../x.tif"}, "b": {"href": "s3://b/x.tif"}, "c": {"href": "/vsicurl/x"}},
    }
    location = item_location(item, api)
    settled = settled_item(json.loads(json.dumps(item)), location)
    assert location == f"{api}/collections/s2/items/a"
    assert [asset["href"] for asset in settled["assets"].values()] == [
        f"{api}/collections/s2/x.tif",
        "s3://b/x.tif",
        "/vsicurl/x",
    ]
    assert [link["href"] for link in settled["links"]] == [location, "s3://b/c"]
    assert settled_item({**item, "assets": {"a": {"href": 7}}}, location) is None
    assert settled_item({**item, "assets": {}}, location) is None
