"""The sieve: regions that are too small take the class of their largest neighbour.

The rule, which leaves nothing to the order of the work:

1. A region of at least the least size is *fixed*: it keeps its class, and counts with its size of before the sieve.
2. Of all smaller regions that have a neighbour, the smallest is next; of equal ones that with the first pixel in
   reading order.
3. It takes the class of its largest neighbour; of equally large ones again of that with the first pixel. Neighbours of
   this class that it touches become one region with it. If the largest neighbour is fixed, that region counts as the
   neighbour henceforth; otherwise sizes add up, and what has reached the least size is fixed.

Nodata is no neighbour. So at the end a region is smaller than the least size only where nodata surrounds it.

GDAL's sieve knows the sizes of before alone: it follows the largest neighbours until it finds one that is large enough,
and leaves a region as it is where that leads in a circle. Where each small region's largest neighbour is a large one,
and no two are equally large, both give the same map.
"""

import numpy as np

from geodl_core.domain.regions.clusters import Cluster, settle_clusters
from geodl_core.domain.regions.label import Regions, joined_regions
from geodl_core.domain.regions.runs import NODATA, Numbers


def sieve(regions: Regions, least: int) -> tuple[Regions, Numbers]:
    """Return the regions after the sieve, and (R,) which each region has become part of.

    Args:
        regions: with the neighbours of all that are smaller than `least`.
        least: size that a region must have to stay.
    """
    values = sieved_values(regions, least)
    pairs = regions.neighbours
    return joined_regions(
        Regions(values, regions.sizes, regions.firsts, pairs), pairs[values[pairs[:, 0]] == values[pairs[:, 1]]]
    )


def sieved_values(regions: Regions, least: int) -> Numbers:
    """Return (R,) the class of each region after the sieve."""
    count = len(regions.values)
    is_small = (regions.sizes < least) & (regions.values != NODATA)
    pairs = np.concatenate([regions.neighbours, regions.neighbours[:, ::-1]])
    pairs = pairs[is_small[pairs[:, 0]]]
    among_small = pairs[is_small[pairs[:, 1]]]
    to_fixed = pairs[~is_small[pairs[:, 1]]]
    # Fixed regions by rising rank: the greatest position is the largest neighbour.
    by_rank = np.lexsort([-regions.firsts, regions.sizes])
    position = np.empty(count, np.int64)
    position[by_rank] = np.arange(count)
    best = np.full(count, -1)
    np.maximum.at(best, to_fixed[:, 0], position[to_fixed[:, 1]])
    largest = np.where(best >= 0, by_rank[best], -1)
    values = regions.values.copy()
    is_alone = np.ones(count, np.bool_)
    is_alone[among_small[:, 0]] = False
    # Without small neighbours nothing that happens elsewhere matters: most small regions, all at once.
    settled = is_small & is_alone & (largest >= 0)
    values[settled] = regions.values[largest[settled]]
    members = np.flatnonzero(is_small & ~is_alone)
    values[members] = settle_clusters(_cluster(regions, members, largest[members], among_small), least)
    return values


def _cluster(regions: Regions, members: Numbers, largest: Numbers, pairs: Numbers) -> Cluster:
    """Return the small regions that touch small ones.

    Args:
        regions: of the map.
        members: (M,) which they are.
        largest: (M,) the largest fixed neighbour of each, -1: it has none.
        pairs: (N, 2) small regions that touch, both ways round.
    """
    number = np.full(len(regions.values), -1)
    number[members] = np.arange(len(members))
    pairs = number[pairs[np.argsort(pairs[:, 0], kind="stable")]]
    has_fixed = largest >= 0
    return Cluster(
        values=regions.values[members],
        sizes=regions.sizes[members],
        firsts=regions.firsts[members],
        fixed_values=np.where(has_fixed, regions.values[largest], NODATA),
        fixed_sizes=np.where(has_fixed, regions.sizes[largest], -1),
        fixed_firsts=np.where(has_fixed, regions.firsts[largest], 0),
        bounds=np.searchsorted(pairs[:, 0], np.arange(len(members) + 1)),
        others=pairs[:, 1].copy(),
    )
