"""Writes under conditions, pages that lead back, words, and connections that are shared."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodl_core.catalog.answers import Refusal
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.domain.query import ItemQuery


def make_item(item_id, **properties):
    return {
        "type": "Feature",
        "id": item_id,
        "collection": "c",
        "geometry": {"type": "Point", "coordinates": [5, 50]},
        "properties": {"datetime": "2024-05-01T00:00:00Z"} | properties,
        "assets": {},
        "links": [],
    }


@pytest.fixture
def catalog(tmp_path):
    with SqliteCatalog(tmp_path / "catalog.db") as opened:
        opened.put_collection({"id": "c"})
        yield opened


def reason(answer):
    assert isinstance(answer, Refusal)
    return answer.reason


def test_conditions_decide_whether_a_write_is_made(catalog):
    """Create, replace and etags refuse what they should, name the reason, and leave nothing behind."""
    a, b = make_item("a"), make_item("b")
    (etag,) = catalog.write_items([a], "create")
    writes = len(catalog.outbox(0, 100))
    assert reason(catalog.write_items([b, a], "create")) == "taken"
    assert reason(catalog.write_items([b, b], "create")) == "taken"
    assert reason(catalog.write_items([a, b], "replace")) == "missing"
    assert reason(catalog.write_items([a], "replace", frozenset({"0"}))) == "changed"
    assert reason(catalog.write_items([b], "put", frozenset({etag}))) == "changed"
    assert reason(catalog.write_items([a | {"collection": "d"}], "put")) == "missing"
    assert reason(catalog.remove_item("c", "a", frozenset({"0"}))) == "changed"
    assert reason(catalog.remove_item("c", "b")) == "missing"
    assert reason(catalog.write_collection({"id": "c"}, "create")) == "taken"
    assert reason(catalog.write_collection({"id": "d"}, "replace")) == "missing"
    assert reason(catalog.write_collection({"id": "c"}, "put", frozenset({"0"}))) == "changed"
    assert reason(catalog.delete_collection("c", frozenset({"0"}))) == "changed"
    assert len(catalog.outbox(0, 100)) == writes
    assert catalog.read_item("c", "a").etag == etag
    (newer,) = catalog.write_items([make_item("a", x=1)], "replace", frozenset({etag, "0"}))
    assert catalog.read_item("c", "a").etag == newer != etag
    assert catalog.remove_item("c", "a", frozenset({newer})) is None


@given(
    values=st.lists(st.one_of(st.none(), st.integers(0, 3), st.sampled_from("ab")), max_size=12),
    order=st.sampled_from([(), (("x", True),), (("x", False),), (("x", False), ("id", True)), (("datetime", True),)]),
    limit=st.integers(1, 5),
)
@settings(max_examples=40, deadline=None)
def test_pages_lead_back_as_they_led_forth(tmp_path_factory, values, order, limit):
    """Following prev from the last page gives each page again, whatever the order, its ties and its gaps."""
    with SqliteCatalog(tmp_path_factory.mktemp("pages") / "catalog.db") as catalog:
        catalog.put_collection({"id": "c"})
        extra = [{} if value is None else {"x": value} for value in values]
        catalog.put_items([make_item(f"i{number}", **more) for number, more in enumerate(extra)])
        forth = [catalog.find(ItemQuery(sortby=order, limit=limit))]
        while token := forth[-1].next_token:
            forth.append(catalog.find(ItemQuery(sortby=order, limit=limit, token=token)))
        back = [forth[-1]]
        while token := back[-1].prev_token:
            back.append(catalog.find(ItemQuery(sortby=order, limit=limit, token=token)))
        assert sum(len(page.items) for page in forth) == len(values)
        assert [page.items for page in reversed(back)] == [page.items for page in forth]
        assert forth[0].prev_token is None


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("forest",), {"a"}),
        (("FOREST", "lake"), {"a", "b"}),
        (("fores",), set()),
        (("deep  lake",), {"b"}),
        (("100 %",), {"b"}),
        (("wälder",), {"c"}),
        (("a.b",), set()),
        (("",), set()),
        (("null",), set()),
    ],
)
def test_words_are_found_whole_and_in_any_case(catalog, words, found):
    """Words and phrases are looked for in title, description and keywords alone; signs mean themselves."""
    items = [
        make_item("a", title="A Forest.", other="lake"),
        make_item("b", description="The deep lake, 100 % water"),
        make_item("c", keywords=["WÄLDER", "aXb"]),
        make_item("d", title=None, keywords=5),
    ]
    catalog.put_items(items)
    assert {item["id"] for item in catalog.find(ItemQuery(), words).items} == found
    assert catalog.count(ItemQuery(), words) == len(found)


def test_threads_that_come_and_go_share_connections(catalog):
    """Two hundred short-lived threads leave no more connections open than were used at a time."""
    for _ in range(200):
        thread = threading.Thread(target=catalog.count, args=(ItemQuery(),))
        thread.start()
        thread.join()
    assert len(catalog._pool._idle) <= 2
