"""Plan a scene: from an Item, a model and arguments to a job and the arithmetic of its tiles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from geodl_core.domain.area import Area
from geodl_core.domain.area_grid import area_on_grid, cells_meeting
from geodl_core.domain.grid import Grid, cell_size, outline_wgs84
from geodl_core.domain.item import Band, Scene, choose_bands, read_scene
from geodl_core.domain.job import Arguments, InputIdentity, Job, job_id
from geodl_core.domain.model.model import Model
from geodl_core.domain.plan import BandSource, MaskSource, Plan, pack_live
from geodl_core.domain.radiometry import Radiometry, choose_radiometry
from geodl_core.domain.tiling import Tiling, choose_tiling
from geodl_core.engine.plan_inputs import (
    band_source,
    chip_dtype,
    identity_of,
    live_tiles_of,
    mask_bands,
    mask_sources,
    panel_columns,
    read_facts,
)
from geodl_core.errors import ItemError
from geodl_core.io.raster import raster_facts
from geodl_core.io.scene_reader import READ_BYTES


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


def plan_scene(item: Mapping[str, Any], model: Model, arguments: Arguments) -> ScenePlan:
    """Lay out a job.

    Args:
        item: STAC Item with absolute asset hrefs.
        model: what to run.
        arguments: the user's choices.

    Raises:
        ItemError: a band is missing, is no raster, or has no CRS; the area of interest does not meet the scene.
        PlanError: the halo leaves no core, or the network does not take the asked size.
        StoreError: a remote asset does not open.
    """
    scene = read_scene(item)
    wanted, notes = _zero_based(scene, model, arguments)
    bands = choose_bands(scene, wanted, arguments.bands)
    facts = read_facts(bands)
    grid = _finest_grid([facts[band.asset].grid for band in bands])
    # The output Item needs it; better to fail before the work than after.
    outline_wgs84(grid)
    typed = [(band, facts[band.asset].dtypes[band.index]) for band in bands]
    radiometry = choose_radiometry(scene, typed, model.scaling, arguments.radiometry, arguments.source_range)
    tiling = choose_tiling(model, arguments, grid.shape)
    if arguments.threshold is not None:
        model = replace(model, threshold=arguments.threshold)
    sources = tuple(band_source(band, facts[band.asset], grid) for band in bands)
    masks = mask_sources(scene, arguments.masks, grid)
    identities = (
        tuple(identity_of(band, source) for band, source in zip(bands, sources, strict=True)),
        tuple(identity_of(band, mask.source) for band, mask in zip(mask_bands(scene, masks), masks, strict=True)),
    )
    job = _job((scene, model, arguments), (grid, tiling, radiometry), identities, masks)
    plan = _plan(job, tiling, sources, masks)
    return ScenePlan(job, plan, model, bands, radiometry, (*model.notes, *notes))


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
        compress=arguments.compress,
        area=arguments.area,
        masks=tuple((identity, mask.values) for identity, mask in zip(identities[1], masks, strict=True)),
        mask_bits=tuple(mask.bits for mask in masks) if any(mask.bits for mask in masks) else (),
        test_time_augmentation=is_augmented,
        merge_policy=arguments.merge_policy if is_augmented else "mean",
        predict_background=arguments.predict_background,
        probabilities=arguments.probabilities,
        precision=arguments.precision,
    )


def _plan(job: Job, tiling: Tiling, sources: tuple[BandSource, ...], masks: tuple[MaskSource, ...]) -> Plan:
    live = live_tiles_of(sources, masks, job.grid, tiling.core_px)
    if job.area is not None:
        live &= cells_meeting(area_on_grid(Area(job.area), job.grid), job.grid, tiling.core_px)
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
        (first,) = choose_bands(scene, (0,), {})
    except ItemError:
        return model.bands, ()
    count = len(raster_facts(first.href, first.asset).dtypes)
    if max(numbers) != count:
        return model.bands, ()
    note = f"ExtractBands {list(numbers)} is taken to count from 1, as asset {first.asset} has {count} bands"
    return tuple(number - 1 for number in numbers), (note,)


def _finest_grid(grids: Sequence[Grid]) -> Grid:
    """Return the first of the grids with the smallest cells, by pixels along the scene where CRSs differ."""
    same_crs = [grid for grid in grids if grid.crs == grids[0].crs]
    return min(same_crs, key=lambda grid: cell_size(grid)[0] * cell_size(grid)[1])
