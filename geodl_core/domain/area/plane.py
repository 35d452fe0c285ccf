"""Geometries on a plain -180 to 180 plane: what crosses the antimeridian is cut there."""

from typing import Any

import numpy as np
import shapely
from shapely.affinity import translate
from shapely.geometry import MultiPolygon, Polygon, box, shape
from shapely.geometry.base import BaseGeometry

_WORLD = box(-180, -90, 180, 90)
FARTHEST = 1080
"""Degrees: what reaches further is cut into so many pieces that somebody must have meant metres."""
_NO_GEOMETRY = (LookupError, ValueError, TypeError, AttributeError, RecursionError, OverflowError)
"""What shapely raises, beside its own, for JSON that is none."""


def plane_geometry(geojson: Any, wraps: bool = False) -> BaseGeometry:
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
        with np.errstate(invalid="ignore"):
            geometry = shapely.force_2d(shape(geojson))
    except (*_NO_GEOMETRY, shapely.errors.ShapelyError) as err:
        raise ValueError(f"expected a GeoJSON geometry, found {str(geojson)[:60]}") from err
    # Bounds leave out what is no number.
    points = shapely.get_coordinates(geometry)
    if geometry.is_empty or not (np.abs(points) <= FARTHEST).all():
        raise ValueError("expected a geometry in degrees, found an empty one, an endless one or one in other units")
    if wraps and shapely.get_num_geometries(geometry) == 1 and width_of(geometry) > 180:
        geometry = shapely.transform(geometry, _eastward)
    return folded(geometry if geometry.is_valid else shapely.make_valid(geometry))


def folded(geometry: BaseGeometry) -> BaseGeometry:
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
    polygons = [strip for strip in kept if isinstance(strip, Polygon | MultiPolygon)]
    return shapely.union_all(polygons or kept)


def _eastward(coordinates: Any) -> Any:
    coordinates[coordinates[:, 0] < 0, 0] += 360
    return coordinates


def width_of(geometry: BaseGeometry) -> float:
    """Return how many degrees of longitude a geometry spans."""
    west, _, east, _ = geometry.bounds
    return float(east - west)


def is_wrapping(bbox: Any) -> bool:
    """Say whether what should be a bounding box of degrees crosses the antimeridian: west > east."""
    if not isinstance(bbox, list | tuple) or len(bbox) not in (4, 6):
        return False
    west, east = bbox[0], bbox[len(bbox) // 2]
    return isinstance(west, int | float) and isinstance(east, int | float) and west > east
