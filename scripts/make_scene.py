"""Write a synthetic scene that looks, reads and is described like Sentinel-2 Level-2A.

Everything is drawn from a seed: no network, no foreign data. The same size and seed give the same pixels.
The land is a map of *materials* (landscape.py); a table of spectra turns them into reflectance, which a small point
spread, haze and noise make look measured.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.warp import transform as transform_points

from landscape import CLASS_OF, SPECTRA, Land, draw_land, fractal

Array = NDArray[Any]

ORIGIN = (499_980.0, 5_600_040.0)
CRS = "EPSG:32633"
CLASSES = {10: "water", 20: "forest", 30: "crops", 40: "bare", 50: "built"}
COLORS = {10: "2B6CB0", 20: "2F6B3A", 30: "D9C75F", 40: "B08D6A", 50: "B5403A"}
SCALE, OFFSET = 0.0001, -0.1


@dataclass(frozen=True, slots=True)
class Band:
    """One band of the scene, in the order of the columns of `MATERIALS`."""

    common_name: str
    name: str
    cell_px: int
    """Side of a cell in 10 m pixels: 1, 2 or 6."""
    center_wavelength: float
    full_width_half_max: float
    haze: float
    """Reflectance that the atmosphere adds on an average spot."""


BANDS = (
    Band("coastal", "B01", 6, 0.443, 0.027, 0.016),
    Band("blue", "B02", 1, 0.490, 0.098, 0.012),
    Band("green", "B03", 1, 0.560, 0.045, 0.007),
    Band("red", "B04", 1, 0.665, 0.038, 0.004),
    Band("nir", "B08", 1, 0.842, 0.145, 0.002),
    Band("swir16", "B11", 2, 1.610, 0.143, 0.001),
)


def make_scene(folder: Path, size: int = 1830, seed: int = 7) -> Path:
    """Write the bands, the truth, an Item and its Collection into `folder`.

    Args:
        folder: made if it does not exist; files of the same names are replaced.
        size: side of the scene in 10 m pixels, divisible by 6 so that all resolutions share their corners.
        seed: another seed is another landscape.

    Returns:
        The path of `item.json`.

    Raises:
        ValueError: `size` is not a positive multiple of 6 or is below 120.
    """
    if size % 6 or size < 120:
        raise ValueError(f"size must be a multiple of 6 and at least 120, found {size}")
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    land = draw_land(rng, size)
    valid = swath(rng, size)
    assets: dict[str, dict[str, Any]] = {}
    haze = 1 + 0.35 * fractal(rng, size, size / 2, 2)
    for index, band in enumerate(BANDS):
        pixels = sense(rng, land, index, haze)
        path = folder / f"{band.name}.tif"
        write_cog(path, to_counts(pixels, valid, band.cell_px), band.cell_px, scaled=True)
        assets[band.common_name] = band_asset(path, band, size)
    truth = np.where(valid, CLASS_OF[land.material], 0).astype(np.uint8)
    write_cog(folder / "truth.tif", truth, 1, scaled=False)
    assets["truth"] = truth_asset(folder / "truth.tif", size)
    item = describe(f"demo-s2-{seed:04d}-{size}", corners(valid), assets)
    path = folder / "item.json"
    path.write_text(json.dumps(item, indent=2) + "\n", encoding="utf-8")
    collection = json.dumps(describe_collection(item), indent=2)
    (folder / "collection.json").write_text(collection + "\n", encoding="utf-8")
    return path


# -------------------------------------------------------------------------------------------------- the sensor


def swath(rng: np.random.Generator, size: int) -> Array:
    """Return True where the sensor looked: all but a slanted corner, cut along 60 m cells for all bands alike."""
    cells = size // 6
    rows, cols = np.mgrid[:cells, :cells] / cells
    cut = cols + rng.uniform(0.16, 0.24) * rows < rng.uniform(0.12, 0.15)
    return np.kron(~cut, np.ones((6, 6), bool))


def corners(valid: Array) -> list[tuple[float, float]]:
    """Return the outline of the valid pixels as (col, row), assuming the cut of `swath`: top left, convex."""
    size = len(valid)
    starts = np.argmax(valid, axis=1)
    cut_rows = int(np.count_nonzero(starts))
    left = [(0.0, float(cut_rows))] if cut_rows < size else [(float(starts[-1]), float(size))]
    base = [(0.0, float(size))] if cut_rows < size else []
    return [(float(starts[0]), 0.0), *left, *base, (float(size), float(size)), (float(size), 0.0)]


def sense(rng: np.random.Generator, land: Land, index: int, haze: Array) -> Array:
    """Return the (size, size) reflectance of band `index`: spectrum, light, point spread, haze and noise."""
    band = BANDS[index]
    factor = land.visible if band.center_wavelength < 0.7 else land.infrared
    pixels = SPECTRA[land.material, index] * factor
    for axis in (0, 1):
        pixels = spread(pixels, axis)
    pixels += np.float32(band.haze) * haze
    noise = rng.standard_normal(pixels.shape, np.float32)
    return pixels + noise * (np.float32(0.0012) + np.float32(0.008) * pixels) * np.float32(band.cell_px)


def spread(pixels: Array, axis: int, share: float = 0.15) -> Array:
    """Return `pixels` with a share of each pixel's light in its two neighbours along `axis`."""
    before, after = np.roll(pixels, 1, axis), np.roll(pixels, -1, axis)
    first, last = [slice(None)] * 2, [slice(None)] * 2
    first[axis], last[axis] = slice(0, 1), slice(-1, None)
    before[tuple(first)], after[tuple(last)] = pixels[tuple(first)], pixels[tuple(last)]
    return np.float32(1 - 2 * share) * pixels + np.float32(share) * (before + after)


