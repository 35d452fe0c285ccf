"""Why an Item matches a watch, or why not: the outcome of every check, in words."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import shapely
from pyproj import Geod
from shapely.affinity import translate

from geodl_core.domain.area.area import Area, area_bbox, area_shape
from geodl_core.domain.watch.filters import ask, read_filter, value_of
from geodl_core.domain.watch.footprint import footprint_of
from geodl_core.domain.watch.loops import Lineage, find_loop
from geodl_core.domain.watch.match import MODELS, is_deprecated, meets
from geodl_core.domain.watch.watch import Watch
from geodl_core.errors import QueryError

_EARTH = Geod(ellps="WGS84")


@dataclass(frozen=True, slots=True)
class Check:
    """One of the things that must hold."""

    name: str
    passed: bool
    text: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a watch beside its document."""

    is_paused: bool
    runs_today: int
    """That were ordered for today (UTC)."""
    model: str
    """Name of its model, as results have it."""
    lineage: Lineage
    """Of the Item."""


def explain(watch: Watch, item: Mapping[str, Any], standing: Standing) -> tuple[Check, ...]:
    """Return the outcome of every check, not only of the first that fails.

    The brake never fails: a run beyond it is ordered, and waits.
    """
    loop = find_loop(watch, standing.model, standing.lineage)
    return (
        _collection(watch, item),
        _area(watch, item),
        _filter(watch, item),
        Check("current", not is_deprecated(item), "deprecated: replaced" if is_deprecated(item) else "not deprecated"),
        Check("mode", watch.mode == "item", _MODES[watch.mode]),
        Check("paused", not standing.is_paused, "paused" if standing.is_paused else "not paused"),
        Check("loop", loop is None, loop or f"none; {standing.lineage.depth} runs behind the Item"),
        Check("brake", True, _brake(watch, standing.runs_today)),
    )


_MODES = {"item": "looks at what is published", "schedule": "looks at what its scans find, not at what is published"}


def _collection(watch: Watch, item: Mapping[str, Any]) -> Check:
    found = item.get("collection")
    if watch.collections:
        if found in watch.collections:
            return Check("collection", True, f"{found} is one of the watch's")
        return Check("collection", False, f"{found}; expected {' or '.join(watch.collections)}")
    if found == MODELS:
        return Check("collection", False, f"{found}; expected another, as the watch does not name it")
    return Check("collection", True, f"{found}; the watch takes any")


def _area(watch: Watch, item: Mapping[str, Any]) -> Check:
    footprint = footprint_of(item)
    if watch.aoi is None:
        return Check("area", True, "anywhere")
    area = Area(watch.aoi)
    shape, box = area_shape(area), _box_text(area_bbox(area))
    if footprint.geometry is None:
        return Check("area", False, f"{footprint.problem}; the area is {box}")
    if meets(shape, footprint.geometry):
        return Check("area", True, f"the Item meets the area, {box}")
    away = _distance_km(shape, footprint.geometry)
    apart = (
        f"{away:,.0f} km from" if away >= 10 else f"{away:.3g} km from" if away > 0 else "only touches the border of"
    )
    return Check("area", False, f"the Item, {_box_text(footprint.geometry.bounds)}, is {apart} the area, {box}")


def _filter(watch: Watch, item: Mapping[str, Any]) -> Check:
    if watch.filter is None:
        return Check("filter", True, "none")
    try:
        asked = read_filter(watch.filter)
    except QueryError as error:
        return Check("filter", False, error.message)
    answer = ask(asked, item)
    names = [name for name in asked.names if name != "geometry"]
    found = ", ".join(f"{name} = {_shown(value_of(item, name))}" for name in names)
    return Check("filter", answer.passed, "; ".join(filter(None, (found, answer.problem))) or "of the geometry alone")


def _brake(watch: Watch, runs: int) -> str:
    most = watch.max_runs_per_day
    if most is None:
        return "none"
    return f"{runs} of {most} runs today" + ("; the run waits for a later day" if runs >= most else "")


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _box_text(box: tuple[float, ...]) -> str:
    return ",".join(f"{value:.6g}" for value in box)


def _distance_km(area: shapely.Geometry, footprint: shapely.Geometry) -> float:
    """Return about how far apart two geometries in degrees are, also across the antimeridian."""
    lines = [shapely.shortest_line(area, translate(footprint, xoff=turn)) for turn in (-360, 0, 360)]
    (x0, y0), (x1, y1) = min(lines, key=lambda line: line.length).coords
    return float(_EARTH.inv(x0, y0, x1, y1)[2]) / 1000
