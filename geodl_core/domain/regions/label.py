"""Regions: connected pixels of one class, found strip by strip."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geodl_core.domain.regions.runs import NODATA, Numbers, Runs, run_lengths, spread, touching


@dataclass(frozen=True, slots=True)
class Regions:
    """The regions of a map, in the order of their first pixels."""

    values: Numbers
    """(R,) class, or `NODATA`."""
    sizes: Numbers
    """(R,) sums of the weights of their pixels."""
    firsts: Numbers
    """(R,) first pixel in reading order."""
    neighbours: Numbers
    """(N, 2) regions that touch, both with a class; those pairs alone of which one is small."""


class Labeller:
    """Finds the regions of a map from its strips, fed from top to bottom.

    Holds the table of regions and the pairs of small ones that touch, and one row of pixels.

    Args:
        connectivity: 4 or 8.
        least: regions of a smaller size are small; 0: none is, and no neighbours are noted.
    """

    def __init__(self, connectivity: int, least: int = 0) -> None:
        self._connectivity = connectivity
        self._least = least
        self._tables: list[tuple[Numbers, Numbers, Numbers]] = []
        self._neighbours: list[Numbers] = []
        self._seams: list[Numbers] = []
        self._last_row: Numbers | None = None
        self._count = 0
        self._pixels = 0

    def feed(self, runs: Runs, weights: Numbers) -> Numbers:
        """Take the next strip and return (N,) labels of its runs; `result` says which regions they are.

        Args:
            runs: of the strip.
            weights: (h,) size of a pixel of each row; all sizes together stay below 2⁵³.
        """
        numbers = spread(runs, np.arange(len(runs.starts)))
        pairs = touching(numbers, self._connectivity)
        is_same = runs.values[pairs[:, 0]] == runs.values[pairs[:, 1]]
        count, labels = _joined(len(runs.starts), pairs[is_same])
        rows = runs.starts // runs.shape[1]
        # Whole numbers below 2⁵³ are exact in the float64 that bincount adds up.
        sizes = np.bincount(labels, weights=run_lengths(runs) * weights[rows], minlength=count).astype(np.int64)
        values, firsts = np.empty(count, np.int64), np.empty(count, np.int64)
        values[labels] = runs.values
        # Of several assignments the last holds.
        firsts[labels[::-1]] = runs.starts[::-1] + self._pixels
        if self._least:
            apart = labels[pairs[~is_same]]
            is_small = (sizes < self._least) & (values != NODATA)
            apart = apart[_any_of(is_small, apart) & ~_any_of(values == NODATA, apart)]
            self._neighbours.append(_unique(apart) + self._count)
        labels += self._count
        self._sew(labels[numbers[[0, -1]]])
        self._tables.append((values, sizes, firsts))
        self._count += count
        self._pixels += runs.shape[0] * runs.shape[1]
        return labels

    def _sew(self, rows: Numbers) -> None:
        """Note what touches across the border with the strip above."""
        if self._last_row is not None:
            pairs = touching(np.stack([self._last_row, rows[0]]), self._connectivity)
            crosses = (pairs[:, 0] < self._count) != (pairs[:, 1] < self._count)
            self._seams.append(_unique(pairs[crosses]))
        self._last_row = rows[1]

    def result(self) -> tuple[Regions, Numbers]:
        """Return the regions, and (L,) the region of each label."""
        values, sizes, firsts = (np.concatenate(parts) for parts in zip(*self._tables, strict=True))
        seams = _stacked(self._seams)
        is_same = values[seams[:, 0]] == values[seams[:, 1]]
        labelled = Regions(values, sizes, firsts, np.concatenate([_stacked(self._neighbours), seams[~is_same]]))
        regions, of_label = joined_regions(labelled, seams[is_same])
        return _with_small_neighbours(regions, self._least), of_label


def joined_regions(regions: Regions, pairs: Numbers) -> tuple[Regions, Numbers]:
    """Return the regions with those of the (N, 2) pairs as one, and (R,) which each region has become."""
    count, became = _joined(len(regions.values), pairs)
    firsts = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(firsts, became, regions.firsts)
    order = np.argsort(firsts)
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(count)
    became = rank[became]
    sizes = np.bincount(became, weights=regions.sizes, minlength=count).astype(np.int64)
    values = np.empty(count, np.int64)
    values[became] = regions.values
    neighbours = became[regions.neighbours]
    return Regions(values, sizes, firsts[order], neighbours[neighbours[:, 0] != neighbours[:, 1]]), became


def _with_small_neighbours(regions: Regions, least: int) -> Regions:
    pairs = regions.neighbours
    if not least:
        return Regions(regions.values, regions.sizes, regions.firsts, pairs[:0])
    is_needed = _any_of(regions.sizes < least, pairs) & ~_any_of(regions.values == NODATA, pairs)
    return Regions(regions.values, regions.sizes, regions.firsts, _unique(pairs[is_needed]))


def _joined(count: int, pairs: Numbers) -> tuple[int, Numbers]:
    """Return how many groups the pairs make of `count` things, and each thing's group."""
    ones = np.ones(len(pairs), np.bool_)
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    groups, group = connected_components(graph, directed=False)
    return int(groups), np.asarray(group, np.int64)


def _any_of(is_so: npt.NDArray[np.bool_], pairs: Numbers) -> npt.NDArray[np.bool_]:
    return np.asarray(is_so[pairs[:, 0]] | is_so[pairs[:, 1]])


def _unique(pairs: Numbers) -> Numbers:
    """Return pairs in order, each once whichever way round it was."""
    low, high = np.minimum(pairs[:, 0], pairs[:, 1]), np.maximum(pairs[:, 0], pairs[:, 1])
    if not len(pairs):
        return pairs
    base = int(high.max()) + 1
    keys = np.unique(low * base + high)
    return np.column_stack([keys // base, keys % base])


def _stacked(parts: list[Numbers]) -> Numbers:
    return np.concatenate([np.empty((0, 2), np.int64), *parts])
