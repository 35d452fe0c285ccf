"""From pixels of a grid to coordinates of an output CRS, many objects at once; cut at the antimeridian."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyproj
import pyproj.exceptions
import shapely

from geodl_core.domain.detection.detections import Boxes, Outlines
from geodl_core.domain.grid import Coordinates, Grid, cut_at_antimeridian, is_same_crs
from geodl_core.errors import ItemError

STEP_DEG = 2.0**-33
"""To which longitudes and latitudes are rounded: 13 micrometres. A third of their bytes is zero then, and the last
bits, in which one processor's sines differ from another's, are gone."""
BOX_POINTS = 5
"""Of a closed ring of four corners."""


@dataclass(frozen=True, slots=True)
class Placed:
    """N objects in an output CRS."""

    corners: Coordinates | None
    """(2, K, N) x and y of the K points of each: 4 corners, counter-clockwise, or 1 centre. None: all are shapes."""
    rows: npt.NDArray[np.intp]
    """Of `shapes`: all, or those of boxes that cross the antimeridian or hold a pole."""
    shapes: Outlines
    """What lies there instead of the corners; exteriors counter-clockwise."""
    bounds: Coordinates
    """(4, N) xmin, ymin, xmax, ymax; west > east where an object crosses the antimeridian."""


def to_crs(positions: Coordinates, grid: Grid, crs: str) -> Coordinates:
    """Return coordinates in a CRS of (col, row) positions on a grid; longitudes may jump at the antimeridian.

    Args:
        positions: (2, …) columns and rows.
        grid: of the positions.
        crs: text that pyproj reads.

    Returns:
        (2, …) x and y; longitude and easting come first whatever the CRS says of its axes.

    Raises:
        ItemError: a position has no place in the CRS.
    """
    a, b, c, d, e, f = grid.transform
    cols, rows = positions
    there = np.empty(positions.shape)
    there[0], there[1] = a * cols + b * rows + c, d * cols + e * rows + f
    if not is_same_crs(grid.crs, crs):
        try:
            _transformer(grid.crs, crs).transform(there[0].reshape(-1), there[1].reshape(-1), inplace=True)
        except pyproj.exceptions.ProjError as error:
            raise ItemError(f"objects cannot be placed in {crs[:60]}: {str(error)[:80]}") from error
        if is_in_degrees(crs):
            there *= 1 / STEP_DEG
            np.rint(there, out=there)
            there *= STEP_DEG
    if not np.isfinite(there).all():
        raise ItemError(
            f"some objects have no place in {crs[:60]}", hint="choose another CRS for the features, such as the scene's"
        )
    return there


@lru_cache(maxsize=64)
def is_in_degrees(crs: str) -> bool:
    """Say whether coordinates are longitudes and latitudes in degrees, which jump at 180."""
    found = pyproj.CRS.from_user_input(crs)
    return bool(found.is_geographic) and math.isclose(found.axis_info[0].unit_conversion_factor, math.pi / 180)


@lru_cache(maxsize=64)
def _transformer(source: str, target: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(source, target, always_xy=True)


def place_centres(boxes: Boxes, grid: Grid, crs: str) -> Placed:
    """Return the centres of boxes in a CRS.

    Raises:
        ItemError: a centre has no place in the CRS.
    """
    x0, y0, x1, y1 = np.asarray(boxes, np.float64).T
    points = to_crs(np.array([[(x0 + x1) / 2], [(y0 + y1) / 2]]), grid, crs)
    if is_in_degrees(crs):
        points[0] -= _turns(points[0, 0])
    bounds = np.concatenate([points[:, 0], points[:, 0]])
    return Placed(points, *_no_shapes(), bounds)


def place_boxes(boxes: Boxes, grid: Grid, crs: str) -> Placed:
    """Return boxes as four corners in a CRS, those that cross the antimeridian as shapes cut there.

    Sides are straight in the grid's CRS; in another they are straight between the same corners, which for objects of
    a few hundred metres is a matter of millimetres.

    Args:
        boxes: (N, 4) in pixels.
        grid: of the pixels, turned and mirrored as it may be.
        crs: text that pyproj reads.

    Raises:
        ItemError: a corner has no place in the CRS.
    """
    x0, y0, x1, y1 = np.asarray(boxes, np.float64).T
    corners = to_crs(np.array([[x0, x1, x1, x0], [y0, y0, y1, y1]]), grid, crs)
    rows, shapes = _no_shapes()
    if is_in_degrees(crs):
        rows = _bring_home(corners[0])
        shapes = _cut(shapely.polygons(corners[:, :, rows].transpose(2, 1, 0)))
    (xa, xb, xc, xd), (ya, yb, yc, yd) = corners
    # Twice the area, from the diagonals; negative where the corners run clockwise.
    clockwise = (xc - xa) * (yd - yb) - (xd - xb) * (yc - ya) < 0
    if clockwise.all():
        corners = corners[:, ::-1]
    elif clockwise.any():
        corners[:, :, clockwise] = corners[:, ::-1, clockwise]
    bounds = np.concatenate([corners.min(axis=1), corners.max(axis=1)])
    bounds[:, rows] = _bounds(shapes)
    return Placed(corners, rows, shapes, bounds)


def place_outlines(outlines: Outlines, grid: Grid, crs: str, simplify_px: float = 0.0) -> Placed:
    """Return outlines in a CRS, cut at the antimeridian where they cross it; holes and parts are kept.

    Args:
        outlines: (N,) polygons and multipolygons of (col, row).
        grid: of the pixels.
        crs: text that pyproj reads.
        simplify_px: as `VectorSpec.simplify_px`.

    Raises:
        ItemError: a point has no place in the CRS.
    """
    simple = _simplified(outlines, simplify_px)
    shapes: Outlines = shapely.transform(simple, lambda points: to_crs(points.T, grid, crs).T)
    if is_in_degrees(crs):
        west, _, east, _ = shapely.bounds(shapes).T
        jumping = east - west > 180
        away = _turns(np.where(jumping, 0.0, west))
        if away.any():
            points, row = shapely.get_coordinates(shapes, return_index=True)
            points[:, 0] -= away[row]
            shapes = shapely.set_coordinates(shapes, points)
        crossing = np.flatnonzero(jumping | (east - away > 180))
        shapes[crossing] = _cut(shapes[crossing])
    shapes = shapely.orient_polygons(shapes)
    return Placed(None, np.arange(len(shapes)), shapes, _bounds(shapes))


def _no_shapes() -> tuple[npt.NDArray[np.intp], Outlines]:
    return np.zeros(0, np.intp), np.zeros(0, object)


def _simplified(outlines: Outlines, tolerance_px: float) -> Outlines:
    """Leave out points within a tolerance; boxes, and what would not be valid then, stay as they are."""
    if not tolerance_px:
        return outlines
    simple = shapely.simplify(outlines, tolerance_px, preserve_topology=True)
    stays = (shapely.get_num_coordinates(outlines) <= BOX_POINTS) | ~shapely.is_valid(simple)
    return np.where(stays, outlines, simple)


def _turns(lon: Coordinates) -> Coordinates:
    """Return by how many degrees of whole turns longitudes lie outside -180 … 180."""
    return np.where((lon < -180) | (lon > 180), 360 * np.floor((lon + 180) / 360), 0.0)


def _bring_home(lon: Coordinates) -> npt.NDArray[np.intp]:
    """Take the jumps out of (4, N) longitudes of corners, in place, so that each object starts within -180 … 180.

    Returns:
        The objects that reach beyond 180, or go around a pole.
    """
    west, east = lon.min(axis=0), lon.max(axis=0)
    odd = np.flatnonzero((west < -180) | (east > 180) | (east - west > 180))
    if not len(odd):
        return odd
    around = np.unwrap(np.concatenate([lon[:, odd], lon[:1, odd]]), period=360, axis=0)
    is_round_pole = np.abs(around[-1] - around[0]) > 180
    near = around[:-1] - _turns(around[:-1].min(axis=0))
    lon[:, odd] = near
    crosses: npt.NDArray[np.intp] = odd[(near.max(axis=0) > 180) | is_round_pole]
    return crosses


def _cut(shapes: Outlines) -> Outlines:
    """Return shapes of longitudes that jump or reach beyond 180, within -180 … 180, cut at the antimeridian."""
    cut: Outlines = np.zeros(len(shapes), object)
    for row, shape in enumerate(shapes):
        whole = shapely.MultiPolygon([_unwrapped(part) for part in shapely.get_parts(shape)])
        parts = cut_at_antimeridian(whole if whole.is_valid else shapely.make_valid(whole))
        # Around a pole the halves meet at a meridian that is none to cut at.
        cut[row] = parts if parts.is_valid else shapely.union_all(shapely.get_parts(parts))
    return np.asarray(shapely.orient_polygons(cut))


def _unwrapped(polygon: shapely.Polygon) -> shapely.Polygon:
    """Return a polygon whose longitudes do not jump; one around a pole is led there and back along a meridian."""
    rings: list[Coordinates] = []
    for ring in (polygon.exterior, *polygon.interiors):
        lon, lat = shapely.get_coordinates(ring).T
        lon = np.unwrap(lon, period=360)
        if rings:
            lon -= 360 * np.rint((_middle(lon) - _middle(rings[0][:, 0])) / 360)
        elif abs(lon[-1] - lon[0]) > 180:
            pole = math.copysign(90, lat.mean())
            lon, lat = np.append(lon, [lon[-1], lon[0], lon[0]]), np.append(lat, [pole, pole, lat[0]])
        rings.append(np.column_stack([lon, lat]))
    return shapely.Polygon(rings[0], rings[1:])


def _middle(lon: Coordinates) -> float:
    return float(lon.min() + lon.max()) / 2


def _bounds(shapes: Outlines) -> Coordinates:
    """Return the (4, N) bounds of shapes; west > east of those in parts on both sides of the antimeridian."""
    bounds: Coordinates = shapely.bounds(shapes).reshape(-1, 4).T.copy()
    for row in np.flatnonzero((bounds[0] == -180) & (bounds[2] == 180)):
        sides = shapely.bounds(shapely.get_parts(shapes[row]))
        eastern = sides[:, 0] > 0
        if eastern.any() and not eastern.all():
            bounds[0, row], bounds[2, row] = sides[eastern, 0].min(), sides[~eastern, 2].max()
    return bounds
