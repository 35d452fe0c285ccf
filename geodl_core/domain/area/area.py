"""Areas of interest: GeoJSON or a bounding box, checked, and brought into a form that is the same for the same area."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from geodl_core.errors import InputError

MAX_CHARACTERS = 64 << 20
MAX_VERTICES = 1_000_000
MAX_PAIRS = 500_000
"""Of edges near each other in areas that must be repaired or merged, beyond neighbours; some seconds of work."""
PAIRS_PER_EDGE = 20
"""An edge lies near itself and its neighbours, also those of the polygons next to its own."""
PAIRS_AT_ONCE = 20_000_000
DECIMALS = 9
"""A tenth of a millimetre, as in the outlines that geodl writes."""
CRS_NAMES = ("crs84", "ogc:1.3:crs84", "epsg:4326", "epsg::4326")
POLYGONAL = ("Polygon", "MultiPolygon")
EXPECTED = "expected GeoJSON of polygons, or WEST,SOUTH,EAST,NORTH in degrees"
CUT_HINT = "cut it in two halves at the antimeridian (RFC 7946), or give WEST,SOUTH,EAST,NORTH with west > east"


@dataclass(frozen=True, slots=True)
class Area:
    """An area of interest, as `read_area` makes it; reading its text again gives the same area."""

    geojson: str
    """Polygon or MultiPolygon in OGC:CRS84, rounded, valid, its rings and parts in a fixed order and direction."""


def read_area(text: str) -> Area:
    """Read an area of interest.

    The same polygons give the same text, whatever their order, where their rings start, which way they run, and what
    stands beside them in the document. Polygons that overlap or share a side become one; invalid ones are repaired.

    Args:
        text: GeoJSON (Geometry, Feature or FeatureCollection, RFC 7946), or "WEST,SOUTH,EAST,NORTH" in degrees, where
            west > east crosses the antimeridian.

    Raises:
        InputError: neither of these, without area, outside ±180 and ±90 degrees, in another CRS, or too large.
    """
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"area of interest: expected at most {MAX_CHARACTERS >> 20} MB, found more")
    text = text.strip().removeprefix("\ufeff")
    polygons = _read_document(text) if text.startswith("{") else _read_bbox(text)
    shape = _one_shape(polygons)
    return Area(str(shapely.to_geojson(_rounded(shapely.orient_polygons(shapely.normalize(shape))))))


def area_shape(area: Area) -> shapely.Geometry:
    """Return the area as a shapely Polygon or MultiPolygon in degrees, (longitude, latitude)."""
    return shapely.from_geojson(area.geojson)


def area_bbox(area: Area) -> tuple[float, float, float, float]:
    """Return west, south, east, north in degrees; west > east where the area crosses the antimeridian."""
    shape = area_shape(area)
    west, south, east, north = map(float, shape.bounds)
    if (west, east) != (-180, 180):
        return west, south, east, north
    spans = sorted(shapely.bounds(shapely.get_parts(shape))[:, [0, 2]].tolist())
    widest, reach = (0.0, west, east), west
    for start, stop in spans:
        widest = max(widest, (start - reach, start, reach))
        reach = max(reach, stop)
    return widest[1], south, widest[2], north


def _read_bbox(text: str) -> list[shapely.Geometry]:
    try:
        west, south, east, north = (round(float(number), DECIMALS) for number in text.split(",", 4))
    except ValueError as error:
        raise InputError(f"area of interest: {EXPECTED}; found {text[:60]!r}") from error
    halves = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    spans = [(left, right) for left, right in halves if -180 <= left < right <= 180]
    if not spans or not -90 <= south < north <= 90 or max(abs(west), abs(east)) > 180:
        raise InputError(
            f"area of interest: expected WEST,SOUTH,EAST,NORTH within ±180 and ±90 degrees, south < north; "
            f"found {text[:60]!r}"
        )
    return [shapely.box(left, south, right, north) for left, right in spans]


def _read_document(text: str) -> list[shapely.Geometry]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"area of interest: {EXPECTED}; found text that is not JSON") from error
    _require_crs(document)
    rings = [polygon for place, geometry in _geometries(document) for polygon in _polygons(place, geometry)]
    if sum(len(ring) for polygon in rings for ring in polygon) > MAX_VERTICES:
        raise InputError(f"area of interest: expected at most {MAX_VERTICES:,} vertices", hint="simplify it first")
    return [_polygon(polygon) for polygon in rings]


def _require_crs(document: Any) -> None:
    """GeoJSON of before RFC 7946 could name a CRS; anything but longitude and latitude would be misread."""
    crs = document.get("crs")
    if crs is None:
        return
    properties = crs.get("properties") if isinstance(crs, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else None
    if not isinstance(name, str) or not name.lower().endswith(CRS_NAMES):
        raise InputError(
            f"area of interest: expected longitude and latitude (OGC:CRS84), found the CRS {_shown(name)}",
            hint="reproject it, for instance with ogr2ogr -t_srs OGC:CRS84 -lco RFC7946=YES",
        )


def _geometries(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the geometries of a document, each with a name for messages."""
    kind = document.get("type")
    if kind == "FeatureCollection":
        for index, feature in enumerate(_list(document, "features", "area of interest")):
            yield from _members(f"feature {index}", feature)
    else:
        yield from _members("area of interest", document)


