"""Rasters read by window: several bands of several files become one chip on the job's grid."""

import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio._err import CPLE_BaseError  # what GDAL raises where rasterio gives it no class of its own
from rasterio.crs import CRS
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform
from rasterio.windows import Window as RasterioWindow

from geodl_core.domain.chip import Chip, Index, Mask, padded_indices, upsample_bilinear
from geodl_core.domain.grid import Grid, cell_size
from geodl_core.domain.href import hide_secrets
from geodl_core.domain.plan import BandSource, Plan
from geodl_core.domain.window import Window
from geodl_core.errors import DataError, ItemError, StoreError

REMOTE = ("http://", "https://", "s3://", "gs://", "az://")
OPTIONS: dict[str, Any] = {"GDAL_CACHEMAX": 512 << 20}
"""Bytes of decoded blocks: four rows of blocks of a Sentinel-2 scene for each of two threads. GDAL's own default
is a share of the machine's memory, so that a run would take what the machine has."""
# Over a network GDAL would list the folder for side files at each open, and give up at the first hiccup.
REMOTE_OPTIONS = {
    **OPTIONS,
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "1",
}
COARSEST_FACTOR = 8
"""The pre-scan reads overviews no coarser than this: what it can overlook is smaller than 8 pixels of the band read."""
WARP_TOLERANCE_PX = 1e-6
"""As good as none: rasterio 1.4 cannot make a warped view on a given transform with a tolerance of 0."""
PRESCAN_PIXELS = 1 << 23
"""Read by a pre-scan at most, which takes 24 bytes each; above it every tile is live."""


@dataclass(frozen=True, slots=True)
class RasterFacts:
    """A raster's header."""

    grid: Grid
    dtypes: tuple[str, ...]
    """NumPy's name of each band's type."""
    nodata: tuple[float | None, ...]
    """Of each band."""


def raster_facts(href: str, asset: str) -> RasterFacts:
    """Read a raster's header.

    Raises:
        ItemError: not there, not a raster, or without a CRS.
        StoreError: a remote raster that does not open.
    """
    with _opened(href, asset) as dataset:
        try:
            grid = Grid(_crs_text(dataset.crs), tuple(dataset.transform)[:6], dataset.height, dataset.width)
        except ItemError as error:
            raise ItemError(f"asset {asset}: {error.message}", error.hint) from error
        return RasterFacts(grid, tuple(dataset.dtypes), tuple(dataset.nodatavals))


