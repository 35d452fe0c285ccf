"""Chips of a scene: several bands of several files on the job's grid, each block decoded once."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import Resampling
from rasterio.windows import Window as RasterioWindow

from geodl_core.domain.cells import CELL_PX, Cells, cell_window, cells_touching, cut_cells
from geodl_core.domain.chip import Chip, Index, Mask, padded_indices, upsample_bilinear
from geodl_core.domain.masks import LeftOut, is_masked
from geodl_core.domain.plan import BandSource, Plan
from geodl_core.domain.window import Window, clip, grow
from geodl_core.errors import DataError, StoreError
from geodl_core.io.cells import Cell, CellKey, CellStore, Supply, cut
from geodl_core.io.http import is_there
from geodl_core.io.raster import decoding, gdal_options, is_remote, open_raster, validity
from geodl_core.io.warp import warped

READ_BYTES = 128 << 20
"""Decoded pixels held, where the caller names no other."""
REMOTE_READERS = 8
"""Files are read over a network by so many threads at a time: with a latency of 40 ms only that helps."""
REMOTE_TRIES = 3
FIRST_PAUSE_S = 1.0
"""Before the second try; doubled for each further one."""


@dataclass(frozen=True, slots=True)
class SceneFile:
    """One open view of a file, and what of the scene lies in it."""

    sources: tuple[BandSource, ...]
    """Bands that are read together."""
    channels: tuple[int, ...]
    """Of the chip, one a band; none for a mask."""
    masked_values: LeftOut | None
    """Of a mask: the values whose pixels are left out."""
    cells: Cells


class SceneReader:
    """Reads chips of a plan's scene. A context manager, since it holds files open.

    Args:
        plan: names the bands, their files and the grid.
        readers: threads that decode; by default one for local files, more for remote ones. Each has own handles.
        budget_bytes: of decoded pixels held.
    """

    def __init__(self, plan: Plan, readers: int | None = None, budget_bytes: int = READ_BYTES) -> None:
        self._plan = plan
        self._dtype = np.dtype(plan.chip_dtype)
        self._files = _files(plan)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: list[Any] = []
        is_far = any(is_remote(source.href) for file in self._files for source in file.sources)
        count = readers or (REMOTE_READERS if is_far else 1)
        self._pool = ThreadPoolExecutor(max(count, REMOTE_READERS) if is_far else count, "read")
        self.store = CellStore(
            Supply(self._load, self._size_bytes, self._pool), self._cells_of, budget_bytes, least_ahead=2
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # No thread reads any more when the files are closed.
        self._pool.shutdown(cancel_futures=True)
        for dataset in reversed(self._open):
            dataset.close()
        self._open.clear()

    def announce(self, windows: Sequence[Window]) -> None:
        """Tell which windows will be read, each once and about in this order, so that they are read ahead."""
        self.store.announce(windows)

    def read(self, window: Window) -> Chip:
        """Read one window, which may reach outside the scene.

        Raises:
            DataError: a block cannot be decoded.
            StoreError: a remote file cannot be read now.
        """
        grid = self._plan.grid
        rows, rows_inside = padded_indices(window.top, window.bottom, grid.height, self._plan.pad)
        cols, cols_inside = padded_indices(window.left, window.right, grid.width, self._plan.pad)
        found: list[list[tuple[CellKey, Cell]]] = [[] for _ in self._files]
        for key, cell in self.store.take(window):
            found[key.file].append((key, cell))
        pixels = np.empty((len(self._plan.sources), *window.shape), self._dtype)
        valid = np.ones(window.shape, np.bool_)
        unmasked = np.ones(window.shape, np.bool_)
        for file, cells in zip(self._files, found, strict=True):
            if file.masked_values is not None:
                unmasked &= _mask_on_grid(file, cells, rows, cols)
            else:
                valid &= _bands_on_grid(file, cells, (rows, cols), pixels)
        if not valid.all():
            np.copyto(pixels, 0, where=~valid)
        inside = rows_inside[:, None] & cols_inside
        if self._plan.pad == "constant":
            np.copyto(pixels, 0, where=~inside)
        return Chip(pixels, valid & inside & unmasked)

    def _cells_of(self, window: Window) -> list[CellKey]:
        grid = self._plan.grid
        rows, _ = padded_indices(window.top, window.bottom, grid.height, self._plan.pad)
        cols, _ = padded_indices(window.left, window.right, grid.width, self._plan.pad)
        return [
            CellKey(number, row, col)
            for number, file in enumerate(self._files)
            for row, col in cells_touching(file.cells, _needed_window(rows, cols, file))
        ]

    def _size_bytes(self, key: CellKey) -> int:
        file = self._files[key.file]
        window = cell_window(file.cells, key.row, key.col)
        each = sum(np.dtype(source.dtype).itemsize for source in file.sources) if file.masked_values is None else 0
        return window.height * window.width * (each + 1)

    def _load(self, key: CellKey) -> Cell:
        """Decode a cell; a remote one again where that fails, since networks do."""
        file = self._files[key.file]
        window = cell_window(file.cells, key.row, key.col)
        is_far = is_remote(file.sources[0].href)
        pause_s = FIRST_PAUSE_S
        for left in reversed(range(REMOTE_TRIES if is_far else 1)):
            try:
                return _read_cell(self._dataset(key.file), file, window)
            except DataError as error:
                self._forget(key.file)
                if not left:
                    raise _judged(error, file.sources[0]) if is_far else error from error.__cause__
            time.sleep(pause_s)
            pause_s *= 2
        raise AssertionError("the last try returns or raises")

    def _dataset(self, number: int) -> Any:
        handles = self._local.__dict__.setdefault("handles", {})
        if number not in handles:
            file = self._files[number]
            source = file.sources[0]
            dataset = open_raster(source.href, source.asset)
            opened = [dataset]
            if source.ratio is None:
                resampling = Resampling.bilinear if file.masked_values is None else Resampling.nearest
                opened.append(warped(dataset, source, self._plan.grid, resampling))
            with self._lock:
                self._open.extend(opened)
            handles[number] = opened[-1]
        return handles[number]

    def _forget(self, number: int) -> None:
        """Open the file anew at the next try: what a handle has half read may be all it ever gives."""
        self._local.__dict__.get("handles", {}).pop(number, None)


def _files(plan: Plan) -> list[SceneFile]:
    """Return the files of a plan; bands that come from one file are read together, so that it is decoded once."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for channel, source in enumerate(plan.sources):
        # A warped view has one nodata value for all its bands.
        view = "as it is" if source.ratio else f"warped, nodata {source.nodata}"
        groups.setdefault((source.href, view, str(source.ratio)), []).append(channel)
    files = []
    for channels in groups.values():
        sources = tuple(plan.sources[channel] for channel in channels)
        files.append(SceneFile(sources, tuple(channels), None, _cells(sources[0], plan)))
    for mask in plan.masks:
        left_out = LeftOut(mask.values, mask.bits)
        files.append(SceneFile((mask.source,), (), left_out, _cells(mask.source, plan)))
    return files


