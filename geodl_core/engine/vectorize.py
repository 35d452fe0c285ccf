"""Turn a class map into a file of polygons: sieve, trace, simplify, place, write."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from geodl_core.domain.detection.areas import ELLIPSOID, areas_m2
from geodl_core.domain.detection.placing import place_boxes, place_outlines, to_crs
from geodl_core.domain.grid import WGS84, Grid, cell_area_m2, is_same_crs
from geodl_core.domain.regions.borders import densified
from geodl_core.domain.regions.class_map import ClassMap, Selection, class_name, is_selected
from geodl_core.domain.regions.rings import Shapes
from geodl_core.domain.regions.runs import NODATA, Numbers
from geodl_core.engine.trace_regions import Simplification, Sizing, find_regions, trace_regions
from geodl_core.errors import InputError
from geodl_core.io.vector.class_polygons import crs_in_file, write_class_polygons
from geodl_core.io.vector.class_raster import class_raster_facts, read_strips, strip_rows
from geodl_core.io.vector.run_store import RunStore

SHARES = 1 << 16
"""Of the middle pixel's area, in which all are counted: sums of whole numbers are the same in any order."""
LEAST_STRETCH = 1e-3
"""By which a pixel's sides must differ on the ground to count as unequal: UTM's do by less."""


POINTS_AT_ONCE = 1 << 19
"""Of polygons that are placed; several copies of them are held meanwhile."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A length or an area."""

    number: float
    is_px: bool
    """In pixels; else in metres or square metres."""


NOTHING = Measure(0.0, is_px=True)


@dataclass(frozen=True, slots=True)
class Wish:
    """Which polygons are wanted."""

    selection: Selection
    min_area: Measure = NOTHING
    """Smaller regions take the class of their largest neighbour."""
    connectivity: int = 4
    """4: pixels hold together along sides; 8: at corners too."""
    simplify: Measure = NOTHING
    crs: str | None = None
    """Of the polygons; None: the raster's, of GeoJSON longitude and latitude."""


@dataclass(frozen=True, slots=True)
class Written:
    """What is in the file."""

    crs: str
    polygons: Mapping[int, int]
    """Class id → how many."""
    areas_m2: Mapping[int, float] | None
    """Class id → area on the ellipsoid; None where the raster has no place on Earth."""
    points: int


@dataclass(frozen=True, slots=True)
class _Polygons:
    """Polygons in pixels."""

    shapes: Shapes
    regions: Numbers
    """(N,) region of each, rising."""
    classes: Numbers
    """(R,) class of each region."""


def vectorize(class_map: ClassMap, wish: Wish, target: Path, rows: int | None = None) -> Written:
    """Write the polygons of a class map.

    The raster is read once, in strips; what is held are the table of its regions and the points of the outlines. The
    file is the same, byte for byte, whatever the strips.

    Args:
        class_map: where it lies and what is known of it.
        wish: which polygons are wanted.
        target: the file, whose suffix says its format; replaced where there is one.
        rows: of a strip; None: what is best read at a time.

    Raises:
        ItemError: the raster is not there, no class map, or has no place in the CRS asked for.
        InputError: metres are asked for, and the raster's CRS has no place on Earth; or no format has this suffix.
        DataError: the raster is damaged.
        StoreError: the file cannot be written.
    """
    facts = class_raster_facts(class_map)
    crs = crs_in_file(target, wish.crs, facts.grid.crs)
    sizing, simplification = sizing_of(facts.grid, wish), simplification_of(facts.grid, wish.simplify)
    with RunStore(target.parent) as store:
        found = find_regions(read_strips(class_map, rows or strip_rows(facts)), sizing, store)
        classes = found.regions.values
        is_wanted = _wanted(classes, wish.selection)
        shapes, regions = trace_regions(found, is_wanted, simplification, store)
    return _write(_Polygons(shapes, regions, classes), class_map, (facts.grid, crs), target)


