"""What a foreign STAC API is asked: areas, a filter, or what of it the `query` extension can say.

Everything asked is wider than what is wanted, never narrower: Items are checked again when they are here.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import shapely

from geodl_core.domain.area.area import Area, area_bbox, area_shape
from geodl_core.domain.scan.windows import Window, stamp

MOST_VERTICES = 500
"""Of an area that is sent; of a finer one its convex hull is."""
COMPARISONS = {"=": "eq", "<>": "neq", "<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
MIRRORED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
CORE = ("id", "collection", "geometry", "datetime")
"""Names that the `query` extension does not know as properties."""
Terms = dict[str, dict[str, Any]]


def query_areas(aoi: str | None, is_boxed: bool) -> list[dict[str, Any]]:
    """Return the areas to be asked for one after the other, as parameters of a search.

    An area over the antimeridian is two: some servers read one box over it as the one around the Earth
    (stac-utils/pgstac#428).

    Args:
        aoi: GeoJSON of `domain.area.area`; None asks for everywhere.
        is_boxed: bounding boxes, since geometries do not fit into an address.
    """
    if aoi is None:
        return [{}]
    sides = _sides(Area(aoi))
    if is_boxed:
        return [{"bbox": list(side.bounds)} for side in sides]
    return [{"intersects": json.loads(shapely.to_geojson(_coarse(side)))} for side in sides]


def query_terms(rule: Any) -> Terms:
    """Return what the `query` extension can say of a CQL2-JSON tree: comparisons, in and between, joined by and.

    All else is left out, so that the terms select at least what the tree does; of two terms of one kind on one
    property the first is kept. https://github.com/stac-api-extensions/query
    """
    terms: Terms = {}
    for name, operator, value in _comparisons(rule):
        terms.setdefault(name, {}).setdefault(operator, value)
    return terms


def appeared_terms(name: str, window: Window) -> Terms:
    """Return the `query` for Items whose property `name` lies in a window."""
    return {name: {"gte": stamp(window.start), "lt": stamp(window.end)}}


def appeared_rule(name: str, window: Window) -> dict[str, Any]:
    """Return the CQL2-JSON for Items whose property `name` lies in a window."""
    field = {"property": name}
    return all_of({"op": ">=", "args": [field, stamp(window.start)]}, {"op": "<", "args": [field, stamp(window.end)]})


def cloud_rule(most: float) -> dict[str, Any]:
    """Return the CQL2-JSON for Items with at most so many per cent of cloud, or none told."""
    field = {"property": "eo:cloud_cover"}
    return {"op": "or", "args": [{"op": "<=", "args": [field, most]}, {"op": "isNull", "args": [field]}]}


def all_of(*rules: Any) -> dict[str, Any]:
    """Return CQL2-JSON that holds where all do; those that are None are left out."""
    given = [rule for rule in rules if rule is not None]
    return given[0] if len(given) == 1 else {"op": "and", "args": given}


def _comparisons(rule: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield (property, operator of `query`, value)."""
    operator, args = (rule.get("op"), rule.get("args")) if isinstance(rule, Mapping) else (None, None)
    if not isinstance(args, list) or not args:
        return
    if operator == "and":
        for each in args:
            yield from _comparisons(each)
    elif operator in COMPARISONS and len(args) == 2:
        yield from _comparison(str(operator), args[0], args[1])
    elif operator == "between" and len(args) == 3:
        yield from _comparison(">=", args[0], args[1])
        yield from _comparison("<=", args[0], args[2])
    elif operator == "in" and len(args) == 2 and isinstance(args[1], list):
        name, values = _property(args[0]), [_value(each) for each in args[1]]
        if name is not None and values and None not in values:
            yield name, "in", values


def _comparison(operator: str, left: Any, right: Any) -> Iterator[tuple[str, str, Any]]:
    if _property(left) is None:
        operator, left, right = MIRRORED[operator], right, left
    name, value = _property(left), _value(right)
    if name is not None and value is not None:
        yield name, COMPARISONS[operator], value


def _property(argument: Any) -> str | None:
    name = argument.get("property") if isinstance(argument, Mapping) else None
    if not isinstance(name, str) or name in CORE:
        return None
    return name.removeprefix("properties.")


def _value(argument: Any) -> Any:
    if isinstance(argument, Mapping):
        argument = argument.get("timestamp", argument.get("date"))
        return argument if isinstance(argument, str) else None
    return argument if isinstance(argument, str | int | float) else None


def _sides(area: Area) -> list[shapely.Geometry]:
    """Return an area in one piece, or in two where it crosses the antimeridian."""
    shape = area_shape(area)
    west, _, east, _ = area_bbox(area)
    if west <= east:
        return [shape]
    parts = shapely.get_parts(shape)
    is_eastern = shapely.centroid(parts)
    halves = [
        [part for part, at in zip(parts, is_eastern, strict=True) if (at.x >= 0) is side] for side in (True, False)
    ]
    return [half[0] if len(half) == 1 else shapely.multipolygons(half) for half in halves if half]


def _coarse(shape: shapely.Geometry) -> shapely.Geometry:
    """Return a shape that holds another one and has few vertices."""
    if shapely.get_num_coordinates(shape) <= MOST_VERTICES:
        return shape
    hull = shapely.convex_hull(shape)
    return hull if shapely.get_num_coordinates(hull) <= MOST_VERTICES else shapely.box(*shape.bounds)
