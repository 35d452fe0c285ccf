"""Plan a scene: from an Item, a model and arguments to a job and the arithmetic of its tiles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from geodl_core.domain.area.area import Area
from geodl_core.domain.area.area_grid import area_on_grid, cells_meeting
from geodl_core.domain.detection.choice import PLAIN, DetectionChoice
from geodl_core.domain.grid import Grid, outline_wgs84
from geodl_core.domain.model.model import Model
from geodl_core.domain.plan.detector_tiling import detector_tiling
from geodl_core.domain.plan.job import Arguments, InputIdentity, Job, job_id
from geodl_core.domain.plan.plan import BandSource, MaskSource, Plan, pack_live
from geodl_core.domain.plan.tiling import Tiling, choose_tiling
from geodl_core.domain.scene.bands import choose_bands
from geodl_core.domain.scene.fit import seen_grid
from geodl_core.domain.scene.item import Band, Scene, read_scene
from geodl_core.domain.scene.radiometry import Radiometry, choose_radiometry
from geodl_core.domain.scene.scene_grid import GridWish, choose_grid
from geodl_core.engine.judge_scene import judge_scene
from geodl_core.engine.plan_inputs import (
    band_source,
    chip_dtype,
    identity_of,
    live_tiles_of,
    mask_bands,
    mask_sources,
    panel_columns,
    read_facts,
    with_versions,
)
from geodl_core.errors import ItemError
from geodl_core.io.scene.raster import raster_facts
from geodl_core.io.scene.scene_reader import READ_BYTES


@dataclass(frozen=True, slots=True)
class ScenePlan:
    """A job and its plan, with the decisions that led to it."""

    job: Job
    plan: Plan
    model: Model
    """With the threshold that the run uses."""
    bands: tuple[Band, ...]
    """Chosen from the Item, in channel order."""
    radiometry: Radiometry
    notes: tuple[str, ...]
    """What had to be decided, by the model and here, for the run report."""
    rule: str = ""
    """What decided on the radiometry, a sentence."""
    warnings: tuple[str, ...] = ()
    """Where the scene may not be what the Item says, or what the model was made for."""


def plan_scene(item: Mapping[str, Any], model: Model, arguments: Arguments, on_grid: Grid | None = None) -> ScenePlan:
    """Lay out a job.

    Args:
        item: STAC Item with absolute asset hrefs.
        model: what to run.
        arguments: the user's choices.
        on_grid: of the job; None: by the arguments, the model's cell size and the finest band.

    Raises:
        ItemError: a band is missing, is no raster, or has no CRS; the area of interest does not meet the scene; or
            there is something to warn of, and the arguments are strict.
        PlanError: the halo leaves no core, or the network does not take the asked size.
        StoreError: a remote asset does not open.
    """
    scene = read_scene(item)
    wanted, notes = _zero_based(scene, model, arguments)
    choice = choose_bands(scene, wanted, arguments.bands, arguments.masks)
    scene = with_versions(scene, {band.asset for band in choice.bands} | set(arguments.masks))
    bands = choose_bands(scene, wanted, arguments.bands, arguments.masks).bands
    facts = read_facts(bands)
    grid, why = (on_grid, "") if on_grid else _grid([facts[band.asset].grid for band in bands], model, arguments)
    # The output Item needs it; better to fail before the work than after.
    outline_wgs84(grid)
    typed = [(band, facts[band.asset].dtypes[band.index]) for band in bands]
    values = choose_radiometry(scene, typed, model.scaling, arguments.radiometry, arguments.source_range)
    tiling = tiling_of(model, arguments, grid)
    if arguments.threshold is not None:
        model = replace(model, threshold=arguments.threshold)
    sources = tuple(band_source(band, facts[band.asset], grid, arguments.resampling) for band in bands)
    seen = seen_grid(grid, [facts[band.asset].grid for band in bands])
    warnings = judge_scene(scene, seen, model, tuple(zip(bands, sources, strict=True)), values)
    if warnings and arguments.is_strict:
        raise ItemError(f"Item {scene.id}: {'; '.join(warnings)}", hint="leave out --strict to be warned alone")
    masks = mask_sources(scene, arguments.masks, grid)
    identities = (
        tuple(identity_of(band, source) for band, source in zip(bands, sources, strict=True)),
        tuple(identity_of(band, mask.source) for band, mask in zip(mask_bands(scene, masks), masks, strict=True)),
    )
    job = _job((scene, model, arguments), (grid, tiling, values.radiometry), identities, masks)
    plan = _plan(job, tiling, sources, masks)
    notes = (*model.notes, *notes, *choice.notes, *([f"grid: {why}"] if why else []))
    return ScenePlan(job, plan, model, bands, values.radiometry, notes, values.rule, warnings)


def tiling_of(model: Model, arguments: Arguments, grid: Grid) -> Tiling:
    """Return how the tiles of a job lie.

    Raises:
        PlanError: no core is left, or something is asked for that the network cannot.
    """
    if model.detector is not None:
        return detector_tiling(model, arguments, grid)
    return choose_tiling(model, arguments, grid.shape)


def _job(
    asked: tuple[Scene, Model, Arguments],
    decided: tuple[Grid, Tiling, Radiometry],
    identities: tuple[tuple[InputIdentity, ...], tuple[InputIdentity, ...]],
    masks: tuple[MaskSource, ...],
) -> Job:
    scene, model, arguments = asked
    grid, tiling, radiometry = decided
    asked_for = arguments.test_time_augmentation
    is_augmented = model.is_augmented if asked_for is None else asked_for
    return Job(
        collection=scene.collection,
        item_id=scene.id,
        inputs=identities[0],
        model_digest=model.digest,
        grid=grid,
        radiometry=radiometry,
        pad=tiling.pad,
        core_px=tiling.core_px,
        halo_px=tiling.halo_px,
        blend_px=tiling.blend_px,
        threshold=model.threshold,
        # Rasters alone are compressed by it.
        compress=arguments.compress if model.detector is None else "deflate",
        area=arguments.area,
        masks=tuple((identity, mask.values) for identity, mask in zip(identities[1], masks, strict=True)),
        mask_bits=tuple(mask.bits for mask in masks) if any(mask.bits for mask in masks) else (),
        test_time_augmentation=is_augmented,
        merge_policy=arguments.merge_policy if is_augmented else "mean",
        predict_background=arguments.predict_background,
        probabilities=arguments.probabilities,
        precision=arguments.precision,
        resampling=arguments.resampling,
        detection=_detection(model, arguments.detection, is_augmented),
    )


def _detection(model: Model, choice: DetectionChoice, is_augmented: bool) -> DetectionChoice | None:
    """Return what a detector's result depends on beside the rest of the job; what has no effect is as usual."""
    if model.detector is None:
        return None
    overlap = model.detector.nms_overlap if choice.nms_overlap is None else choice.nms_overlap
    return replace(
        choice,
        nms_overlap=overlap,
        max_object=None,  # the halo says it
        tta_scales=choice.tta_scales if is_augmented else PLAIN.tta_scales,
        max_overlap_ratio=choice.max_overlap_ratio if choice.run_nms else PLAIN.max_overlap_ratio,
        simplify_px=PLAIN.simplify_px if choice.return_bboxes else choice.simplify_px,
    )


