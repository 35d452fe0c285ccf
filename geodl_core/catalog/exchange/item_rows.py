"""Items as rows of stac-geoparquet and back, to the last value: what the columns cannot hold is noted beside them."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from math import isinf, isnan
from typing import Any

import shapely
from shapely.geometry import mapping, shape

from geodl_core.catalog.exchange.item_shape import CORE, EXACT, GEOMETRY, RESERVED, TIMES, ItemShapes, Shape
from geodl_core.errors import ItemError

Path = tuple[str | int, ...]
Fixes = list[tuple[Path] | tuple[Path, Any]]
"""(path,) is to be removed, (path, value) to be set, after a row was read."""
_PLAIN = frozenset({"bool", "int", "str"})
"""Kinds that columns hold as they are."""


def row_of(item: Mapping[str, Any], shapes: ItemShapes) -> dict[str, Any]:
    """Return the row of an Item whose shape was taken in before."""
    fixes: Fixes = [((name,), value) for name, value in item.items() if name not in RESERVED]
    row: dict[str, Any] = {}
    for name, column in shapes.core.items():
        if name in item and (name != "assets" or item[name] != {}):
            row[name] = _member(item[name], column, (name,), fixes)
    row["geometry"] = _wkb(item.get("geometry"), ("geometry",), fixes)
    if "geometry" not in item:
        fixes.append((("geometry",),))
    if "bbox" in item:
        row["bbox"] = _box(item["bbox"], shapes.box_names, fixes)
    row |= _properties(item["properties"], shapes, fixes)
    row[EXACT] = json.dumps(fixes, ensure_ascii=False, separators=(",", ":")) if fixes else None
    return row


def item_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Item of a row of stac-geoparquet, whoever wrote it. Members that are null are left out.

    Raises:
        ItemError: a column holds what an Item cannot.
    """
    item: dict[str, Any] = {name: _json(name, row[name]) for name in CORE if row.get(name) is not None}
    item.setdefault("type", "Feature")
    item["geometry"] = _geojson(row.get("geometry"))
    if row.get("bbox") is not None:
        item["bbox"] = _bbox(row["bbox"])
    properties = {**(row.get("properties") or {}), **{key: one for key, one in row.items() if key not in RESERVED}}
    item["properties"] = {"datetime": None} | _json("properties", properties)
    item.setdefault("assets", {})
    if row.get(EXACT) is not None:
        _apply(item, row[EXACT])
    return item


def time_text(moment: datetime) -> str:
    """Return a time as RFC 3339 in UTC, with none, three or six digits of a second, as few as it needs."""
    micros = moment.microsecond
    digits = "seconds" if not micros else "milliseconds" if micros % 1000 == 0 else "microseconds"
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return aware.replace(tzinfo=None).isoformat(timespec=digits) + "Z"


def _properties(properties: Mapping[str, Any], shapes: ItemShapes, fixes: Fixes) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, value in properties.items():
        path: Path = ("properties", name)
        if name in RESERVED:
            fixes.append((path, value))
        elif name == "datetime" and value is None:
            continue
        elif name in TIMES:
            row[name] = _time(value, path, fixes)
        else:
            row[name] = _member(value, shapes.properties[name], path, fixes)
    if "datetime" not in properties:
        fixes.append((("properties", "datetime"),))
    return row


def _member(value: Any, column: Shape, path: Path, fixes: Fixes) -> Any:
    """Return a member of an object as its column holds it; there, null means that there is no such member."""
    if value is None:
        fixes.append((path, None))
    return _held(value, column, path, fixes)


def _members(value: Mapping[str, Any], keys: Mapping[str, Shape], path: Path, fixes: Fixes) -> dict[str, Any]:
    row = {}
    for key, one in value.items():
        # Most are plain: no call, and no path for what needs no note.
        kind = keys[key].kind
        is_plain = (kind in _PLAIN and one is not None) or (kind == "float" and one.__class__ is float)
        row[key] = one if is_plain else _member(one, keys[key], (*path, key), fixes)
    return row


