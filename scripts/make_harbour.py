"""Write a synthetic harbour as an aerial image of half a metre, its STAC Item, and the true objects in it.

Everything is drawn from a seed (harbour.py): no network, no foreign data. The same size and seed give the same pixels.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine
from rasterio.warp import transform as transform_points

from canvas import Thing
from harbour import draw_harbour
from harbour_objects import CLASSES

ORIGIN = (506_000.0, 5_588_000.0)
CRS = "EPSG:32633"
CELL_M = 0.5
GRID = Affine(CELL_M, 0, ORIGIN[0], 0, -CELL_M, ORIGIN[1])
BANDS = (("Red", "red"), ("Green", "green"), ("Blue", "blue"))
LEAST_PX = 512


def make_harbour(folder: Path, size: int = 2048, seed: int = 7) -> Path:
    """Write the image, the true objects and an Item into `folder`.

    Args:
        folder: made if it does not exist; files of the same names are replaced.
        size: side of the image in pixels.
        seed: another seed is another harbour.

    Returns:
        The path of `item.json`.

    Raises:
        ValueError: `size` is below 512, which leaves no room for a harbour.
    """
    if size < LEAST_PX:
        raise ValueError(f"size must be at least {LEAST_PX}, found {size}")
    folder.mkdir(parents=True, exist_ok=True)
    pixels, things = draw_harbour(np.random.default_rng(seed), size)
    image, truth, path = folder / "image.tif", folder / "truth.geojson", folder / "item.json"
    write_image(image, pixels)
    truth.write_text(json.dumps(describe_things(things)) + "\n", encoding="utf-8")
    item = describe(f"demo-harbour-{seed:04d}-{size}", (image, truth), size)
    path.write_text(json.dumps(item, indent=2) + "\n", encoding="utf-8")
    return path


def write_image(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write (3, H, W) red, green, blue as a cloud-optimised GeoTIFF."""
    _, height, width = pixels.shape
    profile = {"width": width, "height": height, "count": 3, "dtype": "uint8", "crs": CRS, "transform": GRID}
    options = {"compress": "deflate", "predictor": 2, "blocksize": 512, "overview_resampling": "average"}
    with rasterio.open(path, "w", driver="COG", **profile, **options) as target:
        target.write(pixels)
        target.descriptions = tuple(name for name, _ in BANDS)


def to_degrees(corners: list[tuple[float, float]]) -> list[list[float]]:
    """Return (x, y) pixels as longitude and latitude."""
    x, y = zip(*(GRID @ corner for corner in corners), strict=True)
    lon, lat = transform_points(CRS, "EPSG:4326", x, y)
    return np.round(np.stack([lon, lat], axis=1), 8).tolist()


def describe_things(things: list[Thing]) -> dict[str, Any]:
    """Return the boxes of the objects as GeoJSON."""
    features = []
    for thing in things:
        left, top, right, bottom = thing.box
        ring = to_degrees([(left, top), (left, bottom), (right, bottom), (right, top), (left, top)])
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": {"class_id": thing.class_id, "class_name": CLASSES[thing.class_id]},
            }
        )
    return {"type": "FeatureCollection", "features": features}


def describe(identifier: str, files: tuple[Path, Path], size: int) -> dict[str, Any]:
    """Return the STAC Item of an image and the truth."""
    image, truth = files
    ring = to_degrees([(0, 0), (0, size), (size, size), (size, 0), (0, 0)])
    lon, lat = zip(*ring, strict=True)
    extensions = ("eo/v2.0.0", "raster/v2.0.0", "projection/v2.0.0", "file/v2.1.0")
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [f"https://stac-extensions.github.io/{name}/schema.json" for name in extensions],
        "id": identifier,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [min(lon), min(lat), max(lon), max(lat)],
        "properties": {
            "title": "Synthetic aerial image of a harbour",
            "description": "Drawn by a program from a seed. It shows no real place.",
            "datetime": "2024-06-14T08:12:00Z",
            "gsd": CELL_M,
            "proj:code": CRS,
            "proj:shape": [size, size],
            "proj:transform": list(GRID)[:6],
        },
        "links": [],
        "assets": {
            "image": file_fields(image, "image/tiff; application=geotiff; profile=cloud-optimized", ["data"])
            | {"bands": [{"name": name, "eo:common_name": common, "data_type": "uint8"} for name, common in BANDS]},
            "truth": file_fields(truth, "application/geo+json", ["reference"]) | {"title": "Objects as drawn"},
        },
    }


def file_fields(path: Path, media_type: str, roles: list[str]) -> dict[str, Any]:
    """Return what an asset says about its file."""
    content = path.read_bytes()
    return {
        "href": f"./{path.name}",
        "type": media_type,
        "roles": roles,
        "file:size": len(content),
        "file:checksum": "1220" + hashlib.sha256(content).hexdigest(),
    }


def main() -> None:
    """Read the arguments and write the harbour."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=2048, help="side in pixels of half a metre")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    print(make_harbour(arguments.folder, arguments.size, arguments.seed))


if __name__ == "__main__":
    main()
