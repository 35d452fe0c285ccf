"""Outlines of masks: a network's small pictures of objects as polygons in pixels of the scene."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import contourpy
import numpy as np
import numpy.typing as npt
import shapely

from geodl_core.domain.detection.detections import Boxes, Outlines

INSIDE = 0.5
"""A score above is inside."""


def trace_masks(masks: Sequence[npt.NDArray[np.float32]], boxes: Boxes) -> Outlines:
    """Return the outlines of masks, each drawn over its box.

    A score holds for the centre of its cell; between centres scores run straight, and beyond the outermost they stay
    the same up to the box's sides. The outline is where they cross one half (marching squares, W. E. Lorensen and H.
    E. Cline, 1987, in two dimensions): smooth, however few cells the mask has.

    Args:
        masks: N arrays of any (h, w), scores in [0, 1]; inside is what lies above 0.5. NaN is outside.
        boxes: (N, 4) xmin, ymin, xmax, ymax in pixels.

    Returns:
        (N,) polygons and multipolygons of (x, y) in the pixels of the boxes, valid, holes kept; the box itself where
        all is inside, an empty polygon where nothing is or the box has no area.

    Raises:
        ValueError: masks and boxes differ in number.
    """
    shapes: Outlines = np.empty(len(masks), object)
    for number, (mask, box) in enumerate(zip(masks, np.asarray(boxes, np.float64), strict=True)):
        shapes[number] = _outline(np.asarray(mask), *box)
    if not len(shapes):
        return shapes
    # Along the box's sides there is a point for each cell, on a straight line.
    plain: Outlines = shapely.simplify(shapes, 0)
    return np.asarray(shapely.orient_polygons(plain))


def _outline(mask: npt.NDArray[np.float32], x0: float, y0: float, x1: float, y1: float) -> shapely.Geometry:
    is_inside = mask > INSIDE
    if not is_inside.any() or x1 <= x0 or y1 <= y0:
        return shapely.Polygon()
    if is_inside.all():
        return shapely.box(x0, y0, x1, y1)
    height, width = mask.shape
    scores = np.pad(np.nan_to_num(mask.astype(np.float64), nan=0.0), 1, mode="edge")
    generator = contourpy.contour_generator(
        x=_positions(x0, x1, width), y=_positions(y0, y1, height), z=scores, fill_type=contourpy.FillType.OuterOffset
    )
    filled: Any = generator.filled(INSIDE, np.inf)
    parts = []
    for part, ends in zip(*filled, strict=True):
        outer, *holes = (part[start:end] for start, end in pairwise(ends))
        parts.append(shapely.Polygon(outer, holes))
    return _whole(parts)


def _positions(low: float, high: float, cells: int) -> npt.NDArray[np.float64]:
    """Return where scores hold along a side: at its ends, and at the centres of its cells."""
    return low + (high - low) / cells * np.concatenate([[0], np.arange(cells) + 0.5, [cells]])


def _whole(parts: Sequence[shapely.Polygon]) -> shapely.Geometry:
    """Return polygons as one shape; those that touch where a score is one half exactly are put right."""
    shape = parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
    if shape.is_valid:
        return shape
    pieces = shapely.get_parts(shapely.make_valid(shape))
    areal = [piece for whole in pieces for piece in shapely.get_parts(whole) if piece.area > 0]
    return areal[0] if len(areal) == 1 else shapely.MultiPolygon(areal)
