"""Plan the chips of given objects: the grid that they are cut from, their windows, the order in which they are read."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine

from geodl_core.domain.grid import Grid
from geodl_core.domain.model.object_chips import Shapes, chip_window, is_on_grid, reading_order, shapes_on_grid
from geodl_core.domain.model.object_classifier import ObjectClassifier
from geodl_core.domain.pixels.resize import fitted
from geodl_core.domain.plan.cells import CELL_PX
from geodl_core.domain.plan.job import Arguments
from geodl_core.domain.scene.scene_grid import GridWish, choose_grid
from geodl_core.domain.window import Window
from geodl_core.engine.plan_inputs import panel_columns
from geodl_core.engine.plan_scene import ScenePlan, plan_scene
from geodl_core.io.scene.scene_reader import READ_BYTES


@dataclass(frozen=True, slots=True)
class ObjectPlan:
    """Where the chips of objects lie."""

    planned: ScenePlan
    """Of the scene; its tiles play no part."""
    classifier: ObjectClassifier
    shapes: Shapes
    """(N,) in pixels of the plan's grid; None: without a place on it."""
    order: npt.NDArray[np.int64]
    """(M,) indices of the objects that have pixels of the grid, as they are read."""
    windows: tuple[Window, ...]
    """(M,) of their chips, in that order."""


def plan_objects(
    item: Mapping[str, Any],
    classifier: ObjectClassifier,
    arguments: Arguments,
    features: tuple[Shapes, str] | None,
) -> ObjectPlan:
    """Lay out the chips of objects.

    Args:
        item: STAC Item with absolute asset hrefs.
        classifier: what is to run.
        arguments: the user's choices.
        features: (N,) shapes and their CRS; None: the whole image is one object.

    Raises:
        ItemError: as `plan_scene`.
        StoreError: a remote asset does not open.
        InputError: a point, where chips are as large as their objects.
    """
    planned = _on_fitting_grid(item, classifier, arguments, is_whole=features is None)
    grid = planned.plan.grid
    # What lies outside the scene is 0, as in Esri's functions.
    planned = replace(planned, plan=replace(planned.plan, pad="constant"))
    if features is None:
        classifier = replace(classifier, crop_px=grid.shape, is_crop_fixed=False, is_blackened=False)
        shapes: Shapes = np.array([shapely.box(0, 0, grid.width, grid.height)], np.object_)
    else:
        shapes = shapes_on_grid(*features, grid)
    windows = {index: chip_window(shape, classifier) for index, shape in enumerate(shapes) if shape is not None}
    there = [index for index, window in windows.items() if is_on_grid(window, grid)]
    inside = [windows[index] for index in there]
    tile = (CELL_PX, CELL_PX), max(classifier.crop_px) // 2
    panel_px = CELL_PX * panel_columns(planned.plan.sources, grid, tile, READ_BYTES * 3 // 4)
    order = reading_order(inside, panel_px)
    taken = np.asarray([there[place] for place in order], np.int64)
    return ObjectPlan(planned, classifier, shapes, taken, tuple(inside[place] for place in order))


def outline_of(grid: Grid) -> shapely.Polygon:
    """Return the outline of a grid in its CRS."""
    corners = ((0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height))
    return shapely.Polygon([grid.affine @ corner for corner in corners])


def _on_fitting_grid(
    item: Mapping[str, Any], classifier: ObjectClassifier, arguments: Arguments, *, is_whole: bool
) -> ScenePlan:
    """Plan the scene on a grid that chips can be cut from: north above where that counts, an image as one chip."""
    planned = plan_scene(item, classifier.model, arguments)
    own = planned.plan.grid
    grid, notes = own, planned.notes
    if classifier.is_map_space and not _is_north_up(own):
        grid, _ = choose_grid([own], GridWish(cell_size=repr(sqrt(abs(own.affine.determinant)))))
        notes = (*notes, "the raster is turned so that north is above: ImageSpaceUsed is MAP_SPACE")
    if is_whole:
        grid = _coarse(grid, classifier.model.chip_px)
    if grid == own:
        return planned
    # What the scene is like is judged by its own pixels.
    return replace(plan_scene(item, classifier.model, arguments, grid), notes=notes, warnings=planned.warnings)


def _is_north_up(grid: Grid) -> bool:
    a, b, _, d, e, _ = grid.transform
    return a > 0 > e and abs(b) + abs(d) <= 1e-9 * abs(a)


def _coarse(grid: Grid, chip_px: tuple[int, int]) -> Grid:
    """Return the grid whose pixels are those of a chip of the whole extent; the same one where it is no larger."""
    height, width = fitted(grid.shape, chip_px)
    if height >= grid.height and width >= grid.width:
        return grid
    affine = grid.affine @ Affine.scale(grid.width / width, grid.height / height)
    return Grid(grid.crs, tuple(affine)[:6], height, width)
