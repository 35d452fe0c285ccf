"""Raster files: opened, their headers, their validity, and what goes wrong with them."""

import math
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio._err import (  # what GDAL raises where rasterio gives it no class of its own
    CPLE_AWSAccessDeniedError,
    CPLE_AWSBucketNotFoundError,
    CPLE_AWSObjectNotFoundError,
    CPLE_BaseError,
    CPLE_HttpResponseError,
)
from rasterio.crs import CRS
from rasterio.enums import MaskFlags
from rasterio.env import ensure_env_with_credentials
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.windows import Window as RasterioWindow

from geodl_core.domain.grid import Grid
from geodl_core.domain.pixels.chip import Mask
from geodl_core.domain.place.href import VERSION, WEB, file_of, hide_secrets, is_inline, split_notes
from geodl_core.domain.plan.plan import BandSource, MaskSource
from geodl_core.domain.scene.masks import is_masked
from geodl_core.domain.window import Window, clip, grow
from geodl_core.errors import DataError, ItemError, StoreError
from geodl_core.io.remote.access import REMOTE_DRIVERS, access_options
from geodl_core.io.remote.signing import explain_refusal, openable, renew_refused

REMOTE = ("http://", "https://", "s3://", "gs://", "az://")
OPTIONS: dict[str, Any] = {"GDAL_CACHEMAX": 32 << 20}
"""Bytes of decoded blocks. Files are read in whole blocks, each once, so that little need be kept; GDAL's own
default is a share of the machine's memory, so that a run would take what the machine has."""
# Over a network GDAL would list the folder for side files at each open, and give up at the first hiccup. A transfer
# of less than 1 kB/s for 10 s counts as one.
REMOTE_OPTIONS = {
    **OPTIONS,
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": "2",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_CONNECTTIMEOUT": "10",
    "GDAL_HTTP_LOW_SPEED_TIME": "10",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1000",
}
REMOTE_HINTS = {
    "s3://": "are credentials set, or GEODL_ANONYMOUS, and GEODL_REQUESTER_PAYS where the reader pays?",
    "gs://": "are credentials set, or GEODL_ANONYMOUS?",
    "az://": "are credentials and the account set, or GEODL_ANONYMOUS?",
}
HTTP_HINT = "is the network there, the link still signed, and the file a GeoTIFF or JPEG 2000? Copy others first"
ANSWERS = {CPLE_AWSObjectNotFoundError: 404, CPLE_AWSBucketNotFoundError: 404, CPLE_AWSAccessDeniedError: 403}
"""What GDAL makes of the answers of an object store."""
KEPT_ANSWER = re.compile(r"HTTP response code: (\d{3})")
"""The same, from an earlier try that GDAL remembers."""
COARSEST_FACTOR = 8
"""The pre-scan reads overviews no coarser than this: what it can overlook is smaller than 8 pixels of the band read."""
PRESCAN_PIXELS = 1 << 28
"""Read by a pre-scan at most, about ten seconds' work; above it every tile is live."""
KEPT_PIXELS = 1 << 22
"""Of what a pre-scan found."""
STRIP_PIXELS = 1 << 22
"""Read at a time."""


Part = tuple[float, float, float, float]
"""Top, left, bottom, right as shares of height and width."""
WHOLE: Part = (0.0, 0.0, 1.0, 1.0)
PART_MARGIN_PX = 4


@dataclass(frozen=True, slots=True)
class RasterFacts:
    """A raster's header."""

    grid: Grid
    dtypes: tuple[str, ...]
    """NumPy's name of each band's type."""
    nodata: tuple[float | None, ...]
    """Of each band."""
    block_px: tuple[int, int]
    """Height and width of the blocks in which it is stored."""


def raster_facts(href: str, asset: str) -> RasterFacts:
    """Read a raster's header.

    Raises:
        ItemError: not there, not a raster, or without a CRS.
        StoreError: a remote raster that does not open.
    """
    with opened(href, asset) as dataset:
        grid = grid_of(dataset, asset)
        return RasterFacts(grid, tuple(dataset.dtypes), tuple(dataset.nodatavals), dataset.block_shapes[0])


