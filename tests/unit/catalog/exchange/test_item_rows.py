"""Items as rows of stac-geoparquet and back."""

import math
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stac_geoparquet.arrow import parse_stac_items_to_arrow

from geodl_core.catalog.exchange.item_rows import item_of, row_of, time_text
from geodl_core.catalog.exchange.item_shape import EXACT, MOST_KEYS, TIMES, ItemShapes
from geodl_core.errors import InputError, ItemError
from stac_documents import make_item

NAMES = st.sampled_from(["a", "b", "id", "type", "links", "datetime", "created", "proj:geometry", "x.y", "é"])
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    st.sampled_from(["2024-05-01T00:00:00Z", "2024-05-01T00:00:00.5Z", "2024-05-01T00:00:00.120Z", "2024-05-01"]),
)
NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False))
POINT = st.builds(
    lambda at: {"type": "Point", "coordinates": at}, st.lists(st.integers(-80, 80), min_size=1, max_size=4)
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS, POINT),
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(NAMES, below, max_size=3)),
    max_leaves=8,
)
ASSETS = st.dictionaries(NAMES, st.dictionaries(NAMES, VALUES, max_size=3), max_size=3)
LINKS = st.lists(st.dictionaries(st.sampled_from(["rel", "href", "type", "title"]), TEXTS), max_size=3)
BOXES = st.one_of(st.lists(st.floats(-180, 180), min_size=4, max_size=4), st.just([1, 2, 3, 4, 5, 6]), VALUES)
ITEMS = st.builds(
    lambda properties, assets, links, more: (
        {
            "type": "Feature",
            "stac_version": "1.1.0",
            "id": "a",
            "geometry": None,
            "properties": {"datetime": "2024-05-01T00:00:00Z"} | properties,
            "links": links,
            "assets": assets,
        }
        | more
    ),
    st.dictionaries(NAMES, VALUES, max_size=4),
    ASSETS,
    LINKS,
    st.fixed_dictionaries(
        {}, optional={"bbox": BOXES, "geometry": st.one_of(POINT, VALUES), "foo": VALUES, "assets": VALUES}
    ),
)


def through_arrow(items):
    """The items as they come back from one table."""
    shapes = ItemShapes()
    for item in items:
        shapes.feed(item)
    rows = [row_of(item, shapes) for item in items]
    return [item_of(row) for row in pa.RecordBatch.from_pylist(rows, shapes.schema("c")).to_pylist()]


def is_same(one, other):
    """Whether two JSON values are equal: 1 is 1.0, but not true."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and one == other


@given(st.lists(ITEMS, min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_items_come_back_as_they_were(items):
    """Whatever JSON Items hold, and however they differ from one another, a table gives them back."""
    found = through_arrow(items)
    assert all(is_same(one, other) for one, other in zip(items, found, strict=True)), (items, found)


def test_ordinary_items_need_no_notes():
    """Items as most publishers write them fit the columns: nothing is kept beside them."""
    items = [
        make_item("a", gsd=10, **{"proj:shape": [1, 2], "processing:software": {"geodl": "1"}}),
        make_item("b", created="2024-05-01T00:00:00.123Z", **{"processing:software": {"other": "2"}}),
        make_item("c") | {"links": [{"rel": "about", "href": "x"}, {"rel": "via", "href": "y", "title": "z"}]},
    ]
    shapes = ItemShapes()
    for item in items:
        shapes.feed(item)
    assert [row_of(item, shapes)[EXACT] for item in items] == [None] * 3


def test_links_keep_their_order_and_lists_their_emptiness():
    """Links come back in their order, an empty list as one, null as null, and what lacks lacks."""
    items = [
        make_item("a", empty=[], none=None) | {"links": [{"rel": rel, "href": "x"} for rel in ("z", "a", "m")]},
        make_item("b", empty=[1]) | {"bbox": [1, 2, 3, 4, 5, 6]},
    ]
    first, second = through_arrow(items)
    assert [link["rel"] for link in first["links"]] == ["z", "a", "m"]
    assert (first["properties"]["empty"], first["properties"]["none"]) == ([], None)
    assert "none" not in second["properties"]
    assert (len(first["bbox"]), second["bbox"]) == (4, [1, 2, 3, 4, 5, 6])


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2024, 5, 1, tzinfo=UTC), "2024-05-01T00:00:00Z"),
        (datetime(2024, 5, 1, 0, 0, 0, 120_000, UTC), "2024-05-01T00:00:00.120Z"),
        (datetime(2024, 5, 1, 0, 0, 0, 120_001), "2024-05-01T00:00:00.120001Z"),  # noqa: DTZ001  # of a file without zone
    ],
)
def test_times_have_as_few_digits_as_they_need(moment, text):
    """Times are written with none, three or six digits of a second."""
    assert time_text(moment) == text


def test_rows_of_others_are_read():
    """Null and NaN of another writer mean that a member is not there; its time stamps become texts."""
    row = {
        "id": "a",
        "geometry": None,
        "bbox": [1, 2, 3, 4],
        "datetime": None,
        "start_datetime": datetime(2024, 1, 1, tzinfo=UTC),
        "gsd": math.nan,
        "platform": None,
        "assets": {"data": {"href": "x", "title": None}, "none": None},
        "links": None,
    }
    assert item_of(row) == {
        "id": "a",
        "type": "Feature",
        "geometry": None,
        "bbox": [1, 2, 3, 4],
        "properties": {"datetime": None, "start_datetime": "2024-01-01T00:00:00Z"},
        "assets": {"data": {"href": "x"}},
    }


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"gsd": math.inf}, "gsd: expected a number"),
        ({"image": b"\x00"}, "image: expected a value of JSON"),
        ({"geometry": "POINT (1 2)"}, "geometry: expected WKB, found str"),
        ({"geometry": b"no"}, "geometry: expected WKB"),
        ({"bbox": {"xmin": 1}}, "bbox: expected numbers"),
        ({EXACT: "[[1]]"}, EXACT),
        ({EXACT: '[[["a","b","c"],1]]'}, EXACT),
    ],
)
def test_rows_that_are_no_items_are_told(change, word):
    """A row with what no Item can hold is an error that names the column."""
    with pytest.raises(ItemError, match=word):
        item_of({"id": "a", "geometry": None, "datetime": None} | change)


def test_items_of_too_many_kinds_are_refused():
    """A Collection that would need thousands of columns is an error that names another format; wide objects are not."""
    shapes = ItemShapes()
    shapes.feed(make_item("a", wide={str(number): number for number in range(MOST_KEYS + 1)}))
    assert shapes.schema("c").field("wide").type == pa.string()
    for number in range(5_000):
        shapes.feed(make_item("a", **{f"p{number}": 1}))
    with pytest.raises(InputError, match="collection c: expected Items of one make"):
        shapes.schema("c")


def test_times_are_those_of_the_library():
    """The columns of time stamps are the ones that the library stac-geoparquet makes and reads."""
    items = [make_item("a", **dict.fromkeys(TIMES, "2024-05-01T00:00:00Z"), other="2024-05-01T00:00:00Z")]
    shapes = ItemShapes()
    shapes.feed(items[0])
    ours = shapes.schema("c")
    theirs = parse_stac_items_to_arrow(items).schema
    assert {name for name in theirs.names if pa.types.is_timestamp(theirs.field(name).type)} == set(TIMES)
    for name in theirs.names:
        assert ours.field(name).type == theirs.field(name).type or name in ("bbox", "geometry"), name
