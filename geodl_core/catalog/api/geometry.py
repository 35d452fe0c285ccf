"""GeoJSON geometries from outside, checked as RFC 7946 defines them; repairs are for files, not for publishers."""

from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

from geodl_core.errors import ItemError

_DEPTHS = {"Point": 0, "MultiPoint": 1, "LineString": 1, "MultiLineString": 2, "Polygon": 2, "MultiPolygon": 3}
"""How many lists stand around the positions of a type."""


def check_geometry(name: str, geometry: Any, level: int = 0) -> None:
    """Return if a geometry is one of RFC 7946: known type, positions in degrees, closed rings.

    Raises:
        ItemError: it is not; `name` is in the message.
    """
    kind = geometry.get("type") if isinstance(geometry, Mapping) else None
    if kind == "GeometryCollection" and isinstance(geometry.get("geometries"), list) and level == 0:
        for part in geometry["geometries"]:
            check_geometry(name, part, level + 1)
        return
    if not isinstance(kind, str) or kind not in _DEPTHS:
        raise ItemError(f"{name}: geometry: expected a type of GeoJSON, found {str(kind)[:40]!r}")
    coordinates = geometry.get("coordinates")
    for line in _lists(name, coordinates, max(_DEPTHS[kind] - 1, 0)):
        positions = [line] if _DEPTHS[kind] == 0 else line
        if not isinstance(positions, list) or not positions:
            raise ItemError(f"{name}: geometry: expected positions, found {str(positions)[:40]}")
        for position in positions:
            _check_position(name, position)
        if "Polygon" in kind and (len(positions) < 4 or positions[0] != positions[-1]):
            raise ItemError(f"{name}: geometry: expected rings of 4 positions or more that close, found another")


def _lists(name: str, value: Any, depth: int) -> Iterator[Any]:
    """Yield what stands `depth` lists deep."""
    if depth == 0:
        yield value
        return
    if not isinstance(value, list) or not value:
        raise ItemError(f"{name}: geometry: expected lists of positions, found {str(value)[:40]}")
    for one in value:
        yield from _lists(name, one, depth - 1)


def _check_position(name: str, position: Any) -> None:
    is_position = isinstance(position, list) and 2 <= len(position) <= 4
    if not is_position or not all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in position):
        raise ItemError(f"{name}: geometry: expected positions of 2 or 3 numbers, found {str(position)[:40]}")
    # Longitudes beyond 180 are how some write what crosses the antimeridian.
    if not all(abs(one) < inf for one in position) or abs(position[1]) > 90 or abs(position[0]) > 540:
        raise ItemError(f"{name}: geometry: expected degrees (OGC:CRS84), found {str(position)[:40]}")