def _held(value: Any, column: Shape, path: Path, fixes: Fixes) -> Any:
    held: float | str | None
    if value is None or column.kind in _PLAIN:
        return value
    match column.kind:
        case "dict" if column.keys:
            return _members(value, column.keys, path, fixes)
        case "list":
            element = column.element or Shape()
            if element.kind in _PLAIN:
                return value
            return [_held(one, element, (*path, place), fixes) for place, one in enumerate(value)]
        case "wkb":
            return _wkb(value, path, fixes)
        case "float":
            held = float(value)
        case _:
            held = json.dumps(value, ensure_ascii=False) if column.kind == "text" else None
    if column.kind != "float" or held != value:
        fixes.append((path, value))
    return held


def _time(value: Any, path: Path, fixes: Fixes) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value.upper())
        aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        text = time_text(aware)
    except (AttributeError, ValueError, OverflowError):
        fixes.append((path, value))
        return None
    if text != value:
        fixes.append((path, value))
    return aware


def _wkb(value: Any, path: Path, fixes: Fixes) -> bytes | None:
    """Return a GeoJSON geometry as ISO WKB."""
    if value is None:
        if len(path) > 1:
            fixes.append((path, None))
        return None
    try:
        geometry = shape(value)
        wkb: bytes | None = shapely.to_wkb(geometry, flavor="iso")
    except (shapely.errors.ShapelyError, KeyError, ValueError, TypeError, AttributeError, IndexError):
        wkb = None
    if wkb is None or _geojson(wkb) != value:
        fixes.append((path, value))
    return wkb


def _box(value: Any, names: tuple[str, ...], fixes: Fixes) -> dict[str, float] | None:
    is_box = isinstance(value, list) and len(value) in (4, 6)
    if not is_box or not all(type(one) in (int, float) and abs(one) < 2**53 for one in value):
        fixes.append((("bbox",), value))
        return None
    kept = names if len(value) == 6 else [name for name in names if not name.startswith("z")]
    return {name: float(one) for name, one in zip(kept, value, strict=True)}


def _bbox(value: Any) -> list[float]:
    """Return a bounding box of a row: an object, or a list as some writers leave it."""
    if not isinstance(value, Mapping):
        return [float(one) for one in value]
    names = ["xmin", "ymin", "xmax", "ymax"]
    if value.get("zmin") is not None:
        names = ["xmin", "ymin", "zmin", "xmax", "ymax", "zmax"]
    if any(value.get(name) is None for name in names):
        raise ItemError(f"bbox: expected numbers {', '.join(names)}, found {str(dict(value))[:80]}")
    return [value[name] for name in names]


def _json(name: str, value: Any) -> Any:
    """Return a value of Arrow as JSON has it; objects lose members that are null, or NaN as some write it."""
    if isinstance(value, dict):
        members = {key: _json(key, one) for key, one in value.items()}
        return {key: one for key, one in members.items() if one is not None}
    if isinstance(value, list):
        return [_json(name, one) for one in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, (float, Decimal)):
        number = float(value)
        if isinf(number):
            raise ItemError(f"{name[:60]}: expected a number of JSON, found one without end")
        return None if isnan(number) else number
    if isinstance(value, date):
        return time_text(value) if isinstance(value, datetime) else value.isoformat()
    if name == GEOMETRY:
        return _geojson(value)
    raise ItemError(f"{name[:60]}: expected a value of JSON, found {type(value).__name__}")


def _geojson(wkb: Any) -> dict[str, Any] | None:
    if wkb is None:
        return None
    if not isinstance(wkb, bytes):
        raise ItemError(f"geometry: expected WKB, found {type(wkb).__name__}")
    try:
        geometry = shapely.from_wkb(wkb)
    except shapely.errors.ShapelyError as err:
        raise ItemError(f"geometry: expected WKB, found bytes that are none ({err})") from err
    found: dict[str, Any] = _lists(mapping(geometry))
    return found


def _lists(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _lists(one) for key, one in value.items()}
    return [_lists(one) for one in value] if isinstance(value, (tuple, list)) else value


def _apply(item: dict[str, Any], text: Any) -> None:
    try:
        for path, *values in json.loads(text):
            *above, last = path
            place: Any = item
            for step in above:
                place = place[step]
            if values:
                place[last] = values[0]
            else:
                place.pop(last, None)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as err:
        raise ItemError(f"{EXACT}: expected what geodl noted of this row, found something else") from err
