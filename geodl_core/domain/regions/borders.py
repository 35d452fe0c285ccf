"""Borders of neighbouring outlines: fewer points, or more, and the same for both neighbours."""

import numpy as np
import shapely

from geodl_core.domain.regions.rings import Shapes

LONGEST_PX = 16
"""Of a side that is brought to another CRS, where it is not straight: on pixels of 10 m the middle of such a side is
off by half a millimetre."""


def simplified(shapes: Shapes, tolerance_px: float, stretch: tuple[float, float] = (1.0, 1.0)) -> Shapes:
    """Return outlines with fewer points, without gaps or overlaps; the border of the whole stays as it is.

    Points are left out by the area of the triangles that they make with their neighbours, the smallest first (M.
    Visvalingam and J. D. Whyatt, Line generalisation by repeated elimination of points, 1993), of each border once,
    and none whose triangle holds another point. Points where three outlines meet stay.

    Args:
        shapes: polygons of whole and half (col, row) positions that share all points of their borders.
        tolerance_px: the root of the largest triangle's area.
        stretch: how long a pixel's (x, y) sides are on the ground, the shorter 1.
    """
    if not tolerance_px or not len(shapes):
        return shapes
    stretched = shapely.transform(shapes, lambda points: points * stretch)
    simple = shapely.coverage_simplify(stretched, tolerance_px, simplify_boundary=False)
    return np.asarray(shapely.transform(simple, lambda points: np.rint(points / stretch * 2) / 2))


def densified(shapes: Shapes, longest_px: float = LONGEST_PX) -> Shapes:
    """Return polygons with points on their sides, so that none is longer along columns or rows.

    Points of a side are the same from whichever end it is walked.
    """
    if not len(shapes):
        return shapes
    kind, points, (rings, polygons) = shapely.to_ragged_array(shapes)
    step = np.diff(points, axis=0, append=points[-1:])
    pieces = np.maximum(np.ceil(np.abs(step).max(axis=1) / longest_px), 1).astype(np.int64)
    pieces[rings[1:] - 1] = 1  # between rings there is no side
    begins = np.append(0, np.cumsum(pieces))
    side = np.repeat(np.arange(len(points)), pieces)
    number = np.arange(begins[-1]) - begins[side]
    # Reckoned from the end that comes first in (x, y): the same numbers for both neighbours.
    is_backward = (step[:, 0] < 0) | ((step[:, 0] == 0) & (step[:, 1] < 0))
    first = np.where(is_backward[:, None], points + step, points)
    along = np.where(is_backward[:, None], -step, step)
    share = np.where(is_backward[side], pieces[side] - number, number) / pieces[side]
    places = first[side] + along[side] * share[:, None]
    return np.asarray(shapely.from_ragged_array(kind, places, (begins[rings], polygons)))
