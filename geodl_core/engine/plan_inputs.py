"""What a plan is laid out on: the files of its bands and masks, their state, and where there is something to do."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geodl_core.domain.grid import Grid
from geodl_core.domain.place.href import VERSION, WEB, file_of, with_note
from geodl_core.domain.plan.cells import CELL_PX, panel_width_px
from geodl_core.domain.plan.job import InputIdentity, Job, MosaicItem
from geodl_core.domain.plan.placing import Resampling, place
from geodl_core.domain.plan.plan import BandSource, Layer, MaskSource, Plan, live_cells, tile_shape
from geodl_core.domain.scene.item import Band, Scene
from geodl_core.domain.scene.masks import resolve_mask
from geodl_core.errors import ItemError, StoreError
from geodl_core.io.remote.access import require_allowed
from geodl_core.io.scene.raster import Part, RasterFacts, files_behind, prescan_mask, prescan_validity, raster_facts

UNKNOWN = "etag:None,size:None"
"""The version of a file whose server tells nothing of it, or not any more."""
CHIP_DTYPES = ("uint8", "uint16", "int16")
"""Stored as they are; all others become float32."""


def read_facts(bands: Iterable[Band]) -> dict[str, RasterFacts]:
    """Read the header of each band's asset.

    Raises:
        ItemError: not a raster, without CRS or such a band, or of complex numbers.
        StoreError: a remote one that does not open.
    """
    bands = list(bands)
    facts = {band.asset: raster_facts(band.href, band.asset) for band in bands}
    for band in bands:
        dtypes = facts[band.asset].dtypes
        if band.index >= len(dtypes):
            raise ItemError(
                f"asset {band.asset}: expected a band {band.index + 1}, found a raster of {len(dtypes)} bands"
            )
        if dtypes[band.index].startswith("complex"):
            raise ItemError(f"asset {band.asset}: expected real numbers, found {dtypes[band.index]}")
    return facts


def band_source(band: Band, facts: RasterFacts, grid: Grid, wanted: Resampling = "bilinear") -> BandSource:
    """Return where a channel's pixels come from on a grid.

    Args:
        band: of the Item.
        facts: of its file.
        grid: of the job.
        wanted: between its pixels, where they are not the grid's.

    Raises:
        ItemError: its raster does not meet the grid.
    """
    nodata = facts.nodata[band.index]
    nodata = band.nodata if nodata is None else nodata
    placing = place(grid, facts.grid, band.asset, wanted)
    return BandSource(
        asset=band.asset,
        href=band.href,
        index=band.index,
        dtype=facts.dtypes[band.index],
        nodata=nodata,
        ratio=placing.ratio,
        block_px=facts.block_px,
        kind=placing.kind,
        shrink=placing.shrink,
    )


def mask_sources(scene: Scene, masks: Mapping[str, Sequence[int | str]], grid: Grid) -> tuple[MaskSource, ...]:
    """Return the masks that the user named, by asset or band name, on a grid.

    Raises:
        ItemError: there is no such asset, or a class of it has no such name.
    """
    sources = []
    for name, values in masks.items():
        found = [band for band in scene.bands if band.asset == name]
        found = found or [band for band in scene.bands if name.lower() in band.names]
        if len({band.asset for band in found}) != 1:
            there = ", ".join(dict.fromkeys(band.asset for band in scene.bands)) or "no rasters"
            raise ItemError(f"Item {scene.id}: expected a mask asset {name}, found {there}")
        facts = read_facts(found[:1])
        band = found[0]
        left_out = resolve_mask(scene.id, scene.assets.get(band.asset, {}), (band.asset, band.index), values)
        source = band_source(band, facts[band.asset], grid, "nearest")
        sources.append(MaskSource(source, left_out.values, left_out.bits))
    return tuple(sources)


def mask_bands(scene: Scene, masks: tuple[MaskSource, ...]) -> tuple[Band, ...]:
    """Return the bands that masks are read from."""
    return tuple(next(band for band in scene.bands if band.asset == mask.source.asset) for mask in masks)


def chip_dtype(sources: Sequence[BandSource]) -> str:
    """Return the type that a chip's pixels have."""
    common = str(np.result_type(*(np.dtype(source.dtype) for source in sources)))
    return common if common in CHIP_DTYPES and all(source.ratio == 1 for source in sources) else "float32"


def live_tiles_of(
    sources: Sequence[BandSource],
    masks: Sequence[MaskSource],
    grid: Grid,
    core: tuple[int, int],
    asked: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.bool_]:
    """Return (tile rows, tile columns): whether a tile may hold pixels that are valid and not masked.

    From the coarsest band, which is the cheapest to read, and the masks, by their overviews.

    Args:
        sources: of the bands.
        masks: of the job.
        grid: of the job.
        core: height and width of a tile's core.
        asked: (tile rows, tile columns) that the area of interest meets; nothing is read beside them. None: all.
    """
    live = np.ones(tile_shape(grid, core), np.bool_) if asked is None else asked.copy()
    if not live.any():
        return live
    part = _part(live, grid, core)
    coarsest = max((source for source in sources if source.ratio), key=lambda source: source.ratio or 0, default=None)
    found = [prescan_validity(coarsest, part)] if coarsest else []
    found += [prescan_mask(mask, part) for mask in masks if mask.source.ratio]
    for pixels in found:
        if pixels is not None:
            live &= live_cells(pixels, grid, core)
    return live


