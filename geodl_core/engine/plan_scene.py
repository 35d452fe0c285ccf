"""Plan a scene: from an Item, a model and arguments to a job and the arithmetic of its tiles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from geodl_core.domain.grid import Grid, cell_size, integer_ratio, is_same_space, outline_wgs84
from geodl_core.domain.item import Band, Scene, choose_bands, read_scene
from geodl_core.domain.job import Arguments, InputIdentity, Job, Pad, job_id
from geodl_core.domain.model import Model
from geodl_core.domain.plan import BandSource, Plan, live_cells, pack_live, tile_shape
from geodl_core.domain.radiometry import Radiometry, choose_radiometry
from geodl_core.errors import ItemError, PlanError
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
    sources = tuple(_source(band, facts[band.asset], grid) for band in bands)
    core, halo = choose_tile(model, arguments)
    pad = choose_pad(model, arguments)
    if arguments.threshold is not None:
        model = replace(model, threshold=arguments.threshold)
    blend = choose_blend(model, core, halo)
    job = Job(
        collection=scene.collection,
        item_id=scene.id,
        inputs=tuple(InputIdentity(band.asset, band.index, _content(band)) for band in bands),
        model_digest=model.digest,
        grid=grid,
        radiometry=radiometry,
        pad=pad,
        core_px=core,
        halo_px=halo,
        blend_px=blend,
        threshold=model.threshold,
        compress=arguments.compress,
    )
    plan = Plan(
        job_id=job_id(job),
        grid=grid,
        core_px=core,
        halo_px=halo,
        step_px=step_of(model),
        blend_px=blend,
        pad=pad,
        sources=sources,
        chip_dtype=_chip_dtype(sources),
        live=_live(sources, grid, core),
    )
    return ScenePlan(job, plan, model, bands, radiometry, (*model.notes, *notes))


def choose_tile(model: Model, arguments: Arguments) -> tuple[tuple[int, int], int]:
    """Return core (height, width) and halo.

    Where the network takes any size, halo and core become multiples of its total stride, so that every read
    window starts at the same phase as the whole scene would: else networks that halve the image answer differently.
    A tile too small for that is enlarged.

    Raises:
        PlanError: no core is left of a fixed size, or the size is not to be chosen.
    """
    if arguments.tile_size_px is not None and model.is_size_fixed and model.chip_px != (arguments.tile_size_px,) * 2:
        raise PlanError(f"tile_size: the network takes only {model.chip_px[0]} × {model.chip_px[1]} pixels")
    if arguments.padding_px is not None and model.halo.is_cropping:
        raise PlanError(f"padding: the network itself leaves off {model.halo.px} pixels; leave it out")
    read = model.chip_px if arguments.tile_size_px is None else (arguments.tile_size_px,) * 2
    halo = model.halo.px if arguments.padding_px is None else arguments.padding_px
    step = step_of(model)
    halo = -(-halo // step) * step
    height, width = ((side - 2 * halo) // step * step for side in read)
    if model.is_size_fixed and min(height, width) < 1:
        raise PlanError(
            f"a halo of {halo} pixels leaves no core of a tile of {read[0]} × {read[1]}",
            hint="choose a smaller padding",
        )
    return (max(height, step), max(width, step)), halo


def step_of(model: Model) -> int:
    """Return what halo, core and read windows are multiples of; 1 where a fixed size leaves no choice."""
    stride = model.halo.stride_px
    is_free = not model.is_size_fixed or (
        not model.halo.is_cropping and all(side % stride == 0 for side in model.chip_px)
    )
    return stride if is_free else 1


def choose_blend(model: Model, core: tuple[int, int], halo: int) -> int:
    """Return over how many pixels on either side of a core's border scores are blended.

    Only where an answer depends on the whole tile, so that no halo makes tiles agree; and not where the network
    crops its border, since its tiles then do not overlap.
    """
    is_blended = model.halo.is_global and not model.halo.is_cropping and model.output != "class map"
    return min(halo, min(core) // 2) if is_blended else 0


def choose_pad(model: Model, arguments: Arguments) -> Pad:
    """Return what the network sees beyond the scene.

    Raises:
        PlanError: the network cannot go without pixels there.
    """
    takes_any_shape = not model.is_size_fixed and not model.halo.is_cropping and (model.batch or 1) == 1
    if arguments.pad == "network" and not takes_any_shape:
        raise PlanError("pad network: needs a network that takes any size, loses no border and runs tiles one by one")
    return arguments.pad or ("network" if takes_any_shape else "reflect")


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
    nodata = facts.nodata if facts.nodata is not None else band.nodata
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
