"""What tells one order from another."""

import copy
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.run.options import RunOptions
from geodl_core.domain.run.order import Order, order_id


def scene(**properties):
    assets = {"red": {"href": "https://a.example/x/red.tif"}, "nir": {"href": "https://a.example/x/nir.tif"}}
    found = {"id": "scene", "collection": "s2", "properties": {"datetime": "2024-05-01T00:00:00Z", **properties}}
    return {"type": "Feature", **found, "assets": assets, "links": []}


ORDER = Order(scene(), "landcover@0123456789ab")


def with_asset(**values):
    item = scene()
    item["assets"]["red"].update(values)
    return replace(ORDER, item=item)


def test_an_id_is_a_content_hash():
    """An id is 64 hexadecimal digits, and the same for the same order."""
    assert re.fullmatch("[0-9a-f]{64}", order_id(ORDER))
    assert order_id(ORDER) == order_id(copy.deepcopy(ORDER))


@pytest.mark.parametrize(
    "other",
    [
        replace(ORDER, watch="fields"),
        replace(ORDER, priority=7),
        replace(ORDER, depth=3),
        replace(ORDER, options=RunOptions(strict=False)),
        replace(ORDER, item={**scene(updated="2026-01-01T00:00:00Z"), "bbox": [1, 2, 3, 4]}),
        with_asset(href="https://mirror.example/x/red.tif?signature=abc"),
        with_asset(title="Red"),
    ],
)
def test_what_changes_no_pixel_changes_no_id(other):
    """Who asked, how urgently, mirrors, signatures and descriptions do not make another run."""
    assert order_id(other) == order_id(ORDER)


@pytest.mark.parametrize(
    "other",
    [
        replace(ORDER, model="landcover@ba9876543210"),
        replace(ORDER, collection="fields"),
        replace(ORDER, options=RunOptions(arguments={"threshold": 0.5})),
        replace(ORDER, options=RunOptions(strict=True)),
        replace(ORDER, item={**scene(), "id": "other"}),
        replace(ORDER, item={**scene(), "collection": "other"}),
        replace(ORDER, item=scene(**{"s2:product_uri": "S2A_N0511.SAFE"})),
        with_asset(href="https://a.example/y/red.tif"),
        with_asset(**{"file:size": 7}),
        with_asset(**{"file:checksum": "1220ab"}),
    ],
)
def test_what_may_change_pixels_changes_the_id(other):
    """Another model, option, output Collection, Item, edition or file makes another run."""
    assert order_id(other) != order_id(ORDER)


def test_a_checksum_stands_for_the_place():
    """With a checksum the same content elsewhere is the same."""
    here = with_asset(**{"file:checksum": "1220ab"})
    there = with_asset(**{"file:checksum": "1220ab", "href": "https://b.example/other.tif"})
    assert order_id(here) == order_id(there)


def test_dedupe_by_makes_one_of_two_collections():
    """One acquisition in two Collections is one run where the properties that tell scenes apart are the same."""
    tile = {"s2:tile_id": "T33"}
    first = replace(ORDER, item=scene(**tile), dedupe_by=("s2:tile_id", "datetime"))
    second = replace(first, item={**scene(**tile), "id": "other", "collection": "c1", "assets": {}})
    assert order_id(first) == order_id(second)
    assert order_id(first) != order_id(replace(second, item=scene(**{"s2:tile_id": "T34"})))


def test_items_without_the_property_are_told_apart_as_usual():
    """An Item that lacks a property of dedupe_by does not fall together with all others that lack it."""
    first = replace(ORDER, dedupe_by=("s2:tile_id",))
    assert order_id(first) == order_id(ORDER)
    assert order_id(first) != order_id(replace(first, item={**scene(), "id": "other"}))


@pytest.mark.parametrize("assets", [None, {"red": None}, {"red": "x"}, {"red": {}}])
def test_odd_assets_have_an_id(assets):
    """An Item with assets that are none is told apart like others: it fails later, by its name."""
    assert order_id(replace(ORDER, item={**scene(), "assets": assets}))


@given(st.permutations(["red", "nir"]), st.permutations(["a", "b", "c"]))
def test_order_of_keys_does_not_matter(assets, arguments):
    """The same document with its keys in another order is the same."""
    item = {**scene(), "assets": {key: scene()["assets"][key] for key in assets}}
    values = {"a": 1, "b": "x", "c": True}
    options = [RunOptions(arguments={key: values[key] for key in names}) for names in (arguments, "abc")]
    assert order_id(replace(ORDER, item=item, options=options[0])) == order_id(replace(ORDER, options=options[1]))


@pytest.mark.parametrize("href", ["http://[x/y.tif", "https://[::1/red.tif", "//[", "", None, 5])
def test_hrefs_that_are_no_urls_have_an_id(href):
    """An Item whose href cannot be read is told apart like any other: what is wrong with it is said when it is run."""
    assert order_id(with_asset(href=href)) == order_id(with_asset(href=href)) != order_id(ORDER)
