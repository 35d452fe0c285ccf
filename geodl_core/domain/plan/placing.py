"""How a raster lies on a grid: by whole pixels of one or the other, or to be resampled, and where its pixels are."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import pyproj
import pyproj.exceptions
import shapely

from geodl_core.domain.grid import (
    Coordinates,
    Grid,
    integer_ratio,
    is_same_crs,
    is_same_space,
    map_to_pixel,
    pixel_to_map,
)
from geodl_core.domain.window import Window
from geodl_core.errors import ItemError

Resampling = Literal["nearest", "bilinear", "cubic"]
"""Between the centres of pixels."""
Kind = Literal["nearest", "bilinear", "cubic", "average"]
RESAMPLINGS: tuple[Resampling, ...] = ("nearest", "bilinear", "cubic")
AVERAGED_FROM = 1.2
"""Source pixels along a grid pixel from which they are averaged rather than interpolated."""
POINTS_PER_SIDE = 101
"""Of an outline that is brought to another CRS: a UTM tile's sides then lie within a metre."""


@dataclass(frozen=True, slots=True)
class Placing:
    """How a raster comes to the pixels of a grid."""

    ratio: int | None
    """Grid pixels along one of its pixels, where it starts at the grid's corner; None where it is resampled."""
    kind: Kind
    shrink: float
    """Its pixels along one of the grid's, the longer way; 1 where they are not finer."""


