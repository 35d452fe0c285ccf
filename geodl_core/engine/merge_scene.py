"""Merge the parts of a scene into one class map."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.domain.job import Compression
from geodl_core.domain.plan import Plan, live_tiles, tile_at, tile_shape
from geodl_core.domain.window import Window
from geodl_core.errors import DataError
from geodl_core.io.class_cog import ClassRaster, write_class_cog
from geodl_core.io.parts import read_part


def merge_scene(
    plan: Plan, parts: Iterable[Path], raster: ClassRaster, target: Path, compression: Compression = "deflate"
) -> dict[int, int]:
    """Write the class map of a whole scene, one row of tiles in memory at a time.

    Args:
        plan: of the scene.
        parts: every shard's part, in the order of the shards.
        raster: grid, storage type and classes.
        target: the COG, written atomically.
        compression: of the COG.

    Returns:
        How many pixels each stored value has.

    Raises:
        DataError: a part is missing, damaged, or has other tiles than the plan.
        StoreError: the COG cannot be written.
    """
    cores = (core for path in parts for core in read_part(path))
    return write_class_cog(target, raster, _strips(plan, cores, raster), compression)


def _strips(
    plan: Plan, cores: Iterator[tuple[int, npt.NDArray[Any]]], raster: ClassRaster
) -> Iterator[tuple[Window, npt.NDArray[Any]]]:
    """Yield each row of tiles as one strip of the grid, nodata where no tile is live."""
    rows, cols = tile_shape(plan.grid, plan.core_px)
    live = live_tiles(plan)
    for row in range(rows):
        top = row * plan.core_px[0]
        strip = Window(top, 0, min(top + plan.core_px[0], plan.grid.height), plan.grid.width)
        values = np.full(strip.shape, raster.storage.nodata, raster.storage.dtype)
        first, last = np.searchsorted(live, (row * cols, (row + 1) * cols))
        for expected in live[first:last]:
            core = tile_at(plan, int(expected)).core
            found, ids = next(cores, (None, None))
            if ids is None or found != expected or ids.shape != core.shape:
                raise DataError(f"the parts do not fit the plan: expected tile {expected}, found {found}")
            values[:, core.left : core.right] = ids
        yield strip, values
    if next(cores, None) is not None:
        raise DataError("the parts do not fit the plan: there are more tiles than expected")
