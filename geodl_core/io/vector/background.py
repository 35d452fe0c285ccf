"""The scene under a picture of its objects: decimated, in the colours of its first bands."""

from collections.abc import Iterable, Sequence
from math import ceil, floor, isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.enums import Resampling
from rasterio.windows import Window as RasterioWindow

from geodl_core.domain.grid import Coordinates, Grid
from geodl_core.domain.pixels.chip import Mask
from geodl_core.domain.plan.placing import raster_positions, steps_of
from geodl_core.domain.plan.plan import BandSource, Plan
from geodl_core.domain.window import Window, clip
from geodl_core.errors import DataError, StoreError
from geodl_core.io.cog.preview import PREVIEW_PX
from geodl_core.io.scene.raster import decoding, grid_of, is_remote, opened, validity
from geodl_core.io.vector.preview import PLAIN, Picture

COLOURS = ("red", "green", "blue")
"""Assets that are shown as such wherever they stand among the bands."""
STRETCH = (2, 98)
"""Percentiles that become black and white."""
MOST_PIXELS = 1 << 28
"""Decoded of a local band at most: one without overviews is read whole."""
MOST_REMOTE_PIXELS = 1 << 24
"""The same over a network, which takes overviews for all but small scenes."""
Values = npt.NDArray[np.float32]


def scene_background(plan: Plan, most_px: int = PREVIEW_PX) -> Picture | None:
    """Read a scene in the size of a preview, in the colours of its first three bands, or grey by the first.

    Of a mosaic, each pixel is of the first Item that has it. Bands that lie otherwise than the grid are brought to it
    by the nearest pixel. What is not valid is plain grey.

    Args:
        plan: names the bands, their files and the grid.
        most_px: of the longer side.

    Returns:
        (h, w, 3) the whole grid, each band stretched from its 2nd to its 98th percentile, bytes all alike; None where
        reading would be dear, as of a large file without overviews, or where a remote file cannot be read now.

    Raises:
        DataError: a local file cannot be decoded.
        ItemError: a local file is not there any more.
    """
    share = min(1.0, most_px / max(plan.grid.shape))
    coarse = _coarse(plan.grid, share)
    layers = [layer.sources for layer in plan.layers] or [plan.sources]
    found: tuple[Values, Mask] | None = None
    try:
        for sources in layers:
            shown = _read(_shown(sources), coarse)
            if shown is None:
                return None
            found = shown if found is None else _behind(found, shown)
    except StoreError:
        return None
    assert found is not None
    is_picture = all(source.dtype == "uint8" for sources in layers for source in sources)
    return _stretched(*found, is_picture)


def _coarse(grid: Grid, share: float) -> Grid:
    """Return the same ground in fewer pixels."""
    height, width = (max(1, round(side * share)) for side in grid.shape)
    scaled = grid.affine * Affine.scale(grid.width / width, grid.height / height)
    return Grid(grid.crs, tuple(scaled)[:6], height, width)


def _shown(sources: Sequence[BandSource]) -> tuple[BandSource, ...]:
    """Return the sources of red, green and blue, or one alone."""
    named = {source.asset.lower(): source for source in sources}
    if all(colour in named for colour in COLOURS):
        return tuple(named[colour] for colour in COLOURS)
    return tuple(sources[:3]) if len(sources) >= 3 else tuple(sources[:1])


def _behind(front: tuple[Values, Mask], back: tuple[Values, Mask]) -> tuple[Values, Mask]:
    return np.where(front[1], front[0], back[0]), front[1] | back[1]


def _read(sources: Iterable[BandSource], coarse: Grid) -> tuple[Values, Mask] | None:
    """Return (bands, h, w) on the coarse grid, and (h, w) valid in all; None where that would be dear."""
    bands, valid = [], np.ones(coarse.shape, np.bool_)
    for source in sources:
        with opened(source.href, source.asset) as dataset:
            band = _band(dataset, source, coarse)
        if band is None:
            return None
        bands.append(band[0])
        valid &= band[1]
    return np.stack(bands), valid


def _band(dataset: Any, source: BandSource, coarse: Grid) -> tuple[Values, Mask] | None:
    """Return a band's (h, w) values on the coarse grid and which of them are valid; None where that would be dear."""
    raster = grid_of(dataset, source.asset)
    rows, cols = raster_positions(coarse, raster, Window(0, 0, *coarse.shape))
    with np.errstate(invalid="ignore"):
        inside = (rows >= 0) & (rows < dataset.height) & (cols >= 0) & (cols < dataset.width)
    if not inside.any():
        return np.zeros(coarse.shape, np.float32), inside
    rows, cols = rows[inside], cols[inside]
    step = max(1.0, min(filter(isfinite, steps_of(coarse, raster, Window(0, 0, *coarse.shape))), default=1.0))
    part = _part(rows, cols, raster, step / 2)
    if _decoded_pixels(dataset, source, part, step) > (MOST_REMOTE_PIXELS if is_remote(source.href) else MOST_PIXELS):
        return None
    values, valid = _decimated(dataset, source, part, step)
    at = tuple(
        ((places - start) * (kept / side)).astype(np.int64).clip(0, kept - 1)
        for places, start, side, kept in zip((rows, cols), (part.top, part.left), part.shape, values.shape, strict=True)
    )
    found, is_valid = np.zeros(coarse.shape, np.float32), np.zeros(coarse.shape, np.bool_)
    found[inside], is_valid[inside] = values[at], valid[at]
    return np.where(is_valid, found, np.float32(0)), is_valid


def _part(rows: Coordinates, cols: Coordinates, raster: Grid, margin: float) -> Window:
    """Return the pixels of a raster that reach a margin beyond places."""
    first = floor(rows.min() - margin), floor(cols.min() - margin)
    last = ceil(rows.max() + margin), ceil(cols.max() + margin)
    return clip(Window(*first, *last), *raster.shape)


def _decoded_pixels(dataset: Any, source: BandSource, part: Window, step: float) -> float:
    """Return how many pixels are decoded for a part in steps of so many: those of the coarsest overview that serves."""
    factor = max((each for each in dataset.overviews(source.index + 1) if each <= step), default=1)
    return part.height * part.width / factor**2


def _decimated(dataset: Any, source: BandSource, part: Window, step: float) -> tuple[npt.NDArray[Any], Mask]:
    place = {
        "window": RasterioWindow(part.left, part.top, part.width, part.height),
        "out_shape": tuple(ceil(side / step) for side in part.shape),
    }
    try:
        with decoding(source.asset, part):
            values = dataset.read(source.index + 1, resampling=Resampling.average, **place)
            return values, validity(dataset, source, values, **place)
    except DataError as error:
        if is_remote(source.href):
            raise StoreError(error.message) from error
        raise


def _stretched(bands: Values, valid: Mask, is_picture: bool) -> Picture:
    """Return bands as colours; those of a picture keep their balance."""
    picture = np.full((*valid.shape, 3), PLAIN, np.uint8)
    if not valid.any():
        return picture
    both = np.percentile(bands[:, valid], STRETCH) if is_picture else None
    for channel in range(3):
        values = bands[channel % len(bands)][valid]
        low, high = np.percentile(values, STRETCH) if both is None else both
        picture[valid, channel] = np.rint(255 * ((values - low) / max(high - low, 1e-12)).clip(0, 1))
    return picture
