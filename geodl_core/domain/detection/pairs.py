"""Pairs of boxes that overlap, found without comparing all with all.

Boxes are sorted into levels by their longest side, each twice the one below. The boxes of a level lie in strips as high
as the level's sides are long, and within a strip by their left side. What overlaps a box then stands in one run in each
of two or three strips. Time and memory follow the boxes and the pairs, for boxes of any mixture of sizes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Pairs = tuple[Rows, Rows, Floats]
"""Rows of the one, rows of the other, and the area that they share, which is above 0."""

BLOCK = 1 << 17
"""Pairs that are looked at together: few megabytes, which stay in the processor's cache."""
COLUMNS = 8
"""Steps along a strip for the side of its level; finer ones give shorter runs."""
KEY_BITS = 60


@dataclass(frozen=True, slots=True)
class Extents:
    """Boxes, of which only those of one group are paired.

    Raises:
        ValueError: a coordinate is not a finite number, or the arrays differ in length.
    """

    boxes: Floats
    """(N, 4) xmin, ymin, xmax, ymax; a box without width or height shares no area with any."""
    groups: Rows
    """(N,) 0 or more."""

    def __post_init__(self) -> None:
        if len(self.boxes) != len(self.groups):
            raise ValueError("boxes and groups: the arrays differ in length")
        if not np.isfinite(self.boxes).all():
            raise ValueError("boxes: expected finite numbers")


@dataclass(frozen=True, slots=True)
class Runs:
    """Pairs to look at: each query with a run of the references."""

    queries: Rows
    """(K,) rows."""
    starts: Rows
    """(K,) positions in `references`."""
    counts: Rows
    """(K,) 1 or more."""
    references: Rows
    """(M,) rows."""


@dataclass(frozen=True, slots=True)
class _Lattice:
    """The strips of one level."""

    origin: tuple[float, float]
    side: float
    """Longer than that of any of its boxes: the height of a strip."""
    columns: int
    strips: int


def extents_of(boxes: npt.ArrayLike, groups: npt.ArrayLike) -> Extents:
    """Return boxes and groups as they are compared: float64, and groups counted from 0.

    Raises:
        ValueError: a coordinate is not a finite number, or the arrays differ in length.
    """
    numbers = np.asarray(groups, np.int64)
    if len(numbers) and (numbers.min() < 0 or numbers.max() >= len(numbers)):
        numbers = np.unique(numbers, return_inverse=True)[1]
    return Extents(np.asarray(boxes, np.float64).reshape(-1, 4), numbers)


def areas_of(boxes: Floats) -> Floats:
    """Return the area of each box, 0 where it has no width or no height."""
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    areas: Floats = np.maximum(width, 0) * np.maximum(height, 0)
    return areas


def find_runs(extents: Extents, rows: Rows, others: Rows | None = None, ratio: float = 0) -> list[Runs]:
    """Return what must be looked at to find all pairs that overlap.

    Args:
        extents: all boxes.
        rows: which of them to pair.
        others: with which, none of them among `rows`; None: `rows` among themselves, each pair once.
        ratio: leave out most pairs whose longest sides stand in no more than this ratio. (The intersection over union
            of two boxes is never more than that of their longest sides.)
    """
    boxes = extents.boxes
    is_filled = areas_of(boxes) > 0
    near = rows[is_filled[rows]]
    far = near if others is None else others[is_filled[others]]
    if not len(near) or not len(far):
        return []
    span = boxes[near if others is None else np.concatenate([near, far])]
    origin, end = span[:, :2].min(0), span[:, 2:].max(0)
    levels = np.frexp(np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]))[1]
    levels = np.maximum(levels, _lowest_level(float((end - origin).max()), int(extents.groups.max()) + 1))
    runs = []
    for level in np.unique(np.concatenate([levels[near], levels[far]])).tolist():
        lattice = _lattice(origin, end, 2.0**level)
        # A side is less than 2 to the power of its level, and that of this level at least half that.
        least = level - 1 + int(np.frexp(ratio)[1]) if ratio > 0 else levels.min()
        far_here = far[levels[far] == level]
        if others is None:
            runs.append(_runs_within(extents, far_here, lattice))
        else:
            near_low = near[(levels[near] >= least) & (levels[near] <= level)]
            runs.append(_runs_between(extents, near_low, far_here, lattice))
        near_here = near[levels[near] == level]
        far_low = far[(levels[far] >= least) & (levels[far] < level)]
        runs.append(_runs_between(extents, far_low, near_here, lattice))
    return [each for each in runs if len(each.queries)]


def count_of(runs: Sequence[Runs]) -> int:
    """Return how many pairs there are to look at."""
    return sum(int(each.counts.sum()) for each in runs)