def to_counts(reflectance: Array, valid: Array, cell_px: int) -> Array:
    """Return uint16 counts of cells `cell_px` pixels wide, 0 where the sensor did not look."""
    cells = len(reflectance) // cell_px
    mean = reflectance.reshape(cells, cell_px, cells, cell_px).mean((1, 3))
    counts = np.clip(np.rint((mean - OFFSET) / SCALE), 1, 65535)
    return np.where(valid[::cell_px, ::cell_px], counts, 0).astype(np.uint16)


def write_cog(path: Path, pixels: Array, cell_px: int, *, scaled: bool) -> None:
    """Write one band as a cloud-optimized GeoTIFF with at least one overview where it is wider than 128."""
    size = len(pixels)
    block = next((side for side in (512, 256, 128) if side * 2 <= size), 64)
    options = {
        "driver": "COG",
        "compress": "deflate",
        "predictor": 2,
        "blocksize": block,
        "overview_resampling": "average" if scaled else "nearest",
    }
    with rasterio.open(
        path,
        "w",
        width=size,
        height=size,
        count=1,
        dtype=pixels.dtype,
        nodata=0,
        crs=CRS,
        transform=grid_of(cell_px),
        **options,
    ) as target:
        if scaled:
            target.scales, target.offsets = (SCALE,), (OFFSET,)
        target.write(pixels, 1)


def grid_of(cell_px: int) -> Affine:
    """Return the affine transform of cells `cell_px` pixels of 10 m wide."""
    return Affine(10.0 * cell_px, 0, ORIGIN[0], 0, -10.0 * cell_px, ORIGIN[1])


# ---------------------------------------------------------------------------------------------------- the Item


