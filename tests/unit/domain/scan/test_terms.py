"""What a foreign API is asked: always at least what is wanted."""

import json
import math

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from earth_search import OPERATORS
from geodl_core.domain.area.area import read_area
from geodl_core.domain.scan.terms import MOST_VERTICES, query_areas, query_terms
from geodl_core.domain.watch.filters import ask, read_filter

NAMES = ("eo:cloud_cover", "gsd", "platform")
NUMBERS = st.integers(-3, 3)


def passes(terms, properties):
    """Say what a service with the `query` extension would."""
    for name, conditions in terms.items():
        value = properties.get(name)
        if value is None or not all(OPERATORS[operator](value, each) for operator, each in conditions.items()):
            return False
    return True


comparisons = st.tuples(st.sampled_from(["=", "<>", "<", "<=", ">", ">="]), st.sampled_from(NAMES[:2]), NUMBERS).map(
    lambda parts: f"{parts[1]} {parts[0]} {parts[2]}"
)
mirrored = st.tuples(st.sampled_from(["=", "<", "<=", ">", ">="]), st.sampled_from(NAMES[:2]), NUMBERS).map(
    lambda parts: f"{parts[2]} {parts[0]} {parts[1]}"
)
others = st.tuples(st.sampled_from(NAMES[:2]), NUMBERS, NUMBERS).flatmap(
    lambda parts: st.sampled_from(
        [f"{parts[0]} between {parts[1]} and {parts[2]}", f"{parts[0]} in ({parts[1]}, {parts[2]})"]
    )
)
filters = st.recursive(
    comparisons | mirrored | others,
    lambda inner: (
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})")
        | inner.map(lambda one: f"not ({one})")
    ),
    max_leaves=6,
)


@given(filters, NUMBERS, NUMBERS)
def test_the_query_gives_all_that_the_filter_does(text, cloud, gsd):
    """An Item that passes a filter passes what the `query` extension is asked in its place."""
    properties = {"eo:cloud_cover": cloud, "gsd": gsd}
    rule = read_filter(text)
    if ask(rule, {"type": "Feature", "properties": properties}).passed:
        assert passes(query_terms(rule.expression.to_json()), properties)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("eo:cloud_cover < 20 and gsd = 10", {"eo:cloud_cover": {"lt": 20}, "gsd": {"eq": 10}}),
        ("properties.gsd <> 10 and 5 <= eo:cloud_cover", {"gsd": {"neq": 10}, "eo:cloud_cover": {"gte": 5}}),
        ("gsd between 5 and 10", {"gsd": {"gte": 5, "lte": 10}}),
        ("platform in ('a', 'b')", {"platform": {"in": ["a", "b"]}}),
        ("updated > TIMESTAMP('2025-01-01T00:00:00Z')", {"updated": {"gt": "2025-01-01T00:00:00Z"}}),
        ("gsd = 10 and (eo:cloud_cover < 5 or platform = 'a')", {"gsd": {"eq": 10}}),
        ("gsd = 10 or eo:cloud_cover < 5", {}),
        ("not (gsd = 10)", {}),
        ("platform like 'sent%'", {}),
        ("id = 'x' and collection = 'y'", {}),
        ("casei(platform) = casei('A')", {}),
    ],
)
def test_simple_comparisons_are_said_and_others_left_out(text, terms):
    """Comparisons, in and between joined by and are translated; or and not never are."""
    assert query_terms(read_filter(text).expression.to_json()) == terms


def test_areas_over_the_antimeridian_are_two():
    """No area that is asked for reaches over 180°, and together they are the whole one."""
    aoi = read_area("170,-20,-160,10").geojson
    asked = [shapely.from_geojson(json.dumps(each["intersects"])) for each in query_areas(aoi, is_boxed=False)]
    assert len(asked) == 2
    assert all(shape.bounds[2] - shape.bounds[0] <= 20 for shape in asked)
    assert shapely.union_all(asked).equals(shapely.from_geojson(aoi))
    assert [each["bbox"] for each in query_areas(aoi, is_boxed=True)] == [list(shape.bounds) for shape in asked]


def test_fine_areas_are_asked_for_coarsely():
    """An area of very many vertices is sent as a simpler one that holds it."""
    angles = [2 * math.pi * n / 5000 for n in range(5000)]
    star = shapely.Polygon([((2 + n % 2) * math.cos(a), (2 + n % 2) * math.sin(a)) for n, a in enumerate(angles)])
    aoi = read_area(shapely.to_geojson(star)).geojson
    [asked] = query_areas(aoi, is_boxed=False)
    shape = shapely.from_geojson(json.dumps(asked["intersects"]))
    assert shapely.get_num_coordinates(shape) <= MOST_VERTICES
    assert shapely.covers(shape.buffer(1e-9), shapely.from_geojson(aoi))


def test_no_area_is_everywhere():
    """Without an area nothing is said of one."""
    assert query_areas(None, is_boxed=False) == [{}]