def pairs_of(extents: Extents, runs: Sequence[Runs]) -> Iterator[Pairs]:
    """Yield the pairs that overlap, block by block; of `Runs` between two sets, in either order."""
    for each in runs:
        lent = [np.ascontiguousarray(column) for column in extents.boxes[each.references].T]
        asked = [np.ascontiguousarray(column) for column in extents.boxes[each.queries].T]
        ends = each.counts.cumsum()
        cuts = np.searchsorted(ends, np.arange(BLOCK, int(ends[-1]) + BLOCK, BLOCK))
        bounds = np.unique([0, *np.minimum(cuts + 1, len(ends)).tolist()]).tolist()
        for first, stop in pairwise(bounds):
            counts = each.counts[first:stop]
            query = np.repeat(np.arange(first, stop), counts)
            skipped = ends[first:stop] - counts
            place = np.arange(len(query)) + (skipped[0] if len(skipped) else 0)
            place += np.repeat(each.starts[first:stop] - skipped, counts)
            width = np.minimum(asked[2][query], lent[2][place]) - np.maximum(asked[0][query], lent[0][place])
            height = np.minimum(asked[3][query], lent[3][place]) - np.maximum(asked[1][query], lent[1][place])
            found = np.flatnonzero((width > 0) & (height > 0))
            yield each.queries[query[found]], each.references[place[found]], width[found] * height[found]


def _lowest_level(span: float, groups: int) -> int:
    """Return the level below which a key of group, strip and column would not fit its bits."""
    bits = (KEY_BITS - COLUMNS.bit_length() - groups.bit_length()) // 2
    return int(np.frexp(span)[1]) - bits + 2


def _lattice(origin: Floats, end: Floats, side: float) -> _Lattice:
    # One strip and one side more all round, so that neighbours have numbers too.
    columns, strips = (int(count) + 3 for count in np.ceil((end - origin) / side))
    return _Lattice((origin[0] - side, origin[1] - side), side, columns * COLUMNS, strips)


def _strips(lattice: _Lattice, y: Floats) -> Rows:
    return ((y - lattice.origin[1]) / lattice.side).astype(np.int64)


def _keys(lattice: _Lattice, groups: Rows, strips: Rows, x: Floats) -> Rows:
    """Return numbers that rise with the group, with the strip within a group, and with x within a strip."""
    columns = ((x - lattice.origin[0]) * (COLUMNS / lattice.side)).astype(np.int64)
    keys: Rows = (groups * lattice.strips + strips) * lattice.columns + columns
    return keys


def _own_keys(lattice: _Lattice, extents: Extents, rows: Rows) -> Rows:
    boxes = extents.boxes[rows]
    return _keys(lattice, extents.groups[rows], _strips(lattice, boxes[:, 1]), boxes[:, 0])


def _runs_within(extents: Extents, rows: Rows, lattice: _Lattice) -> Runs:
    """Return runs for the pairs among boxes of one level."""
    keys = _own_keys(lattice, extents, rows)
    order = np.argsort(keys, kind="stable")
    rows, keys = rows[order], keys[order]
    boxes, places = extents.boxes[rows], np.arange(len(rows))
    strips = _strips(lattice, boxes[:, 1])
    stops = np.searchsorted(keys, _keys(lattice, extents.groups[rows], strips, boxes[:, 2]), side="right")
    # To the right in the own strip, and in the strip below where the box reaches it.
    reaching = rows[_strips(lattice, boxes[:, 3]) > strips]
    starts, counts = _runs_in_strip(extents, reaching, keys, lattice, 1)
    return _without_empty(
        np.concatenate([rows, reaching]),
        np.concatenate([places + 1, starts]),
        np.concatenate([stops - places - 1, counts]),
        rows,
    )


def _runs_between(extents: Extents, queries: Rows, references: Rows, lattice: _Lattice) -> Runs:
    """Return runs for the pairs of boxes of one level, the references, and others that are no larger."""
    if not len(queries) or not len(references):
        return _without_empty(*(np.zeros(0, np.int64),) * 4)
    keys = _own_keys(lattice, extents, references)
    order = np.argsort(keys, kind="stable")
    references, keys = references[order], keys[order]
    queries = queries[np.argsort(_own_keys(lattice, extents, queries), kind="stable")]
    boxes = extents.boxes[queries]
    lower = queries[_strips(lattice, boxes[:, 3]) > _strips(lattice, boxes[:, 1])]
    asked = (queries, queries, lower)
    found = [_runs_in_strip(extents, rows, keys, lattice, step) for rows, step in zip(asked, (-1, 0, 1), strict=True)]
    starts, counts = (np.concatenate(each) for each in zip(*found, strict=True))
    return _without_empty(np.concatenate(asked), starts, counts, references)


def _runs_in_strip(extents: Extents, queries: Rows, keys: Rows, lattice: _Lattice, step: int) -> tuple[Rows, Rows]:
    """Return the starts and lengths of runs in the strip that lies `step` below a box's own."""
    boxes, groups = extents.boxes[queries], extents.groups[queries]
    strips = _strips(lattice, boxes[:, 1]) + step
    starts = np.searchsorted(keys, _keys(lattice, groups, strips, boxes[:, 0] - lattice.side), side="left")
    stops = np.searchsorted(keys, _keys(lattice, groups, strips, boxes[:, 2]), side="right")
    return starts, stops - starts


def _without_empty(queries: Rows, starts: Rows, counts: Rows, references: Rows) -> Runs:
    kept = np.flatnonzero(counts > 0)
    return Runs(queries[kept], starts[kept], counts[kept], references)