def prescan_validity(source: BandSource) -> Mask | None:
    """Return the decimated (h, w) validity of a band from its overviews, or None where reading it would be dear."""
    with _opened(source.href, source.asset) as dataset:
        factors = [factor for factor in dataset.overviews(source.index + 1) if factor <= COARSEST_FACTOR]
        factor = max(factors, default=1)
        shape = (-(-dataset.height // factor), -(-dataset.width // factor))
        if shape[0] * shape[1] > PRESCAN_PIXELS:
            return None
        with _decoding(source.asset, Window(0, 0, dataset.height, dataset.width)):
            values = dataset.read(source.index + 1, out_shape=shape)
            return _validity(dataset, source, values, out_shape=shape)


class SceneReader:
    """Reads chips of a plan's scene; every thread has its own handles. A context manager, since it holds files open.

    Args:
        plan: names the bands, their files and the grid.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._dtype = np.dtype(plan.chip_dtype)
        self._groups = _group(plan.sources)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for dataset in reversed(self._open):
            dataset.close()
        self._open.clear()

    def read(self, window: Window) -> Chip:
        """Read one window, which may reach outside the scene.

        Raises:
            DataError: a block cannot be decoded.
        """
        grid = self._plan.grid
        rows, rows_inside = padded_indices(window.top, window.bottom, grid.height, self._plan.pad)
        cols, cols_inside = padded_indices(window.left, window.right, grid.width, self._plan.pad)
        pixels = np.zeros((len(self._plan.sources), *window.shape), self._dtype)
        valid = np.ones(window.shape, np.bool_)
        for channels in self._groups:
            values, group_valid = self._read_group(channels, rows, cols)
            for channel, band in zip(channels, values, strict=True):
                pixels[channel] = band
            valid &= group_valid
        pixels[:, ~valid] = 0
        inside = rows_inside[:, None] & cols_inside
        if self._plan.pad == "constant":
            pixels[:, ~inside] = 0
        return Chip(pixels, valid & inside)

    def _read_group(self, channels: Sequence[int], rows: Index, cols: Index) -> tuple[Sequence[npt.NDArray[Any]], Mask]:
        """Return (H, W) values of each of the channels, which share a file, and their common validity."""
        sources = [self._plan.sources[channel] for channel in channels]
        ratio = sources[0].ratio or 1
        dataset = self._dataset(sources[0])
        window = _needed_window(rows, cols, ratio, dataset)
        values, valid = _read_window(dataset, sources, window)
        if ratio > 1:
            upsampled = [
                upsample_bilinear(band, valid, (rows, window.top), (cols, window.left), ratio) for band in values
            ]
            return [band for band, _ in upsampled], upsampled[0][1]
        take = np.ix_(rows - window.top, cols - window.left)
        if window.shape == (len(rows), len(cols)) and rows[0] == window.top and cols[0] == window.left:
            return list(values), valid
        return [band[take] for band in values], valid[take]

    def _dataset(self, source: BandSource) -> Any:
        handles = self._local.__dict__.setdefault("handles", {})
        key = _handle(source)
        if key not in handles:
            dataset = _open(source.href, source.asset)
            opened = [dataset]
            if source.ratio is None:
                opened.append(_warped(dataset, source, self._plan.grid))
            with self._lock:
                self._open.extend(opened)
            handles[key] = opened[-1]
        return handles[key]


def _group(sources: Sequence[BandSource]) -> list[list[int]]:
    """Return the channels that come from one file together, so that a pixel-interleaved file is read once."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for channel, source in enumerate(sources):
        groups.setdefault((*_handle(source), str(source.ratio)), []).append(channel)
    return list(groups.values())


def _handle(source: BandSource) -> tuple[str, str]:
    """Return what tells one open view of a file from another: a warped one has one nodata for all its bands."""
    return source.href, "as it is" if source.ratio else f"warped, nodata {source.nodata}"


def _warped(dataset: Any, source: BandSource, grid: Grid) -> Any:
    """Show a raster on the job's grid; transformed exactly, a pixel's value does not depend on the window read."""
    if source.nodata is not None:
        marks: dict[str, Any] = {"src_nodata": source.nodata, "nodata": source.nodata, "dtype": "float32"}
    else:
        # Without a nodata value only an alpha band tells what the warped raster does not reach; it goes missing when
        # another type is asked for.
        marks = {"add_alpha": True}
    return WarpedVRT(
        dataset,
        crs=grid.crs,
        transform=grid.affine,
        height=grid.height,
        width=grid.width,
        resampling=Resampling.bilinear,
        tolerance=WARP_TOLERANCE_PX,
        **_kernel_scale(dataset, grid),
        **marks,
    )


def _kernel_scale(dataset: Any, grid: Grid) -> dict[str, str]:
    """Fix how far the resampling kernel reaches; GDAL would else derive it anew from each window that is read."""
    native, _, _ = calculate_default_transform(dataset.crs, grid.crs, dataset.width, dataset.height, *dataset.bounds)
    x_size, y_size = cell_size(grid)
    return {"XSCALE": f"{min(1.0, abs(native.a) / x_size):.6f}", "YSCALE": f"{min(1.0, abs(native.e) / y_size):.6f}"}


def _needed_window(rows: Index, cols: Index, ratio: int, dataset: Any) -> Window:
    """Return the part of a file that the positions need, with the neighbours that interpolation asks for."""
    more = 0 if ratio == 1 else 1
    top, bottom = int(rows.min()) // ratio - more, int(rows.max()) // ratio + 1 + more
    left, right = int(cols.min()) // ratio - more, int(cols.max()) // ratio + 1 + more
    return Window(max(top, 0), max(left, 0), min(bottom, dataset.height), min(right, dataset.width))


def _read_window(dataset: Any, sources: Sequence[BandSource], window: Window) -> tuple[npt.NDArray[Any], Mask]:
    """Return (bands, h, w) values as stored and the (h, w) validity of all of them."""
    place = RasterioWindow(window.left, window.top, window.width, window.height)
    indexes = [source.index + 1 for source in sources]
    asset = sources[0].asset
    with rasterio.Env(**_options(sources[0].href)), _decoding(asset, window):
        values = dataset.read(indexes, window=place)
        valid = np.ones(window.shape, np.bool_)
        for position, source in enumerate(sources):
            valid &= _validity(dataset, source, values[position], window=place)
    return values, valid


def _validity(dataset: Any, source: BandSource, values: npt.NDArray[Any], **place: Any) -> Mask:
    """Return the (h, w) validity of a band's values: neither nodata nor masked nor, among floats, infinite or NaN.

    Args:
        dataset: open, as the values were read from it.
        source: the band.
        values: (h, w) as stored.
        place: `window` or `out_shape` by which they were read.
    """
    valid = np.ones(values.shape, np.bool_) if source.nodata is None else _differs(values, source.nodata)
    flags = dataset.mask_flag_enums[source.index]
    if MaskFlags.all_valid not in flags and MaskFlags.nodata not in flags:
        valid &= dataset.read_masks(source.index + 1, **place) > 0
    if values.dtype.kind == "f":
        valid &= np.isfinite(values)
    return valid


def _differs(values: npt.NDArray[Any], nodata: float) -> Mask:
    return np.asarray(~np.isnan(values) if np.isnan(nodata) else values != nodata)


def _crs_text(crs: CRS | None) -> str:
    if crs is None:
        return ""
    code = crs.to_authority(confidence_threshold=100)
    return f"{code[0]}:{code[1]}" if code else str(crs.to_wkt())


def _options(href: str) -> dict[str, Any]:
    return REMOTE_OPTIONS if href.startswith(REMOTE) else OPTIONS


@contextmanager
def _opened(href: str, asset: str) -> Iterator[Any]:
    with rasterio.Env(**_options(href)):
        dataset = _open(href, asset)
        with dataset:
            yield dataset


def _open(href: str, asset: str) -> Any:
    try:
        with rasterio.Env(**_options(href)), warnings.catch_warnings():
            # A raster without georeference gets an error of its own, where it matters.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return rasterio.open(href)
    except (RasterioIOError, CPLE_BaseError) as error:
        shown = hide_secrets(href)
        if href.startswith(REMOTE):
            raise StoreError(
                f"asset {asset}: {shown} cannot be opened as a raster now",
                hint="is the network there, the link still signed, and are credentials set?",
            ) from error
        there = Path(shown.removeprefix("file://")).exists()
        found = "a file that cannot be opened as one" if there else "no file"
        raise ItemError(f"asset {asset}: expected a raster at {shown}, found {found}") from error


@contextmanager
def _decoding(asset: str, window: Window) -> Iterator[None]:
    try:
        yield
    except (RasterioError, CPLE_BaseError) as error:
        place = f"rows {window.top}–{window.bottom}, columns {window.left}–{window.right}"
        raise DataError(f"asset {asset}: cannot be decoded at {place}") from error
