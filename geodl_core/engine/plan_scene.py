"""Plan a scene: from an Item, a model and arguments to a job and the arithmetic of its tiles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from geodl_core.domain.grid import Grid, cell_size, integer_ratio, is_same_space, outline_wgs84
from geodl_core.domain.item import Band, Scene, choose_bands, read_scene
from geodl_core.domain.job import Arguments, InputIdentity, Job, job_id
from geodl_core.domain.model.model import Model
from geodl_core.domain.plan import BandSource, Plan, live_cells, pack_live, tile_shape
from geodl_core.domain.radiometry import Radiometry, choose_radiometry
from geodl_core.domain.tiling import Tiling, choose_tiling
from geodl_core.errors import ItemError
from geodl_core.io.cog import RasterFacts, prescan_validity, raster_facts

CHIP_DTYPES = ("uint8", "uint16", "int16")
"""Stored as they are; all others become float32."""


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
        ItemError: a band is missing, is no raster, or has no CRS.
        PlanError: the halo leaves no core, or the network does not take the asked size.
        StoreError: a remote asset does not open.
    """
    scene = read_scene(item)
    wanted, notes = _zero_based(scene, model, arguments)
    bands = choose_bands(scene, wanted, arguments.bands)
    facts = {band.asset: raster_facts(band.href, band.asset) for band in bands}
    _require_bands(bands, facts)
    grid = _finest_grid([facts[band.asset].grid for band in bands])
    # The output Item needs it; better to fail before the work than after.
    outline_wgs84(grid)
    typed = [(band, facts[band.asset].dtypes[band.index]) for band in bands]
    radiometry = choose_radiometry(scene, typed, model.scaling, arguments.radiometry, arguments.source_range)
    tiling = choose_tiling(model, arguments)
    if arguments.threshold is not None:
        model = replace(model, threshold=arguments.threshold)
    sources = tuple(_source(band, facts[band.asset], grid) for band in bands)
    job = Job(
        collection=scene.collection,
        item_id=scene.id,
        inputs=tuple(
            InputIdentity(band.asset, band.index, _content(band), source.nodata)
            for band, source in zip(bands, sources, strict=True)
        ),
        model_digest=model.digest,
        grid=grid,
        radiometry=radiometry,
        pad=tiling.pad,
        core_px=tiling.core_px,
        halo_px=tiling.halo_px,
        blend_px=tiling.blend_px,
        threshold=model.threshold,
        compress=arguments.compress,
    )
    plan = _plan(job_id(job), grid, tiling, sources)
    return ScenePlan(job, plan, model, bands, radiometry, (*model.notes, *notes))


def _plan(job: str, grid: Grid, tiling: Tiling, sources: tuple[BandSource, ...]) -> Plan:
    return Plan(
        job_id=job,
        grid=grid,
        core_px=tiling.core_px,
        halo_px=tiling.halo_px,
        step_px=tiling.step_px,
        blend_px=tiling.blend_px,
        pad=tiling.pad,
        sources=sources,
        chip_dtype=_chip_dtype(sources),
        live=_live(sources, grid, tiling.core_px),
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


def _require_bands(bands: Sequence[Band], facts: Mapping[str, RasterFacts]) -> None:
    for band in bands:
        count = len(facts[band.asset].dtypes)
        if band.index >= count:
            raise ItemError(f"asset {band.asset}: expected a band {band.index + 1}, found a raster of {count} bands")
        dtype = facts[band.asset].dtypes[band.index]
        if dtype.startswith("complex"):
            raise ItemError(f"asset {band.asset}: expected real numbers, found {dtype}")


def _finest_grid(grids: Sequence[Grid]) -> Grid:
    """Return the first of the grids with the smallest cells, by pixels along the scene where CRSs differ."""
    same_crs = [grid for grid in grids if grid.crs == grids[0].crs]
    return min(same_crs, key=lambda grid: cell_size(grid)[0] * cell_size(grid)[1])


def _source(band: Band, facts: RasterFacts, grid: Grid) -> BandSource:
    nodata = facts.nodata[band.index]
    nodata = band.nodata if nodata is None else nodata
    ratio = 1 if is_same_space(grid, facts.grid) else integer_ratio(grid, facts.grid)
    if ratio == 1 and not is_same_space(grid, facts.grid):
        ratio = None
    return BandSource(band.asset, band.href, band.index, facts.dtypes[band.index], nodata, ratio)


def _chip_dtype(sources: Sequence[BandSource]) -> str:
    common = str(np.result_type(*(np.dtype(source.dtype) for source in sources)))
    return common if common in CHIP_DTYPES and all(source.ratio == 1 for source in sources) else "float32"


def _live(sources: Sequence[BandSource], grid: Grid, core: tuple[int, int]) -> bytes:
    """Return the bitmap of tiles that may hold valid pixels, from the coarsest band, which is the cheapest to read."""
    coarsest = max((source for source in sources if source.ratio), key=lambda source: source.ratio or 0, default=None)
    valid = prescan_validity(coarsest) if coarsest else None
    live = np.ones(tile_shape(grid, core), np.bool_) if valid is None else live_cells(valid, grid, core)
    return pack_live(live)


def _content(band: Band) -> str:
    """Return what tells one version of a band's file from another, without its href."""
    if band.checksum:
        return f"checksum:{band.checksum}"
    path = Path(band.href.removeprefix("file://"))
    if path.exists():
        facts = path.stat()
        return f"size:{facts.st_size},mtime_ns:{facts.st_mtime_ns}"
    from geodl_core.io.http import file_version  # noqa: PLC0415  # 0.2 s to import, for remote scenes alone

    return file_version(band.href, band.asset)
