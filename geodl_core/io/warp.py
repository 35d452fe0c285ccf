"""Rasters of another CRS or alignment, shown on the job's grid."""

from typing import Any

from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform

from geodl_core.domain.grid import Grid, cell_size
from geodl_core.domain.plan import BandSource

WARP_TOLERANCE_PX = 1e-6
"""As good as none: rasterio 1.4 cannot make a warped view on a given transform with a tolerance of 0."""


def warped(dataset: Any, source: BandSource, grid: Grid, resampling: Resampling = Resampling.bilinear) -> Any:
    """Show a raster on the job's grid; transformed exactly, a pixel's value does not depend on the window read.

    Args:
        dataset: open.
        source: the band, whose nodata value holds for all bands of the view.
        grid: of the job.
        resampling: `nearest` for classes, else `bilinear`.
    """
    if source.nodata is not None:
        marks: dict[str, Any] = {"src_nodata": source.nodata, "nodata": source.nodata, "dtype": "float32"}
    else:
        # Without a nodata value only an alpha band tells what the warped raster does not reach; it goes missing when
        # another type is asked for.
        marks = {"add_alpha": True}
    return WarpedVRT(
        dataset,
        crs=grid.crs,
        transform=grid.affine,
        height=grid.height,
        width=grid.width,
        resampling=resampling,
        tolerance=WARP_TOLERANCE_PX,
        **_kernel_scale(dataset, grid),
        **marks,
    )


def _kernel_scale(dataset: Any, grid: Grid) -> dict[str, str]:
    """Fix how far the resampling kernel reaches; GDAL would else derive it anew from each window that is read."""
    native, _, _ = calculate_default_transform(dataset.crs, grid.crs, dataset.width, dataset.height, *dataset.bounds)
    x_size, y_size = cell_size(grid)
    return {"XSCALE": f"{min(1.0, abs(native.a) / x_size):.6f}", "YSCALE": f"{min(1.0, abs(native.e) / y_size):.6f}"}
