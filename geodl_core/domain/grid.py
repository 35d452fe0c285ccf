"""The one pixel space of a job: CRS, affine transform and shape; the only place where (row, col) meets (x, y)."""

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import pyproj.exceptions
import shapely
from affine import Affine

from geodl_core.errors import ItemError

Coordinates = npt.NDArray[np.float64]
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
    x, y = zip(*(pixel_to_map(grid, r, c) for r, c in corners), strict=True)
    lons, lats = _longitude_latitude(grid.crs, np.array(x), np.array(y))
    if not (np.isfinite(lons).all() and np.isfinite(lats).all()):
        return None
    area, _ = geod.polygon_area_perimeter(lons, lats)
    return abs(float(area))


def shortest_side_m(grid: Grid) -> float | None:
    """Return the length of the middle pixel's shorter side on the ellipsoid, None where the CRS has no place there."""
    crs = pyproj.CRS.from_user_input(grid.crs)
    geod = crs.get_geod()
    if geod is None or crs.is_engineering:
        return None
    row, col = grid.height / 2, grid.width / 2
    ends = [(row, col - 0.5), (row, col + 0.5), (row - 0.5, col), (row + 0.5, col)]
    x, y = zip(*(pixel_to_map(grid, r, c) for r, c in ends), strict=True)
    lons, lats = _longitude_latitude(grid.crs, np.array(x), np.array(y))
    if not (np.isfinite(lons).all() and np.isfinite(lats).all()):
        return None
    _, _, lengths = geod.inv(lons[::2], lats[::2], lons[1::2], lats[1::2])
    return float(lengths.min())


def outline_wgs84(grid: Grid) -> dict[str, Any]:
    """Return the grid's outline as GeoJSON in OGC:CRS84, its sides densified, counter-clockwise.

    A Polygon, or where the grid crosses the antimeridian a MultiPolygon of its two halves (RFC 7946, section 3.1.9).

    Raises:
        ItemError: a corner of the grid has no place on Earth in its CRS.
    """
    t = np.linspace(0.0, 1.0, OUTLINE_POINTS_PER_SIDE)[:-1]
    rows = np.concatenate([t * 0, t, t * 0 + 1, 1 - t]) * grid.height
    cols = np.concatenate([t, t * 0 + 1, 1 - t, t * 0]) * grid.width
    lon, lat = _longitude_latitude(grid.crs, *_map_positions(grid, cols, rows))
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        raise ItemError(f"the raster's outline has no place on Earth when read as {grid.crs[:60]}")
    lon = np.unwrap(lon, period=360)
    ring = shapely.simplify(shapely.polygons(np.column_stack([lon, lat])), OUTLINE_TOLERANCE_DEG)
    return _geojson(cut_at_antimeridian(ring))


def shape_wgs84(shape: shapely.Geometry, grid: Grid) -> dict[str, Any]:
    """Return a shape of (col, row) positions on a grid as GeoJSON in OGC:CRS84, cut at the antimeridian.

    Its sides are straight between its points there; holes and parts are kept.

    Raises:
        ItemError: a part of the grid has no place on Earth in its CRS.
    """

    def placed(points: Coordinates) -> Coordinates:
        lon, lat = _longitude_latitude(grid.crs, *_map_positions(grid, points[:, 0], points[:, 1]))
        if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
            raise ItemError(f"the raster's outline has no place on Earth when read as {grid.crs[:60]}")
        near = _unwrapped_longitudes(grid, points)
        return np.column_stack([near + (lon - near + 180) % 360 - 180, lat])

    there = shapely.simplify(shapely.transform(shape, placed), OUTLINE_TOLERANCE_DEG)
    return _geojson(cut_at_antimeridian(there if there.is_valid else shapely.make_valid(there)))


