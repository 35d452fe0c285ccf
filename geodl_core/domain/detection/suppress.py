"""Greedy non-maximum suppression of boxes and of polygons, in time and memory that follow their number."""

from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt

from geodl_core.domain.detection.detections import Outlines
from geodl_core.domain.detection.pairs import (
    Extents,
    Floats,
    Pairs,
    Rows,
    areas_of,
    count_of,
    extents_of,
    find_runs,
    pairs_of,
)

Measure = Literal["iou", "ios"]
"""Intersection over union, or over the smaller of the two."""
Few = npt.NDArray[np.int32]
Test = Callable[[Rows, Rows, Floats], npt.NDArray[np.bool_]]
"""(rows, other rows, area that their boxes share) → which of the pairs overlap too much."""

FEW = 256
"""Boxes of which all pairs are looked at: faster than sorting them into strips."""
PAIRS_PER_BOX = 16
"""Pairs looked at for each box, on average, that are resolved at once; where more overlap, the best boxes go first."""
STALLED = 0.9
"""Share of the pairs left over by a round, above which boxes are resolved one by one."""
POLYGONS, COLLECTION = (3, 6), 7
"""GEOS's numbers of kinds of geometry."""
ROUNDING = 1e-7
"""Of the union of two polygons: an overlap that may come from rounded coordinates along a common edge."""


def nms(
    boxes: npt.ArrayLike, scores: npt.ArrayLike, groups: npt.ArrayLike, threshold: float, measure: Measure = "iou"
) -> Rows:
    """Return the boxes that survive greedy non-maximum suppression within each group.

    In falling order of scores a box is kept, and with it every other one of its group goes whose overlap with it is
    *above* the threshold. Of equal scores the box with the lesser xmin comes first, then ymin, xmax, ymax; the order
    of rows decides only between equal boxes. So the result is the same in whatever order the boxes come.

    Args:
        boxes: (N, 4) xmin, ymin, xmax, ymax in any one unit; one without width or height overlaps none.
        scores: (N,).
        groups: (N,) whole numbers: classes.
        threshold: in [0, 1]; 1 keeps every box, 0 lets none overlap.
        measure: of the overlap.

    Returns:
        (K,) rows, rising.

    Raises:
        ValueError: the arrays differ in length, or hold what is no finite number.
    """
    order = ranking(scores, boxes)
    extents = extents_of(np.asarray(boxes, np.float64).reshape(-1, 4)[order], _in_order(groups, order))
    if threshold >= 1 or len(order) < 2:
        return np.sort(order)
    areas = areas_of(extents.boxes)

    def is_over(one: Rows, other: Rows, shared: Floats) -> npt.NDArray[np.bool_]:
        return overlap_of(areas[one], areas[other], shared, measure) > threshold

    return np.sort(order[keep_best(extents, is_over, threshold if measure == "iou" else 0)])


def nms_polygons(
    outlines: Outlines, scores: npt.ArrayLike, groups: npt.ArrayLike, max_overlap_ratio: float = 0
) -> Rows:
    """Return the polygons that survive non-maximum suppression as ArcGIS's tool of that name defines it.

    Of two polygons of a group whose intersection is more than `max_overlap_ratio` of their union the one with the lower
    score goes; the default of 0 lets none overlap. What share an edge or a corner do not overlap. As the tool's
    description leaves it open, suppression is greedy: what has gone itself removes nothing. Equal scores are told apart
    by the bounds, as by `nms`. What is not valid is mended before it is compared.

    Args:
        outlines: (N,) polygons or multipolygons; others, empty ones and None overlap none.
        scores: (N,) of any scale.
        groups: (N,) whole numbers: class values.
        max_overlap_ratio: in [0, 1].

    Returns:
        (K,) rows, rising.

    Raises:
        ValueError: the arrays differ in length, or hold what is no finite number.
    """
    import shapely  # noqa: PLC0415  # a quarter of a second, which boxes do without

    shapes = areal_shapes(np.asarray(outlines, object))
    areas = shapely.area(shapes)
    boxes = np.where((areas > 0)[:, None], shapely.bounds(shapes), 0.0)
    order = ranking(scores, boxes)
    numbers = _in_order(groups, order)
    if max_overlap_ratio >= 1 or len(order) < 2:
        return np.sort(order)
    shapes, areas, boxes = shapes[order], areas[order], boxes[order]
    is_box = (shapely.get_num_coordinates(shapes) == 5) & np.isclose(areas, areas_of(boxes), rtol=1e-12, atol=0)

    def is_over(one: Rows, other: Rows, shared: Floats) -> npt.NDArray[np.bool_]:
        first, second = areas[one], areas[other]
        most = np.minimum(shared, np.minimum(first, second))
        over: npt.NDArray[np.bool_] = overlap_of(first, second, most) > max_overlap_ratio + ROUNDING
        exact = np.flatnonzero(over & ~(is_box[one] & is_box[other]))
        shared = shapely.area(shapely.intersection(shapes[one[exact]], shapes[other[exact]]))
        over[exact] = overlap_of(first[exact], second[exact], shared) > max_overlap_ratio + ROUNDING
        return over

    return np.sort(order[keep_best(extents_of(boxes, numbers), is_over)])


