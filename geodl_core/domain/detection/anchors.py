"""Anchors of detection heads: boxes on the cells of maps, which a network's offsets shift and stretch.

All are in pixels of the network's input, and are numbered map by map, in a map row by row, in a row cell by cell, in a
cell anchor by anchor.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from geodl_core.domain.detection.dense import Floats, Rows, to_corners
from geodl_core.domain.detection.options import Settings, arrays, numbers, one_of, option
from geodl_core.errors import ModelError


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """One map of a head."""

    rows: int
    cols: int
    step: tuple[float, float]
    """Pixels from cell to cell, in x and y."""
    sizes: Floats
    """(A, 2) width, height in pixels of a cell's anchors."""
    offset: float = 0.5
    """Where in a cell its anchors have their centre: 0.5 in the middle, 0 in its upper-left corner."""

    def __len__(self) -> int:
        return self.rows * self.cols * len(self.sizes)


def anchors_at(levels: Sequence[Level], rows: Rows) -> Floats:
    """Return (n, 4) cx, cy, w, h in pixels of the anchors of these numbers."""
    starts = np.cumsum([0, *map(len, levels)])
    anchors = np.empty((len(rows), 4), np.float32)
    for level, start, stop in zip(levels, starts, starts[1:], strict=False):
        inside = (rows >= start) & (rows < stop)
        cells, kinds = np.divmod(rows[inside] - start, len(level.sizes))
        y, x = np.divmod(cells, level.cols)
        anchors[inside, 0] = (x + level.offset) * level.step[0]
        anchors[inside, 1] = (y + level.offset) * level.step[1]
        anchors[inside, 2:] = level.sizes[kinds]
    return anchors


def apply_offsets(anchors: Floats, offsets: Floats, variances: tuple[float, float] = (1.0, 1.0)) -> Floats:
    """Return (n, 4) xmin, ymin, xmax, ymax of anchors that are shifted by their size and stretched exponentially.

    Girshick et al., Rich feature hierarchies (2014), appendix C; the variances are those of Liu et al., SSD (2016), in
    its published code. An offset that is too large gives an infinite box, NaN gives NaN.

    Args:
        anchors: (n, 4) cx, cy, w, h.
        offsets: (n, 4) dx, dy, dw, dh.
        variances: what dx and dy, and what dw and dh are multiplied by.
    """
    of_centre, of_size = map(np.float32, variances)
    with np.errstate(over="ignore", invalid="ignore"):
        centres = anchors[:, :2] + offsets[:, :2] * of_centre * anchors[:, 2:]
        return to_corners(np.concatenate([centres, anchors[:, 2:] * np.exp(offsets[:, 2:] * of_size)], axis=1))


def retinanet_levels(settings: Settings, size: tuple[int, int]) -> tuple[Level, ...]:
    """Return the pyramid of RetinaNet: one size a level, times scales, at ratios of height to width.

    Lin et al., Focal loss for dense object detection (2017), section 4. Implementations differ in what the paper leaves
    open, so `settings` say it.

    Args:
        settings: `sizes` (default 32, 64, 128, 256, 512) and `strides` (8, 16, 32, 64, 128) in pixels, one a level;
            `scales` (1, 2^⅓, 2^⅔), `ratios` (0.5, 1, 2); `anchor_order`: "ratios" (default; anchors of one ratio follow
            each other, as in Keras' and torchvision's) or "scales" (as in Detectron2's); `offset` (0.5; torchvision
            and Detectron2: 0); `is_rounded` (False): halves of widths and heights are rounded, as by torchvision.
        size: height and width of the network's input; a level has as many cells as cover it.

    Raises:
        ModelError: a setting cannot be read, or sizes and strides differ in number.
    """
    strides = read_strides(settings, (8, 16, 32, 64, 128))
    sizes = numbers(settings, "sizes", (32, 64, 128, 256, 512))
    if len(sizes) != len(strides):
        raise ModelError(f"detector: expected as many sizes as strides, found {len(sizes)} and {len(strides)}")
    offset = float(numbers(settings, "offset", (0.5,))[0])
    shapes = _shapes(settings)
    halves = [base * shapes / 2 for base in sizes]
    if option(settings, "is_rounded", False):
        halves = [np.rint(half) for half in halves]
    return tuple(
        covering_level(stride, size, (2 * half).astype(np.float32), offset)
        for stride, half in zip(strides, halves, strict=True)
    )


