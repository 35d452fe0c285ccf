"""Searches in PostgreSQL mean what they mean in an embedded catalog and to the cql2 package."""

import json
import random

import cql2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geodl_core.catalog.pgstac.catalog import PgstacCatalog
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.catalog.sqlite_aggregate import AGGREGATES
from geodl_core.domain.query import ItemQuery
from geodl_core.errors import InputError, QueryError
from postgres import database
from stac_documents import make_item, rectangle
from unit.catalog.test_cql2_sql import FAILING, FILTERS, GEOMETRIES, ITEM, MATCHING, PROPERTIES, UNKNOWN, oracle

pytestmark = pytest.mark.postgres
UNDECIDED = [one for one in UNKNOWN if "like 1" not in one]


@pytest.fixture(scope="module")
def catalog(postgres):
    """A catalog of one Item with a property of every kind."""
    with database(postgres) as dsn, PgstacCatalog(dsn) as opened:
        opened.put_collection({"id": "c"})
        opened.put_item(ITEM)
        yield opened


@pytest.fixture(scope="module")
def both(postgres, tmp_path_factory):
    """An embedded catalog and one in PostgreSQL, which the tests fill alike."""
    path = tmp_path_factory.mktemp("both") / "catalog.db"
    with database(postgres) as dsn, PgstacCatalog(dsn) as theirs, SqliteCatalog(path) as ours:
        yield ours, theirs


def filled(both, items, collections=("c",)):
    """Both catalogs with these Items and no others."""
    for catalog in both:
        for one in catalog.collections():
            for item in catalog.search(ItemQuery(collections=(one["id"],), limit=1000)).items:
                catalog.delete_item(one["id"], item["id"])
        for name in collections:
            catalog.put_collection({"id": name})
        catalog.put_items(items)
    return both


def found(catalog, words=(), **asked):
    return [item["id"] for item in catalog.find(ItemQuery(**asked), words).items]


@pytest.mark.parametrize("filter_", MATCHING)
def test_matching(catalog, filter_):
    """What matches an Item for the cql2 package finds it, as text and as JSON; its negation does not."""
    assert found(catalog, filter=filter_) == ["i"]
    if filter_ != "true":
        assert found(catalog, filter=cql2.parse_text(filter_).to_json()) == ["i"]
    assert found(catalog, filter=f"not ({filter_})") == []


@pytest.mark.parametrize("filter_", FAILING)
def test_failing(catalog, filter_):
    """What does not match an Item does not find it, and its negation does."""
    assert found(catalog, filter=filter_) == []
    assert found(catalog, filter=f"not ({filter_})") == ["i"]


@pytest.mark.parametrize("filter_", UNDECIDED)
def test_unknown_never_matches(catalog, filter_):
    """A missing property, null or another type matches neither a comparison nor its negation."""
    assert found(catalog, filter=filter_) == []
    assert found(catalog, filter=f"not ({filter_})") == []


@pytest.mark.parametrize(
    "name", ["a b", 'quo"te', "back\\slash", "it's", "x.y", "", "') OR 1=1 --", '"}', "$.n", "?%s"]
)
def test_property_names_are_only_names(catalog, name):
    """Quotes, dots, question and percent signs and SQL in a property's name are part of the name."""
    value = ITEM["properties"].get(name, 99)
    equals = {"op": "=", "args": [{"property": name}, value]}
    assert bool(found(catalog, filter=equals)) is (name in ITEM["properties"])
    is_null = {"op": "isNull", "args": [{"property": name}]}
    assert bool(found(catalog, filter=is_null)) is (name not in ITEM["properties"])
    assert found(catalog, sortby=((name or "n", True),)) == ["i"]


@pytest.mark.parametrize(
    "asked",
    [
        {"filter": {"op": "=", "args": [{"property": "s"}, "\x00"]}},
        {"filter": {"op": "=", "args": [{"property": "\x00"}, "x"]}},
        {"filter": {"op": "in", "args": [{"property": "s"}, ["\x00"]]}},
        {"filter": {"op": "in", "args": [{"property": "id"}, ["\x00"]]}},
        {"filter": {"op": "a_contains", "args": [{"property": "keys"}, ["\x00"]]}},
        {"filter": {"op": "like", "args": [{"property": "s"}, "\x00%"]}},
        {"filter": "foo(n) = 1"},
        {"filter": "n = "},
        {"filter": "(" * 5000 + "n = 1" + ")" * 5000},
        {"ids": ("\x00",)},
        {"collections": ("\x00",)},
        {"sortby": (("\x00", True),)},
        {"sortby": (("geometry", True),)},
        {"token": "none"},
        {"datetime": "soon"},
    ],
    ids=lambda asked: repr(asked)[:50],
)
def test_what_cannot_be_understood_is_one_plain_line(catalog, asked):
    """Nonsense, and text that PostgreSQL cannot hold, is a fault of the search, said without the database's words."""
    with pytest.raises(InputError) as caught:
        found(catalog, **asked)
    assert "\n" not in caught.value.message
    for theirs in ("psycopg", "LINE", "unsupported Unicode", "syntax", 'column "'):
        assert theirs not in caught.value.message


