"""Rasters of another CRS, alignment or cell size, brought to the job's grid piece by piece."""

from collections.abc import Sequence
from functools import lru_cache
from math import ceil
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window as RasterioWindow

from geodl_core.domain.grid import Coordinates, Grid
from geodl_core.domain.pixels.chip import Mask
from geodl_core.domain.pixels.resample import REACH_PX, Floats, average, resample
from geodl_core.domain.plan.placing import map_positions, positions_in
from geodl_core.domain.plan.plan import BandSource
from geodl_core.domain.window import Window, clip
from geodl_core.io.scene.raster import decoding, grid_of, validity

_transforming = Lock()
"""PROJ's objects serve one thread at a time; and what one thread transforms the others find done."""


def read_on_grid(dataset: Any, sources: Sequence[BandSource], grid: Grid, window: Window) -> tuple[Floats, Mask]:
    """Read a window of the grid from a raster that lies otherwise; each pixel's place is transformed for itself.

    GDAL's warper is not used: it follows its transformer only to an eighth of a pixel (rasterio 1.4 hands it no other
    tolerance), knows one nodata value for all bands, and lets NaN spread.

    Args:
        dataset: open.
        sources: bands of it, which are resampled alike.
        grid: of the job.
        window: on the grid; always the same ones for a pixel, so that its value never depends on who asks.

    Returns:
        (bands, H, W), 0 where not valid, and (H, W): valid in all bands.
    """
    return _on_grid(dataset, sources, (grid, window), is_mask=False)


def read_mask_on_grid(dataset: Any, source: BandSource, grid: Grid, window: Window) -> tuple[Floats, Mask]:
    """Read a mask alike: whatever is stored nearest, nodata too; and (H, W), whether the mask reaches there."""
    values, found = _on_grid(dataset, (source,), (grid, window), is_mask=True)
    return values[0], found


def _on_grid(
    dataset: Any, sources: Sequence[BandSource], where: tuple[Grid, Window], *, is_mask: bool
) -> tuple[Floats, Mask]:
    grid, window = where
    kind = "nearest" if is_mask else sources[0].kind
    raster = grid_of(dataset, sources[0].asset)
    wide = Window(window.top, window.left, window.bottom + 1, window.right + 1) if kind == "average" else window
    with _transforming:
        places = _places(grid, raster.crs, wide)
        rows, cols = positions_in(raster, places)
    part = _part((rows, cols), raster, REACH_PX + (ceil(2 * sources[0].shrink) if kind == "average" else 0))
    if not part.height * part.width:
        return np.zeros((len(sources), *window.shape), np.float32), np.zeros(window.shape, np.bool_)
    values, valid = _read(dataset, sources, part, is_mask=is_mask)
    at = rows - part.top, cols - part.left
    return average(values, valid, at) if kind == "average" else resample(values, valid, at, kind)


@lru_cache(maxsize=8)
def _places(grid: Grid, crs: str, window: Window) -> tuple[Coordinates, Coordinates]:
    """Return where a window's pixels lie in a CRS; kept, since the files of a scene mostly share theirs."""
    return map_positions(grid, crs, window)


def _part(at: tuple[Coordinates, Coordinates], raster: Grid, margin: int) -> Window:
    """Return the part of a raster that places in it need, empty where there are none."""
    rows, cols = at
    needed = (rows > -margin) & (rows < raster.height + margin) & (cols > -margin) & (cols < raster.width + margin)
    if not needed.any():
        return Window(0, 0, 0, 0)
    rows, cols = rows[needed], cols[needed]
    first = int(rows.min()) - margin, int(cols.min()) - margin
    last = int(rows.max()) + 1 + margin, int(cols.max()) + 1 + margin
    return clip(Window(*first, *last), raster.height, raster.width)


def _read(dataset: Any, sources: Sequence[BandSource], part: Window, *, is_mask: bool) -> tuple[npt.NDArray[Any], Mask]:
    place = {"window": RasterioWindow(part.left, part.top, part.width, part.height)}
    with decoding(sources[0].asset, part):
        values = dataset.read([source.index + 1 for source in sources], **place)
        valid = np.ones(part.shape, np.bool_)
        if not is_mask:
            for source, band in zip(sources, values, strict=True):
                valid &= validity(dataset, source, band, **place)
    return values, valid
