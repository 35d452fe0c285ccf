"""Objects of all tiles as one set: each once, whole where a tile saw it whole, whatever the shards.

A tile keeps the objects whose centre lies in its core, and those whose centre lies a margin beyond it, since two tiles
may see a centre on either side of the border between them. So of an object two or more tiles may tell; here all but
the best copy go. The best is one that was not cut at the border of what its tile reads, then one that its own tile's
core holds, then that of the highest score. Only objects near seams are compared, and only with other tiles' objects of
their class: what a tile told apart stays apart.

A tile sees an object whole if its halo is half the object's longest side and the margin, or more. Of a larger object
every tile keeps the piece it sees if it owns the piece's centre. A piece goes where another tile saw the object whole,
or more of it; other pieces stay, marked as cut, and `SeamRule.unites` makes one object of them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.domain.detection.detections import (
    CUT_BOTTOM,
    CUT_LEFT,
    CUT_RIGHT,
    CUT_TOP,
    Boxes,
    Detections,
    join,
    no_detections,
    outlines_of,
    take,
)
from geodl_core.domain.detection.pairs import Floats, Rows, areas_of
from geodl_core.domain.detection.seam_graph import (
    SLACK_PX,
    Edges,
    Flags,
    SeamRule,
    clip_boxes,
    find_edges,
    is_inside,
    parts_of,
    take_edges,
    views_of,
    without_explained,
)
from geodl_core.domain.detection.suppress import areal_shapes, dropped_of
from geodl_core.domain.plan.plan import Plan, tile_count, tile_shape
from geodl_core.domain.window import Window

__all__ = ["CUT_WITHIN_PX", "SeamRule", "cut_sides", "merge_tiles", "ordered", "owned", "settle"]

CUT_WITHIN_PX = 2.0
"""Of the border at which it was cut, the side of an object ends: networks place sides no better."""


def owned(boxes: Boxes, core: Window, margin_px: float) -> Flags:
    """Say which objects a tile keeps: those whose centre lies in its core grown by the margin.

    Left and top border belong to it, right and bottom border do not: without margin every centre has one owner.

    Args:
        boxes: (N, 4) in pixels of the grid.
        core: of the tile.
        margin_px: 0 or more.
    """
    centres = _centres(np.asarray(boxes, np.float64))
    low = np.asarray([core.left, core.top]) - margin_px
    high = np.asarray([core.right, core.bottom]) + margin_px
    return np.asarray(((centres >= low) & (centres < high)).all(1))


def cut_sides(
    boxes: Boxes, read: Window, scene_shape: tuple[int, int], within_px: float = CUT_WITHIN_PX
) -> npt.NDArray[np.uint8]:
    """Say at which sides of its read window each object was cut.

    Args:
        boxes: (N, 4) in pixels of the grid.
        read: what the tile saw.
        scene_shape: height and width of the grid, beyond which there is nothing to see.
        within_px: how far from the window's side a box may end and still count as cut there.

    Returns:
        (N,) bits of `CUT_LEFT` and so on.
    """
    height, width = scene_shape
    cuts = np.zeros(len(boxes), np.uint8)
    for side, is_cut, is_within in (
        (CUT_LEFT, boxes[:, 0] <= read.left + within_px, read.left > 0),
        (CUT_TOP, boxes[:, 1] <= read.top + within_px, read.top > 0),
        (CUT_RIGHT, boxes[:, 2] >= read.right - within_px, read.right < width),
        (CUT_BOTTOM, boxes[:, 3] >= read.bottom - within_px, read.bottom < height),
    ):
        cuts[is_cut & is_within] |= side
    return cuts


def merge_tiles(candidates: Detections, plan: Plan, rule: SeamRule) -> Detections:
    """Return the objects of a scene, each once, in the order of `ordered`.

    The same rows come out, byte for byte, in whatever order the candidates come. What shards settled and what this
    makes of all that they left open are together, `ordered`, what this makes of all candidates at once.

    Args:
        candidates: of all tiles, suppressed within each already; or what the shards left open.
        plan: how the tiles lie.
        rule: when two objects are the same.
    """
    return settle(candidates, np.arange(tile_count(plan.grid, plan.core_px)), plan, rule)[0]


def settle(
    candidates: Detections, tiles: npt.NDArray[np.integer], plan: Plan, rule: SeamRule
) -> tuple[Detections, Detections]:
    """Merge what no other shard can change.

    Args:
        candidates: of the shard's tiles, or of several shards', or what those left open.
        tiles: indices of all these tiles.
        plan: how the tiles lie.
        rule: when two objects are the same.

    Returns:
        What is settled: objects, each once, which must not be merged again. And what is open: candidates that have to
        do with each other, one of which lies where a tile of another shard sees it, as they came.
    """
    views = views_of(plan, candidates.tiles)
    boxes = np.asarray(candidates.boxes, np.float64)
    # A neighbour's copy may reach the margin, and its own copy lie a little further in.
    grown = boxes + np.asarray([-1, -1, 1, 1]) * (rule.margin_px + SLACK_PX)
    is_near = ~is_inside(grown, views.cores)
    near = take(candidates, is_near)
    near = take(near, _best_first(near, plan))
    views = views_of(plan, near.tiles)
    edges = find_edges(near, views, rule)
    parts = parts_of(len(near), edges.one, edges.other)
    reaching = _is_seen_elsewhere(clip_boxes(np.asarray(near.boxes, np.float64), views.reads), tiles, plan)
    is_open = np.bincount(parts[reaching], minlength=len(near))[parts] > 0
    edges = without_explained(take_edges(edges, ~is_open[edges.one]), near.tiles)
    merged = _resolved(near, edges, ~is_open)
    return ordered(join([take(candidates, ~is_near), merged])), ordered(take(near, is_open))


def ordered(detections: Detections) -> Detections:
    """Return the rows by tile, then from top to bottom and from left to right: an order that depends on them alone."""
    if not len(detections):
        return no_detections()

    def more(rows: Rows) -> list[npt.NDArray[Any]]:
        x0, _, x1, y1 = detections.boxes[rows].T
        keys = [x0, y1, x1, detections.class_ids[rows], -detections.scores[rows], detections.cuts[rows]]
        if detections.outlines is not None:
            import shapely  # noqa: PLC0415  # a quarter of a second, which boxes alone do without

            keys.append(np.unique(shapely.to_wkb(detections.outlines[rows]), return_inverse=True)[1])
        return keys

    return take(detections, _rows_by([detections.tiles, detections.boxes[:, 1]], more))


def _best_first(detections: Detections, plan: Plan) -> Rows:
    """Return rows by how good a copy of an object each is."""
    boxes = np.asarray(detections.boxes, np.float64)
    centres, views = _centres(boxes), views_of(plan, detections.tiles)
    is_guest = np.asarray(((centres < views.cores[:, :2]) | (centres >= views.cores[:, 2:])).any(1))
    cuts = np.unpackbits(detections.cuts[:, None], axis=1).sum(1)
    # Of two pieces the one that shows more.
    shown = np.where(cuts > 0, areas_of(boxes), 0)
    return _rows_by(
        [cuts, is_guest, -shown, -detections.scores],
        lambda rows: [*boxes[rows].T, detections.tiles[rows], detections.class_ids[rows]],
    )


def _rows_by(keys: list[npt.NDArray[Any]], more: Callable[[Rows], list[npt.NDArray[Any]]]) -> Rows:
    """Return rows by keys, the first of which counts most; those few that agree in all of them by more keys."""
    order: Rows = np.lexsort(keys[::-1])
    same = np.logical_and.reduce([key[order][1:] == key[order][:-1] for key in keys])
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    rows = order[tied]
    # The places of rows that agree are adjacent, so that sorting all of them at once leaves each among its like.
    order[tied] = rows[np.lexsort([*more(rows)[::-1], *(key[rows] for key in keys[::-1])])]
    return order


def _centres(boxes: Floats) -> Floats:
    centres: Floats = (boxes[:, :2] + boxes[:, 2:]) / 2
    return centres


def _is_seen_elsewhere(boxes: Floats, tiles: npt.NDArray[np.integer], plan: Plan) -> Flags:
    """Say which boxes touch what a tile reads that is not among these."""
    rows, cols = tile_shape(plan.grid, plan.core_px)
    others = np.ones(rows * cols, np.int64)
    others[tiles] = 0
    total = np.zeros((rows + 1, cols + 1), np.int64)
    total[1:, 1:] = others.reshape(rows, cols).cumsum(0).cumsum(1)
    core, last = np.asarray(plan.core_px[::-1]), np.asarray([cols, rows]) - 1
    first = np.clip(np.floor((boxes[:, :2] - plan.halo_px) / core), 0, last).astype(np.int64)
    stop = np.clip(np.floor((boxes[:, 2:] + plan.halo_px) / core), 0, last).astype(np.int64) + 1
    (left, top), (right, bottom) = first.T, stop.T
    seen: Flags = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left] > 0
    return seen


def _resolved(near: Detections, edges: Edges, is_taken: Flags) -> Detections:
    """Return those that stay of the candidates taken, best first, with pieces united."""
    rivals = edges.is_rival
    stays = is_taken & ~dropped_of(len(near), edges.one[rivals], edges.other[rivals])
    joint = edges.is_joint & stays[edges.one] & stays[edges.other]
    if not joint.any():
        return take(near, stays)
    parts = parts_of(len(near), edges.one[joint], edges.other[joint])
    is_piece = stays & (np.bincount(parts, minlength=len(near))[parts] > 1)
    pieces = take(near, is_piece)
    _, numbers = np.unique(parts[is_piece], return_inverse=True)
    return join([take(near, stays & ~is_piece), _united(pieces, numbers)])


def _united(pieces: Detections, numbers: Rows) -> Detections:
    """Return one object for each number that pieces have: their union, with the score of the best.

    Class and tile are those of the first piece; a side is cut that is cut in every piece which reaches as far.
    """
    count = int(numbers.max()) + 1
    boxes = np.tile(np.asarray([np.inf, np.inf, -np.inf, -np.inf], np.float32), (count, 1))
    np.minimum.at(boxes[:, :2], numbers, pieces.boxes[:, :2])
    np.maximum.at(boxes[:, 2:], numbers, pieces.boxes[:, 2:])
    scores = np.zeros(count, np.float32)
    np.maximum.at(scores, numbers, pieces.scores)
    cuts = np.full(count, 15, np.uint8)
    ends = np.abs(pieces.boxes - boxes[numbers]) <= SLACK_PX
    for side, ending in zip((CUT_LEFT, CUT_TOP, CUT_RIGHT, CUT_BOTTOM), ends.T, strict=True):
        np.bitwise_and.at(cuts, numbers[ending], pieces.cuts[ending] | np.uint8(15 - side))
    first = np.unique(numbers, return_index=True)[1]
    outlines = None if pieces.outlines is None else _unions(outlines_of(pieces), numbers, count)
    return Detections(boxes, scores, pieces.class_ids[first], pieces.tiles[first], cuts, outlines)


def _unions(outlines: npt.NDArray[np.object_], numbers: Rows, count: int) -> npt.NDArray[np.object_]:
    import shapely  # noqa: PLC0415

    shapes = areal_shapes(outlines)
    unions = np.empty(count, object)
    for number in range(count):
        unions[number] = shapely.normalize(shapely.union_all(shapes[numbers == number]))
    return unions
