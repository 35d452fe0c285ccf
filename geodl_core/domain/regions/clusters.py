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
    # Those of the start in order once and for all; only what grows needs a heap.
    first_round = np.lexsort([cluster.firsts, cluster.sizes]).data
    sizes, firsts = cluster.sizes.data, cluster.firsts.data
    grown: list[tuple[int, int, int]] = []
    for member in first_round:
        key = (sizes[member], firsts[member])
        while grown and grown[0][:2] < key:
            _settle_next(groups, grown)
        # What has grown meanwhile waits for its turn.
        if groups.into[member] == member and member not in groups.parts:
            _settle(groups, member, grown)
    while grown:
        _settle_next(groups, grown)
    return np.asarray(groups.values)[[groups.group_of(member) for member in range(len(groups.into))]]


def _settle_next(groups: "_Groups", grown: list[tuple[int, int, int]]) -> None:
    size, first, group = heapq.heappop(grown)
    # Else it has grown further since.
    if groups.into[group] == group and (groups.sizes[group], groups.firsts[group]) == (size, first):
        _settle(groups, group, grown)


def _settle(groups: "_Groups", group: int, grown: list[tuple[int, int, int]]) -> None:
    if groups.fixed_sizes[group] < 0:
        whole = groups.settle(group)
        if whole is not None:
            heapq.heappush(grown, (groups.sizes[whole], groups.firsts[whole], whole))


class _Groups:
    """What small regions have grown together to, and what has become of it. A group is known by one of its members."""

    def __init__(self, cluster: Cluster, least: int) -> None:
        count = len(cluster.values)
        self.least = least
        # Numbers are held as arrays and read one by one: as lists they would take five times the memory.
        self.into = np.arange(count).data
        self.values = cluster.values.copy().data
        self.sizes = cluster.sizes.copy().data
        self.firsts = cluster.firsts.copy().data
        self.fixed_sizes = np.full(count, -1).data
        """Of the fixed region that a group is part of; -1: it is small still."""
        self.fixed_firsts = np.zeros(count, np.int64).data
        self.parts: dict[int, list[int]] = {}
        """Members of groups of several."""
        self._neighbours, self._bounds = cluster.others.data, cluster.bounds.data
        self._own = cluster.fixed_sizes.data, cluster.fixed_firsts.data, cluster.fixed_values.data

    def group_of(self, member: int) -> int:
        """Return the group of a member."""
        into = self.into
        while into[member] != member:
            into[member] = into[into[member]]
            member = into[member]
        return member

    def settle(self, group: int) -> int | None:
        """Give the smallest group the class of its largest neighbour; return what it has grown to if that is small."""
        near, rank, value = self._around(group)
        if rank == NOBODY:
            return None
        self.values[group] = value
        alike = [other for other in near if self.values[other] == value]
        if rank[0] >= self.least:
            for other in (group, *alike):
                if self.fixed_sizes[other] < 0:
                    self.fixed_sizes[other], self.fixed_firsts[other] = rank[0], -rank[1]
            return None
        return self._grow(group, alike)

    def _around(self, group: int) -> tuple[set[int], Rank, int]:
        """Return the groups that touch one, and rank and class of its largest neighbour."""
        sizes, firsts, values = self._own
        near: set[int] = set()
        rank, value = NOBODY, 0
        for part in self.parts.get(group, (group,)):
            own = (sizes[part], -firsts[part])
            if own > rank:
                rank, value = own, values[part]
            near.update(map(self.group_of, self._neighbours[self._bounds[part] : self._bounds[part + 1]]))
        near.discard(group)
        for other in near:
            its = (self.fixed_sizes[other], -self.fixed_firsts[other])
            if its[0] < 0:
                its = (self.sizes[other], -self.firsts[other])
            if its > rank:
                rank, value = its, self.values[other]
        return near, rank, value

    def _grow(self, group: int, others: list[int]) -> int | None:
        """Make small groups of one class a single one; return it if it is small still."""
        # The shorter lists are moved.
        whole = max((group, *others), key=lambda each: len(self.parts.get(each, "")))
        parts = self.parts.setdefault(whole, [whole])
        for each in (group, *others):
            if each != whole:
                parts += self.parts.pop(each, [each])
                self.into[each] = whole
                self.sizes[whole] += self.sizes[each]
                self.firsts[whole] = min(self.firsts[whole], self.firsts[each])
        self.values[whole] = self.values[others[0]]
        if self.sizes[whole] < self.least:
            return whole
        self.fixed_sizes[whole], self.fixed_firsts[whole] = self.sizes[whole], self.firsts[whole]
        return None