def file_fields(path: Path, size: int, cell_px: int) -> dict[str, Any]:
    """Return what every raster asset says about its file and grid."""
    content = path.read_bytes()
    return {
        "href": f"./{path.name}",
        "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        "gsd": 10 * cell_px,
        "proj:shape": [size // cell_px] * 2,
        "proj:transform": list(grid_of(cell_px))[:6],
        "file:size": len(content),
        "file:checksum": "1220" + hashlib.sha256(content).hexdigest(),
    }


def band_asset(path: Path, band: Band, size: int) -> dict[str, Any]:
    """Return the asset of one band."""
    return file_fields(path, size, band.cell_px) | {
        "title": f"{band.common_name}, {10 * band.cell_px} m",
        "roles": ["data", "reflectance"],
        "bands": [
            {
                "name": band.name,
                "eo:common_name": band.common_name,
                "eo:center_wavelength": band.center_wavelength,
                "eo:full_width_half_max": band.full_width_half_max,
                "data_type": "uint16",
                "nodata": 0,
                "raster:scale": SCALE,
                "raster:offset": OFFSET,
                "raster:spatial_resolution": 10 * band.cell_px,
            }
        ],
    }


def truth_asset(path: Path, size: int) -> dict[str, Any]:
    """Return the asset of the classes that were drawn."""
    classes = [{"value": 0, "name": "nodata", "nodata": True}]
    classes += [{"value": v, "name": name, "color_hint": COLORS[v]} for v, name in CLASSES.items()]
    return file_fields(path, size, 1) | {
        "title": "Land cover as drawn",
        "roles": ["reference"],
        "bands": [{"name": "class", "data_type": "uint8", "nodata": 0}],
        "classification:classes": classes,
    }


def describe(identifier: str, outline: list[tuple[float, float]], assets: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the STAC Item."""
    x, y = zip(*(grid_of(1) @ corner for corner in outline), strict=True)
    lon, lat = (np.round(axis, 6).tolist() for axis in transform_points(CRS, "EPSG:4326", x, y))
    ring = list(zip(lon, lat, strict=True))
    extensions = ("eo/v2.0.0", "raster/v2.0.0", "projection/v2.0.0", "file/v2.1.0", "classification/v2.0.0")
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [f"https://stac-extensions.github.io/{name}/schema.json" for name in extensions],
        "id": identifier,
        "collection": "demo-sentinel-2",
        "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
        "bbox": [min(lon), min(lat), max(lon), max(lat)],
        "properties": {
            "title": "Synthetic scene in the form of Sentinel-2 Level-2A",
            "description": "Drawn by a program from a seed. It shows no real place.",
            "datetime": "2024-06-14T10:06:31Z",
            "platform": "sentinel-2a",
            "constellation": "sentinel-2",
            "instruments": ["msi"],
            "gsd": 10,
            "eo:cloud_cover": 0,
            "proj:code": CRS,
        },
        "links": [{"rel": "collection", "href": "./collection.json", "type": "application/json"}],
        "assets": assets,
    }


def describe_collection(item: dict[str, Any]) -> dict[str, Any]:
    """Return the Collection that the Item belongs to."""
    when = item["properties"]["datetime"]
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": item["collection"],
        "title": "Synthetic demo scenes",
        "description": "Scenes in the form of Sentinel-2 Level-2A, drawn by a program. They show no real place.",
        "license": "CC0-1.0",
        "extent": {"spatial": {"bbox": [item["bbox"]]}, "temporal": {"interval": [[when, when]]}},
        "links": [{"rel": "item", "href": "./item.json", "type": "application/geo+json"}],
    }


# ------------------------------------------------------------------------------------------------ reading back


def read_scene(folder: Path, names: tuple[str, ...]) -> tuple[Array, Array]:
    """Return (C, H, W) float32 reflectance of the bands at 10 m and the (H, W) valid mask.

    Coarse bands are resampled bilinearly. Where any band is nodata, all read as a count of 0 after scaling.
    """
    files = {band.common_name: folder / f"{band.name}.tif" for band in BANDS}
    with rasterio.open(files["red"]) as red:
        shape = red.shape
    counts = np.empty((len(names), *shape), np.float32)
    for channel, name in zip(counts, names, strict=True):
        with rasterio.open(files[name]) as source:
            channel[:] = source.read(1, out_shape=shape, resampling=Resampling.bilinear)
    valid = (counts != 0).all(axis=0)
    return np.where(valid, counts, 0) * np.float32(SCALE) + np.float32(OFFSET), valid


def main() -> None:
    """Read the arguments and write the scene."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=1830, help="side in 10 m pixels, divisible by 6")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    print(make_scene(arguments.folder, arguments.size, arguments.seed))


if __name__ == "__main__":
    main()
