"""A class map as a cloud-optimised GeoTIFF with colours, its attribute table, and a picture of it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio._err import CPLE_BaseError  # what GDAL raises where rasterio gives it no class of its own
from rasterio.errors import RasterioError
from rasterio.shutil import copy
from rasterio.windows import Window as RasterioWindow

from geodl_core.domain.classes import ClassEntry, Storage
from geodl_core.domain.grid import Grid
from geodl_core.domain.job import Compression
from geodl_core.domain.window import Window
from geodl_core.errors import StoreError
from geodl_core.io.cog import OPTIONS
from geodl_core.io.store import atomic_file

BLOCK_PX = 512
PREVIEW_PX = 1024
COLOURED_TYPES = ("uint8", "uint16")
"""TIFF colour tables exist for these alone."""


@dataclass(frozen=True, slots=True)
class ClassRaster:
    """What is known of a class map before its pixels."""

    grid: Grid
    storage: Storage
    classes: tuple[ClassEntry, ...]


def write_class_cog(
    target: Path,
    raster: ClassRaster,
    strips: Iterator[tuple[Window, npt.NDArray[Any]]],
    compression: Compression = "deflate",
) -> dict[int, int]:
    """Write a class map as a COG, atomically, and return how many pixels each value has in the file.

    Args:
        target: the COG.
        raster: grid, storage type, classes.
        strips: (window, (h, w) values) that cover the grid without overlap.
        compression: lossless; level 1, since a class map gains little from a higher one.

    Raises:
        StoreError: it cannot be written, or what was written reads back as something else.
    """
    with atomic_file(target) as draft:
        flat = draft.with_suffix(".flat")
        written = _write_flat(flat, raster, strips, target)
        options = {"OVERVIEW_RESAMPLING": "MODE", "BIGTIFF": "IF_SAFER", "NUM_THREADS": "ALL_CPUS"}
        level = {} if compression == "lzw" else {"LEVEL": 1}
        with _writing(target):
            copy(flat, draft, driver="COG", BLOCKSIZE=BLOCK_PX, COMPRESS=compression.upper(), **level, **options)
        flat.unlink()
        found = _count(draft, target)
        # GDAL reports some failed writes (a full disk at the last flush) by no more than a log line.
        if found != written:
            raise StoreError(f"{target}: what was written does not read back: expected {written}, found {found}")
    return found


def write_preview(target: Path, cog: Path, raster: ClassRaster) -> None:
    """Write a PNG of a class map in its colours, nodata transparent, at most 1024 pixels on its longer side.

    Raises:
        StoreError: it cannot be written.
    """
    from rio_tiler.io import Reader  # noqa: PLC0415  # a second to import, for this alone
    from rio_tiler.utils import render  # noqa: PLC0415

    colours = {entry.value: (*entry.color, 255) for entry in raster.classes}
    with _writing(target):
        with Reader(str(cog)) as reader:
            image = reader.preview(max_size=PREVIEW_PX, resampling_method="nearest")
        values = image.array.data[0]
        rgba = np.zeros((4, *values.shape), np.uint8)
        for value, colour in colours.items():
            rgba[:, values == value] = np.array(colour, np.uint8)[:, None]
        content = render(rgba[:3], mask=rgba[3], img_format="PNG")
    with atomic_file(target) as draft:
        draft.write_bytes(content)


def _write_flat(
    path: Path, raster: ClassRaster, strips: Iterator[tuple[Window, npt.NDArray[Any]]], target: Path
) -> dict[int, int]:
    """Write the pixels uncompressed, in strips, and count the values."""
    counts: dict[int, int] = {}
    profile = {
        "driver": "GTiff",
        "height": raster.grid.height,
        "width": raster.grid.width,
        "count": 1,
        "dtype": raster.storage.dtype,
        "crs": raster.grid.crs,
        "transform": raster.grid.affine,
        "nodata": raster.storage.nodata,
        "bigtiff": "IF_SAFER",
    }
    with _writing(target), rasterio.open(path, "w", **profile) as dataset:
        for window, values in strips:
            dataset.write(values, 1, window=RasterioWindow(window.left, window.top, window.width, window.height))
            _add_counts(counts, values)
        if raster.storage.dtype in COLOURED_TYPES:
            dataset.write_colormap(1, {entry.value: (*entry.color, 255) for entry in raster.classes})
    return counts


def _count(path: Path, target: Path) -> dict[int, int]:
    counts: dict[int, int] = {}
    with _writing(target), rasterio.open(path) as dataset:
        for top in range(0, dataset.height, BLOCK_PX):
            rows = min(BLOCK_PX, dataset.height - top)
            _add_counts(counts, dataset.read(1, window=RasterioWindow(0, top, dataset.width, rows)))
    return counts


def _add_counts(counts: dict[int, int], values: npt.NDArray[Any]) -> None:
    if values.dtype in (np.uint8, np.uint16):
        occurring = np.bincount(values.ravel())
        pairs: Sequence[tuple[int, int]] = [(int(value), int(occurring[value])) for value in np.flatnonzero(occurring)]
    else:
        unique, times = np.unique(values, return_counts=True)
        pairs = list(zip(unique.tolist(), times.tolist(), strict=True))
    for value, times_ in pairs:
        counts[value] = counts.get(value, 0) + times_


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        with rasterio.Env(GDAL_PAM_ENABLED="NO", **OPTIONS):
            yield
    except (RasterioError, CPLE_BaseError) as error:
        raise StoreError(f"{target}: cannot be written: {error}", hint="is the disk full?") from error
