"""Small regions that touch small ones: here it matters which is sieved first."""

import heapq
from dataclasses import dataclass

import numpy as np

from geodl_core.domain.regions.runs import Numbers

Rank = tuple[int, int]
"""Size, and the first pixel with a minus: a neighbour of higher rank is chosen."""
NOBODY: Rank = (-1, 0)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Small regions, and what each touches."""

    values: Numbers
    """(M,)"""
    sizes: Numbers
    """(M,)"""
    firsts: Numbers
    """(M,) first pixel in reading order."""
    fixed_values: Numbers
    """(M,) of the largest neighbour that is fixed."""
    fixed_sizes: Numbers
    """(M,) -1: there is none."""
    fixed_firsts: Numbers
    """(M,)"""
    bounds: Numbers
    """(M + 1,) where each one's neighbours lie in `others`."""
    others: Numbers
    """(N,) small neighbours."""


def settle_clusters(cluster: Cluster, least: int) -> Numbers:
    """Return (M,) the classes after the sieve, by the rule that the module `sieve` states."""
    groups = _Groups(cluster, least)
    waiting = list(zip(groups.sizes, groups.firsts, range(len(groups.sizes)), strict=True))
    heapq.heapify(waiting)
    while waiting:
        size, first, group = heapq.heappop(waiting)
        is_current = groups.into[group] == group and (groups.sizes[group], groups.firsts[group]) == (size, first)
        if is_current and groups.fixed[group] is None:
            grown = groups.settle(group)
            if grown is not None:
                heapq.heappush(waiting, (groups.sizes[grown], groups.firsts[grown], grown))
    return np.array([groups.values[groups.group_of(member)] for member in range(len(groups.into))], np.int64)


class _Groups:
    """What small regions have grown together to, and what has become of it. A group is known by one of its members."""

    def __init__(self, cluster: Cluster, least: int) -> None:
        count = len(cluster.values)
        self.least = least
        self.into = list(range(count))
        self.parts: list[list[int] | None] = [None] * count
        self.values: list[int] = cluster.values.tolist()
        self.sizes: list[int] = cluster.sizes.tolist()
        self.firsts: list[int] = cluster.firsts.tolist()
        self.fixed: list[Rank | None] = [None] * count
        """Rank of the fixed region that a group is part of; None: it is small still."""
        # Read where they lie: as lists they would take five times the memory.
        self._neighbours = cluster.others.data
        self._bounds = cluster.bounds.data
        self._own = (
            cluster.fixed_sizes.data,
            cluster.fixed_firsts.data,
            cluster.fixed_values.data,
        )

    def group_of(self, member: int) -> int:
        """Return the group of a member."""
        into = self.into
        while into[member] != member:
            into[member] = into[into[member]]
            member = into[member]
        return member

    def settle(self, group: int) -> int | None:
        """Give the smallest group the class of its largest neighbour; return the group again if it is small still."""
        near, rank, value = self._around(group)
        if rank == NOBODY:
            return None
        self.values[group] = value
        alike = [other for other in near if self.values[other] == value]
        if rank[0] >= self.least:
            for other in (group, *alike):
                if self.fixed[other] is None:
                    self.fixed[other] = rank
            return None
        return self._grow(group, alike)

    def _around(self, group: int) -> tuple[set[int], Rank, int]:
        """Return the groups that touch one, and rank and class of its largest neighbour."""
        sizes, firsts, values = self._own
        near: set[int] = set()
        rank, value = NOBODY, 0
        for part in self.parts[group] or (group,):
            own = (sizes[part], -firsts[part])
            if own > rank:
                rank, value = own, values[part]
            near.update(self._neighbours[self._bounds[part] : self._bounds[part + 1]])
        near = {self.group_of(other) for other in near} - {group}
        for other in near:
            its = self.fixed[other] or (self.sizes[other], -self.firsts[other])
            if its > rank:
                rank, value = its, self.values[other]
        return near, rank, value

    def _grow(self, group: int, others: list[int]) -> int | None:
        """Make small groups of one class a single one; return it if it is small still."""
        # The shorter lists are moved.
        whole = max((group, *others), key=lambda each: len(self.parts[each] or ""))
        parts = self.parts[whole] or [whole]
        for each in (group, *others):
            if each != whole:
                parts += self.parts[each] or [each]
                self.parts[each] = None
                self.into[each] = whole
                self.sizes[whole] += self.sizes[each]
                self.firsts[whole] = min(self.firsts[whole], self.firsts[each])
        self.parts[whole] = parts
        self.values[whole] = self.values[others[0]]
        if self.sizes[whole] < self.least:
            return whole
        self.fixed[whole] = (self.sizes[whole], -self.firsts[whole])
        return None