def _cells(source: BandSource, plan: Plan) -> Cells:
    if source.ratio is None:
        # Fixed for the scene: a warped pixel may depend, in its last bit, on the window that is warped.
        return cut_cells(plan.grid.shape, (CELL_PX, CELL_PX))
    height, width = (-(-side // source.ratio) for side in plan.grid.shape)
    return cut_cells((height, width), source.block_px)


def _needed_window(rows: Index, cols: Index, file: SceneFile) -> Window:
    """Return the part of a file that the positions need, with the neighbours that interpolation asks for."""
    ratio = file.sources[0].ratio or 1
    exact = Window(
        int(rows.min()) // ratio, int(cols.min()) // ratio, int(rows.max()) // ratio + 1, int(cols.max()) // ratio + 1
    )
    more = 1 if ratio > 1 and file.masked_values is None else 0
    return clip(grow(exact, more), file.cells.height, file.cells.width)


def _read_cell(dataset: Any, file: SceneFile, window: Window) -> Cell:
    place = RasterioWindow(window.left, window.top, window.width, window.height)
    source = file.sources[0]
    with rasterio.Env(**gdal_options(source.href)), decoding(source.asset, window):
        values = dataset.read([source.index + 1 for source in file.sources], window=place)
        if file.masked_values is not None:
            kept = ~is_masked(values[0], file.masked_values.values, file.masked_values.bits)
            return Cell(values[:0], None if kept.all() else kept)
        valid = np.ones(window.shape, np.bool_)
        for position, source in enumerate(file.sources):
            valid &= validity(dataset, source, values[position], window=place)
    return Cell(values, None if valid.all() else valid)


def _judged(error: DataError, source: BandSource) -> DataError | StoreError:
    """Say whether bytes that cannot be decoded are damaged or do not come now, by asking the server once more."""
    try:
        is_there(source.href, source.asset)
    except StoreError as refusal:
        return StoreError(f"{error.message}: {refusal.message}", refusal.hint)
    return error


def _bands_on_grid(
    file: SceneFile, cells: Sequence[tuple[CellKey, Cell]], at: tuple[Index, Index], pixels: npt.NDArray[Any]
) -> Mask:
    """Put a file's bands into their channels of (C, H, W) `pixels`; return their common (H, W) validity."""
    rows, cols = at
    window = _needed_window(rows, cols, file)
    ratio = file.sources[0].ratio or 1
    is_whole = ratio == 1 and window.shape == pixels.shape[1:] and rows[0] == window.top and cols[0] == window.left
    channels = list(file.channels)
    if is_whole and channels == list(range(len(pixels))):
        cut([(place, cell.values) for place, cell in _placed(file, cells, window)], pixels)
        return _validity_of(file, cells, window)
    values = np.empty((len(channels), *window.shape), np.result_type(*(source.dtype for source in file.sources)))
    cut([(place, cell.values) for place, cell in _placed(file, cells, window)], values)
    valid = _validity_of(file, cells, window)
    if ratio > 1:
        for channel, band in zip(channels, values, strict=True):
            pixels[channel], upsampled = upsample_bilinear(band, valid, (rows, window.top), (cols, window.left), ratio)
        return upsampled
    if is_whole:
        pixels[channels] = values
        return valid
    take = np.ix_(rows - window.top, cols - window.left)
    for channel, band in zip(channels, values, strict=True):
        pixels[channel] = band[take]
    return valid[take]


def _mask_on_grid(file: SceneFile, cells: Sequence[tuple[CellKey, Cell]], rows: Index, cols: Index) -> Mask:
    """Return which (H, W) pixels a mask leaves in: by the mask's pixel in which each lies."""
    window = _needed_window(rows, cols, file)
    ratio = file.sources[0].ratio or 1
    return _validity_of(file, cells, window)[np.ix_(rows // ratio - window.top, cols // ratio - window.left)]


def _validity_of(file: SceneFile, cells: Sequence[tuple[CellKey, Cell]], window: Window) -> Mask:
    valid = np.ones(window.shape, np.bool_)
    cut([(place, cell.valid) for place, cell in _placed(file, cells, window) if cell.valid is not None], valid)
    return valid


def _placed(
    file: SceneFile, cells: Sequence[tuple[CellKey, Cell]], window: Window
) -> list[tuple[tuple[int, int], Cell]]:
    """Return each cell with the (row, column) at which it begins in a window."""
    height, width = file.cells.cell_px
    return [((key.row * height - window.top, key.col * width - window.left), cell) for key, cell in cells]