def place(grid: Grid, raster: Grid, asset: str, wanted: Resampling) -> Placing:
    """Say how a raster comes to a grid.

    Args:
        grid: of the job.
        raster: the asset's own.
        asset: for errors.
        wanted: between its pixels; finer ones are averaged unless that is `nearest`.

    Raises:
        ItemError: the two do not meet.
    """
    if is_same_space(grid, raster):
        return Placing(1, "nearest", 1.0)
    ratio = integer_ratio(grid, raster)
    if ratio is not None and ratio > 1:
        return Placing(ratio, wanted, 1.0)
    _require_meeting(grid, raster, asset)
    middle = Window(grid.height // 2, grid.width // 2, grid.height // 2 + 1, grid.width // 2 + 1)
    rows, _ = raster_positions(grid, raster, middle)
    if not np.isfinite(rows).all():
        return Placing(None, wanted, 1.0)
    shrink = max(*steps_of(grid, raster, middle), 1.0)
    if wanted != "nearest" and shrink > AVERAGED_FROM:
        return Placing(None, "average", shrink)
    return Placing(None, "nearest" if is_shifted(grid, raster) else wanted, shrink)


def is_shifted(grid: Grid, raster: Grid) -> bool:
    """Say whether two grids have the same pixels, and differ in extent alone."""
    if not is_same_crs(grid.crs, raster.crs):
        return False
    corners = ((0, 0), (grid.height, 0), (0, grid.width))
    apart = [np.subtract(map_to_pixel(raster, *pixel_to_map(grid, row, col)), (row, col)) for row, col in corners]
    return np.allclose(apart, np.round(apart[0]), rtol=0, atol=1e-3)


def raster_positions(grid: Grid, raster: Grid, window: Window) -> tuple[Coordinates, Coordinates]:
    """Return where the centres of a window's grid pixels lie in a raster.

    Returns:
        (H, W) rows and columns in the raster's pixels, whole numbers at their corners; infinite where its CRS has no
        such place.
    """
    return positions_in(raster, map_positions(grid, raster.crs, window))


def map_positions(grid: Grid, crs: str, window: Window) -> tuple[Coordinates, Coordinates]:
    """Return (H, W) x and y, in a CRS, of the centres of a window's grid pixels: each transformed for itself."""
    rows = np.arange(window.top, window.bottom)[:, None] + 0.5
    cols = np.arange(window.left, window.right)[None, :] + 0.5
    a, b, c, d, e, f = grid.transform
    x, y = a * cols + b * rows + c, d * cols + e * rows + f
    return transformer(grid.crs, crs)(x, y)


def positions_in(raster: Grid, places: tuple[Coordinates, Coordinates]) -> tuple[Coordinates, Coordinates]:
    """Return the rows and columns of places in a raster's CRS; longitudes are taken as the raster counts them."""
    x, y = places
    if _is_geographic(raster.crs):
        middle, _ = raster.affine @ (raster.width / 2, raster.height / 2)
        x = x + 360 * np.round((middle - x) / 360)
    return _pixel_of(raster, x, y)


def steps_of(grid: Grid, raster: Grid, window: Window) -> tuple[float, float]:
    """Return how many of a raster's pixels lie along one of the grid's, down a column and along a row, in a window."""
    row, col = (window.top + window.bottom) // 2, (window.left + window.right) // 2
    rows, cols = raster_positions(grid, raster, Window(row, col, row + 2, col + 2))
    down = np.hypot(rows[1, 0] - rows[0, 0], cols[1, 0] - cols[0, 0])
    along = np.hypot(rows[0, 1] - rows[0, 0], cols[0, 1] - cols[0, 0])
    return float(down), float(along)


@lru_cache(maxsize=64)
def transformer(source: str, target: str) -> Callable[[Coordinates, Coordinates], tuple[Coordinates, Coordinates]]:
    """Return what brings (x, y) from one CRS to another, exactly; infinite where it has no such place.

    Not to be called by several threads at a time.
    """
    if is_same_crs(source, target):
        return lambda x, y: (np.asarray(x), np.asarray(y))
    found = pyproj.Transformer.from_crs(source, target, always_xy=True)

    def brought(x: Coordinates, y: Coordinates) -> tuple[Coordinates, Coordinates]:
        try:
            there = found.transform(x, y)
        except pyproj.exceptions.ProjError:
            return np.full_like(x, np.inf), np.full_like(y, np.inf)
        return np.asarray(there[0]), np.asarray(there[1])

    return brought


def outline_in(grid: Grid, crs: str) -> tuple[Coordinates, Coordinates]:
    """Return the x and y of a grid's outline in a CRS: four sides of points, the first again at the end."""
    t = np.linspace(0.0, 1.0, POINTS_PER_SIDE)[:-1]
    rows = np.concatenate([t * 0, t, t * 0 + 1, 1 - t, [0.0]]) * grid.height
    cols = np.concatenate([t, t * 0 + 1, 1 - t, t * 0, [0.0]]) * grid.width
    a, b, c, d, e, f = grid.transform
    x, y = transformer(grid.crs, crs)(a * cols + b * rows + c, d * cols + e * rows + f)
    return (np.unwrap(x, period=360) if _is_geographic(crs) and np.isfinite(x).all() else x), y


def _require_meeting(grid: Grid, raster: Grid, asset: str) -> None:
    x, y = outline_in(raster, grid.crs)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return
    if _is_geographic(grid.crs):
        middle, _ = grid.affine @ (grid.width / 2, grid.height / 2)
        x = x + 360 * np.round((middle - x.mean()) / 360)
    rows, cols = _pixel_of(grid, x, y)
    ring = shapely.make_valid(shapely.polygons(np.column_stack([cols, rows])))
    if not shapely.intersects(ring, shapely.box(1e-3, 1e-3, grid.width - 1e-3, grid.height - 1e-3)):
        raise ItemError(
            f"asset {asset}: its raster does not meet the grid of the run: it lies {_beside(grid, rows, cols)}",
            hint="all bands and masks of a scene must show one place; do its CRS and transform say where it is?",
        )


def _beside(grid: Grid, rows: Coordinates, cols: Coordinates) -> str:
    where = f"rows {rows.min():.0f} to {rows.max():.0f}, columns {cols.min():.0f} to {cols.max():.0f}"
    return f"at {where} of a grid of {grid.height} × {grid.width} pixels (rows × columns)"


def _pixel_of(raster: Grid, x: Coordinates, y: Coordinates) -> tuple[Coordinates, Coordinates]:
    a, b, c, d, e, f = tuple(~raster.affine)[:6]
    return d * x + e * y + f, a * x + b * y + c


@lru_cache(maxsize=64)
def _is_geographic(crs: str) -> bool:
    return bool(pyproj.CRS.from_user_input(crs).is_geographic)