def overlap_of(areas: Floats, others: Floats, shared: Floats, measure: Measure = "iou") -> Floats:
    """Return how far pairs overlap, from their areas and the area that they share."""
    whole = np.minimum(areas, others) if measure == "ios" else areas + others - shared
    overlap: Floats = np.divide(shared, whole, out=np.zeros(len(shared)), where=whole > 0)
    return overlap


def ranking(scores: npt.ArrayLike, boxes: npt.ArrayLike) -> Rows:
    """Return rows by falling score; of equal ones by rising xmin, ymin, xmax, ymax, and only then by row.

    Raises:
        ValueError: a score is not a finite number, or the arrays differ in length.
    """
    numbers = np.asarray(scores, np.float64)
    places = np.asarray(boxes).reshape(-1, 4)
    if len(numbers) != len(places):
        raise ValueError("boxes and scores: the arrays differ in length")
    if not np.isfinite(numbers).all():
        raise ValueError("scores: expected finite numbers")
    order: Rows = np.argsort(-numbers, kind="stable")
    ranked = numbers[order]
    is_tied = np.zeros(len(order) + 1, np.bool_)
    is_tied[1:-1] = ranked[1:] == ranked[:-1]
    tied = np.flatnonzero(is_tied[1:] | is_tied[:-1])
    rows = order[tied]
    order[tied] = rows[np.lexsort((*places[rows].T[::-1], -numbers[rows]))]
    return order


def _in_order(groups: npt.ArrayLike, order: Rows) -> Rows:
    numbers = np.asarray(groups, np.int64)
    if len(numbers) != len(order):
        raise ValueError("groups and scores: the arrays differ in length")
    return numbers[order]


def keep_best(extents: Extents, is_over: Test, ratio: float = 0) -> Rows:
    """Return what survives greedy suppression of boxes that come best first.

    Where so many boxes overlap that their pairs would not fit a memory linear in the number of boxes, the best are
    resolved first and take away what overlaps them; what remains is treated likewise. That is the same, since nothing
    but better boxes decides on a box.

    Args:
        extents: best first.
        is_over: which pairs overlap too much.
        ratio: of the longest sides, below which no pair does.

    Returns:
        (K,) rows, rising.
    """
    count = len(extents.boxes)
    left, kept, size = np.arange(count), [np.zeros(0, np.int64)], count
    while len(left):
        head, pairs = _head(extents, left[:size], ratio, PAIRS_PER_BOX * count)
        dropped = dropped_of(count, *_over(pairs, is_over))
        kept.append(head[~dropped[head]])
        left, size = left[len(head) :], 2 * len(head)
        for one, other, shared in pairs_of(
            extents, find_runs(extents, _beside(extents, left, kept[-1]), kept[-1], ratio)
        ):
            over = is_over(one, other, shared)
            # Whichever of the two is not among the kept ones.
            dropped[np.maximum(one[over], other[over])] = True
        left = left[~dropped[left]]
    return np.concatenate(kept)