def _plan(job: Job, tiling: Tiling, sources: tuple[BandSource, ...], masks: tuple[MaskSource, ...]) -> Plan:
    asked = None
    if job.area is not None:
        asked = cells_meeting(area_on_grid(Area(job.area), job.grid), job.grid, tiling.core_px)
    live = live_tiles_of(sources, masks, job.grid, tiling.core_px, asked)
    return Plan(
        job_id=job_id(job),
        grid=job.grid,
        core_px=tiling.core_px,
        halo_px=tiling.halo_px,
        step_px=tiling.step_px,
        blend_px=tiling.blend_px,
        pad=tiling.pad,
        sources=sources,
        chip_dtype=chip_dtype(sources),
        live=pack_live(np.asarray(live)),
        masks=masks,
        area=job.area,
        panel_cols=panel_columns(sources, job.grid, (tiling.core_px, tiling.halo_px), READ_BYTES * 3 // 4),
    )


def _zero_based(scene: Scene, model: Model, arguments: Arguments) -> tuple[tuple[int | str, ...], tuple[str, ...]]:
    """Return the wanted bands with numbers from 0 on.

    Some definitions count from 1. That shows only where the highest number is that of a band after the last.
    """
    numbers = [band for band in model.bands if isinstance(band, int)]
    if len(numbers) < len(model.bands) or min(numbers, default=0) < 1 or arguments.bands:
        return model.bands, ()
    try:
        (first,) = choose_bands(scene, (0,), {}, arguments.masks).bands
    except ItemError:
        return model.bands, ()
    count = len(raster_facts(first.href, first.asset).dtypes)
    if max(numbers) != count:
        return model.bands, ()
    note = f"ExtractBands {list(numbers)} is taken to count from 1, as asset {first.asset} has {count} bands"
    return tuple(number - 1 for number in numbers), (note,)


def _grid(grids: Sequence[Grid], model: Model, arguments: Arguments) -> tuple[Grid, str]:
    """Return the job's grid and why it is this one, where that says anything: not with bands that all share one."""
    snap = None if arguments.snap is None else raster_facts(arguments.snap, "of --snap").grid
    trained = (model.training.least_cell, model.training.largest_cell)
    grid, why = choose_grid(grids, GridWish(arguments.cell_size, arguments.crs, snap, trained))
    is_plain = grid == grids[0] and len(set(grids)) == 1 and trained == (None, None)
    return grid, "" if is_plain else why