def grid_of(dataset: Any, asset: str) -> Grid:
    """Return the pixel space of an open raster.

    Raises:
        ItemError: it has no CRS, or a transform that cannot be inverted.
    """
    try:
        return Grid(_crs_text(dataset.crs), tuple(dataset.transform)[:6], dataset.height, dataset.width)
    except ItemError as error:
        raise ItemError(f"asset {asset}: {error.message}", error.hint) from error


def files_behind(href: str, asset: str) -> list[Path]:
    """Return the local files that a virtual raster (VRT) is made of; none for other files."""
    if not file_of(href).lower().endswith(".vrt"):
        return []
    with opened(href, asset) as dataset:
        return [path for path in map(Path, dataset.files) if path.is_file()]


def prescan_validity(source: BandSource, part: Part = WHOLE) -> Mask | None:
    """Return the decimated (h, w) validity of a band from its overviews; False outside of the part that is asked for.

    None where reading it would be dear, or where all pixels are valid by what the header says.
    """
    if source.nodata is None and np.dtype(source.dtype).kind != "f" and not is_inline(source.href):
        with opened(source.href, source.asset) as dataset:
            if MaskFlags.all_valid in dataset.mask_flag_enums[source.index]:
                return None
    return _prescan(source, part, lambda dataset, values, place: validity(dataset, source, values, **place))


def prescan_mask(mask: MaskSource, part: Part = WHOLE) -> Mask | None:
    """Return which decimated (h, w) pixels a mask leaves in, as `prescan_validity`; None where that would be dear."""
    return _prescan(mask.source, part, lambda _dataset, values, _place: ~is_masked(values, mask.values, mask.bits))