def dropped_of(count: int, better: npt.NDArray[np.integer], worse: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Say which boxes greedy suppression drops.

    Args:
        count: of boxes.
        better: (P,) of each pair that overlaps too much, the box that comes first.
        worse: (P,) the other; always the greater number.

    Returns:
        (count,) True for those that a kept box drops.
    """
    dropped = np.zeros(count, np.bool_)
    while len(better):
        is_threatened = np.zeros(count, np.bool_)
        is_threatened[worse] = True
        # What nothing better threatens any more is kept for good.
        dropped[worse[~is_threatened[better]]] = True
        is_open = ~(dropped[better] | dropped[worse])
        before = len(better)
        better, worse = better[is_open], worse[is_open]
        if len(better) > STALLED * before:
            _drop_in_order(dropped, better, worse)
            break
    return dropped


def _drop_in_order(
    dropped: npt.NDArray[np.bool_], better: npt.NDArray[np.integer], worse: npt.NDArray[np.integer]
) -> None:
    """Do the same box by box: long chains, each link of which threatens the next, would take a round a link."""
    order = np.argsort(better, kind="stable")
    better, worse = better[order], worse[order]
    boxes, starts = np.unique(better, return_index=True)
    stops = [*starts[1:].tolist(), len(better)]
    for box, start, stop in zip(boxes.tolist(), starts.tolist(), stops, strict=True):
        if not dropped[box]:
            dropped[worse[start:stop]] = True


def _head(extents: Extents, left: Rows, ratio: float, most: int) -> tuple[Rows, Iterable[Pairs]]:
    """Return as many of the best boxes as have no more than `most` pairs to look at, and their pairs."""
    head = left
    while len(head) > FEW:
        runs = find_runs(extents, head, ratio=ratio)
        count = count_of(runs)
        if count <= most:
            return head, pairs_of(extents, runs)
        # Where many boxes lie in one place, a few of the best take the others away, at a pair each.
        head = head[: max(FEW, int(len(head) * min(0.5, most / count)))]
    return head, [_all_pairs(extents, head)]


def _beside(extents: Extents, rows: Rows, others: Rows) -> Rows:
    """Return those rows that touch the bounds of others: of equal scores all lie on one side."""
    if not len(others):
        return rows[:0]
    low, high = extents.boxes[others, :2].min(0), extents.boxes[others, 2:].max(0)
    boxes = extents.boxes[rows]
    beside: Rows = rows[((boxes[:, :2] <= high) & (boxes[:, 2:] >= low)).all(1)]
    return beside


def _all_pairs(extents: Extents, rows: Rows) -> Pairs:
    """Return the pairs of few boxes that overlap."""
    x0, y0, x1, y1 = extents.boxes[rows].T.copy()
    groups = extents.groups[rows]
    width = np.minimum.outer(x1, x1) - np.maximum.outer(x0, x0)
    height = np.minimum.outer(y1, y1) - np.maximum.outer(y0, y0)
    one, other = np.nonzero(np.triu((width > 0) & (height > 0) & np.equal.outer(groups, groups), 1))
    return rows[one], rows[other], width[one, other] * height[one, other]


def _over(pairs: Iterable[Pairs], is_over: Test) -> tuple[Few, Few]:
    """Return the pairs that overlap too much, the better box first."""
    better, worse = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
    for one, other, shared in pairs:
        over = is_over(one, other, shared)
        better.append(np.minimum(one[over], other[over]).astype(np.int32))
        worse.append(np.maximum(one[over], other[over]).astype(np.int32))
    return np.concatenate(better), np.concatenate(worse)


def areal_shapes(outlines: Outlines) -> Outlines:
    """Return polygons as they can be compared: valid, flat; None for what is of another kind."""
    import shapely  # noqa: PLC0415

    shapes = shapely.force_2d(outlines)
    kinds = shapely.get_type_id(shapes)
    bad = np.flatnonzero(~shapely.is_valid(shapes) & np.isin(kinds, POLYGONS))
    shapes[bad] = shapely.make_valid(shapes[bad], method="structure", keep_collapsed=False)
    mixed = np.flatnonzero(kinds == COLLECTION)
    shapes[mixed] = shapely.buffer(shapes[mixed], 0)
    shapes[~np.isin(shapely.get_type_id(shapes), POLYGONS)] = None
    return np.asarray(shapes, object)
