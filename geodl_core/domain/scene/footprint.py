"""The footprint of a result: the polygon of the pixels that have one, in degrees."""

from typing import Any

import numpy as np
import shapely

from geodl_core.domain.grid import Grid, outline_wgs84, shape_wgs84
from geodl_core.domain.pixels.chip import Mask

MOST_RUNS = 4_000
"""Of valid pixels, row by row: a mask that has more is made coarser before it is traced."""
MOST_VERTICES = 400
HOLE_SHARE = 1e-3
"""Holes of a smaller share of the grid are filled."""
STRAIGHT_PIECES = 20
"""Pieces into which a side as long as the grid is cut, since what is straight on the grid is not so in degrees."""


def footprint_wgs84(valid: Mask, factor: int, grid: Grid) -> dict[str, Any]:
    """Return the footprint as GeoJSON in OGC:CRS84, cut at the antimeridian; it holds every valid pixel.

    It reaches further than the pixels of `valid` by three of them at most, before those with many holes and islands
    are made coarser and where more than `MOST_VERTICES` would be needed. Where all or none is valid it is the grid's
    outline.

    Args:
        valid: (h, w); true where any of the grid's pixels that stand behind a pixel has a result.
        factor: the grid's pixels along one of `valid`.
        grid: of the result.

    Raises:
        ItemError: the grid has no place on Earth.
    """
    if valid.all() or not valid.any():
        return outline_wgs84(grid)
    valid, factor = coarsened(valid, factor)
    whole = shapely.box(0, 0, grid.width, grid.height)
    found = _outside(_traced(valid, factor), factor, whole)
    while shapely.get_num_coordinates(found) > MOST_VERTICES and max(valid.shape) > 1:
        valid, factor = _halved(valid, factor)
        found = _outside(_traced(valid, factor), factor, whole)
    if found.equals(whole):
        return outline_wgs84(grid)
    return shape_wgs84(shapely.segmentize(found, max(grid.shape) / STRAIGHT_PIECES), grid)


def coarsened(valid: Mask, factor: int) -> tuple[Mask, int]:
    """Halve a mask until its valid pixels lie in few runs; a pixel is valid then if any that it stands for is."""
    while max(valid.shape) > 1 and _runs(valid) > MOST_RUNS:
        valid, factor = _halved(valid, factor)
    return valid, factor


def _halved(valid: Mask, factor: int) -> tuple[Mask, int]:
    padded = np.pad(valid, [(0, side % 2) for side in valid.shape])
    quarters = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2)
    return np.asarray(quarters.any(axis=(1, 3))), 2 * factor


def _runs(valid: Mask) -> int:
    return int(np.count_nonzero(valid[:, 1:] & ~valid[:, :-1]) + np.count_nonzero(valid[:, 0]))


def _traced(valid: Mask, factor: int) -> shapely.Geometry:
    """Return the union of a mask's valid pixels, as (col, row) on the grid."""
    edges = np.diff(np.pad(valid, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, lefts = np.nonzero(edges == 1)
    _, rights = np.nonzero(edges == -1)
    boxes = shapely.box(lefts * factor, rows * factor, rights * factor, (rows + 1) * factor)
    return shapely.union_all(boxes)


def _outside(exact: shapely.Geometry, tolerance: float, whole: shapely.Polygon) -> shapely.Geometry:
    """Return a simpler shape that holds another one: it grows first by as much as simplifying may take away."""
    grown = _without_small_holes(shapely.buffer(exact, tolerance, join_style="mitre"), HOLE_SHARE * whole.area)
    return shapely.intersection(shapely.simplify(grown, tolerance), whole)


def _without_small_holes(shape: shapely.Geometry, least_area: float) -> shapely.Geometry:
    parts = []
    for part in shapely.get_parts(shape):
        holes = [ring for ring in part.interiors if shapely.Polygon(ring).area >= least_area]
        parts.append(shapely.Polygon(part.exterior, holes))
    return shapely.union_all(parts)
