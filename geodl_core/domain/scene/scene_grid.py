"""The grid of a job: the finest band's own, or one made for the model's cell size or the user's wish."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyproj
import pyproj.exceptions
from affine import Affine

from geodl_core.domain.grid import Grid, cell_area_m2, cell_size, is_same_crs
from geodl_core.domain.model.training import TrainedCell
from geodl_core.domain.plan.placing import POINTS_PER_SIDE, outline_in, transformer
from geodl_core.errors import InputError, ItemError

TOLERANCE = 0.05
"""Of a model's cell sizes: nearer than that to their range a scene is left as it is."""
MOST_ENLARGED = 4
"""A scene is not brought to cells smaller than that many times for a model's sake: it holds nothing so fine."""
MOST_SIDE_PX = 1 << 21
DIGITS = 3
"""Of a cell size that was converted from another CRS."""
METRES_PER_DEGREE = 111_320.0


@dataclass(frozen=True, slots=True)
class GridWish:
    """What is asked of a job's grid; nothing of it: the finest band's own."""

    cell_size: str | None = None
    """A number in units of the CRS, or one of metres, as `20m`."""
    crs: str | None = None
    """An authority's code or WKT."""
    snap: Grid | None = None
    """Of a raster whose CRS, cells and lines of pixels are to be used."""
    trained: tuple[TrainedCell | None, TrainedCell | None] = (None, None)
    """The smallest and the largest cells that the model was trained with."""


def choose_grid(grids: Sequence[Grid], wish: GridWish) -> tuple[Grid, str]:
    """Return the grid of a job, and why it is this one.

    Whatever lies outside the finest band is valid in no band's stead, so that its extent is the scene's.

    Args:
        grids: of the bands that the model needs.
        wish: the user's, and the model's cell sizes.

    Raises:
        ItemError: no such grid holds the scene.
        InputError: the wish is none.
    """
    finest = _finest(grids)
    if wish.snap is not None:
        return _covering(finest, wish.snap.crs, wish.snap.affine), "CRS, cells and lines of the raster to snap to"
    crs = finest.crs if wish.crs is None else read_crs(wish.crs)
    is_own_crs = is_same_crs(crs, finest.crs)
    if wish.cell_size is not None:
        side, why = _given_side(wish.cell_size, finest, crs), f"its cells of {wish.cell_size} were asked for"
    else:
        metres, why = _model_metres(finest, wish.trained)
        if metres is None and is_own_crs:
            return finest, why
        side = _rounded((metres or _ground_m(finest)) / _metres_per_unit(crs, finest))
    if not is_own_crs:
        why = f"its CRS {crs[:40]} was asked for; {why}"
    return _covering(finest, crs, Affine(side, 0, 0, 0, -side, 0)), why


def read_crs(text: str) -> str:
    """Return a CRS as grids name it.

    Raises:
        InputError: not a CRS of a map or of longitude and latitude.
    """
    try:
        crs = pyproj.CRS.from_user_input(int(text) if text.strip().isdecimal() else text)
    except pyproj.exceptions.CRSError as error:
        raise InputError(f"--crs: expected a code such as EPSG:3857, or WKT, found {text[:60]}") from error
    if not (crs.is_projected or crs.is_geographic):
        raise InputError(f"--crs: expected a CRS of a map or of longitude and latitude, found {crs.name}")
    authority = crs.to_authority(min_confidence=100)
    return ":".join(authority) if authority else crs.to_wkt()


def read_cell_size(text: str) -> tuple[float, bool]:
    """Return a cell size and whether it is in metres, not in units of the CRS.

    Raises:
        InputError: it is no length.
    """
    number = text.strip().lower()
    is_metres = number.endswith("m")
    try:
        side = float(number.removesuffix("m"))
    except ValueError:
        side = math.nan
    if not (math.isfinite(side) and side > 0):
        raise InputError(f"--cell-size: expected a length such as 20 (in units of the CRS) or 20m, found {text}")
    return side, is_metres


def _finest(grids: Sequence[Grid]) -> Grid:
    """Return the first of the grids with the smallest cells on the ground."""
    if all(is_same_crs(grid.crs, grids[0].crs) for grid in grids):
        return min(grids, key=lambda grid: math.prod(cell_size(grid)))
    # CRSs stretch the ground by parts of a thousand: what differs by less is the same.
    sides = [_ground_m(grid) for grid in grids]
    return next(grid for grid, side in zip(grids, sides, strict=True) if side <= min(sides) * 1.01)


def _given_side(text: str, finest: Grid, crs: str) -> float:
    side, is_metres = read_cell_size(text)
    if is_metres:
        side = _rounded(side / _metres_per_unit(crs, finest))
    return side


def _model_metres(finest: Grid, trained: tuple[TrainedCell | None, TrainedCell | None]) -> tuple[float | None, str]:
    """Return the side in metres that the model asks for, None where the finest band's serves, and why."""
    own = "the finest band's own"
    smallest, largest = (_metres_of(cell, finest) for cell in trained)
    if smallest is None and largest is None:
        return None, own
    # Where both are said they may overlap, since either may mean several sizes.
    least = min(smallest[0], largest[0] if largest else math.inf) if smallest else 0.0
    most = max(largest[1], smallest[1] if smallest else 0.0) if largest else math.inf
    here = _ground_m(finest)
    if least * (1 - TOLERANCE) <= here <= most * (1 + TOLERANCE):
        return None, f"{own}, whose cells the model knows"
    said = f"the model was trained with cells of {_span(least, most)}, the finest band has {here:.3g} m"
    if here > most * MOST_ENLARGED:
        return None, f"{own}: {said}, which holds nothing so fine; --cell-size {most:.3g}m would enlarge it"
    wanted = least if here < least else most
    return wanted, f"cells of {wanted:.3g} m over the finest band's extent, as {said}"


