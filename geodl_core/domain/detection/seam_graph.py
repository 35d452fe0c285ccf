"""Which objects of neighbouring tiles are one: the pairs of candidates that decide on each other."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geodl_core.domain.detection.detections import CUT_BOTTOM, CUT_LEFT, CUT_RIGHT, CUT_TOP, Detections, Outlines
from geodl_core.domain.detection.pairs import Floats, Pairs, Rows, areas_of, extents_of, find_runs, pairs_of
from geodl_core.domain.detection.suppress import Measure, areal_shapes, overlap_of
from geodl_core.domain.plan.plan import Plan, tile_shape

Flags = npt.NDArray[np.bool_]

SLACK_PX = 3.0
"""Two boxes of one object differ by no more on any side, or by so little that their IoU is `ALIKE`."""
ALIKE = 0.7
SWALLOWED = 0.9
"""Share of a cut object that lies within another of its class, above which it is a piece of that one."""
MOST_LOOKALIKES = 1000
"""Pairs among which the best assignment is sought; it takes the third power of their number."""
CUT_OVERLAP = 0.5
"""Least IoU above which an object that was cut is suppressed: of its true size it would be less."""


@dataclass(frozen=True, slots=True)
class SeamRule:
    """When objects of neighbouring tiles are the same.

    Raises:
        ValueError: a threshold outside [0, 1], or a negative margin.
    """

    threshold: float = 0.3
    """Overlap above which of two objects of a class one goes."""
    measure: Measure = "iou"
    margin_px: float = 8
    """How far beyond its core a tile keeps objects whose centre lies there."""
    unites: bool = False
    """Whether pieces of an object that no tile saw whole are united."""

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1 or self.margin_px < 0:
            raise ValueError(f"expected a threshold in [0, 1] and a margin of 0 or more, found {self}")


@dataclass(frozen=True, slots=True)
class Views:
    """What the tiles of candidates own and see, in pixels; at the end of the scene they may reach beyond it."""

    cores: Floats
    """(N, 4) xmin, ymin, xmax, ymax."""
    reads: Floats
    """(N, 4) likewise."""
    cells: Rows
    """(N, 2) column and row of the tile."""


@dataclass(frozen=True, slots=True)
class Edges:
    """Pairs of candidates that have to do with each other; all arrays have one length."""

    one: Rows
    other: Rows
    overlap: Floats
    """IoU of what both tiles could see of the two."""
    is_twin: Flags
    """Whether they look the same there."""
    is_rival: Flags
    """Whether no more than one of the two may stay."""
    is_joint: Flags
    """Whether they are pieces of one object, to be united."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """Pairs as they are compared."""

    area: Floats
    area_too: Floats
    seen_area: Floats
    """Of what lies in the view that both tiles share."""
    seen_area_too: Floats
    shared: Floats
    shift: Floats
    """By how much the sides of the two differ in that view, at most."""


def views_of(plan: Plan, tiles: npt.NDArray[np.integer]) -> Views:
    """Return what each of some tiles owns and sees."""
    _, cols = tile_shape(plan.grid, plan.core_px)
    cells = np.stack(np.divmod(tiles.astype(np.int64), cols)[::-1], axis=1)
    core = np.asarray(plan.core_px[::-1], np.float64)
    low, high = cells * core, (cells + 1) * core
    halo = float(plan.halo_px)
    return Views(np.hstack([low, high]), np.hstack([low - halo, high + halo]), cells)


def is_inside(boxes: Floats, cores: Floats) -> Flags:
    """Say which boxes lie within their rectangles; (N, 4) each."""
    return np.asarray(((boxes[:, :2] >= cores[:, :2]) & (boxes[:, 2:] <= cores[:, 2:])).all(1))


def clip_boxes(boxes: Floats, limits: Floats) -> Floats:
    """Return the parts of boxes that lie within their rectangles."""
    low, high = np.tile(limits[:, :2], 2), np.tile(limits[:, 2:], 2)
    return np.clip(boxes, low, high)


def find_edges(detections: Detections, views: Views, rule: SeamRule) -> Edges:
    """Return the pairs of candidates of one class and of two tiles that have to do with each other.

    What a tile saw of an object is compared with what the *other* tile could see of it too. So a piece is known for a
    piece of the object that a neighbour saw whole, and what merely lies within a greater object is not. A candidate
    counts only as far as its tile's read window reaches.

    Args:
        detections: candidates, best first: of a pair the better one is `one`.
        views: of their tiles.
        rule: when two of them are the same.
    """
    boxes = clip_boxes(np.asarray(detections.boxes, np.float64), views.reads)
    shapes = None if detections.outlines is None else areal_shapes(detections.outlines)
    extents = extents_of(boxes, detections.class_ids)
    nothing, never = np.zeros(0, np.int64), np.zeros(0, np.bool_)
    found = [Edges(nothing, nothing, np.zeros(0), never, never, never)]
    for one, other, shared in pairs_of(extents, find_runs(extents, np.arange(len(boxes)))):
        apart = np.flatnonzero(detections.tiles[one] != detections.tiles[other])
        better, worse = np.minimum(one, other)[apart], np.maximum(one, other)[apart]
        seen = _seen(boxes, shapes, (better, worse, shared[apart]), views)
        found.append(_judged(seen, (better, worse), (detections.cuts, views.cells), rule))
    return Edges(*(np.concatenate([getattr(each, name) for each in found]) for name in Edges.__slots__))


def without_explained(edges: Edges, tiles: npt.NDArray[np.integer]) -> Edges:
    """Leave out pairs one of which has a twin, other than its partner here, among the objects of the partner's tile.

    That tile saw both, and told them apart. An object has one twin at most in each other tile: what two tiles saw of
    one object, and of another within it, is paired rightly, however much the two overlap.
    """
    span = int(tiles.max(initial=0)) + 1
    is_lower = tiles[edges.one] < tiles[edges.other]
    low, high = np.where(is_lower, (edges.one, edges.other), (edges.other, edges.one))
    # An object as one of those that a certain other tile may have seen too.
    first, second = low * span + tiles[high], high * span + tiles[low]
    is_pair = np.zeros(len(first), np.bool_)
    alike = np.flatnonzero(edges.is_twin)
    is_pair[alike[_best_pairs(first[alike], second[alike], edges.overlap[alike])]] = True
    paired = np.concatenate([first[is_pair], second[is_pair]])
    return take_edges(edges, is_pair | ~(np.isin(first, paired) | np.isin(second, paired)))


def parts_of(count: int, one: Rows, other: Rows) -> Rows:
    """Return for each of some things the least member of the connected part that it belongs to.

    In rounds, every part takes the least number of those that it is linked with, until links lead nowhere else
    (Y. Shiloach and U. Vishkin 1982). SciPy does the same, but takes half a second to load.

    Args:
        count: of things.
        one: (P,) of each link, one thing.
        other: (P,) the other.
    """
    parts: Rows = np.arange(count)
    while len(one):
        ends = np.stack([parts[one], parts[other]])
        is_apart = ends[0] != ends[1]
        one, other = one[is_apart], other[is_apart]
        low, high = np.sort(ends[:, is_apart], axis=0)
        np.minimum.at(parts, high, low)
        while (parts != (led := parts[parts])).any():
            parts = led
    return parts


def _best_pairs(one: Rows, other: Rows, overlap: Floats) -> Rows:
    """Return those of some pairs, none of which share a member, that overlap most in sum.

    Args:
        one: (P,) codes of what is paired.
        other: (P,) codes of that with which it is; none that `one` has.
        overlap: (P,) above 0.

    Returns:
        (K,) numbers of pairs.
    """
    codes, places = np.unique(np.concatenate([one, other]), return_inverse=True)
    one, other = places[: len(one)], places[len(one) :]
    part = parts_of(len(codes), one, other)[one]
    order = np.argsort(part, kind="stable")
    starts = np.flatnonzero(np.r_[True, part[order][1:] != part[order][:-1]]) if len(order) else order
    counts = np.diff(np.r_[starts, len(order)])
    chosen = [order[starts[counts == 1]]]
    for start, count in zip(starts[counts > 1].tolist(), counts[counts > 1].tolist(), strict=True):
        numbers = order[start : start + count]
        choose = _most_in_sum if count <= MOST_LOOKALIKES else _most_first
        chosen.append(numbers[choose(one[numbers], other[numbers], overlap[numbers])])
    return np.concatenate(chosen)


def _most_in_sum(one: Rows, other: Rows, overlap: Floats) -> Rows:
    """Return the pairs of the assignment with the greatest sum."""
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415  # a tenth of a second, seldom needed

    rows, columns = (np.unique(each, return_inverse=True)[1] for each in (one, other))
    weights = np.zeros((rows.max() + 1, columns.max() + 1))
    weights[rows, columns] = overlap
    assigned = np.zeros(weights.shape, np.bool_)
    assigned[linear_sum_assignment(weights, maximize=True)] = True
    return np.flatnonzero(assigned[rows, columns])


def _most_first(one: Rows, other: Rows, overlap: Floats) -> Rows:
    """Return the pairs that are left when the one with the greatest overlap is taken first, and so on."""
    taken: set[int] = set()
    chosen = []
    for number in np.lexsort((other, one, -overlap)).tolist():
        pair = {int(one[number]), int(other[number])}
        if not taken & pair:
            taken |= pair
            chosen.append(number)
    return np.asarray(sorted(chosen), np.int64)


def take_edges(edges: Edges, kept: Flags) -> Edges:
    """Return some of the pairs."""
    return Edges(*(getattr(edges, name)[kept] for name in Edges.__slots__))


def _seen(boxes: Floats, shapes: Outlines | None, pairs: Pairs, views: Views) -> _Seen:
    """Return pairs as they are compared."""
    one, other, shared = pairs
    low = np.maximum(views.reads[one, :2], views.reads[other, :2])
    common = np.hstack([low, np.minimum(views.reads[one, 2:], views.reads[other, 2:])])
    both = [boxes[one], boxes[other]]
    seen = [clip_boxes(each, common) for each in both]
    shift = np.abs(seen[0] - seen[1]).max(1, initial=0)
    if shapes is None:
        return _Seen(areas_of(both[0]), areas_of(both[1]), areas_of(seen[0]), areas_of(seen[1]), shared, shift)
    import shapely  # noqa: PLC0415  # a quarter of a second, which boxes alone do without

    drawn = [shapes[one], shapes[other]]
    areas = [np.nan_to_num(shapely.area(each)) for each in drawn]
    seen_areas = [each.copy() for each in areas]
    for shape, area, box, clipped in zip(drawn, seen_areas, both, seen, strict=True):
        cut = np.flatnonzero((box != clipped).any(1))
        area[cut] = np.nan_to_num(shapely.area(shapely.intersection(shape[cut], shapely.box(*clipped[cut].T))))
    shared = np.nan_to_num(shapely.area(shapely.intersection(*drawn)))
    return _Seen(areas[0], areas[1], seen_areas[0], seen_areas[1], shared, shift)


def _judged(seen: _Seen, pairs: tuple[Rows, Rows], marks: tuple[npt.NDArray[np.uint8], Rows], rule: SeamRule) -> Edges:
    """Return what pairs have to do with each other, without those that have nothing."""
    cuts, cells = marks
    one, other = pairs
    is_cut, is_cut_too = cuts[one] > 0, cuts[other] > 0
    steps = cells[other] - cells[one]
    across = _is_facing(cuts[one], cuts[other], steps[:, 0], (CUT_LEFT, CUT_RIGHT))
    down = _is_facing(cuts[one], cuts[other], steps[:, 1], (CUT_TOP, CUT_BOTTOM))
    is_facing = across | down
    # What was cut both ways fills all that tiles share at a corner, where so all objects look the same.
    is_blind = across & down
    least = np.where(is_cut | is_cut_too, max(rule.threshold, CUT_OVERLAP), rule.threshold)
    is_over = overlap_of(seen.area, seen.area_too, seen.shared, rule.measure) > least
    is_within = is_cut & (seen.shared >= SWALLOWED * seen.area)
    is_within |= is_cut_too & (seen.shared >= SWALLOWED * seen.area_too)
    overlap = overlap_of(seen.seen_area, seen.seen_area_too, seen.shared)
    is_touched = seen.shared > 0
    is_twin = is_touched & ((seen.shift <= SLACK_PX) | (overlap >= ALIKE))
    share = overlap_of(seen.seen_area, seen.seen_area_too, seen.shared, "ios")
    # Tiles that meet at a corner share too little to tell by anything but the sides.
    is_beside = (steps == 0).any(1)
    is_same = np.where(is_beside, share > rule.threshold, ~is_blind & (seen.shift <= SLACK_PX))
    is_joint = rule.unites & is_facing & is_touched & is_same
    is_rival = is_touched & (is_over | is_within | (is_twin & ~is_facing)) & ~(rule.unites & is_facing)
    kept = is_twin | is_rival | is_joint
    return take_edges(Edges(one, other, overlap, is_twin, is_rival, is_joint), kept)


def _is_facing(
    cuts: npt.NDArray[np.uint8], cuts_too: npt.NDArray[np.uint8], steps: Rows, sides: tuple[int, int]
) -> Flags:
    """Say which pairs were cut at sides that face each other along one axis.

    Args:
        cuts: of the one.
        cuts_too: of the other.
        steps: columns or rows from the tile of the one to the tile of the other.
        sides: bits of the lower and the upper side.
    """
    low, high = sides
    forwards = (steps > 0) & (cuts & high > 0) & (cuts_too & low > 0)
    backwards = (steps < 0) & (cuts & low > 0) & (cuts_too & high > 0)
    return np.asarray(forwards | backwards)
