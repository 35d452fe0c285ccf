"""Which detection is which true object: COCO's greedy matching, without a matrix of all with all.

Source of the rule: the COCO detection evaluation (cocodataset.org/#detection-eval, and what pycocotools computes).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geodl_core.domain.detection.detections import Outlines

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Matches = npt.NDArray[np.int32]
"""(T, N) for each IoU threshold and object the row of the true object that it was matched with, or `FREE`."""

FREE = -1
MOST_IOU = 1 - 1e-10
"""As COCO has it: equal boxes match at an IoU of 1 although it is rounded."""
MOST_PAIRS = 2_000_000
"""That are looked at together; more than this only where one object overlaps more true ones."""


@dataclass(frozen=True, slots=True)
class Objects:
    """Objects in the coordinates of one plane; all arrays have one length.

    Raises:
        ValueError: the arrays differ in length.
    """

    boxes: Floats
    """(N, 4) xmin, ymin, xmax, ymax, in any one unit."""
    classes: Integers
    """(N,) indices of classes."""
    outlines: Outlines | None = None
    """(N,) valid polygons, of which the IoU is then taken; None: of the boxes."""

    def __post_init__(self) -> None:
        if len(self.classes) != len(self.boxes) or (self.outlines is not None and len(self.outlines) != len(self)):
            raise ValueError("objects: the arrays differ in length")

    def __len__(self) -> int:
        return len(self.boxes)


def take_objects(objects: Objects, rows: Integers) -> Objects:
    """Return some objects, in the order given."""
    outlines = None if objects.outlines is None else objects.outlines[rows]
    return Objects(objects.boxes[rows], objects.classes[rows], outlines)


def match_greedily(found: Objects, truth: Objects, thresholds: Sequence[float]) -> Matches:
    """Match objects with true ones of their class, each with one at most.

    In the order given each object takes the true object with which its IoU is greatest, of those that are still free
    and reach the threshold; of equal ones the last, as COCO does. So what the first objects are matched with does not
    depend on those that follow. Memory is linear in the number of objects.

    Args:
        found: by falling score.
        truth: true objects; both have outlines, or none has.
        thresholds: T least IoUs above 0.

    Raises:
        ValueError: a threshold is not above 0 and at most 1.
    """
    if not all(0 < least <= 1 for least in thresholds):
        raise ValueError(f"an IoU threshold is above 0 and at most 1, found {list(thresholds)}")
    matches: Matches = np.full((len(thresholds), len(found)), FREE, np.int32)
    limits = [min(least, MOST_IOU) for least in thresholds]
    taken = [bytearray(len(truth)) for _ in limits]
    for rows, others, ious in _overlapping(found, truth, min(limits, default=1.0)):
        for least, used, matched in zip(limits, taken, matches, strict=True):
            possible = (ious >= least) & (np.frombuffer(used, np.uint8)[others] == 0)
            _match(rows[possible], others[possible], used, matched)
    return matches


def _match(rows: Integers, others: Integers, used: bytearray, matched: Matches) -> None:
    """Match the pairs of some objects; pairs of an object follow each other, the best first."""
    done = FREE
    for row, other in zip(rows.tolist(), others.tolist(), strict=True):
        if row != done and not used[other]:
            used[other] = 1
            matched[row] = other
            done = row


def _overlapping(found: Objects, truth: Objects, least: float) -> Iterator[tuple[Integers, Integers, Floats]]:
    """Yield pairs of one class with an IoU of `least` or more: rows found, rows of truth, IoUs.

    Pairs are in the order of `found`; those of one object by falling IoU, equal ones by falling row of truth.
    """
    if not len(found) or not len(truth):
        return
    import shapely  # noqa: PLC0415  # a quarter of a second, which help and other commands do without

    tree = shapely.STRtree(shapely.box(*truth.boxes.T))
    boxes = shapely.box(*found.boxes.T)
    for start, stop in _chunks(found.boxes, truth.boxes):
        rows, others = (indices.astype(np.int64) for indices in tree.query(boxes[start:stop]))
        rows += start
        alike = found.classes[rows] == truth.classes[others]
        rows, others = rows[alike], others[alike]
        ious = _ious(found, truth, rows, others, least)
        kept = ious >= least
        rows, others, ious = rows[kept], others[kept], ious[kept]
        order = np.lexsort((-others, -ious, rows))
        yield rows[order], others[order], ious[order]


def _chunks(boxes: Floats, others: Floats) -> Iterator[tuple[int, int]]:
    """Yield ranges of boxes that overlap no more than `MOST_PAIRS` others together, one box at least.

    Counted are the others that share some x with a box: an upper limit that two sorted arrays tell.
    """
    begun = np.searchsorted(np.sort(others[:, 0]), boxes[:, 2], side="right")
    ended = np.searchsorted(np.sort(others[:, 2]), boxes[:, 0], side="left")
    totals = np.cumsum(begun - ended)
    start, before = 0, 0
    while start < len(boxes):
        stop = max(start + 1, int(np.searchsorted(totals, before + MOST_PAIRS, side="right")))
        yield start, stop
        start, before = stop, int(totals[stop - 1])


def _ious(found: Objects, truth: Objects, rows: Integers, others: Integers, least: float) -> Floats:
    """Return the IoU of each pair; 0 where it cannot reach `least`, and where both areas are 0."""
    ours, theirs = found.boxes[rows], truth.boxes[others]
    sides = np.minimum(ours[:, 2:], theirs[:, 2:]) - np.maximum(ours[:, :2], theirs[:, :2])
    shared = np.prod(np.maximum(sides, 0), axis=1)
    if found.outlines is None or truth.outlines is None:
        return _ratios(
            shared, np.prod(ours[:, 2:] - ours[:, :2], axis=1), np.prod(theirs[:, 2:] - theirs[:, :2], axis=1)
        )
    import shapely  # noqa: PLC0415

    own, other = shapely.area(found.outlines)[rows], shapely.area(truth.outlines)[others]
    # What polygons share lies in both, and in what their boxes share: most pairs need no geometry.
    most = np.minimum(np.minimum(own, other), shared)
    ious = np.zeros(len(rows))
    possible = np.flatnonzero(_ratios(most, own, other) >= least * (1 - 1e-9))
    common = shapely.area(shapely.intersection(found.outlines[rows[possible]], truth.outlines[others[possible]]))
    ious[possible] = _ratios(common, own[possible], other[possible])
    return ious


def _ratios(shared: Floats, own: Floats, other: Floats) -> Floats:
    union = own + other - shared
    return np.divide(shared, union, out=np.zeros(len(union)), where=union > 0)
