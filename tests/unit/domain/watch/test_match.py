"""Which watches an Item matches, against a look at every pair."""

import json
import random

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.area.area import Area, area_shape
from geodl_core.domain.watch.filters import ask, read_filter
from geodl_core.domain.watch.footprint import footprint_of
from geodl_core.domain.watch.match import MODELS, index_watches, is_looked_at, match_item
from geodl_core.domain.watch.watch import read_watch
from stac_documents import rectangle


def watch(name="w", **more):
    return read_watch({"name": name, "model": "m", **more}, "watch")


def item(geometry=None, collection="scenes", **properties):
    return {
        "type": "Feature",
        "id": "i",
        "collection": collection,
        "geometry": geometry,
        "properties": {"datetime": "2026-05-01T00:00:00Z", **properties},
        "links": [],
        "assets": {},
    }


def names(index, one):
    return [each.name for each in match_item(index, one)]


def test_the_index_finds_what_a_look_at_every_pair_finds():
    """Collections, areas and filters give the same watches by the index as one by one with shapely."""
    rng = random.Random(3)
    watches = []
    for number in range(60):
        west, south = rng.uniform(-180, 170), rng.uniform(-80, 70)
        more = {"collections": rng.choice([[], ["a"], ["b"], ["a", "b"]])}
        if rng.random() < 0.8:
            more["aoi"] = f"{west},{south},{west + rng.uniform(1, 200)},{south + rng.uniform(1, 10)}"
            if west + 200 > 180:
                more["aoi"] = f"{west},{south},{-180 + rng.uniform(1, 60)},{south + 5}"
        if rng.random() < 0.5:
            more["filter"] = f"eo:cloud_cover < {rng.randrange(100)}"
        watches.append(watch(f"w{number}", **more))
    index = index_watches(watches)
    count = 0
    for _ in range(150):
        west, south = rng.uniform(-180, 178), rng.uniform(-80, 75)
        one = item(
            rectangle(west, south, west + 2, south + 2), rng.choice("abc"), **{"eo:cloud_cover": rng.random() * 100}
        )
        outline = shapely.geometry.shape(one["geometry"])
        expected = [
            each.name
            for each in watches
            if (not each.collections or one["collection"] in each.collections)
            and (each.aoi is None or outline.intersection(area_shape(Area(each.aoi))).area > 0)
            and (each.filter is None or one["properties"]["eo:cloud_cover"] < float(each.filter.split("<")[1]))
        ]
        assert names(index, one) == expected
        count += len(expected)
    assert count > 500


@given(
    st.lists(st.tuples(*[st.integers(-8, 8)] * 2, st.integers(1, 4)), min_size=1, max_size=8),
    st.tuples(st.integers(-8, 8), st.integers(-8, 8)),
)
def test_a_common_border_is_no_match(squares, place):
    """An Item matches an area just where they have some ground in common, which cells of a lattice tell."""
    watches = [watch(f"w{n}", aoi=f"{x},{y},{x + size},{y + size}") for n, (x, y, size) in enumerate(squares)]
    x, y = place
    cells = {(x + dx, y + dy) for dx in range(2) for dy in range(2)}
    expected = [
        f"w{n}"
        for n, (left, low, size) in enumerate(squares)
        if cells & {(left + dx, low + dy) for dx in range(size) for dy in range(size)}
    ]
    assert names(index_watches(watches), item(rectangle(x, y, x + 2, y + 2))) == expected


def test_the_antimeridian_is_no_border():
    """Areas and Items that cross 180 degrees meet on both sides, however the Item is written."""
    index = index_watches([watch("over", aoi="175,-20,-175,-10"), watch("west", aoi="-178,-20,-170,-10")])
    whole = [[[176, -18], [184, -18], [184, -12], [176, -12], [176, -18]]]
    halves = [rectangle(176, -18, 180, -12)["coordinates"], rectangle(-180, -18, -176, -12)["coordinates"]]
    wrapped = [[[176, -18], [-176, -18], [-176, -12], [176, -12], [176, -18]]]
    written = [
        item({"type": "Polygon", "coordinates": whole}),
        item({"type": "MultiPolygon", "coordinates": halves}),
        {**item({"type": "Polygon", "coordinates": wrapped}), "bbox": [176, -18, -176, -12]},
    ]
    assert [names(index, one) for one in written] == [["over", "west"]] * 3
    assert names(index, item(rectangle(170, -18, 174, -12))) == []
    assert names(index, item(rectangle(-174, -18, -172, -12))) == ["west"]


@pytest.mark.shared
def test_a_real_scene_at_the_antimeridian_matches_on_both_sides(shared):
    """A Sentinel-2 tile cut at 180 degrees meets a small area on either side, and none at Greenwich."""
    scene = json.loads((shared / "fixtures" / "stac" / "stactools_sentinel2_T01WCP_antimeridian.json").read_text())
    outline = shapely.geometry.shape(scene["geometry"])
    areas = {}
    for part in shapely.get_parts(outline):
        x, y = part.representative_point().coords[0]
        areas["east" if x > 0 else "west"] = f"{x - 0.001},{y - 0.001},{x + 0.001},{y + 0.001}"
    y = outline.centroid.y
    areas["greenwich"] = f"-1,{y - 1},1,{y + 1}"
    index = index_watches([watch(name, aoi=area) for name, area in areas.items()])
    assert sorted(names(index, scene)) == ["east", "west"]


