"""Find the objects of a few tiles: look at them, decode the answers, and keep what the tiles own."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from geodl_core.domain.detection.choice import DetectionChoice
from geodl_core.domain.detection.decode import decode_answer
from geodl_core.domain.detection.decoder import Found, Tensor, take_found
from geodl_core.domain.detection.detections import Detections, no_detections, take
from geodl_core.domain.detection.detector import MARGIN_PX, Detector
from geodl_core.domain.detection.labels import class_ids_of
from geodl_core.domain.detection.looks import Look, merge_looks, seen_back
from geodl_core.domain.detection.seams import cut_sides, owned
from geodl_core.domain.detection.suppress import areal_shapes, nms, nms_polygons
from geodl_core.domain.pixels.augment import turn
from geodl_core.domain.pixels.resize import resize
from geodl_core.domain.plan.plan import Plan, Tile
from geodl_core.domain.window import clip
from geodl_core.engine.session import OnnxSession
from geodl_core.engine.worker import AreaMask, Reader, read_chip
from geodl_core.errors import OutOfMemoryError
from geodl_core.io.vector.trace import trace_masks


@dataclass(frozen=True, slots=True)
class Sight:
    """How a detector sees a tile."""

    input_px: tuple[int, int]
    """Height and width that the network is given at scale 1."""
    is_input_fixed: bool
    """Whether it takes no other: smaller looks are then filled up with 0."""
    stride_px: int
    """What other sizes are multiples of."""
    looks: tuple[Look, ...]
    dtype: str
    """NumPy's name of the type that the graph takes; float32 where tiles are resized."""


@dataclass(frozen=True, slots=True)
class Finder:
    """What the shards of a detector are computed with."""

    reader: Reader
    session: OnnxSession
    detector: Detector
    sight: Sight
    threshold: float
    choice: DetectionChoice
    area_mask: AreaMask | None
    """Which pixels of a window lie in the area of interest."""
    pool: Executor
    """Of all shards of a run."""
    threads: int
    """Of the pool."""
    batch: int
    """Tiles a call at most."""
    is_batch_fixed: bool
    on_tiles: Callable[[int], None]
    """Told how many tiles were finished."""
    on_dropped: Callable[[int], None]
    """Told how many boxes without an area were left out."""
    check: Callable[[], None]
    """Makes sure that the scene's files are still those of the plan."""


def find_objects(plan: Plan, tiles: Sequence[Tile], finder: Finder) -> list[Detections]:
    """Return the objects of each tile, in pixels of the grid; of a tile without a valid pixel none are looked for.

    Args:
        plan: of the scene.
        tiles: whose read windows have one shape.
        finder: what they are computed with.

    Raises:
        DataError: a block cannot be decoded.
        ModelError: the network's answer cannot be what the definition says.
        InferenceError: the network failed; its child OutOfMemoryError where one tile alone does not fit.
    """
    results = [no_detections() for _ in tiles]
    chips = [read_chip(tile, finder.reader) for tile in tiles]
    valid = [
        chip.valid if finder.area_mask is None else chip.valid & finder.area_mask(tile.read)
        for tile, chip in zip(tiles, chips, strict=True)
    ]
    alive = [position for position, mask in enumerate(valid) if mask.any()]
    if not alive:
        return results
    pixels = np.stack([chips[position].pixels for position in alive])
    found = [_look(pixels, look, finder) for look in finder.sight.looks]
    for row, position in enumerate(alive):
        looks = [_suppressed(each[row], finder) for each in found]
        # Merged, objects of different looks may overlap more than those of one.
        objects = looks[0] if len(looks) == 1 else _suppressed(merge_looks(looks, finder.threshold), finder)
        results[position] = _kept(objects, tiles[position], valid[position], plan, finder)
    return results


def _look(pixels: npt.NDArray[np.generic], look: Look, finder: Finder) -> list[Found]:
    """Return what one look at (N, C, H, W) stored values finds, in pixels of the tiles."""
    shape = pixels.shape[-2:]
    shown, size = _shown(pixels, look, finder.sight)
    canvas = shown.shape[-2:]
    seen = turn(shown.astype(finder.sight.dtype, copy=False), look.way)
    scale = (shape[1] / size[1], shape[0] / size[0])
    found = []
    for tensors, count in _answers(seen, finder):
        images = finder.batch if finder.is_batch_fixed else count
        decoded = decode_answer(tensors, finder.detector.decoder, seen.shape[-2:], finder.threshold, images)
        finder.on_dropped(sum(each.dropped for each in decoded[:count]))
        found += [seen_back(each.found, look.way, canvas, scale) for each in decoded[:count]]
    return found