def _members(place: str, document: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(document, dict) and document.get("type") == "Feature":
        document = document.get("geometry")
        if document is None:
            return
    is_collection = isinstance(document, dict) and document.get("type") == "GeometryCollection"
    for geometry in _list(document, "geometries", place) if is_collection else [document]:
        if not isinstance(geometry, dict) or geometry.get("type") not in POLYGONAL:
            found = geometry.get("type") if isinstance(geometry, dict) else geometry
            raise InputError(f"{place}: expected a Polygon or MultiPolygon, found {_shown(found)}")
        yield place, geometry


def _list(document: dict[str, Any], key: str, place: str) -> list[Any]:
    value = document.get(key)
    if not isinstance(value, list):
        raise InputError(f"{place}: expected a list of {key}, found {type(value).__name__}")
    return value


def _polygons(place: str, geometry: dict[str, Any]) -> list[list[list[Any]]]:
    """Return the polygons of a geometry as lists of rings, which are lists of what should be positions."""
    coordinates = _list(geometry, "coordinates", place)
    polygons = coordinates if geometry["type"] == "MultiPolygon" else [coordinates]
    if not all(isinstance(rings, list) and all(isinstance(ring, list) for ring in rings) for rings in polygons):
        raise InputError(f"{place}: expected lists of rings of positions as coordinates")
    return [rings for rings in polygons if rings]


def _polygon(rings: list[list[Any]]) -> shapely.Geometry:
    shell, *holes = (_ring(ring) for ring in rings)
    return shapely.polygons(shell, holes or None)


def _ring(positions: list[Any]) -> shapely.Geometry:
    points = np.array([_position(position) for position in positions], np.float64).reshape(-1, 2).round(DECIMALS)
    points = np.concatenate([points, points[:1]])
    points = points[np.append((points[1:] != points[:-1]).any(1), True)] if len(points) else points
    if len(points) < 4:
        raise InputError(f"area of interest: expected rings of four positions or more, found one of {len(positions)}")
    # Such a side would run around the Earth the long way: a polygon over the antimeridian that is not cut there.
    lon = points[:, 0]
    is_at_cut = np.abs(lon) == 180
    if ((np.abs(np.diff(lon)) > 180) & ~(is_at_cut[1:] & is_at_cut[:-1])).any():
        raise InputError("area of interest: expected sides of at most 180 degrees, found a longer one", hint=CUT_HINT)
    return shapely.linearrings(points)


def _position(position: Any) -> tuple[float, float]:
    if not isinstance(position, list) or len(position) < 2 or not all(type(x) in (int, float) for x in position[:2]):
        raise InputError(f"area of interest: expected positions of two numbers, found {_shown(position)}")
    lon, lat = position[:2]
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        raise InputError(
            f"area of interest: expected longitudes within ±180 and latitudes within ±90 degrees, "
            f"found {_shown(lon)}, {_shown(lat)}",
            hint=CUT_HINT if 180 < abs(lon) <= 360 else None,
        )
    return lon, lat


def _shown(value: Any) -> str:
    """Describe a value from outside in a few characters, whatever it is."""
    if isinstance(value, str):
        return repr(value[:40])
    return repr(value)[:40] if value is None or isinstance(value, int | float) else f"a {type(value).__name__}"


def _one_shape(polygons: list[shapely.Geometry]) -> shapely.Geometry:
    """Return the polygons as one valid Polygon or MultiPolygon, as they are if they are so already."""
    if not polygons:
        raise InputError(f"area of interest: {EXPECTED}; found no polygon")
    shape = polygons[0] if len(polygons) == 1 else shapely.multipolygons(polygons)
    if shapely.is_valid(shape) and shape.area > 0:
        return shape
    reason = shapely.is_valid_reason(shape)
    if _is_tangled(polygons):
        raise InputError("area of interest: polygons cross each other too often", hint="repair or merge them first")
    try:
        repaired = shapely.make_valid(np.array(polygons), method="structure", keep_collapsed=False)
        merged = _rounded(shapely.set_precision(shapely.union_all(repaired), 10.0**-DECIMALS))
    except shapely.GEOSException as error:
        raise InputError(f"area of interest: cannot be repaired: {reason[:80]}") from error
    parts = [part for part in shapely.get_parts(merged) if part.geom_type == "Polygon" and part.area > 0]
    if not parts:
        raise InputError(f"area of interest: expected polygons with an area, found none ({reason[:80]})")
    shape = parts[0] if len(parts) == 1 else shapely.multipolygons(parts)
    if not shapely.is_valid(shape):
        raise InputError(f"area of interest: cannot be repaired: {shapely.is_valid_reason(shape)[:80]}")
    return shape


def _rounded(shape: shapely.Geometry) -> shapely.Geometry:
    # Adding zero turns -0.0, which would be another text, into 0.0.
    return shapely.transform(shape, lambda points: points.round(DECIMALS) + 0.0)


def _is_tangled(polygons: list[shapely.Geometry]) -> bool:
    """Say whether repair or union would take more than seconds, which grow with the square of what crosses."""
    points, ring = shapely.get_coordinates(shapely.get_rings(polygons), return_index=True)
    is_edge = ring[1:] == ring[:-1]
    edges = shapely.linestrings(np.stack([points[:-1][is_edge], points[1:][is_edge]], axis=1))
    tree = shapely.STRtree(edges)
    pairs = 0
    step = max(1, PAIRS_AT_ONCE // len(edges))
    for start in range(0, len(edges), step):
        pairs += tree.query(edges[start : start + step]).shape[1]
        if pairs > PAIRS_PER_EDGE * len(edges) + MAX_PAIRS:
            return True
    return False
