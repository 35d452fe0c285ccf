"""What a watch orders for an Item that matches."""

from collections.abc import Mapping
from typing import Any

from geodl_core.domain.run.order import Order
from geodl_core.domain.watch.watch import Watch


def orders_of(watch: Watch, item: Mapping[str, Any], model: str, depth: int = 0) -> Order:
    """Return the order of a watch for an Item.

    Args:
        watch: that the Item matches.
        item: its asset hrefs absolute.
        model: `NAME@VERSION` of the registry.
        depth: how many runs stand between the Item and a scene that geodl did not make.
    """
    aoi = watch.aoi if watch.clip else None
    return Order(
        item=item,
        model=model,
        options=watch.options.model_copy(update={"aoi": aoi}),
        collection=watch.output_collection,
        priority=watch.priority,
        watch=watch.name,
        dedupe_by=watch.dedupe_by,
        depth=depth,
    )