def _shapes(settings: Settings) -> npt.NDArray[np.float64]:
    """Return (A, 2) width and height of the anchors of RetinaNet at size 1."""
    scales = numbers(settings, "scales", (1, 2 ** (1 / 3), 2 ** (2 / 3)))
    ratios = np.sqrt(numbers(settings, "ratios", (0.5, 1, 2)))
    if one_of(settings, "anchor_order", ("ratios", "scales"), "ratios") == "ratios":
        return np.array([(scale / ratio, scale * ratio) for ratio in ratios for scale in scales])
    return np.array([(scale / ratio, scale * ratio) for scale in scales for ratio in ratios])


def grid_levels(settings: Settings, size: tuple[int, int]) -> tuple[Level, ...]:
    """Return the maps of an SSD that divides the image into grids, as fast.ai's course (2018, lesson 9) lays it out.

    Args:
        settings: `grids`, cells to a side, one or [rows, columns] a map; `zooms` (default 1) and `ratios` (default
            [1, 1]), pairs of height and width: an anchor is zoom × ratio × cell, those of one zoom follow each other.
        size: height and width of the network's input.

    Raises:
        ModelError: a setting cannot be read.
    """
    height, width = size
    ratios = arrays(settings, "ratios", ((1, 1),))
    if any(ratio.shape != (2,) for ratio in ratios):
        raise ModelError(f"detector: expected ratios as pairs, found {[ratio.tolist() for ratio in ratios]}")
    shapes = np.array([zoom * ratio[::-1] for zoom in numbers(settings, "zooms", (1,)) for ratio in ratios], np.float32)
    levels = []
    for grid in arrays(settings, "grids"):
        rows, cols = int(grid[0]), int(grid[-1])
        if min(rows, cols) < 1:
            raise ModelError(f"detector: expected grids of at least one cell, found {grid.tolist()}")
        step = (width / cols, height / rows)
        levels.append(Level(rows, cols, step, shapes * np.array(step, np.float32)))
    return tuple(levels)


def stride_levels(settings: Settings, size: tuple[int, int]) -> tuple[Level, ...]:
    """Return maps of square anchors of some sizes on strides, as UltraFace and RetinaFace have them.

    Args:
        settings: `strides` in pixels, one a map; `min_sizes`, widths in pixels of the anchors of each map; `is_fitted`:
            whether cells are as large as fits into the input, as UltraFace has them (default), or a stride, as
            RetinaFace has them, which is another thing only where strides do not divide the input.
        size: height and width of the network's input; a map has as many cells as cover it.

    Raises:
        ModelError: a setting cannot be read, or strides and min_sizes differ in number.
    """
    strides, sizes = read_strides(settings), arrays(settings, "min_sizes")
    if len(strides) != len(sizes):
        raise ModelError(f"detector: expected min_sizes for each of {len(strides)} strides, found {len(sizes)}")
    levels = [
        covering_level(stride, size, np.stack([sides, sides], axis=1).astype(np.float32))
        for stride, sides in zip(strides, sizes, strict=True)
    ]
    if option(settings, "is_fitted", True):
        levels = [replace(level, step=(size[1] / level.cols, size[0] / level.rows)) for level in levels]
    return tuple(levels)


def read_strides(settings: Settings, default: Sequence[float] | None = None) -> tuple[float, ...]:
    """Return the setting `strides`, pixels from cell to cell, one a level.

    Raises:
        ModelError: it is missing and has no default, or is below a pixel.
    """
    strides = numbers(settings, "strides", default)
    if strides.min() < 1:
        raise ModelError(f"detector: expected strides of at least a pixel, found {strides.tolist()}")
    return tuple(strides.tolist())


def covering_level(stride: float, size: tuple[int, int], sizes: Floats, offset: float = 0.5) -> Level:
    """Return the level of a stride whose cells cover an image of this height and width."""
    height, width = size
    return Level(math.ceil(height / stride), math.ceil(width / stride), (stride, stride), sizes, offset)


def count_anchors(levels: Sequence[Level]) -> int:
    """Return how many anchors the levels have together."""
    return sum(map(len, levels))
