"""Footprints that a plain -180 to 180 plane can hold: what crosses the antimeridian is cut there."""

from collections.abc import Mapping
from typing import Any

import shapely
from shapely.affinity import translate
from shapely.geometry import LineString, MultiPolygon, Point, Polygon, box, shape
from shapely.geometry.base import BaseGeometry

from geodl_core.errors import QueryError

Box = tuple[float, float, float, float]
_WORLD = box(-180, -90, 180, 90)
_FARTHEST = 1080
"""Degrees: what reaches further is cut into so many pieces that somebody must have meant metres."""


def plane_geometry(geojson: Mapping[str, Any], wraps: bool = False) -> BaseGeometry:
    """Return a GeoJSON geometry as a valid one between -180 and 180 degrees.

    Longitudes beyond 180 are folded back. A ring that runs the long way round, as careless writers
    leave it at the antimeridian, cannot be told from a wide one; `wraps` says that it is meant to cross.

    Args:
        geojson: a GeoJSON geometry in OGC:CRS84.
        wraps: whether the bounding box that came along has west > east.

    Raises:
        ValueError: no GeoJSON geometry, an empty one, or one with coordinates that are not finite.
    """
    try:
        geometry = shapely.force_2d(shape(geojson))
    except (shapely.errors.ShapelyError, KeyError, ValueError, TypeError, AttributeError, IndexError) as err:
        raise ValueError(f"expected a GeoJSON geometry, found {str(geojson)[:60]}") from err
    if geometry.is_empty or not all(abs(value) <= _FARTHEST for value in geometry.bounds):
        raise ValueError("expected a geometry in degrees, found an empty one, an endless one or one in other units")
    if wraps and shapely.get_num_geometries(geometry) == 1 and _width(geometry) > 180:
        geometry = shapely.transform(geometry, _eastward)
    return _folded(geometry if geometry.is_valid else shapely.make_valid(geometry))


def bbox_geometry(bbox: Box) -> BaseGeometry:
    """Return the area of a bounding box; west > east crosses the antimeridian, a flat box is a line or point.

    Raises:
        QueryError: the box is endless, or in other units than degrees.
    """
    west, south, east, north = bbox
    if not all(abs(value) <= _FARTHEST for value in bbox):
        raise QueryError(f"bbox: expected degrees, found {list(bbox)}")
    if west > east:
        east += 360
    if west == east and south == north:
        return _folded(Point(west, south))
    if west == east or south == north:
        return _folded(LineString([(west, south), (east, north)]))
    return _folded(box(west, south, east, north))


def search_boxes(geometry: BaseGeometry) -> list[Box]:
    """Return one bounding box, or two where one would span the gap between both sides of the antimeridian."""
    if _width(geometry) <= 180:
        return [_bounds(geometry)]
    parts = shapely.get_parts(geometry)
    if len(parts) == 1:
        return [_bounds(geometry)]
    west = [part for part in parts if part.bounds[0] + part.bounds[2] < 0]
    east = [part for part in parts if part.bounds[0] + part.bounds[2] >= 0]
    return [_bounds(shapely.geometrycollections(side)) for side in (west, east) if side]


def query_geometry(bbox: Box | None, intersects: Mapping[str, Any] | None) -> BaseGeometry | None:
    """Return the area that a search asks for, or None where it asks for none.

    Raises:
        QueryError: the geometry cannot be read.
    """
    if bbox is not None:
        return bbox_geometry(bbox)
    if intersects is None:
        return None
    try:
        return plane_geometry(intersects)
    except ValueError as err:
        raise QueryError(f"intersects: {err}") from err


def _folded(geometry: BaseGeometry) -> BaseGeometry:
    """Cut at the antimeridian whatever reaches beyond it, and move it to the other side."""
    west, _, east, _ = geometry.bounds
    if west >= -180 and east <= 180:
        return geometry
    if east - west >= 360 and isinstance(geometry, Polygon):
        return shapely.intersection(geometry, _WORLD)
    first, last = int((west + 180) // 360), int((east + 180) // 360)
    strips = [
        translate(shapely.intersection(geometry, translate(_WORLD, xoff=360 * turn)), xoff=-360 * turn)
        for turn in range(first, last + 1)
    ]
    kept = [strip for strip in strips if not strip.is_empty]
    polygons = [strip for strip in kept if isinstance(strip, (Polygon, MultiPolygon))]
    return shapely.union_all(polygons or kept)


def _eastward(coordinates: Any) -> Any:
    coordinates[coordinates[:, 0] < 0, 0] += 360
    return coordinates


def _width(geometry: BaseGeometry) -> float:
    west, _, east, _ = geometry.bounds
    return float(east - west)


def _bounds(geometry: BaseGeometry) -> Box:
    west, south, east, north = (float(value) for value in geometry.bounds)
    return west, south, east, north