def _prescan(
    source: BandSource, part: Part, judge: Callable[[Any, npt.NDArray[Any], dict[str, Any]], Mask]
) -> Mask | None:
    """Return (h, w): whether any of the overview's pixels that stand for it is judged true."""
    if is_inline(source.href):
        # A service would be asked for every pixel twice.
        return None
    with opened(source.href, source.asset) as dataset:
        factors = [factor for factor in dataset.overviews(source.index + 1) if factor <= COARSEST_FACTOR]
    # The overview itself is opened: its rows are read as they are, however its size was rounded.
    level = {"overview_level": len(factors) - 1} if factors else {}
    with opened(source.href, source.asset, **level) as dataset:
        asked = _asked_window(part, dataset.shape)
        if asked.height * asked.width > PRESCAN_PIXELS:
            return None
        height, width = dataset.shape
        joint = 1
        while (height // joint) * (width // joint) > KEPT_PIXELS:
            joint *= 2
        found = np.zeros((-(-height // joint), -(-width // joint)), np.bool_)
        left = asked.left // joint * joint
        rows = max(STRIP_PIXELS // max(asked.right - left, 1) // joint, 1) * joint
        for top in range(asked.top // joint * joint, asked.bottom, rows):
            strip = Window(top, left, min(top + rows, asked.bottom), asked.right)
            place = {"window": RasterioWindow(strip.left, strip.top, strip.width, strip.height)}
            with decoding(source.asset, strip):
                values = dataset.read(source.index + 1, **place)
                judged = _any_of(judge(dataset, values, place), joint)
            row, col = top // joint, left // joint
            found[row : row + judged.shape[0], col : col + judged.shape[1]] = judged
        return found


def _asked_window(part: Part, shape: tuple[int, int]) -> Window:
    """Return the pixels of an overview that a part touches, and a few around them, as rounding may shift them."""
    height, width = shape
    exact = Window(int(part[0] * height), int(part[1] * width), math.ceil(part[2] * height), math.ceil(part[3] * width))
    return clip(grow(exact, PART_MARGIN_PX), height, width)


def _any_of(found: Mask, joint: int) -> Mask:
    """Return for each `joint` × `joint` pixels whether any is true; (ceil(h / joint), ceil(w / joint))."""
    if joint == 1:
        return found
    rows = np.logical_or.reduceat(found, np.arange(0, found.shape[0], joint), axis=0)
    return np.asarray(np.logical_or.reduceat(rows, np.arange(0, found.shape[1], joint), axis=1))


def validity(dataset: Any, source: BandSource, values: npt.NDArray[Any], **place: Any) -> Mask:
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


def is_remote(href: str) -> bool:
    """Say whether a raster is read over a network."""
    return href.startswith(REMOTE) or is_inline(href)


def gdal_options(href: str) -> dict[str, Any]:
    """Return how GDAL is to read a raster."""
    return REMOTE_OPTIONS | access_options(href) if is_remote(href) else OPTIONS


@contextmanager
def opened(href: str, asset: str, **options: Any) -> Iterator[Any]:
    """Open a raster for a while; errors as `open_raster`."""
    with rasterio.Env(**gdal_options(href)):
        dataset = open_raster(href, asset, **options)
        with dataset:
            yield dataset


def open_raster(href: str, asset: str, **options: Any) -> Any:
    """Open a raster; the caller closes it.

    Raises:
        ItemError: not there, or not a raster.
        StoreError: a remote raster that does not open.
    """
    for is_last in (False, True):
        try:
            with rasterio.Env(**gdal_options(href)), warnings.catch_warnings():
                # A raster without georeference gets an error of its own, where it matters.
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                is_file = is_remote(href) and not is_inline(href)
                return (open_remote if is_file else rasterio.open)(_place(href, asset), **options)
        except (RasterioIOError, CPLE_BaseError) as error:
            if is_last or not renew_refused(href, asset):
                raise _opening_error(href, asset, error) from error
    raise AssertionError("the last try returns or raises")


def _place(href: str, asset: str) -> str:
    """Return what GDAL opens; it keeps what it read by this name, which the fragment makes that of one version."""
    version = split_notes(href)[1].get(VERSION)
    place = openable(href, asset)
    return f"/vsicurl/{place}#{version}" if version and place.startswith(WEB) else place


@ensure_env_with_credentials  # type: ignore[untyped-decorator]  # rasterio's
def open_remote(href: str, **options: Any) -> Any:
    """Open a file elsewhere, which may name no other files; `rasterio.open` takes one format, not several."""
    return rasterio.DatasetReader(href, driver=list(REMOTE_DRIVERS), sharing=False, **options)


def _opening_error(href: str, asset: str, error: Exception) -> ItemError | StoreError:
    shown = hide_secrets(href)
    if is_remote(href):
        explain_refusal(href, asset)
        # Of an object store GDAL knows why, unlike of a web server.
        status = None if href.startswith(("http://", "https://")) else _answer_of_store(error)
        if status == 404:
            return ItemError(f"asset {asset}: {shown} is not there")
        if status == 403:
            return StoreError(f"asset {asset}: {shown}: access is refused", hint=REMOTE_HINTS.get(href[:5], HTTP_HINT))
        if href.startswith(("http://", "https://")):
            from geodl_core.io.remote.http import is_there  # noqa: PLC0415  # 0.1 s to import, for what fails alone

            # It says why, where the server does.
            is_there(href, asset)
        return StoreError(
            f"asset {asset}: {shown} cannot be opened as a raster now",
            hint=REMOTE_HINTS.get(href[:5], HTTP_HINT),
        )
    there = Path(file_of(shown)).exists()
    found = "a file that cannot be opened as one" if there else "no file"
    return ItemError(f"asset {asset}: expected a raster at {shown}, found {found}")


def _answer_of_store(error: Exception) -> int | None:
    """Return the HTTP status with which an object store refused to open a file, None where that is not known."""
    told = error.__context__ or error
    kept = KEPT_ANSWER.fullmatch(str(told.args[-1])) if isinstance(told, CPLE_HttpResponseError) else None
    return int(kept[1]) if kept else ANSWERS.get(type(told))


@contextmanager
def decoding(asset: str, window: Window) -> Iterator[None]:
    """Turn what GDAL says of a window, in the raster's pixels, into a DataError."""
    try:
        yield
    except (RasterioError, CPLE_BaseError) as error:
        place = f"rows {window.top}–{window.bottom}, columns {window.left}–{window.right}"
        raise DataError(f"asset {asset}: cannot be decoded at {place}") from error