def _shown(
    pixels: npt.NDArray[np.generic], look: Look, sight: Sight
) -> tuple[npt.NDArray[np.generic], tuple[int, int]]:
    """Return the pixels at the size of a look, and the height and width that the tile takes of them."""
    height, width = sight.input_px
    if look.scale == 1:
        return resize(pixels, (height, width)) if pixels.shape[-2:] != (height, width) else pixels, (height, width)
    step = 1 if sight.is_input_fixed else sight.stride_px
    size = tuple(max(step, round(side * look.scale / step) * step) for side in (height, width))
    smaller = resize(pixels, (size[0], size[1]))
    if not sight.is_input_fixed:
        return smaller, (size[0], size[1])
    canvas = np.zeros((*pixels.shape[:2], height, width), np.float32)
    canvas[..., : size[0], : size[1]] = smaller
    return canvas, (size[0], size[1])


def _answers(pixels: npt.NDArray[np.generic], finder: Finder) -> list[tuple[tuple[Tensor, ...], int]]:
    """Return the network's answers for tiles, and how many images each is of; in halves where memory is short."""
    count = len(pixels)
    if finder.is_batch_fixed and count < finder.batch:
        # A graph of fixed batch takes no fewer; what is added is thrown away.
        fill = np.zeros((finder.batch - count, *pixels.shape[1:]), pixels.dtype)
        return [(finder.session.infer_all(np.concatenate([pixels, fill])), count)]
    try:
        return [(finder.session.infer_all(pixels), count)]
    except OutOfMemoryError:
        if finder.is_batch_fixed or count == 1:
            raise
    half = count // 2
    return [*_answers(pixels[:half], finder), *_answers(pixels[half:], finder)]


def _suppressed(found: Found, finder: Finder) -> Found:
    """Return objects without those that overlap a better one of their class."""
    threshold = finder.choice.nms_overlap
    if threshold is None or threshold >= 1 or len(found.scores) < 2:
        return found
    if found.corners is not None:
        # Of slanting objects side by side the bounds overlap, and the objects do not.
        return take_found(found, nms_polygons(shapely.polygons(found.corners), found.scores, found.labels, threshold))
    return take_found(found, nms(found.boxes, found.scores, found.labels, threshold))


def _kept(found: Found, tile: Tile, valid: npt.NDArray[np.bool_], plan: Plan, finder: Finder) -> Detections:
    """Return a tile's objects on the grid: those it owns, or may own, whose centre lies on a valid pixel."""
    corner = np.asarray([tile.read.left, tile.read.top], np.float32)
    boxes = found.boxes + np.tile(corner, 2)
    rows = owned(boxes, tile.core, MARGIN_PX if finder.choice.exclude_pad_detections else plan.halo_px)
    centres = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    rows &= ((centres >= 0) & (centres < valid.shape[::-1])).all(1)
    col, row = centres[rows].astype(np.int64).T
    rows[rows] = valid[row, col]
    chosen = np.flatnonzero(rows)
    found = take_found(found, chosen)
    class_ids = class_ids_of(found.labels, finder.detector.labels)
    outlines = _outlines(found, corner, finder.choice)
    boxes = boxes[chosen]
    # Of what no tile sees, and what no scene has, a network can only guess. Oriented boxes stay boxes.
    seen = clip(tile.read, *plan.grid.shape)
    inner = np.clip(boxes, (seen.left, seen.top) * 2, (seen.right, seen.bottom) * 2, dtype=np.float32)
    if outlines is not None and found.corners is not None:
        inner = boxes
    elif outlines is not None and len(boxes):
        beyond = np.flatnonzero((boxes != inner).any(1))
        frame = shapely.box(seen.left, seen.top, seen.right, seen.bottom)
        within = areal_shapes(shapely.intersection(areal_shapes(outlines[beyond]), frame))
        within[shapely.is_missing(within)] = shapely.Polygon()
        outlines[beyond] = within
    boxes = inner
    detections = Detections(
        boxes,
        found.scores,
        class_ids,
        np.full(len(chosen), tile.index, np.int32),
        cut_sides(boxes, tile.read, plan.grid.shape),
        outlines,
    )
    # A mask that is nowhere above 0.5 is no object.
    return detections if outlines is None else take(detections, np.flatnonzero(~shapely.is_empty(outlines)))


def _outlines(found: Found, corner: npt.NDArray[np.float32], choice: DetectionChoice) -> npt.NDArray[np.object_] | None:
    """Return polygons on the grid; None where boxes are all there is, or all that is wanted."""
    if choice.return_bboxes or (found.masks is None and found.corners is None):
        return None
    if found.masks is not None:
        outlines = trace_masks(found.masks, found.boxes)
        if choice.simplify_px:
            outlines = shapely.simplify(outlines, choice.simplify_px, preserve_topology=True)
    else:
        outlines = shapely.polygons(found.corners)
    moved: npt.NDArray[np.object_] = shapely.transform(outlines, lambda points: points + corner)
    return np.atleast_1d(moved)
