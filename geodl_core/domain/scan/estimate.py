"""What a back-fill will take: scenes, area, time and price, in all and by month."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import shapely
from pyproj import Geod

from geodl_core.domain.scan.windows import acquired

WGS84 = Geod(ellps="WGS84")
UNKNOWN_MONTH = "unknown"


@dataclass(frozen=True, slots=True)
class Rates:
    """What work takes, where it is known."""

    km2_per_hour: float | None = None
    """Of one worker."""
    price_per_hour: float | None = None
    """Of one worker, in whatever currency the user thinks of."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A scene that matches."""

    month: str
    """`2026-05` (UTC), when it was taken."""
    km2: float
    """To be computed: of the footprint, or of what of it lies in the area."""
    is_new: bool
    """Not ordered before."""


@dataclass(frozen=True, slots=True)
class Tally:
    """A sum over scenes; area, time and price are those of the new ones."""

    month: str | None
    """None: of all months."""
    scenes: int
    new: int
    km2: float
    hours: float | None
    """Of one worker; None where no rate is known."""
    price: float | None


def scene_of(item: Mapping[str, Any], covered: shapely.Geometry | None, is_new: bool) -> Scene:
    """Return what has to be known of an Item for an estimate.

    Args:
        item: a STAC Item.
        covered: what is computed of it, in degrees.
        is_new: not ordered before.
    """
    times = acquired(item)
    month = UNKNOWN_MONTH if times is None else f"{datetime.fromtimestamp(times[0], UTC):%Y-%m}"
    return Scene(month, 0.0 if covered is None else area_km2(covered), is_new)


def area_km2(shape: shapely.Geometry) -> float:
    """Return the geodesic area of polygons in degrees, on WGS 84, in km² (C. F. F. Karney, 2013)."""
    size = 0.0
    for part in shapely.get_parts(shape):
        if isinstance(part, shapely.Polygon):
            area, _ = WGS84.geometry_area_perimeter(shapely.orient_polygons(part))
            size += abs(area)
        elif isinstance(part, shapely.MultiPolygon | shapely.GeometryCollection):
            size += 1e6 * area_km2(part)
    return size / 1e6


def tally(scenes: Iterable[Scene], rates: Rates) -> tuple[Tally, list[Tally]]:
    """Return the sums of all scenes, and of each month, newest first."""
    months: dict[str, list[Scene]] = {}
    for scene in scenes:
        months.setdefault(scene.month, []).append(scene)
    whole = [scene for month in months.values() for scene in month]
    return _sum(None, whole, rates), [_sum(month, months[month], rates) for month in sorted(months, reverse=True)]


def tally_json(total: Tally) -> dict[str, Any]:
    """Return a sum for machines."""
    month = {} if total.month is None else {"month": total.month}
    hours = None if total.hours is None else round(3600 * total.hours)
    price = None if total.price is None else round(total.price, 2)
    return {**month, "scenes": total.scenes, "new": total.new, "area_km2": round(total.km2, 3)} | {
        "seconds": hours,
        "price": price,
    }


def _sum(month: str | None, scenes: list[Scene], rates: Rates) -> Tally:
    new = [scene for scene in scenes if scene.is_new]
    km2 = sum(scene.km2 for scene in new)
    hours = km2 / rates.km2_per_hour if rates.km2_per_hour else None
    price = hours * rates.price_per_hour if hours is not None and rates.price_per_hour is not None else None
    return Tally(month, len(scenes), len(new), km2, hours, price)