@pytest.mark.parametrize(
    "geometry",
    [
        None,
        {},
        "POINT(1 1)",
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]},
        {"type": "Polygon", "coordinates": []},
        {"type": "Polygon", "coordinates": [[[0, 0], [float("nan"), 1], [1, 0], [0, 0]]]},
        {"type": "Polygon", "coordinates": [[[500_000, 5e6], [500_010, 5e6], [500_000, 5e6 + 9], [500_000, 5e6]]]},
        {"type": "Polygon", "coordinates": "none"},
        {"type": "Circle", "coordinates": [0, 0]},
        {"type": "GeometryCollection", "geometries": [{"type": "Nothing"}]},
        [1, 2],
    ],
)
def test_bad_geometries_match_no_area(geometry):
    """What cannot be placed matches watches without an area alone, and raises nothing."""
    index = index_watches([watch("anywhere"), watch("somewhere", aoi="-180,-90,180,90")])
    one = item(geometry)
    assert names(index, one) == ["anywhere"]
    assert footprint_of(one).problem


def test_a_crossing_ring_is_repaired():
    """A footprint whose sides cross is taken as what it covers."""
    bow = {"type": "Polygon", "coordinates": [[[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]]}
    index = index_watches([watch("left", aoi="0.1,0.9,0.2,1.1"), watch("top", aoi="0.9,1.8,1.1,2")])
    assert names(index, item(bow)) == ["left"]


@pytest.mark.parametrize(
    "bad", [None, 3, "x", [], {"eo:cloud_cover": "much"}, {"eo:cloud_cover": None}, {}, {"eo:cloud_cover": [1]}]
)
def test_what_a_filter_cannot_tell_does_not_match(bad):
    """Properties that lack or are of another type match no filter, also not a negated one."""
    index = index_watches([watch("yes", filter="eo:cloud_cover < 50"), watch("no", filter="not eo:cloud_cover < 50")])
    assert names(index, {**item(), "properties": bad}) == []


def test_models_match_only_who_names_them():
    """A registered model is no scene, unless a watch says so."""
    index = index_watches(
        [watch("all"), watch("scenes", collections=["scenes"]), watch("models", collections=[MODELS])]
    )
    assert names(index, item(collection=MODELS)) == ["models"]
    assert names(index, item()) == ["all", "scenes"]
    assert names(index, item(collection=None)) == ["all"]
    assert names(index, item(collection=["a"])) == ["all"]


def test_deprecated_items_match_nothing():
    """A result that another one has replaced starts nothing."""
    index = index_watches([watch("all")])
    assert names(index, item(deprecated=True)) == []
    assert names(index, item(deprecated=False)) == ["all"]


def test_a_watch_that_cannot_be_read_stops_no_other():
    """An unreadable filter is set apart with its reason, and the others work."""
    index = index_watches([watch("bad", filter="eo:cloud_cover <"), watch("good")])
    assert names(index, item()) == ["good"]
    assert [(each.name, "CQL2" in why) for each, why in index.broken] == [("bad", True)]


def test_collections_that_nobody_looks_at_are_told():
    """Items need not be read where no watch looks."""
    index = index_watches([watch("a", collections=["a"])])
    assert is_looked_at(index, "a")
    assert not is_looked_at(index, "b")
    everything = index_watches([watch("all", aoi="0,0,1,1")])
    assert is_looked_at(everything, "b")
    assert not is_looked_at(everything, MODELS)
    assert not is_looked_at(index_watches([]), "a")


@given(st.integers(0, 2**32 - 1))
def test_any_document_is_answered(seed):
    """Whatever stands in an Item, matching gives an answer."""
    rng = np.random.default_rng(seed)
    values = [None, True, 3, -1.5, "x", [], {}, [[[]]], {"type": "Point"}, {"coordinates": [1]}, "\ud800", 10**400]
    pick = lambda: values[rng.integers(len(values))]  # noqa: E731
    one = {key: pick() for key in ("id", "collection", "geometry", "properties", "bbox", "links", "assets")}
    index = index_watches(
        [watch("a", aoi="0,0,1,1"), watch("b", filter="x = 1 and s_intersects(geometry, POINT(1 1))")]
    )
    assert set(names(index, one)) <= {"a", "b"}


def test_one_item_passes_a_spatial_filter_as_shapely_says():
    """`s_intersects` of a filter asks the Item's own geometry."""
    asked = read_filter("s_intersects(geometry, POLYGON((0 0, 4 0, 4 4, 0 4, 0 0)))")
    assert ask(asked, item(rectangle(3, 3, 5, 5))).passed
    assert not ask(asked, item(rectangle(6, 6, 7, 7))).passed
    assert ask(asked, item()).problem
