"""Where a class map has a result, from its overviews."""

from pathlib import Path
from typing import Any

import rasterio
from rasterio._err import CPLE_BaseError  # what GDAL raises where rasterio gives it no class of its own
from rasterio.errors import RasterioError

from geodl_core.domain.grid import Grid
from geodl_core.domain.scene.footprint import footprint_wgs84
from geodl_core.errors import DataError
from geodl_core.io.scene.raster import OPTIONS

FOOTPRINT_PX = 1024


def read_footprint(raster: Path, grid: Grid) -> dict[str, Any]:
    """Return the footprint of a class map as GeoJSON, traced from the first overview of at most 1024 pixels a side.

    Overviews are nodata only where all that they stand for is, so that no valid pixel is missed.

    Raises:
        DataError: the raster cannot be read.
    """
    try:
        with rasterio.Env(GDAL_PAM_ENABLED="NO", **OPTIONS):
            with rasterio.open(raster) as dataset:
                levels = len(dataset.overviews(1))
            sides = [max(grid.shape) / 2**level for level in range(levels + 1)]
            level = next((number for number, side in enumerate(sides) if side <= FOOTPRINT_PX), levels)
            options = {"overview_level": level - 1} if level else {}
            with rasterio.open(raster, **options) as dataset:
                return footprint_wgs84(dataset.read(1) != dataset.nodata, 2**level, grid)
    except (RasterioError, CPLE_BaseError) as error:
        raise DataError(f"{raster}: expected a class map, found one that cannot be read ({error})") from error