@pytest.mark.parametrize("filter_", ["n / 0 = 1", "0 - 1 ^ 0.5 > 5", "n ^ 100000 > 1", "n % 0 = 1", "n div 0 = 1"])
def test_arithmetic_without_a_result_matches_nothing(catalog, filter_):
    """What cannot be computed for an Item finds nothing, and is no error."""
    assert found(catalog, filter=filter_) == []


def test_long_lists_fit(catalog):
    """A list of 100,000 ids is one bound value."""
    ids = [f"x{number}" for number in range(100_000)] + ["i"]
    assert found(catalog, filter={"op": "in", "args": [{"property": "id"}, ids]}) == ["i"]
    assert found(catalog, filter={"op": "in", "args": [{"property": "s"}, [*ids, "Abc"]]}) == ["i"]


def test_values_of_other_types_break_no_search(both):
    """Text where others have numbers or times is stored, is not found by numbers and times, and stops no search."""
    values = [3, 4.5, "much", True, None, [1], {"a": 1}, "2024-01-01T00:00:00Z", "2024-99-99T00:00:00Z", -1e300]
    items = [
        make_item(f"i{number}", **{"eo:cloud_cover": value, "created": value, "gsd": value}) | {"collection": "c"}
        for number, value in enumerate(values)
    ]
    ours, theirs = filled(both, items)
    for text in (
        "eo:cloud_cover < 4", "not eo:cloud_cover < 4", "gsd >= 3", "eo:cloud_cover + 1 > 4", "gsd = 'much'",
        "created > TIMESTAMP('2023-01-01T00:00:00Z')", "t_after(created, DATE('2023-01-01'))", "gsd is null",
        "gsd < 'n'", "created in (3, 'much')", "gsd = eo:cloud_cover", "gsd like 'm%'",
    ):  # fmt: skip
        assert sorted(found(theirs, filter=text)) == sorted(found(ours, filter=text)), text
    assert found(theirs, filter="a_contains(gsd, (1))") == ["i5"]
    for ascending in (True, False):
        order = (("eo:cloud_cover", ascending),)
        numbers = [one for one in found(theirs, sortby=order) if one in ("i0", "i1", "i9")]
        assert numbers == ["i9", "i0", "i1"][:: 1 if ascending else -1]
        assert found(theirs, sortby=order)[-1] == "i4"


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.lists(st.tuples(PROPERTIES, GEOMETRIES), min_size=1, max_size=4), filter_=FILTERS)
def test_search_agrees_with_the_cql2_package(catalog, contents, filter_):
    """On random Items a random filter finds exactly those that `cql2.Expr.matches` accepts."""
    items = [
        ITEM | {"id": str(number), "collection": "random", "geometry": geometry, "properties": properties}
        for number, (properties, geometry) in enumerate(contents)
    ]
    catalog.delete_collection("random")
    catalog.put_collection({"id": "random"})
    catalog.put_items(items)
    assert set(found(catalog, collections=("random",), filter=filter_)) == {
        item["id"] for item in items if oracle(filter_, item)
    }


