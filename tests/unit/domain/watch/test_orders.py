"""What a watch orders."""

from geodl_core.domain.run.order import order_id
from geodl_core.domain.watch.orders import orders_of
from geodl_core.domain.watch.watch import read_watch

ITEM = {"id": "i", "collection": "s", "properties": {"s2:tile_id": "T1"}, "assets": {"a": {"href": "/x/a.tif"}}}


def watch(**more):
    return read_watch({"name": "w", "model": "net", **more}, "watch")


def test_an_order_has_what_the_watch_says():
    """Priority, output collection, options, dedupe and depth are the watch's; its area clips."""
    said = {"priority": 7, "output_collection": "out", "dedupe_by": ["s2:tile_id"], "aoi": "0,0,1,1"}
    asked = watch(**said, options={"radiometry": "raw"})
    order = orders_of(asked, ITEM, "net@abc", 3)
    assert (order.priority, order.collection, order.dedupe_by, order.depth) == (7, "out", ("s2:tile_id",), 3)
    assert (order.model, order.watch, order.item) == ("net@abc", "w", ITEM)
    assert (order.options.aoi, order.options.radiometry) == (asked.aoi, "raw")


def test_whole_scenes_are_not_clipped():
    """With `clip: false` the area selects Items and nothing more."""
    order = orders_of(watch(aoi="0,0,1,1", clip=False), ITEM, "net@abc")
    assert order.options.aoi is None
    assert order_id(order) == order_id(orders_of(watch(), ITEM, "net@abc"))


def test_two_watches_that_ask_the_same_share_a_run():
    """Name, filter and priority of a watch are no part of a run's identity; its area is."""
    one = orders_of(watch(), ITEM, "net@abc")
    other = orders_of(watch(name="x", priority=9, filter="a = 1"), ITEM, "net@abc")
    clipped = orders_of(watch(aoi="0,0,1,1"), ITEM, "net@abc")
    assert order_id(one) == order_id(other) != order_id(clipped)
