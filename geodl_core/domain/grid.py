"""The one pixel space of a job: CRS, affine transform and shape; the only place where (row, col) meets (x, y)."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyproj
import shapely
from affine import Affine

from geodl_core.errors import ItemError

WGS84 = "OGC:CRS84"
OUTLINE_POINTS_PER_SIDE = 21
"""Enough for a UTM tile's curved sides to stay within a few metres of the straight ones between the points."""
OUTLINE_TOLERANCE_DEG = 1e-6
"""A tenth of a metre: points that straight sides do not need are left out."""


@dataclass(frozen=True, slots=True)
class Grid:
    """CRS + affine + (height, width).

    Raises:
        ItemError: no CRS, an empty shape, or a transform that cannot be inverted.
    """

    crs: str
    """`EPSG:n` where the CRS has such a code, else WKT."""
    transform: tuple[float, float, float, float, float, float]
    """a, b, c, d, e, f of x = a·col + b·row + c, y = d·col + e·row + f, at the corners of pixels."""
    height: int
    width: int

    def __post_init__(self) -> None:
        if not self.crs:
            raise ItemError("the raster has no CRS", hint="give it one, for instance with gdal_edit.py -a_srs")
        if self.height < 1 or self.width < 1:
            raise ItemError(f"the raster is empty: {self.height} rows, {self.width} columns")
        if not all(map(math.isfinite, self.transform)) or Affine(*self.transform).is_degenerate:
            raise ItemError(f"the raster's transform cannot be inverted: {self.transform}")

    @property
    def shape(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def affine(self) -> Affine:
        return Affine(*self.transform)


def pixel_to_map(grid: Grid, row: float, col: float) -> tuple[float, float]:
    """Return the map coordinates (x, y) of a pixel position; whole numbers are upper-left corners."""
    x, y = grid.affine @ (col, row)
    return float(x), float(y)


def map_to_pixel(grid: Grid, x: float, y: float) -> tuple[float, float]:
    """Return the (row, col) position of map coordinates; the inverse of `pixel_to_map`."""
    col, row = ~grid.affine @ (x, y)
    return float(row), float(col)


def cell_size(grid: Grid) -> tuple[float, float]:
    """Return the length of a pixel's (x, y) sides in units of the CRS."""
    a, b, _, d, e, _ = grid.transform
    return math.hypot(a, d), math.hypot(b, e)


def cell_area_m2(grid: Grid) -> float | None:
    """Return the middle pixel's area in square metres on the ellipsoid, None where the CRS has no place on Earth."""
    row, col = grid.height / 2, grid.width / 2
    corners = [(row - 0.5, col - 0.5), (row - 0.5, col + 0.5), (row + 0.5, col + 0.5), (row + 0.5, col - 0.5)]
    crs = pyproj.CRS.from_user_input(grid.crs)
    geod = crs.get_geod()
    if geod is None or crs.is_engineering:
        return None
    to_wgs84 = _to_wgs84(grid.crs)
    points = [to_wgs84.transform(*pixel_to_map(grid, r, c)) for r, c in corners]
    if not all(math.isfinite(value) for point in points for value in point):
        return None
    lons, lats = zip(*points, strict=True)
    area, _ = geod.polygon_area_perimeter(lons, lats)
    return abs(float(area))


def outline_wgs84(grid: Grid) -> dict[str, Any]:
    """Return the grid's outline as a GeoJSON Polygon in OGC:CRS84, its sides densified, counter-clockwise.

    Raises:
        ItemError: a corner of the grid has no place on Earth in its CRS.
    """
    t = np.linspace(0.0, 1.0, OUTLINE_POINTS_PER_SIDE)[:-1]
    rows = np.concatenate([t * 0, t, t * 0 + 1, 1 - t]) * grid.height
    cols = np.concatenate([t, t * 0 + 1, 1 - t, t * 0]) * grid.width
    a, b, c, d, e, f = grid.transform
    x, y = a * cols + b * rows + c, d * cols + e * rows + f
    lon, lat = _to_wgs84(grid.crs).transform(x, y)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        raise ItemError(f"the raster's outline leaves the Earth when read as {grid.crs[:60]}")
    ring = shapely.simplify(shapely.polygons(np.column_stack([lon, lat])), OUTLINE_TOLERANCE_DEG)
    ring = shapely.transform(ring, lambda points: points.round(9))
    geometry: dict[str, Any] = shapely.geometry.mapping(shapely.orient_polygons(ring))
    geometry["coordinates"] = [[list(point) for point in part] for part in geometry["coordinates"]]
    return geometry


def is_same_space(a: Grid, b: Grid) -> bool:
    """Say whether two grids share CRS, pixels and extent, to a thousandth of a pixel."""
    if a.shape != b.shape or not is_same_crs(a.crs, b.crs):
        return False
    far = pixel_to_map(b, b.height, b.width)
    near = pixel_to_map(b, 0, 0)
    ends = map_to_pixel(a, *near), map_to_pixel(a, *far)
    return np.allclose(ends, [(0, 0), a.shape], atol=1e-3)


@lru_cache(maxsize=64)
def is_same_crs(a: str, b: str) -> bool:
    """Say whether two CRS texts mean the same, axis order apart."""
    return a == b or pyproj.CRS.from_user_input(a).equals(pyproj.CRS.from_user_input(b), ignore_axis_order=True)


def integer_ratio(fine: Grid, coarse: Grid) -> int | None:
    """Return how many fine pixels lie along one coarse pixel, None unless the lines of the grids coincide.

    Both grids must start at the same corner; the coarse one may reach further by less than one of its pixels.
    """
    if not is_same_crs(fine.crs, coarse.crs):
        return None
    to_fine = ~fine.affine @ coarse.affine
    ratio = round(to_fine.a)
    aligned = np.allclose(to_fine[:6], (ratio, 0, 0, 0, ratio, 0), atol=1e-3)
    covers = -(-fine.height // max(ratio, 1)) == coarse.height and -(-fine.width // max(ratio, 1)) == coarse.width
    return ratio if ratio >= 1 and aligned and covers else None


@lru_cache(maxsize=64)
def _to_wgs84(crs: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(crs, WGS84, always_xy=True)
