"""Areas that searches ask for, and the boxes by which they are found."""

from collections.abc import Mapping
from typing import Any

import shapely
from shapely.geometry import LineString, Point, box
from shapely.geometry.base import BaseGeometry

from geodl_core.domain.area.plane import FARTHEST, folded, plane_geometry, width_of
from geodl_core.errors import QueryError

Box = tuple[float, float, float, float]


def bbox_geometry(bbox: Box) -> BaseGeometry:
    """Return the area of a bounding box; west > east crosses the antimeridian, a flat box is a line or point.

    Raises:
        QueryError: the box is endless, or in other units than degrees.
    """
    west, south, east, north = bbox
    if not all(abs(value) <= FARTHEST for value in bbox):
        raise QueryError(f"bbox: expected degrees, found {list(bbox)}")
    if west > east:
        east += 360
    if west == east and south == north:
        return folded(Point(west, south))
    if west == east or south == north:
        return folded(LineString([(west, south), (east, north)]))
    return folded(box(west, south, east, north))


def search_boxes(geometry: BaseGeometry) -> list[Box]:
    """Return one bounding box, or two where one would span the gap between both sides of the antimeridian."""
    if width_of(geometry) <= 180:
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


def _bounds(geometry: BaseGeometry) -> Box:
    west, south, east, north = (float(value) for value in geometry.bounds)
    return west, south, east, north
