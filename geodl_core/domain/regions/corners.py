"""Corners: where the outlines of regions turn, or where more than two regions meet."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geodl_core.domain.regions.runs import Numbers

OUTSIDE = 0
"""Number of what has no outline."""
EAST, SOUTH, WEST, NORTH = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class Corners:
    """Points of outlines, each walked so that its region lies to the left, in reading order."""

    rows: npt.NDArray[np.int32]
    """(N,) of the line between pixels: 0 above the first row."""
    cols: npt.NDArray[np.int32]
    """(N,) 0 left of the first column."""
    arrives: npt.NDArray[np.uint8]
    """(N,) direction in which the outline comes."""
    leaves: npt.NDArray[np.uint8]
    """(N,) direction in which it goes on; the same where only the neighbours turn."""
    regions: Numbers
    """(N,) whose outline it is."""
    bends: npt.NDArray[np.bool_]
    """(N,) whether it is but a bend between two regions: no third one is there, nor the map's frame."""


def find_corners(above: Numbers, numbers: Numbers, top: int) -> Corners:
    """Return the corners on the lines above each row of a strip.

    A region that touches itself at a corner alone is led around what lies between, so that no outline meets itself;
    what it encloses becomes a hole that touches the outline. Each region is 4-connected.

    Args:
        above: (w,) regions' numbers in the row above; `OUTSIDE` above the first.
        numbers: (h, w) of the strip.
        top: the strip's first row.
    """
    height, width = numbers.shape
    framed = np.full((height + 1, width + 2), OUTSIDE, np.int64)
    framed[0, 1:-1], framed[1:, 1:-1] = above, numbers
    is_upright = framed[:, 1:] != framed[:, :-1]
    is_level = framed[1:] != framed[:-1]
    # Elsewhere a line goes straight on, or there is none.
    points = np.flatnonzero((is_upright[:-1] | is_upright[1:]) & (is_level[:, :-1] | is_level[:, 1:]))
    row, col = np.divmod(points, width + 1)
    first = row * (width + 2) + col
    pixels = framed.ravel()
    found = _turns(*(pixels[first + step] for step in (0, 1, width + 2, width + 3)))
    index = np.concatenate([where for where, *_ in found])
    regions = np.concatenate([of for _, of, *_ in found])
    arrives, leaves, bends = (
        np.concatenate([np.broadcast_to(each[part], each[0].shape) for each in found]) for part in (2, 3, 4)
    )
    order = np.argsort(index, kind="stable")
    index = index[order]
    return Corners(
        (row[index] + top).astype(np.int32),
        col[index].astype(np.int32),
        arrives[order].astype(np.uint8),
        leaves[order].astype(np.uint8),
        regions[order],
        bends[order],
    )


Turns = list[tuple[npt.NDArray[np.intp], Numbers, int, npt.NDArray[np.int64] | int, npt.NDArray[np.bool_] | bool]]


def _turns(nw: Numbers, ne: Numbers, sw: Numbers, se: Numbers) -> Turns:
    """Return (points, regions, arrives, leaves, bends) of all kinds of corners, from the four pixels around points."""
    found: Turns = []
    # The pixel, its neighbours beside and above or below, the one across; how the outline comes into its corner and
    # leaves it, and how it leaves where the pixel across is of the same region.
    for pixel, beside, along, across, arrives, leaves, leaps in (
        (nw, ne, sw, se, EAST, NORTH, SOUTH),
        (ne, nw, se, sw, SOUTH, EAST, WEST),
        (sw, se, nw, ne, NORTH, WEST, EAST),
        (se, sw, ne, nw, WEST, SOUTH, NORTH),
    ):
        where = np.flatnonzero((pixel != beside) & (pixel != along) & (pixel != OUTSIDE))
        is_bend = (beside == along) & (beside == across) & (beside != OUTSIDE)
        ways = np.where(across[where] == pixel[where], leaps, leaves)
        found.append((where, pixel[where], arrives, ways, is_bend[where]))
    # Three of four pixels are of the region: all but the one across.
    for pixel, beside, along, across, arrives, leaves in (
        (nw, ne, sw, se, NORTH, EAST),
        (ne, nw, se, sw, EAST, SOUTH),
        (sw, se, nw, ne, WEST, NORTH),
        (se, sw, ne, nw, SOUTH, WEST),
    ):
        where = np.flatnonzero((pixel == beside) & (pixel == along) & (pixel != across) & (pixel != OUTSIDE))
        found.append((where, pixel[where], arrives, leaves, across[where] != OUTSIDE))
    # Two of one region side by side, and two others: its neighbours turn here, so it needs the point too.
    for one, other, this, that, way in (
        (nw, ne, sw, se, EAST),
        (sw, se, nw, ne, WEST),
        (nw, sw, ne, se, NORTH),
        (ne, se, nw, sw, SOUTH),
    ):
        is_passed = (one == other) & (this != that) & (one != this) & (one != that) & (one != OUTSIDE)
        where = np.flatnonzero(is_passed)
        found.append((where, one[where], way, way, False))
    return found
