"""Chips of given objects: where they lie on the grid, in which order they are read, what the network sees of them."""

from collections.abc import Sequence
from math import ceil, floor
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from geodl_core.domain.area.area_grid import area_mask
from geodl_core.domain.grid import Coordinates, Grid
from geodl_core.domain.model.object_classifier import ObjectClassifier
from geodl_core.domain.pixels.chip import Chip, Mask
from geodl_core.domain.pixels.resize import fitted, resize
from geodl_core.domain.plan.cells import CELL_PX
from geodl_core.domain.plan.placing import positions_in, transformer
from geodl_core.domain.window import Window, clip
from geodl_core.errors import InputError

Shapes = npt.NDArray[np.object_]
"""(N,) shapely geometries, None among them where a feature has none."""
ON_LINE_PX = 1e-3
"""What lies on a line of pixels to so much lies on it."""
POINTS = (shapely.GeometryType.POINT, shapely.GeometryType.MULTIPOINT)


def shapes_on_grid(shapes: Shapes, crs: str, grid: Grid) -> Shapes:
    """Return shapes in pixels of a grid: x = column, y = row, whole numbers are pixels' corners.

    Their points are transformed, the sides between them are straight as before. None where a shape is missing or
    empty, or has a point without a place in the grid's CRS.

    Args:
        shapes: of the objects.
        crs: of the shapes.
        grid: of the job.
    """

    def placed(points: Coordinates) -> Coordinates:
        rows, cols = positions_in(grid, transformer(crs, grid.crs)(points[:, 0], points[:, 1]))
        return np.column_stack([cols, rows])

    found: Shapes = shapely.transform(shapely.force_2d(np.asarray(shapes, np.object_)), placed)
    found[~np.isfinite(shapely.bounds(found)).all(axis=-1)] = None
    return found


def chip_window(shape: shapely.Geometry, classifier: ObjectClassifier) -> Window:
    """Return the pixels of an object's chip, which may lie outside the grid.

    A chip of fixed size has the middle of the object's bounding box at its middle.

    Args:
        shape: in pixels, as `shapes_on_grid` returns it.
        classifier: whose crop size counts.

    Raises:
        InputError: a point, which has no box, where chips are as large as their objects.
    """
    left, top, right, bottom = shapely.bounds(shape).tolist()
    height, width = classifier.crop_px
    if not classifier.is_crop_fixed:
        if shapely.get_type_id(shape) in POINTS:
            raise InputError(
                "the features: expected polygons, as the model's CropSizeFixed is 0, found a point",
                hint="a chip is the smallest box round a feature then; draw outlines, or set CropSizeFixed to 1",
            )
        first = floor(top + ON_LINE_PX), floor(left + ON_LINE_PX)
        last = ceil(bottom - ON_LINE_PX), ceil(right - ON_LINE_PX)
        box = Window(*first, max(last[0], first[0] + 1), max(last[1], first[1] + 1))
        if box.height <= height and box.width <= width:
            return box
    first_row, first_col = (
        floor(middle - side / 2 + 0.5 + ON_LINE_PX)
        for middle, side in (((top + bottom) / 2, height), ((left + right) / 2, width))
    )
    return Window(first_row, first_col, first_row + height, first_col + width)


def is_on_grid(window: Window, grid: Grid) -> bool:
    """Say whether a window has pixels of a grid."""
    return 0 not in clip(window, *grid.shape).shape


def reading_order(windows: Sequence[Window], panel_px: int) -> list[int]:
    """Return the order of windows in which what was decoded for one serves its neighbours.

    Panel by panel, in each along rows of blocks.

    Args:
        windows: of chips.
        panel_px: width of a panel; 0: one panel.
    """

    def place(index: int) -> tuple[int, int, int, int]:
        window = windows[index]
        return window.left // panel_px if panel_px else 0, window.top // CELL_PX, window.left, window.top

    return sorted(range(len(windows)), key=place)


def inside(shape: shapely.Geometry, window: Window) -> Mask:
    """Say which pixels of a chip belong to its object: all of them for points.

    Those whose centre lies in a polygon; where there is none, as with slivers and lines, those that it touches.

    Returns:
        (h, w).
    """
    if shapely.get_type_id(shape) in POINTS:
        return np.ones(window.shape, np.bool_)
    if shapely.get_type_id(shape) in (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON):
        centres = area_mask(shape, window)
        if centres.any():
            return centres
    return _touched(shape, window)


def _touched(shape: shapely.Geometry, window: Window) -> Mask:
    left, top, right, bottom = shapely.bounds(shape).tolist()
    rows = np.arange(max(floor(top), window.top), min(floor(bottom) + 1, window.bottom))
    cols = np.arange(max(floor(left), window.left), min(floor(right) + 1, window.right))
    x, y = np.meshgrid(cols, rows)
    valid = shape if shapely.is_valid(shape) else shapely.make_valid(shape)
    touched = np.zeros(window.shape, np.bool_)
    touched[y - window.top, x - window.left] = shapely.intersects(valid, shapely.box(x, y, x + 1, y + 1))
    return touched


def seen_pixels(chip: Chip, mask: Mask, classifier: ObjectClassifier) -> npt.NDArray[Any]:
    """Return what the network is given of a chip: blackened round the object, and brought to the network's size.

    Another size is reached as in Esri's open functions: enlarged or made smaller with its proportions kept until it
    just fits, in the middle of zeros.

    Args:
        chip: as read.
        mask: (H, W), of the object.
        classifier: what takes it.

    Returns:
        (C, h, w): stored values, or float32 where they were resized.
    """
    pixels = np.where(mask, chip.pixels, np.zeros((), chip.pixels.dtype)) if classifier.is_blackened else chip.pixels
    target = classifier.model.chip_px
    if pixels.shape[1:] == target:
        return pixels
    scaled = resize(pixels, fitted((pixels.shape[1], pixels.shape[2]), target))
    top, left = ((side - there) // 2 for side, there in zip(target, scaled.shape[1:], strict=True))
    seen = np.zeros((len(scaled), *target), np.float32)
    seen[:, top : top + scaled.shape[1], left : left + scaled.shape[2]] = scaled
    return seen