def _unwrapped_longitudes(grid: Grid, points: Coordinates) -> Coordinates:
    """Return longitudes of places near (col, row) points, without jumps anywhere on the grid."""
    steps = np.linspace(0.0, 1.0, OUTLINE_POINTS_PER_SIDE)
    cols, rows = np.meshgrid(steps * grid.width, steps * grid.height)
    lon, _ = _longitude_latitude(grid.crs, *_map_positions(grid, cols.ravel(), rows.ravel()))
    lattice = np.unwrap(lon.reshape(cols.shape), period=360, axis=1)
    lattice += (np.unwrap(lattice[:, 0], period=360) - lattice[:, 0])[:, None]
    last = OUTLINE_POINTS_PER_SIDE - 1
    nearest = np.rint(points * (last / grid.width, last / grid.height)).astype(int).clip(0, last)
    return np.asarray(lattice[nearest[:, 1], nearest[:, 0]])


def _map_positions(grid: Grid, cols: Coordinates, rows: Coordinates) -> tuple[Coordinates, Coordinates]:
    a, b, c, d, e, f = grid.transform
    return a * cols + b * rows + c, d * cols + e * rows + f


def bbox_wgs84(outline: dict[str, Any]) -> tuple[float, float, float, float]:
    """Return west, south, east, north of an outline; west > east where it crosses the antimeridian."""
    shape = shapely.geometry.shape(outline)
    west, south, east, north = shape.bounds
    sides = sorted((part.bounds[0], part.bounds[2]) for part in shapely.get_parts(shape))
    # The widest gap between parts is what the box leaves out; it may lie elsewhere than at the antimeridian.
    widest, reached = west + 360 - east, sides[0][1]
    for start, end in sides[1:]:
        if start - reached > widest:
            widest, west, east = start - reached, start, reached
        reached = max(reached, end)
    return west, south, east, north


def cut_at_antimeridian(shape: shapely.Geometry) -> shapely.Geometry:
    """Cut polygons whose longitudes may leave -180…180 at the antimeridian, and bring all parts within."""
    parts = []
    for turn in (-360, 0, 360):
        inside = shapely.intersection(shapely.box(turn - 180, -90, turn + 180, 90), shape)
        moved = shapely.transform(inside, lambda points, turn=turn: points - (turn, 0))
        parts += [part for part in shapely.get_parts(moved) if part.area > 0]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def _geojson(shape: shapely.Geometry) -> dict[str, Any]:
    rounded = shapely.transform(shapely.orient_polygons(shape), lambda points: points.round(9))
    document: dict[str, Any] = json.loads(shapely.to_geojson(rounded))
    return document


def is_same_space(a: Grid, b: Grid) -> bool:
    """Say whether two grids share CRS, pixels and extent, to a thousandth of a pixel."""
    if a.shape != b.shape or not is_same_crs(a.crs, b.crs):
        return False
    return _corners_lie_at(b, a, 1)


def _corners_lie_at(grid: Grid, other: Grid, ratio: int) -> bool:
    """Say whether three corners of `grid` lie, to a thousandth of a pixel, where `other` has them times `ratio`."""
    corners = ((0, 0), (grid.height, 0), (0, grid.width))
    found = [map_to_pixel(other, *pixel_to_map(grid, row, col)) for row, col in corners]
    return np.allclose(found, np.array(corners) * ratio, rtol=0, atol=1e-3)


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
    ratio = max(1, round(cell_size(coarse)[0] / cell_size(fine)[0]))
    covers = -(-fine.height // ratio) == coarse.height and -(-fine.width // ratio) == coarse.width
    return ratio if covers and _corners_lie_at(coarse, fine, ratio) else None


def _longitude_latitude(crs: str, x: Coordinates, y: Coordinates) -> tuple[Coordinates, Coordinates]:
    """Transform map coordinates; infinite where the CRS has no place on Earth there."""
    try:
        lon, lat = _to_wgs84(crs).transform(x, y)
    except pyproj.exceptions.ProjError:
        return np.full_like(x, np.inf), np.full_like(y, np.inf)
    return np.asarray(lon), np.asarray(lat)


@lru_cache(maxsize=64)
def _to_wgs84(crs: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(crs, WGS84, always_xy=True)
