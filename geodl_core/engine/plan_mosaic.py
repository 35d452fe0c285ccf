"""Plan several Items as one job: each is planned for itself, then laid on the grid that they share."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from geodl_core.domain.area.area import Area
from geodl_core.domain.area.area_grid import area_on_grid, cells_meeting
from geodl_core.domain.grid import Grid, outline_wgs84
from geodl_core.domain.model.model import Model
from geodl_core.domain.plan.job import Arguments, Job, MosaicItem, job_id
from geodl_core.domain.plan.plan import Layer, pack_live
from geodl_core.domain.plan.tiling import Tiling
from geodl_core.domain.scene.mosaic import chip_dtype_of, live_of_layers, part_grid, shared_grid, window_on
from geodl_core.domain.scene.radiometry import Radiometry
from geodl_core.domain.window import Window
from geodl_core.engine.plan_inputs import panel_columns
from geodl_core.engine.plan_scene import ScenePlan, plan_scene, tiling_of
from geodl_core.io.scene.scene_reader import READ_BYTES


def plan_items(items: Sequence[Mapping[str, Any]], model: Model, arguments: Arguments) -> ScenePlan:
    """Lay out a job of one Item, or of several as a mosaic.

    In a mosaic each pixel comes from the first Item in order that has it in all bands and unmasked. The first one's
    CRS, cells and pixel lines are the mosaic's; Items of others are warped. All Items' values are taken alike: in the
    kind and from the range that were chosen for the first.

    Args:
        items: with absolute asset hrefs, in order.
        model: what to run.
        arguments: the user's choices.

    Raises:
        InputError: as `plan_scene`; or the Items lie too far apart.
    """
    if len(items) == 1:
        return plan_scene(items[0], model, arguments)
    placed = _placed(items, model, replace(arguments, area=None))
    plans = [planned for _, planned in placed]
    first = plans[0]
    grid, windows = shared_grid(first.plan.grid, [window for window, _ in placed])
    # The output Item needs it; better to fail before the work than after.
    outline_wgs84(grid)
    common = _common_radiometry(plans)
    tiling = tiling_of(model, arguments, grid)
    job = replace(_job(plans, grid, tiling, common), area=arguments.area)
    layers = tuple(
        Layer(window, planned.plan.sources, planned.plan.masks, None if common else planned.radiometry)
        for window, planned in zip(windows, plans, strict=True)
    )
    dtypes = [planned.plan.chip_dtype for planned in plans] if common else ["float32"]
    plan = replace(
        first.plan,
        job_id=job_id(job),
        grid=grid,
        core_px=job.core_px,
        halo_px=job.halo_px,
        step_px=tiling.step_px,
        blend_px=job.blend_px,
        pad=job.pad,
        chip_dtype=chip_dtype_of(dtypes),
        live=_live(job, layers, plans),
        area=job.area,
        panel_cols=_panel_cols(job, layers),
        layers=layers,
    )
    return replace(
        first,
        job=job,
        plan=plan,
        radiometry=job.radiometry,
        notes=_notes(plans, is_scaled=common is None),
        warnings=tuple(dict.fromkeys(warning for planned in plans for warning in planned.warnings)),
    )


def _placed(items: Sequence[Mapping[str, Any]], model: Model, arguments: Arguments) -> list[tuple[Window, ScenePlan]]:
    """Plan each Item for itself, on the first one's pixel lines; return where it lies on the first one's grid."""
    first = plan_scene(items[0], model, arguments)
    found = [(Window(0, 0, *first.plan.grid.shape), first)]
    kind, source_range = first.radiometry.kind, first.radiometry.source_range
    arguments = replace(arguments, radiometry=kind, source_range=source_range)
    for item in items[1:]:
        planned = plan_scene(item, model, arguments)
        window, is_aligned = window_on(first.plan.grid, planned.plan.grid)
        if not is_aligned:
            planned = plan_scene(item, model, arguments, part_grid(first.plan.grid, window))
        found.append((window, planned))
    return found


def _job(plans: Sequence[ScenePlan], grid: Grid, tiling: Tiling, common: Radiometry | None) -> Job:
    first = plans[0]
    return replace(
        first.job,
        grid=grid,
        radiometry=common or _applied(first.radiometry),
        pad=tiling.pad,
        core_px=tiling.core_px,
        halo_px=tiling.halo_px,
        blend_px=tiling.blend_px,
        mosaic=tuple(
            MosaicItem(job.collection, job.item_id, job.inputs, job.masks, job.mask_bits, job.radiometry)
            for job in (planned.job for planned in plans)
        ),
    )


def _common_radiometry(plans: Sequence[ScenePlan]) -> Radiometry | None:
    """Return the radiometry of all Items, None where theirs differ."""
    first = plans[0].radiometry
    facts = {(found.scale, found.offset, found.floor) for found in (planned.radiometry for planned in plans)}
    return first if len(facts) == 1 else None


def _applied(radiometry: Radiometry) -> Radiometry:
    """Return the radiometry of values that have been scaled already."""
    count = len(radiometry.scale)
    return replace(radiometry, scale=(1.0,) * count, offset=(0.0,) * count, floor=())


def _live(job: Job, layers: Sequence[Layer], plans: Sequence[ScenePlan]) -> bytes:
    pairs = [(layer.window, planned.plan) for layer, planned in zip(layers, plans, strict=True)]
    live = live_of_layers(job.grid, job.core_px, pairs)
    if job.area is not None:
        live &= cells_meeting(area_on_grid(Area(job.area), job.grid), job.grid, job.core_px)
    return pack_live(np.asarray(live))


def _panel_cols(job: Job, layers: Sequence[Layer]) -> int:
    """Return how many columns of tiles make a panel, so that what every layer must hold fits its part of the budget."""
    budget = READ_BYTES * 3 // 4 // len(layers)
    columns = [
        panel_columns(layer.sources, Grid(job.grid.crs, job.grid.transform, *layer.window.shape), tile, budget)
        for layer in layers
        for tile in [(job.core_px, job.halo_px)]
    ]
    return min(filter(None, columns), default=0)


def _notes(plans: Sequence[ScenePlan], is_scaled: bool) -> tuple[str, ...]:
    ids = ", ".join(planned.job.item_id for planned in plans)
    notes = [*plans[0].notes, f"a mosaic: each pixel is of the first Item that has it: {ids}"]
    for planned in plans[1:]:
        if any(source.ratio is None for source in planned.plan.sources):
            notes.append(f"Item {planned.job.item_id} is warped to the grid of {plans[0].job.item_id}")
        notes += [f"Item {planned.job.item_id}: {note}" for note in planned.notes if note not in notes]
    if is_scaled:
        notes.append("the Items' scales or offsets differ: each one's are applied as it is read")
    return tuple(notes)
