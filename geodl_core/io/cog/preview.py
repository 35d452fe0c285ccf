"""A picture of a class map in its colours."""

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio._err import CPLE_BaseError  # what GDAL raises where rasterio gives it no class of its own
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from geodl_core.domain.classes import ClassEntry
from geodl_core.errors import StoreError
from geodl_core.io.scene.raster import OPTIONS
from geodl_core.io.store import write_bytes

PREVIEW_PX = 1024
PALETTE_COLOURS = 256


def write_preview(target: Path, raster: Path, classes: tuple[ClassEntry, ...]) -> None:
    """Write a PNG of a class map in its colours, nodata transparent, at most 1024 pixels on its longer side.

    Raises:
        StoreError: it cannot be written.
    """
    try:
        with rasterio.Env(GDAL_PAM_ENABLED="NO", **OPTIONS):
            content = _picture(raster, classes)
    except (RasterioError, CPLE_BaseError) as error:
        raise StoreError(f"{target}: cannot be made: {error}") from error
    write_bytes(target, content)


def _picture(raster: Path, classes: tuple[ClassEntry, ...]) -> bytes:
    with rasterio.open(raster) as dataset:
        share = min(1.0, PREVIEW_PX / max(dataset.shape))
        shape = tuple(max(1, round(side * share)) for side in dataset.shape)
        values = dataset.read(1, out_shape=shape, resampling=Resampling.nearest)
    colours = {number: (*entry.color, 255) for number, entry in enumerate(classes)}
    positions = np.full(shape, len(classes), np.uint16)
    for number, entry in enumerate(classes):
        positions[values == entry.value] = number
    if len(classes) < PALETTE_COLOURS:
        # A byte a pixel instead of four: smaller, and four times as fast.
        return _png(positions[None].astype(np.uint8), {**colours, len(classes): (0, 0, 0, 0)})
    table = np.array([*colours.values(), (0, 0, 0, 0)], np.uint8)
    return _png(np.moveaxis(table[positions], -1, 0), None)


def _png(pixels: npt.NDArray[np.uint8], palette: dict[int, tuple[int, int, int, int]] | None) -> bytes:
    count, height, width = pixels.shape
    profile = {"driver": "PNG", "count": count, "height": height, "width": width, "dtype": "uint8", "ZLEVEL": 3}
    with MemoryFile() as memory, warnings.catch_warnings():
        # Pictures have no place on Earth.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(**profile) as picture:
            if palette:
                picture.write_colormap(1, palette)
            picture.write(pixels)
        return bytes(memory.getbuffer())
