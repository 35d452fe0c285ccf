"""Small scenes for tests: two bands of smooth noise with a nodata corner, as GeoTIFFs with an Item."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import from_origin

from items import write_item

ORIGIN = (300000.0, 5300040.0)


def smooth(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Return (h, w) values of 1 to 4000 with structure at several scales."""
    rng = np.random.default_rng(seed)
    values = np.zeros(shape)
    for cell in (32, 8, 2):
        coarse = rng.standard_normal((shape[0] // cell + 2, shape[1] // cell + 2))
        values += np.kron(coarse, np.ones((cell, cell)))[: shape[0], : shape[1]]
    scaled = (values - values.min()) / (values.max() - values.min())
    return (1 + 3999 * scaled).astype("uint16")


def write_raster(path: Path, values: np.ndarray, cell: float = 10.0, **more: Any) -> Path:
    """Write (bands, h, w) values as a tiled GeoTIFF at ORIGIN."""
    profile = {
        "driver": "GTiff",
        "count": len(values),
        "height": values.shape[1],
        "width": values.shape[2],
        "dtype": values.dtype,
        "crs": "EPSG:32633",
        "transform": from_origin(*ORIGIN, cell, cell),
        "tiled": True,
        "blockxsize": 128,
        "blockysize": 128,
        "compress": "deflate",
        **more,
    }
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values)
    return path


def write_scene(folder: Path, shape: tuple[int, int] = (300, 410), **more: Any) -> tuple[Path, np.ndarray]:
    """Write a two-band scene (one asset, nodata 0 in a slanted corner); return the Item's path and the pixels."""
    pixels = np.stack([smooth(shape, 1), smooth(shape, 2)])
    rows, cols = np.indices(shape)
    pixels[:, rows + cols < shape[0] // 3] = 0
    raster = write_raster(folder / "scene.tif", pixels, nodata=0, **more)
    return write_item(folder, {"image": {"href": raster}}), pixels
