"""From a class map's strips to the outlines of its regions, in pixels."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geodl_core.domain.regions.borders import simplified
from geodl_core.domain.regions.corners import OUTSIDE, Corners, find_corners
from geodl_core.domain.regions.label import Labeller, Regions
from geodl_core.domain.regions.rings import Shapes, outlines
from geodl_core.domain.regions.runs import Numbers, Runs, find_runs, spread, with_values
from geodl_core.domain.regions.sieve import sieve
from geodl_core.io.vector.class_raster import Strip
from geodl_core.io.vector.run_store import RunStore


@dataclass(frozen=True, slots=True)
class Sizing:
    """What makes a region, and one that stays."""

    weights: Numbers
    """(H,) size of a pixel of each row."""
    least: int = 0
    """Size of the regions that stay; 0: all."""
    connectivity: int = 4


@dataclass(frozen=True, slots=True)
class FoundRegions:
    """The regions of a map after the sieve."""

    regions: Regions
    of_label: Numbers
    """(L,) the region of each label that its runs have."""
    connectivity: int


@dataclass(frozen=True, slots=True)
class Simplification:
    """How borders are simplified."""

    tolerance_px: float = 0.0
    stretch: tuple[float, float] = (1.0, 1.0)
    """How long a pixel's (x, y) sides are on the ground, the shorter 1."""


def find_regions(strips: Iterable[Strip], sizing: Sizing, store: RunStore) -> FoundRegions:
    """Return the regions of a map after the sieve.

    Args:
        strips: of the map, from top to bottom.
        sizing: what makes a region.
        store: takes the runs of the strips, with their labels.
    """
    labeller, top = Labeller(sizing.connectivity, sizing.least), 0
    for values, valid in strips:
        runs = find_runs(values, valid)
        labels = labeller.feed(runs, sizing.weights[top : top + runs.shape[0]])
        store.add(Runs(runs.starts, labels, runs.shape))
        top += runs.shape[0]
    regions, of_label = labeller.result()
    if sizing.least:
        regions, became = sieve(regions, sizing.least)
        of_label = became[of_label]
    return FoundRegions(regions, of_label, sizing.connectivity)


def trace_regions(
    found: FoundRegions, is_wanted: npt.NDArray[np.bool_], simplification: Simplification, store: RunStore
) -> tuple[Shapes, Numbers]:
    """Return polygons, and (N,) the region of each, rising.

    A region that holds together at corners alone has several polygons.

    Args:
        found: the regions.
        is_wanted: (R,) which of them.
        simplification: of all borders, so that it is the same whichever regions are wanted.
        store: of the runs, as `find_regions` left it.
    """
    with RunStore(store.folder) as pieces:
        if found.connectivity == 4:
            of_label, region_of, runs = found.of_label, np.arange(len(found.regions.values)), store
        else:
            of_label, region_of = _find_pieces(found, store, pieces)
            runs = pieces
        is_simple = simplification.tolerance_px > 0
        is_traced = np.ones_like(is_wanted) if is_simple else is_wanted
        numbers = np.where(is_traced[region_of], np.arange(1, len(region_of) + 1), OUTSIDE)
        shapes, traced = outlines(list(_corners(runs.strips(), numbers[of_label])), is_simple)
    shapes = simplified(shapes, simplification.tolerance_px, simplification.stretch)
    regions = region_of[traced - 1]
    kept = np.flatnonzero(is_wanted[regions])
    kept = kept[np.argsort(regions[kept], kind="stable")]
    return shapes[kept], regions[kept]


def _find_pieces(found: FoundRegions, store: RunStore, pieces: RunStore) -> tuple[Numbers, Numbers]:
    """Part regions where they hold together at corners alone.

    Returns:
        (L,) the piece of each label of the runs in `pieces`, and (P,) the region of each piece.
    """
    labeller = Labeller(connectivity=4)
    for strip in store.strips():
        runs = with_values(strip, found.of_label[strip.values])
        labels = labeller.feed(runs, np.ones(runs.shape[0], np.int64))
        pieces.add(Runs(runs.starts, labels, runs.shape))
    regions, of_label = labeller.result()
    return of_label, regions.values


def _corners(strips: Iterable[Runs], numbers: Numbers) -> Iterator[Corners]:
    """Yield the corners of each strip, and of the line below the last; `numbers` are those of the runs' labels."""
    above, top = np.full(0, OUTSIDE), 0
    for strip in strips:
        pixels = spread(strip, numbers[strip.values])
        yield find_corners(above if top else np.full(strip.shape[1], OUTSIDE), pixels, top)
        above, top = pixels[-1], top + strip.shape[0]
    yield find_corners(above, np.full((1, len(above)), OUTSIDE), top)
