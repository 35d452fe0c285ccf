"""Several looks at one tile, turned, mirrored and at other sizes: their objects brought back, and merged."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from geodl_core.domain.detection.decoder import Found, take_found
from geodl_core.domain.detection.suppress import ranking
from geodl_core.domain.pixels.augment import Turn, turn_back

SAME_IOU = 0.5
"""Above it, objects of one class that two looks find are one."""


@dataclass(frozen=True, slots=True)
class Look:
    """One way to look at a tile."""

    way: Turn
    scale: float
    """Of the tile's size."""


def seen_back(found: Found, way: Turn, shape: tuple[int, int], scale: tuple[float, float]) -> Found:
    """Return objects of a look in the pixels of the tile.

    Args:
        found: in pixels of what the network saw.
        way: how that was turned, after it was scaled.
        shape: its height and width before it was turned.
        scale: tile pixels along one of them, (x, y).
    """
    corners = turned_back(_corners(found.boxes), way, shape) * np.asarray(scale, np.float32)
    boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    oriented = None
    if found.corners is not None:
        oriented = turned_back(found.corners, way, shape) * np.asarray(scale, np.float32)
    masks = None if found.masks is None else tuple(np.ascontiguousarray(turn_back(mask, way)) for mask in found.masks)
    return replace(found, boxes=boxes.astype(np.float32), corners=oriented, masks=masks)


def turned_back(points: npt.NDArray[np.float32], way: Turn, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return (…, 2) x, y of a turned picture where they lie in the picture of that height and width."""
    x, y = points[..., 0], points[..., 1]
    height, width = shape if way.quarters % 2 == 0 else shape[::-1]
    if way.is_mirrored:
        x = width - x
    for _ in range(way.quarters % 4):
        # A counter-clockwise quarter turn took (x, y) of a picture of some width to (y, width - x).
        x, y = height - y, x
        height, width = width, height
    return np.stack([x, y], axis=-1)


def merge_looks(looks: Sequence[Found], threshold: float) -> Found:
    """Merge what several looks at one tile found: each object once, its score the mean over all looks.

    By falling score an object takes from each other look the one of its class that overlaps it most, above `SAME_IOU`;
    what a look told apart stays apart. The best-scored copy gives the place. A look that does not see an object counts
    as 0, so that what few looks see falls below the threshold.

    Args:
        looks: in pixels of the tile, suppressed by themselves.
        threshold: of what is kept.
    """
    every = join_found(looks)
    numbers = np.concatenate([np.full(len(look.scores), number) for number, look in enumerate(looks)])
    is_free = np.ones(len(every.scores), np.bool_)
    kept: list[int] = []
    scores: list[float] = []
    order = ranking(every.scores, every.boxes)
    rank = np.argsort(order)
    for index in order.tolist():
        if not is_free[index]:
            continue
        overlap = _iou(every.boxes[index], every.boxes)
        is_like = is_free & (every.labels == every.labels[index]) & (overlap > SAME_IOU) & (numbers != numbers[index])
        others = np.flatnonzero(is_like)
        others = others[np.lexsort((rank[others], -overlap[others]))]
        copies = np.append(others[np.unique(numbers[others], return_index=True)[1]], index)
        is_free[copies] = False
        kept.append(index)
        scores.append(float(every.scores[copies].sum(dtype=np.float64)) / len(looks))
    merged = replace(take_found(every, np.asarray(kept, np.int64)), scores=np.asarray(scores, np.float32))
    return take_found(merged, np.flatnonzero(merged.scores > threshold))


def join_found(several: Sequence[Found]) -> Found:
    """Return the objects of several, one after the other; all have corners, or masks, or neither."""
    first = several[0]
    corners = [each.corners for each in several if each.corners is not None]
    return Found(
        np.concatenate([each.boxes for each in several]),
        np.concatenate([each.scores for each in several]),
        np.concatenate([each.labels for each in several]),
        None if first.corners is None else np.concatenate(corners),
        None if first.masks is None else tuple(mask for each in several for mask in each.masks or ()),
    )


def _corners(boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return (N, 2, 2): the upper-left and the lower-right corner."""
    return boxes.reshape(-1, 2, 2)


def _iou(one: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    box, boxes = one.astype(np.float64), others.astype(np.float64)
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    joined = np.prod(box[2:] - box[:2]) + areas - shared
    return np.asarray(shared / np.maximum(joined, np.finfo(np.float64).tiny))
