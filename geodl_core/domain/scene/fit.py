"""Whether a scene is one of those that a model was made for: sensor, cell size, values."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import pyproj.exceptions

from geodl_core.domain.grid import Grid, cell_area_m2
from geodl_core.domain.model.training import TrainedCell, Training
from geodl_core.domain.scene.item import Scene

METRES_PER_DEGREE = 111_320.0
TOLERANCE = 1.5
"""So much smaller or larger than in training may cells be."""
LOOSE_TOLERANCE = 2.0
"""The same where the training's cells are in degrees or on Mercator's map, whose size on the ground depends on a
latitude that the definition does not tell."""
LOWEST_SHARE = 0.01
"""Values that stay in the lowest hundredth of the range are in other units."""
NO_SENSORS = frozenset({"", "na", "none", "null", "unknown", "generic", "rasterdataset", "raster", "image"})
SAME_SENSORS = (("landsat8", "landsat9"), ("landsat5", "landsat4"))
"""Twins: what was trained on one serves the other."""


@dataclass(frozen=True, slots=True)
class ValueFacts:
    """What a look at a band's overview found among its valid values."""

    low: float
    """1st percentile."""
    middle: float
    high: float
    """99th percentile."""


def value_facts(values: npt.NDArray[Any]) -> ValueFacts | None:
    """Return what can be said of valid values, None where there are none."""
    if not values.size:
        return None
    low, middle, high = np.percentile(values, (1, 50, 99)).tolist()
    return ValueFacts(low, middle, high)


def rescaled(facts: ValueFacts, scale: float, offset: float) -> ValueFacts:
    """Return the facts of values × scale + offset."""
    low, high = sorted((facts.low * scale + offset, facts.high * scale + offset))
    return ValueFacts(low, facts.middle * scale + offset, high)


def seen_grid(job: Grid, bands: Sequence[Grid]) -> Grid:
    """Return the grid whose cells say what detail a model is given: the job's, or the finest band's if it is coarser.

    Resampling to smaller cells adds no detail.
    """
    finest = min(bands, key=_area)
    return finest if _area(finest) > _area(job) else job


def misfits(
    scene: Scene, grid: Grid, values: Mapping[int, ValueFacts], bands: Sequence[int | str], training: Training
) -> tuple[str, ...]:
    """Return a sentence for each way in which a scene lies outside what a model was made for.

    What either side does not say is no misfit.

    Args:
        scene: the Item.
        grid: whose cells the model sees.
        values: channel → its values, in the units that the network's own scaling takes.
        bands: what the model wants, for naming channels.
        training: what the definition says.
    """
    found = [_sensor_misfit(scene, training.sensor), _cell_misfit(grid, training)]
    for channel, limits in enumerate(training.ranges):
        if limits is not None and channel in values:
            found.append(_value_misfit(f"band {bands[channel]}", values[channel], limits, training.ranges_key))
    return tuple(sentence for sentence in found if sentence)


def _area(grid: Grid) -> float:
    return cell_area_m2(grid) or 0.0


def _sensor_misfit(scene: Scene, sensor: str | None) -> str | None:
    wanted = _plain(sensor)
    instruments = scene.properties.get("instruments")
    listed = instruments if isinstance(instruments, list) else [instruments]
    said = [scene.properties.get("platform"), scene.properties.get("constellation")]
    names = {_plain(name) for name in said} - {""}
    tools = {_plain(name) for name in listed} - {""}
    if wanted in NO_SENSORS or not (names or tools):
        return None
    words = {_plain(word) for word in re.split(r"[\s/,;()-]+", str(sensor))}
    wanted_twins = {wanted, *(twin for twins in SAME_SENSORS if wanted.startswith(twins) for twin in twins)}
    fits = any(one in name or name in one for one in wanted_twins for name in names)
    if fits or words & tools or wanted in tools:
        return None
    shown = ", ".join(str(name) for name in (*said, *listed) if name)
    return f"sensor: the model was made for {sensor} (SensorName), the Item is of {shown}"


def _plain(name: object) -> str:
    return re.sub(r"[^a-z0-9]", "", str(name).lower()) if name else ""


def _cell_misfit(grid: Grid, training: Training) -> str | None:
    area = cell_area_m2(grid)
    if area is None:
        return None
    found = math.sqrt(area)
    least, largest = (_metres(cell) for cell in (training.least_cell, training.largest_cell))
    is_too_small = least is not None and found < least[0] / least[1]
    is_too_large = largest is not None and found > largest[0] * largest[1]
    if not (is_too_small or is_too_large):
        return None
    limits = [
        f"{metres[0]:.3g} m ({key})" for key, metres in (("MinCellSize", least), ("MaxCellSize", largest)) if metres
    ]
    return f"cell size: the model was made for {' to '.join(limits)}, the scene has {found:.3g} m"


def _metres(cell: TrainedCell | None) -> tuple[float, float] | None:
    """Return a cell size in metres and how far a scene's may be from it; None where the CRS is not known."""
    if cell is None:
        return None
    for authority in ("EPSG", "ESRI"):
        try:
            crs = pyproj.CRS.from_authority(authority, cell.wkid)
        except pyproj.exceptions.CRSError:
            continue
        if crs.is_geographic:
            return cell.size * METRES_PER_DEGREE, LOOSE_TOLERANCE
        if not crs.axis_info:
            return None
        method = crs.coordinate_operation.method_name if crs.coordinate_operation else ""
        is_loose = "Mercator" in method and "Transverse" not in method
        return cell.size * crs.axis_info[0].unit_conversion_factor, LOOSE_TOLERANCE if is_loose else TOLERANCE
    return None


def _value_misfit(name: str, values: ValueFacts, limits: tuple[float, float], key: str) -> str | None:
    low, high = limits
    is_outside = not low <= values.middle <= high
    is_tiny = min(values.low, low) >= 0 and values.high < low + LOWEST_SHARE * (high - low)
    if not (is_outside or is_tiny):
        return None
    return (
        f"values of {name}: the model was made for {low:.5g} to {high:.5g} ({key}), those of the scene are "
        f"{values.low:.5g} to {values.high:.5g} (1st to 99th percentile), {values.middle:.5g} in the middle"
    )
