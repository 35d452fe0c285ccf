"""Outlines: corners strung together to rings, and rings to polygons."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import shapely

from geodl_core.domain.grid import Coordinates
from geodl_core.domain.regions.corners import NORTH, SOUTH, Corners
from geodl_core.domain.regions.runs import Numbers

Shapes = npt.NDArray[np.object_]
STEPS = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], np.float64)
"""(x, y) of a step east, south, west, north."""


def outlines(parts: Sequence[Corners], is_bevelled: bool = False) -> tuple[Shapes, Numbers]:
    """Return the polygons of regions in (col, row), and the number of each, rising.

    Neighbours share all points of their common border.

    Args:
        parts: the corners of all strips, from top to bottom, and of the line below the last.
        is_bevelled: cut bends off half a pixel before and behind. A slanting border of single steps becomes straight
            then, and lies in the middle of its steps. Regions stay clear of each other: what is cut off a bend lies
            within half a pixel of it, and bends lie a pixel apart.
    """
    corners = _gathered(parts)
    order, starts = _strung(_followers(corners))
    # The first corner of a region in reading order is one of its outer ring, the others are its holes.
    by_region = np.argsort(corners.regions[order[starts]], kind="stable")
    lengths = np.diff(starts, append=len(order))[by_region]
    order = order[_stretches(starts[by_region], lengths)]
    numbers, first_rings = np.unique(corners.regions[order[_begins(lengths)]], return_index=True)
    places = np.column_stack([corners.cols[order], corners.rows[order]]).astype(np.float64)
    if is_bevelled:
        places, lengths = _bevelled(corners, order, places, lengths)
    closing = np.arange(lengths.sum() + len(lengths))
    closing -= np.repeat(np.arange(len(lengths)), lengths + 1)
    ends = np.cumsum(lengths + 1)
    closing[ends - 1] = _begins(lengths)
    offsets = (np.append(0, ends), np.append(first_rings, len(lengths)))
    return shapely.from_ragged_array(shapely.GeometryType.POLYGON, places[closing], offsets), numbers


def _gathered(parts: Sequence[Corners]) -> Corners:
    return Corners(*(np.concatenate([getattr(part, name) for part in parts]) for name in Corners.__slots__))


def _begins(lengths: Numbers) -> Numbers:
    """Return where each of some stretches begins when they lie one after the other."""
    return np.asarray(np.cumsum(lengths) - lengths)


def _stretches(starts: Numbers, lengths: Numbers) -> Numbers:
    """Return the indices of stretches, one after the other."""
    return np.asarray(np.arange(lengths.sum()) + np.repeat(starts - _begins(lengths), lengths))


def _followers(corners: Corners) -> Numbers:
    """Return (N,) which corner an outline comes to from each.

    On a line the stretches walked in one direction lie one after the other, as each has its region on the same side:
    the k-th that is left and the k-th that is reached belong together.
    """
    following = np.empty(len(corners.cols), np.int64)
    for way in range(4):
        left, reached = np.flatnonzero(corners.leaves == way), np.flatnonzero(corners.arrives == way)
        if way in (NORTH, SOUTH):
            left, reached = (each[np.argsort(corners.cols[each], kind="stable")] for each in (left, reached))
        following[left] = reached
    return following


def _strung(following: Numbers) -> tuple[Numbers, Numbers]:
    """Return the corners ring by ring, and where each ring begins: with its first corner in reading order."""
    after, order = following.data, np.empty(len(following), np.int64)
    strung, is_done, starts = order.data, bytearray(len(following)), []
    start, count = is_done.find(0), 0
    while start >= 0:
        starts.append(count)
        corner = start
        while not is_done[corner]:
            is_done[corner] = 1
            strung[count] = corner
            count += 1
            corner = after[corner]
        start = is_done.find(0, start)
    return order, np.array(starts, np.int64)


def _bevelled(corners: Corners, order: Numbers, places: Coordinates, lengths: Numbers) -> tuple[Coordinates, Numbers]:
    """Return the points of rings with bends cut off, and how many each ring has.

    Args:
        corners: that the rings are made of.
        order: (N,) corners ring by ring.
        places: (N, 2) of these.
        lengths: corners of each ring.
    """
    before = np.arange(len(order)) - 1
    before[_begins(lengths)] += lengths
    bends = corners.bends[order]
    # Half way between two bends of one step both cuts have the same point.
    is_shared = bends[before] & (np.abs(places - places[before]).sum(axis=1) == 1)
    counts = np.where(bends & ~is_shared, 2, 1)
    last = np.cumsum(counts) - 1
    cut = np.empty((len(order) + int((counts == 2).sum()), 2))
    cut[last - (counts == 2)] = places - STEPS[corners.arrives[order]] / 2
    cut[last] = np.where(bends[:, None], places + STEPS[corners.leaves[order]] / 2, places)
    return cut, np.add.reduceat(counts, _begins(lengths)) if len(lengths) else lengths
