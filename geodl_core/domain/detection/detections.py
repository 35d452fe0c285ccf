"""Detections: the objects that were found, one row each, in pixels of the job's grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float32]
"""(N, 4) xmin, ymin, xmax, ymax in pixels; x to the right, y down, whole numbers are upper-left corners of pixels."""
Outlines = npt.NDArray[np.object_]
"""(N,) shapely polygons or multipolygons in the pixels of the boxes, as (x, y) = (col, row)."""
Rows = npt.NDArray[Any]
"""(K,) indices, or (N,) booleans, of rows to keep."""

CUT_LEFT, CUT_TOP, CUT_RIGHT, CUT_BOTTOM = 1, 2, 4, 8
"""Sides of a read window, other than the scene's own, at which an object was cut."""


@dataclass(frozen=True, slots=True)
class Detections:
    """Objects on a grid; all arrays have one length.

    Raises:
        ValueError: the arrays differ in length.
    """

    boxes: Boxes
    scores: npt.NDArray[np.float32]
    """(N,) in [0, 1]."""
    class_ids: npt.NDArray[np.int32]
    """(N,) `Value` of the definition's Classes."""
    tiles: npt.NDArray[np.int32]
    """(N,) index of the plan's tile that found it."""
    cuts: npt.NDArray[np.uint8]
    """(N,) bits of `CUT_LEFT` and so on; 0: it lies whole within its read window."""
    outlines: Outlines | None = None
    """Of instance masks and oriented boxes; None: the boxes are the outlines."""

    def __post_init__(self) -> None:
        arrays = (
            self.scores,
            self.class_ids,
            self.tiles,
            self.cuts,
            *(() if self.outlines is None else (self.outlines,)),
        )
        if any(len(array) != len(self.boxes) for array in arrays):
            raise ValueError("detections: the arrays differ in length")

    def __len__(self) -> int:
        return len(self.boxes)


def no_detections() -> Detections:
    """Return none."""
    return Detections(
        np.zeros((0, 4), np.float32),
        np.zeros(0, np.float32),
        np.zeros(0, np.int32),
        np.zeros(0, np.int32),
        np.zeros(0, np.uint8),
    )


def take(detections: Detections, rows: Rows) -> Detections:
    """Return some rows, in the order given."""
    return Detections(
        detections.boxes[rows],
        detections.scores[rows],
        detections.class_ids[rows],
        detections.tiles[rows],
        detections.cuts[rows],
        None if detections.outlines is None else detections.outlines[rows],
    )


def join(several: Sequence[Detections]) -> Detections:
    """Return the rows of several, one after the other; where some have outlines, the others' boxes become theirs."""
    filled = [each for each in several if len(each)]
    if not filled:
        return no_detections()
    outlined = any(each.outlines is not None for each in filled)
    return Detections(
        np.concatenate([each.boxes for each in filled]),
        np.concatenate([each.scores for each in filled]),
        np.concatenate([each.class_ids for each in filled]),
        np.concatenate([each.tiles for each in filled]),
        np.concatenate([each.cuts for each in filled]),
        np.concatenate([outlines_of(each) for each in filled]) if outlined else None,
    )


def outlines_of(detections: Detections) -> Outlines:
    """Return the outlines of all rows, those of boxes where there are no others."""
    if detections.outlines is not None:
        return detections.outlines
    import shapely  # noqa: PLC0415  # a quarter of a second, which boxes alone do without

    x0, y0, x1, y1 = np.asarray(detections.boxes, np.float64).T
    boxes: Outlines = np.atleast_1d(shapely.box(x0, y0, x1, y1))
    return boxes
