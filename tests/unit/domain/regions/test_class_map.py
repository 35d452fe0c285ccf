"""What an Item says of its class map, and which classes a word means."""

import pytest

from geodl_core.domain.regions.class_map import class_map_of, class_name, is_selected, select
from geodl_core.errors import InputError, ItemError

CLASSES = [
    {"value": 0, "name": "no-data-here", "title": "Background"},
    {"value": 40, "name": "water", "title": "Open water"},
    {"value": 7, "name": "2018", "description": "Built in 2018"},
]


def item(**assets):
    return {
        "type": "Feature",
        "id": "scene_net_0123",
        "properties": {"datetime": "2026-01-01T00:00:00Z", "geodl:source": "s2/scene", "geodl:job_id": "0123"},
        "links": [],
        "assets": {
            key: {"type": "image/tiff; application=geotiff", "roles": ["data"], **a} for key, a in assets.items()
        },
    }


def test_the_classification_is_found():
    """The asset `classification` is meant, with its classes, nodata and what it was made from."""
    found = class_map_of(
        item(
            probabilities={"href": "/p.tif"},
            classification={"href": "/c.tif", "classification:classes": CLASSES, "nodata": 255},
        )
    )
    assert (found.href, found.asset, found.nodata) == ("/c.tif", "classification", 255)
    assert class_name(found, 40) == "Open water"
    assert class_name(found, 99) == "99"
    assert found.origin == {"item_id": "scene_net_0123", "source_id": "s2/scene", "job_id": "0123"}


def test_other_items_have_one_class_map():
    """Elsewhere it is the one asset with classes, of the asset or its only band, else the one raster."""
    bands = [{"name": "b", "classification:classes": CLASSES, "nodata": 3}]
    found = class_map_of(item(image={"href": "/i.tif"}, map={"href": "/m.tif", "bands": bands}))
    assert (found.asset, found.nodata, len(found.names)) == ("map", 3, 3)
    assert class_map_of(item(lone={"href": "/l.tif"})).asset == "lone"
    with pytest.raises(ItemError, match="one asset that is a class map, found a, b"):
        class_map_of(item(a={"href": "/a.tif"}, b={"href": "/b.tif"}))
    assert class_map_of(item(a={"href": "/a.tif"}, b={"href": "/b.tif"}), "b").href == "/b.tif"
    with pytest.raises(ItemError, match="there is no asset c"):
        class_map_of(item(a={"href": "/a.tif"}), "c")


def test_classes_are_chosen_by_name_or_number():
    """Titles, names and numbers are understood; a number that is a class id before a name made of digits."""
    found = class_map_of(item(classification={"href": "/c.tif", "classification:classes": CLASSES}))
    selection = select(found, ["OPEN WATER", "2018", "12"], ["12"])
    assert [is_selected(selection, value) for value in (0, 40, 7, 12)] == [False, True, True, False]
    everything = select(found, [], ["background"])
    assert [is_selected(everything, value) for value in (0, 40, 99)] == [False, True, True]
    with pytest.raises(InputError, match="class forest: no class is called so"):
        select(found, ["forest"], [])
    with pytest.raises(InputError, match="leave no class"):
        select(found, ["water"], ["40"])