def _span(least: float, most: float) -> str:
    if math.isinf(most):
        return f"{least:.3g} m or more"
    if not least:
        return f"{most:.3g} m or less"
    return f"{least:.3g} m" if most <= least * 1.01 else f"{least:.3g} to {most:.3g} m"


def _metres_of(cell: TrainedCell | None, finest: Grid) -> tuple[float, float] | None:
    """Return the least and the most that a model's cell size may mean in metres; None where its unit is unknown.

    Mercator and degrees shrink towards the poles, and nobody knows where the model was trained: both the nominal size
    and the one here count.
    """
    crs = _esri_crs(cell.wkid) if cell is not None else None
    if cell is None or crs is None:
        return None
    try:
        here = cell.size * _metres_per_unit(crs.to_wkt(), finest)
    except ItemError:
        return None
    nominal = cell.size * (METRES_PER_DEGREE if crs.is_geographic else crs.axis_info[0].unit_conversion_factor)
    return min(here, nominal), max(here, nominal)


def _esri_crs(wkid: int) -> pyproj.CRS | None:
    for authority in ("EPSG", "ESRI"):
        try:
            crs = pyproj.CRS.from_authority(authority, str(wkid))
        except pyproj.exceptions.CRSError:
            continue
        if crs.is_geographic or crs.is_projected:
            return crs
    return None


def _ground_m(grid: Grid) -> float:
    """Return the side of a square as large as the grid's middle pixel."""
    return math.sqrt(abs(grid.affine.determinant)) * _metres_per_unit(grid.crs, grid)


def _metres_per_unit(crs: str, near: Grid) -> float:
    """Return how long a unit of a CRS is on the ground at the middle of a grid.

    Raises:
        ItemError: the CRS has no such place.
    """
    x, y = near.affine @ (near.width / 2, near.height / 2)
    across, up = (float(value) for value in transformer(near.crs, crs)(np.array(x), np.array(y)))
    if math.isfinite(across) and math.isfinite(up):
        # Large enough for the area on the ellipsoid to be exact, small enough for the CRS to be even.
        unit = 0.01 if pyproj.CRS.from_user_input(crs).is_geographic else 1000.0
        area = cell_area_m2(Grid(crs, (unit, 0, across - unit / 2, 0, -unit, up + unit / 2), 1, 1))
        if area:
            return math.sqrt(area) / unit
    raise ItemError(f"the scene has no place in {crs[:60]}", hint="choose another --crs")


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _covering(finest: Grid, crs: str, lines: Affine) -> Grid:
    """Return the grid of given lines of pixels that covers another, cut outward.

    Raises:
        ItemError: the CRS cannot hold it in one piece, its cells are larger than it, or too many.
    """
    x, y = outline_in(finest, crs)
    _require_whole(x, y, crs)
    a, b, c, d, e, f = tuple(~lines)[:6]
    cols, rows = a * x + b * y + c, d * x + e * y + f
    # What lies on a line to a thousandth of a pixel lies on it.
    top, left = math.floor(rows.min() + 1e-3), math.floor(cols.min() + 1e-3)
    height, width = math.ceil(rows.max() - 1e-3) - top, math.ceil(cols.max() - 1e-3) - left
    side = abs(lines.determinant) ** 0.5
    if np.ptp(rows) < 1 and np.ptp(cols) < 1:
        raise ItemError(
            f"cells of {side:g} are larger than the scene in {crs[:40]}",
            hint="a plain --cell-size is in units of the CRS; write 20m for metres",
        )
    if max(height, width) > MOST_SIDE_PX:
        raise ItemError(
            f"cells of {side:g} cut the scene into {width} × {height} pixels (width × height): too many",
            hint="a plain --cell-size is in units of the CRS; write 20m for metres",
        )
    return Grid(crs, tuple(lines @ Affine.translation(left, top))[:6], height, width)


def _require_whole(x: np.ndarray, y: np.ndarray, crs: str) -> None:
    """Make sure that an outline is one in its CRS too: all of it there, closed, and not torn."""
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ItemError(f"a part of the scene has no place in {crs[:60]}", hint="choose another --crs")
    steps = np.hypot(np.diff(x), np.diff(y)).reshape(4, POINTS_PER_SIDE - 1)
    is_closed = np.hypot(x[-1] - x[0], y[-1] - y[0]) <= steps.max()
    is_geographic = pyproj.CRS.from_user_input(crs).is_geographic
    is_torn = not is_geographic and (steps.max(axis=1) > 10 * np.median(steps, axis=1)).any()
    if not is_closed or is_torn:
        raise ItemError(
            f"the scene does not lie in one piece in {crs[:60]}: it crosses the antimeridian or holds a pole",
            hint="choose a CRS for that region, such as EPSG:3832 for the Pacific or EPSG:3031 for the Antarctic",
        )
