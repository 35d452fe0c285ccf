"""The local check of Items that a foreign API gave: it drops filters, changes the order, and repeats itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import shapely

from geodl_core.domain.area.area import Area, area_shape
from geodl_core.domain.scan.windows import Window, has_appeared, was_acquired
from geodl_core.domain.watch.filters import Filter, ask, read_filter
from geodl_core.domain.watch.footprint import footprint_of
from geodl_core.domain.watch.match import is_deprecated, meets
from geodl_core.domain.watch.watch import Source, Watch

Refusal = Literal["item", "deprecated", "collection", "time", "seen", "geometry", "area", "cover", "cloud", "filter"]
REFUSALS: tuple[Refusal, ...] = get_args(Refusal)
FOREIGN: tuple[Refusal, ...] = ("collection", "time", "area")
"""An API that was asked for a collection, a time and an area should not give these at all."""
MOST_ID_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Check:
    """What is wanted of a scan's Items."""

    collections: frozenset[str]
    bases: tuple[str, ...]
    """Times of an Item by which it may belong to the window: `datetime`, then perhaps `created` and `updated`."""
    window: Window
    area: shapely.Geometry | None
    """In degrees, prepared."""
    area_size: float
    """By `equal_area_size`."""
    source: Source
    rule: Filter | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found out about an Item."""

    refusal: Refusal | None
    """Why it is not wanted; None where it is."""
    footprint: shapely.Geometry | None = None
    """In degrees, where it was looked at."""


def make_check(watch: Watch, window: Window, bases: tuple[str, ...]) -> Check:
    """Return what a watch wants of the Items of a window.

    Args:
        watch: its collections, area, filter, and its source's limits of cover and cloud.
        window: of time.
        bases: times of an Item by which it may belong to the window.

    Raises:
        QueryError: the filter cannot be read.
    """
    area = None if watch.aoi is None else area_shape(Area(watch.aoi))
    if area is not None:
        shapely.prepare(area)
    return Check(
        collections=frozenset(watch.collections),
        bases=bases,
        window=window,
        area=area,
        area_size=0.0 if area is None else equal_area_size(area),
        source=watch.source or Source(),
        rule=None if watch.filter is None else read_filter(watch.filter, f"watch {watch.name}: filter"),
    )


def judge(check: Check, item: Any, basis: int, span: Window) -> Verdict:
    """Return whether an Item is wanted. Nothing that stands in it raises an error.

    Args:
        check: what is wanted.
        item: as the API gave it, whatever that is.
        basis: number of the time that was asked by; an Item that belongs to the window by one before is not wanted
            twice.
        span: the part of the window that was asked for.
    """
    refusal = _at_first_sight(check, item) or _beyond(check, item, basis, span)
    if refusal is not None:
        return Verdict(refusal)
    if check.area is not None and _is_far(check.area.bounds, item):
        return Verdict("area")
    footprint = footprint_of(item).geometry
    if check.area is not None:
        refusal = _beside(check, footprint)
        if refusal is not None:
            return Verdict(refusal, footprint)
    if not _is_clear(item, check.source.max_cloud):
        return Verdict("cloud", footprint)
    return Verdict(None if check.rule is None or ask(check.rule, item).passed else "filter", footprint)


def cover(check: Check, footprint: shapely.Geometry) -> float:
    """Return which share of the area a footprint covers, in [0, 1]."""
    common = equal_area_size(shapely.intersection(check.area, footprint))
    return min(1.0, common / check.area_size)


def equal_area_size(shape: shapely.Geometry) -> float:
    """Return the area of a shape in degrees, up to a factor that is the same everywhere.

    Lambert's cylindrical equal-area projection: x = longitude, y = sine of the latitude.
    """
    return float(shapely.area(shapely.transform(shape, _cylindrical)))


def _at_first_sight(check: Check, item: Any) -> Refusal | None:
    if not isinstance(item, Mapping) or item.get("type") != "Feature" or not _is_named(item):
        return "item"
    if is_deprecated(item):
        return "deprecated"
    return "collection" if check.collections and item.get("collection") not in check.collections else None


def _beyond(check: Check, item: Mapping[str, Any], basis: int, span: Window) -> Refusal | None:
    """Return why an Item's time does not serve."""
    if not _belongs(item, span, check.bases[basis]):
        return "time"
    return "seen" if any(_belongs(item, check.window, name) for name in check.bases[:basis]) else None


def _belongs(item: Mapping[str, Any], window: Window, name: str) -> bool:
    return was_acquired(item, window) if name == "datetime" else has_appeared(item, window, (name,))


def _is_named(item: Mapping[str, Any]) -> bool:
    """Say whether an Item has names that can be kept and shown."""
    names = [item.get("id"), *([item["collection"]] if item.get("collection") is not None else [])]
    return all(isinstance(name, str) and name.isprintable() and 0 < len(name) <= MOST_ID_CHARACTERS for name in names)


def _is_far(bounds: tuple[float, float, float, float], item: Mapping[str, Any]) -> bool:
    """Say whether a plain polygon lies wholly on one side of a box, ten times as fast as by its geometry."""
    geometry, bbox = item.get("geometry"), item.get("bbox")
    try:
        if geometry["type"] != "Polygon" or not (len(bbox) == 4 and bbox[0] <= bbox[2]):  # type: ignore[index,arg-type]
            return False
        lon, lat = zip(*(position[:2] for position in geometry["coordinates"][0]), strict=True)  # type: ignore[index]
        west, east, south, north = min(lon), max(lon), min(lat), max(lat)
        is_plain = west >= -180 and east <= 180 and east - west < 180
        return bool(is_plain and (east < bounds[0] or west > bounds[2] or north < bounds[1] or south > bounds[3]))
    except (TypeError, LookupError, ValueError):
        return False


def _beside(check: Check, footprint: shapely.Geometry | None) -> Refusal | None:
    """Return why a footprint does not serve for the area."""
    if footprint is None:
        return "geometry"
    if not meets(check.area, footprint):
        return "area"
    least = check.source.min_cover
    return "cover" if least > 0 and cover(check, footprint) < least else None


def _cylindrical(points: Any) -> Any:
    return np.column_stack([points[:, 0], np.sin(np.radians(points[:, 1]))])


def _is_clear(item: Mapping[str, Any], most: float | None) -> bool:
    found = item["properties"].get("eo:cloud_cover")
    is_told = isinstance(found, int | float) and not isinstance(found, bool)
    return most is None or not is_told or found <= most
