"""STAC Items made from rasters, for tests."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rasterio
from rasterio.warp import transform_bounds


def write_item(
    folder: Path, assets: Mapping[str, Mapping[str, Any]], item_id: str = "scene", collection: str | None = "scenes"
) -> Path:
    """Write an Item whose assets (key → STAC asset with an href) are rasters; return its path."""
    href = next(asset["href"] for asset in assets.values())
    with rasterio.open(href) as dataset:
        west, south, east, north = transform_bounds(dataset.crs, "EPSG:4326", *dataset.bounds)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": item_id,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [west, south, east, north],
        "properties": {"datetime": "2020-08-31T00:00:00Z"},
        "links": [],
        "assets": {
            key: {"type": "image/tiff; application=geotiff", "roles": ["data"], **asset, "href": str(asset["href"])}
            for key, asset in assets.items()
        },
    }
    if collection:
        item["collection"] = collection
        item["links"] = [{"rel": "collection", "href": "./collection.json"}]
    path = folder / f"{item_id}.json"
    path.write_text(json.dumps(item))
    return path