def _part(live: npt.NDArray[np.bool_], grid: Grid, core: tuple[int, int]) -> Part:
    """Return the part of the grid in which all live tiles lie."""
    rows, cols = np.flatnonzero(live.any(1)), np.flatnonzero(live.any(0))
    return (
        rows[0] * core[0] / grid.height,
        cols[0] * core[1] / grid.width,
        min((rows[-1] + 1) * core[0] / grid.height, 1.0),
        min((cols[-1] + 1) * core[1] / grid.width, 1.0),
    )


def panel_columns(sources: Sequence[BandSource], grid: Grid, tile: tuple[tuple[int, int], int], budget: int) -> int:
    """Return how many columns of tiles make a panel, 0 where the whole scene is one.

    Args:
        sources: of the bands.
        grid: of the job.
        tile: core (height, width) and halo.
        budget: bytes of decoded pixels that may be held.
    """
    (height, width), halo = tile
    # Strips are decoded in full width, whatever a panel wants of them.
    if any(source.ratio and source.block_px[1] * source.ratio >= grid.width > 2 * CELL_PX for source in sources):
        return 0
    each = sum(np.dtype(source.dtype).itemsize / (source.ratio or 1) ** 2 for source in sources) + 1
    most = max(1, panel_width_px(height + 2 * halo, round(each + 0.5), budget) // width)
    columns = tile_shape(grid, (height, width))[1]
    # Panels of about one width: the last one would else be a sliver that decodes its neighbours' cells again.
    panels = -(-columns // most)
    return 0 if panels == 1 else -(-columns // panels)


def with_versions(scene: Scene, assets: Collection[str]) -> Scene:
    """Return a scene whose hrefs to some assets on web servers carry the files' versions.

    GDAL keeps what it read of a URL for as long as the process lives, and so must be told that a file is another one.
    """
    far = {band.asset: band for band in scene.bands if band.asset in assets and band.href.startswith(WEB)}
    marked = {}
    for asset, band in far.items():
        # A server that does not answer this once may answer GDAL, which is more patient, and says what is wrong.
        with suppress(StoreError):
            version = hashlib.sha256(content_of(band.href, asset, band.checksum).encode()).hexdigest()
            marked[asset] = with_note(band.href, VERSION, version[:16])
    bands = (replace(band, href=marked.get(band.asset, band.href)) for band in scene.bands)
    return replace(scene, bands=tuple(bands))


def identity_of(band: Band, source: BandSource) -> InputIdentity:
    """Return what tells this version of a band's file from another."""
    return InputIdentity(band.asset, band.index, content_of(band.href, band.asset, band.checksum), source.nodata)


def content_of(href: str, asset: str, checksum: str | None = None) -> str:
    """Return what tells one version of a file from another, without its href.

    Raises:
        ItemError: a server refuses the file.
        StoreError: a server does not answer.
    """
    if checksum:
        return f"checksum:{checksum}"
    require_allowed(href, asset)
    path = Path(file_of(href))
    if path.exists():
        facts = [entry.stat() for entry in (path, *files_behind(href, asset))]
        return f"size:{sum(entry.st_size for entry in facts)},mtime_ns:{max(entry.st_mtime_ns for entry in facts)}"
    from geodl_core.io.remote.http import file_version  # noqa: PLC0415  # 0.2 s to import, for remote scenes alone

    return file_version(href, asset)


def require_unchanged(job: Job, plan: Plan) -> None:
    """Make sure that the files are still those that the job was made from; where nothing tells versions, trust them.

    Raises:
        ItemError: one is another.
        StoreError: a server does not answer.
    """
    _require_unchanged(job, plan)
    for item, layer in zip(job.mosaic, plan.layers, strict=True):
        _require_unchanged(item, layer)


def _require_unchanged(item: Job | MosaicItem, layer: Plan | Layer) -> None:
    identities = (*item.inputs, *(identity for identity, _ in item.masks))
    sources = (*layer.sources, *(mask.source for mask in layer.masks))
    hrefs = {source.asset: source.href for source in sources}
    for asset, expected in {identity.asset: identity.content for identity in identities}.items():
        if expected.startswith("checksum:"):
            continue
        found = content_of(hrefs[asset], asset)
        if found not in (expected, UNKNOWN):
            raise ItemError(
                f"asset {asset}: its file is not the one that was planned for: expected {expected}, found {found}",
                hint="plan again; nothing of the old plan is used then",
            )
