"""Collections that had to be made up, as wide as their Items."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from geodl_core.catalog.times import instant_us, rfc3339

WORLD = (-180.0, -90.0, 180.0, 90.0)


@dataclass(frozen=True, slots=True)
class Extent:
    """What Items cover. Empty at first."""

    box: tuple[float, float, float, float] | None = None
    """West, south, east, north in degrees; an Item that crosses the antimeridian makes it as wide as the world."""
    start_us: int | None = None
    end_us: int | None = None


def widened(extent: Extent, item: Mapping[str, Any]) -> Extent:
    """Return an extent that covers an Item too; what cannot be read of that is passed over."""
    box, bbox = extent.box, item.get("bbox")
    if isinstance(bbox, list) and len(bbox) in (4, 6) and all(type(one) in (int, float) for one in bbox):
        half = len(bbox) // 2
        west, south, east, north = (float(one) for one in (bbox[0], bbox[1], bbox[half], bbox[half + 1]))
        if west > east:
            west, east = WORLD[0], WORLD[2]
        mine = box or (west, south, east, north)
        box = (min(mine[0], west), min(mine[1], south), max(mine[2], east), max(mine[3], north))
    properties = item["properties"]
    start, end = extent.start_us, extent.end_us
    for name in ("datetime", "start_datetime", "end_datetime"):
        try:
            moment = instant_us(properties[name])
        except (LookupError, TypeError, ValueError, OverflowError):
            continue
        start = moment if start is None else min(start, moment)
        end = moment if end is None else max(end, moment)
    return Extent(box, start, end)


def minimal_collection(collection_id: str, extent: Extent) -> dict[str, Any]:
    """Return the smallest valid Collection (STAC 1.1) around Items."""
    interval = [None if micros is None else rfc3339(micros) for micros in (extent.start_us, extent.end_us)]
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": collection_id,
        "description": "Items that were imported without their Collection.",
        "license": "other",
        "extent": {
            "spatial": {"bbox": [list(extent.box or WORLD)]},
            "temporal": {"interval": [interval]},
        },
        "links": [],
    }