@given(
    values=st.lists(st.one_of(st.none(), st.integers(0, 3), st.sampled_from("ab")), max_size=12),
    order=st.sampled_from([(), (("x", True),), (("x", False),), (("x", False), ("id", True)), (("datetime", True),)]),
    limit=st.integers(1, 5),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pages_lead_through_all_items_and_back(catalog, values, order, limit):
    """Next leads to each Item once, whatever the order, its ties and gaps; prev leads back over the same pages."""
    catalog.delete_collection("pages")
    for name in ("pages", "pages too"):
        catalog.put_collection({"id": name})
    many = enumerate({} if value is None else {"x": value} for value in values)
    catalog.put_items([make_item(f"i{n}", **more) | {"collection": "pages"} for n, more in many])
    asked = {"collections": ("pages", "pages too"), "sortby": order, "limit": limit}
    forth = [catalog.find(ItemQuery(**asked))]
    while token := forth[-1].next_token:
        forth.append(catalog.find(ItemQuery(token=token, **asked)))
    back = [forth[-1]]
    while token := back[-1].prev_token:
        back.append(catalog.find(ItemQuery(token=token, **asked)))
    assert sorted(item["id"] for page in forth for item in page.items) == sorted(f"i{n}" for n in range(len(values)))
    assert [page.items for page in reversed(back)] == [page.items for page in forth]
    assert forth[0].prev_token is None


def test_pages_outlive_the_item_that_they_end_with(catalog):
    """A page's token still leads on when the Item at its end is deleted; new Items are found or not, none twice."""
    catalog.put_collection({"id": "moving"})
    catalog.put_items([make_item(f"i{number}") | {"collection": "moving"} for number in range(6)])
    query = {"collections": ("moving",), "limit": 2, "sortby": (("id", True),)}
    first = catalog.find(ItemQuery(**query))
    assert [item["id"] for item in first.items] == ["i0", "i1"]
    catalog.delete_item("moving", "i1")
    catalog.put_items([make_item("i00") | {"collection": "moving"}])
    rest = catalog.find(ItemQuery(token=first.next_token, **(query | {"limit": 2})))
    assert [item["id"] for item in rest.items] == ["i2", "i3"]


def test_boxes_and_footprints_across_the_antimeridian(both):
    """Random boxes, some across the antimeridian, find the same Items in both backends, though not all of them."""
    chance = random.Random(5)
    items = []
    for number in range(60):
        west, south = chance.uniform(-190, 179), chance.uniform(-80, 70)
        geometry = rectangle(west, south, west + chance.uniform(0.1, 30), south + 5)
        items.append(make_item(f"i{number}") | {"geometry": geometry, "collection": "c"})
    items.append(make_item("none") | {"geometry": None, "collection": "c"})
    ours, theirs = filled(both, items)
    assert {json.dumps(item["geometry"]) for item in theirs.search(ItemQuery()).items} >= {"null"}
    counts = set()
    for _ in range(60):
        west, east, south = chance.uniform(-180, 180), chance.uniform(-180, 180), chance.uniform(-80, 40)
        asked = {"bbox": (west, south, east, south + chance.uniform(1, 40))}
        got = found(theirs, **asked)
        assert sorted(got) == sorted(found(ours, **asked))
        counts.add(len(got))
        literal = {"bbox": list(asked["bbox"])}
        for op in ("s_intersects", "s_disjoint"):
            node = {"op": op, "args": [{"property": "geometry"}, literal]}
            assert sorted(found(theirs, filter=node)) == sorted(found(ours, filter=node))
    assert len(counts) > 10


@pytest.mark.parametrize(
    "words",
    [
        *[("forest",), ("FOREST", "lake"), ("fores",), ("deep  lake",), ("100 %",), ("wälder",), ("a.b",), ("",)],
        *[("null",), ("(",), ("\\",), ("***:",), ("_x",), ("?",), ("élan",), ("ÉLAN",)],
    ],
)
def test_words_are_found_as_in_an_embedded_catalog(both, words):
    """Words and phrases are looked for whole and in any case, of any alphabet; signs mean themselves."""
    texts = [
        {"title": "A Forest.", "other": "lake"},
        {"description": "The deep lake, 100 % water (null) ***: ?"},
        {"keywords": ["WÄLDER", "aXb", "a\\b"]},
        {"title": None, "keywords": 5, "description": "_x Élan"},
    ]
    items = [make_item(f"i{number}", **text) | {"collection": "c"} for number, text in enumerate(texts)]
    ours, theirs = filled(both, items)
    assert sorted(found(theirs, words)) == sorted(found(ours, words))
    assert theirs.count(ItemQuery(), words) == len(found(ours, words))


def test_aggregates_agree(both):
    """Numbers and histograms are the same in both backends, of all Items and of some; unknown names are refused."""
    chance = random.Random(7)
    items = []
    for number in range(50):
        more = {"eo:cloud_cover": chance.choice([0, 9.99, 10, 55.5, 100, 101, -1, "much", None, True])}
        more |= {"platform": chance.choice(["a", "b", 3, 2.5, None]), "grid:code": f"G{number % 7}"}
        item = make_item(f"i{number}", **more) | {"collection": chance.choice("cd")}
        item["properties"]["datetime"] = f"{chance.choice([1968, 1969, 2020])}-{number % 12 + 1:02}-28T23:59:59.5Z"
        items.append(item)
    ours, theirs = filled(both, items, "cd")
    for query in (
        ItemQuery(),
        ItemQuery(collections=("c",)),
        ItemQuery(filter="eo:cloud_cover < 60"),
        ItemQuery(ids=("x",)),
    ):
        for interval in ("year", "month", "day"):
            expected = ours.aggregate(query, (), list(AGGREGATES), interval)
            assert theirs.aggregate(query, (), list(AGGREGATES), interval) == expected
    for names, interval in ((["nothing"], "month"), (["total_count"], "week")):
        with pytest.raises(QueryError):
            theirs.aggregate(ItemQuery(), (), names, interval)