def sizing_of(grid: Grid, wish: Wish) -> Sizing:
    """Return what makes a region that stays; in square metres each row's pixels count with their own area.

    Raises:
        InputError: square metres are asked for, and the CRS has no place on Earth.
    """
    area = cell_area_m2(grid)
    if area is None or wish.min_area.is_px or not wish.min_area.number:
        _require_pixels(wish.min_area)
        return Sizing(np.ones(grid.height, np.int64), math.ceil(wish.min_area.number), wish.connectivity)
    rows = np.arange(grid.height)
    col = np.full(grid.height, grid.width // 2)
    boxes = np.column_stack([col, rows, col + 1, rows + 1]).astype(np.float32)
    weights = np.rint(areas_m2(place_boxes(boxes, grid, WGS84)) * (SHARES / area)).astype(np.int64)
    least = math.ceil(wish.min_area.number / area * SHARES)
    return Sizing(np.maximum(weights, 1), max(least, 1), wish.connectivity)


def simplification_of(grid: Grid, tolerance: Measure) -> Simplification:
    """Return how far borders are simplified; pixels are those of the shorter side.

    Raises:
        InputError: metres are asked for, and the CRS has no place on Earth.
    """
    if not tolerance.number:
        return Simplification()
    if cell_area_m2(grid) is None:
        _require_pixels(tolerance)
        return Simplification(tolerance.number)
    col, row = grid.width // 2, grid.height // 2
    lon, lat = to_crs(np.array([[col, col + 1, col], [row, row, row + 1]], np.float64), grid, WGS84)
    _, _, sides = ELLIPSOID.inv([lon[0]] * 2, [lat[0]] * 2, lon[1:], lat[1:])
    x, y = sides / sides.min()
    stretch = (float(x), float(y)) if max(x, y) > 1 + LEAST_STRETCH else (1.0, 1.0)
    return Simplification(tolerance.number / (1 if tolerance.is_px else float(sides.min())), stretch)


def _require_pixels(measure: Measure) -> None:
    if not measure.is_px:
        raise InputError(
            f"expected a measure in pixels, found {measure.number:g} in metres: the raster has no place on Earth",
            hint="write it as 20px",
        )


def _wanted(classes: Numbers, selection: Selection) -> npt.NDArray[np.bool_]:
    distinct, number = np.unique(classes, return_inverse=True)
    chosen = [value != NODATA and is_selected(selection, int(value)) for value in distinct]
    return np.array(chosen, np.bool_)[number]


def _write(polygons: _Polygons, class_map: ClassMap, spaces: tuple[Grid, str], target: Path) -> Written:
    """Write polygons of a grid in a CRS."""
    grid, crs = spaces
    shapes, areas = _placed(polygons.shapes, grid, crs)
    regions, first, number = np.unique(polygons.regions, return_index=True, return_inverse=True)
    if len(regions) < len(shapes):
        shapes = _united(shapes, number, first)
        areas = None if areas is None else np.asarray(np.bincount(number, weights=areas), np.float64)
    ids = polygons.classes[regions]
    distinct, class_of = np.unique(ids, return_inverse=True)
    names = np.array([class_name(class_map, int(value)) for value in distinct], np.object_)
    is_short = np.abs(ids).max(initial=0) < 1 << 31
    columns: dict[str, Any] = {"class_id": ids.astype(np.int32 if is_short else np.int64)}
    columns["class_name"] = names[class_of]
    if areas is not None:
        columns["area_m2"] = areas
    write_class_polygons(target, shapes, crs, {**columns, **(class_map.origin or {})})
    sums = None if areas is None else np.bincount(class_of, weights=areas).tolist()
    counts = np.bincount(class_of).tolist()
    return Written(
        crs,
        dict(zip(distinct.tolist(), counts, strict=True)),
        None if sums is None else dict(zip(distinct.tolist(), sums, strict=True)),
        int(shapely.get_num_coordinates(shapes).sum()),
    )


def _placed(shapes: Shapes, grid: Grid, crs: str) -> tuple[Shapes, npt.NDArray[np.float64] | None]:
    """Return shapes in a CRS, and their areas where they have a place on Earth."""
    is_on_earth = cell_area_m2(grid) is not None
    placed: Shapes = np.empty(len(shapes), object)
    areas = np.zeros(len(shapes))
    points = np.cumsum(shapely.get_num_coordinates(shapes))
    bounds = np.flatnonzero(np.diff(points // POINTS_AT_ONCE, prepend=-1, append=-1))
    for some in (slice(*pair) for pair in pairwise(bounds.tolist())):
        placed[some], areas[some] = _some_placed(shapes[some], grid, crs, is_on_earth)
    return placed, areas if is_on_earth else None


def _some_placed(
    shapes: Shapes, grid: Grid, crs: str, is_on_earth: bool
) -> tuple[Shapes, npt.NDArray[np.float64] | float]:
    is_here = is_same_crs(crs, grid.crs)
    here = place_outlines(shapes, grid, crs).shapes if is_here else None
    if here is not None and not is_on_earth:
        return here, 0.0
    # Straight sides are not straight in another CRS: a long one needs points for its curve.
    dense = densified(shapes)
    on_earth = place_outlines(dense, grid, WGS84)
    areas = areas_m2(on_earth)
    if here is not None:
        return here, areas
    return on_earth.shapes if is_same_crs(crs, WGS84) else place_outlines(dense, grid, crs).shapes, areas


def _united(shapes: Shapes, number: Numbers, first: Numbers) -> Shapes:
    """Return the polygons of a number as one, a multipolygon unless it is alone."""
    parts, of = shapely.get_parts(shapes, return_index=True)
    whole: Shapes = shapely.multipolygons(parts, indices=number[of])
    return np.where(np.bincount(number) == 1, shapes[first], whole)
