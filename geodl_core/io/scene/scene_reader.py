"""Chips of a scene: several bands of several files on the job's grid, each block decoded once."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from geodl_core.domain.pixels.chip import Chip, padded_indices
from geodl_core.domain.plan.cells import cell_window, cells_touching
from geodl_core.domain.plan.plan import BandSource, Plan
from geodl_core.domain.window import Window
from geodl_core.errors import DataError, StoreError
from geodl_core.io.remote.signing import renew_refused
from geodl_core.io.scene.cells import Cell, CellKey, CellStore, Supply
from geodl_core.io.scene.raster import is_remote, open_raster
from geodl_core.io.scene.scene_files import (
    bands_on_grid,
    cell_bytes,
    mask_on_grid,
    needed_window,
    read_cell,
    scene_files,
)

READ_BYTES = 128 << 20
"""Decoded pixels held, where the caller names no other."""
REMOTE_READERS = 8
"""Files are read over a network by so many threads at a time: with a latency of 40 ms only that helps."""
REMOTE_TRIES = 3
FIRST_PAUSE_S = 1.0
"""Before the second try; doubled for each further one. GDAL itself tries again in between."""


@dataclass(slots=True)
class _Handle:
    dataset: Any
    last: CellKey | None = None
    """The cell that was read last."""


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
        self._files = scene_files(plan)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: list[Any] = []
        self._given_up: StoreError | None = None
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
                unmasked &= mask_on_grid(file, cells, rows, cols)
            else:
                valid &= bands_on_grid(file, cells, (rows, cols), pixels)
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
        keys = [
            CellKey(number, row, col)
            for number, file in enumerate(self._files)
            for row, col in cells_touching(file.cells, needed_window(rows, cols, file))
        ]
        # Files that are brought to the grid share where its pixels lie, cell by cell.
        return sorted(keys, key=lambda key: (key.row, key.col, key.file))

    def _size_bytes(self, key: CellKey) -> int:
        return cell_bytes(self._files[key.file], key)

    def _load(self, key: CellKey) -> Cell:
        """Decode a cell; a remote one again where that fails, since networks do."""
        file = self._files[key.file]
        window = cell_window(file.cells, key.row, key.col)
        is_far = is_remote(file.sources[0].href)
        pause_s = FIRST_PAUSE_S
        for left in reversed(range(REMOTE_TRIES if is_far else 1)):
            if self._given_up is not None:
                # One cell has waited long enough for all.
                raise self._given_up
            try:
                return read_cell(self._dataset(key), file, self._plan.grid, window)
            except (DataError, StoreError) as error:
                self._forget(key.file)
                if not is_far:
                    raise
                is_renewed, judged = _explained(error, file.sources[0])
                if not left or (isinstance(judged, StoreError) and left == 1 and not is_renewed):
                    self._given_up = judged if isinstance(judged, StoreError) else None
                    raise judged from error.__cause__
            time.sleep(pause_s)
            pause_s *= 2
        raise AssertionError("the last try returns or raises")

    def _dataset(self, key: CellKey) -> Any:
        """Return a handle of this thread's own for a cell's file.

        Where a far cell follows the last one that a handle read, another handle reads it: GDAL would take it for the
        beginning of a whole file, and fetch twice as much each time.
        """
        handles: list[_Handle] = self._local.__dict__.setdefault("handles", {}).setdefault(key.file, [])
        source = self._files[key.file].sources[0]
        free = [handle for handle in handles if not (is_remote(source.href) and self._follows(key, handle.last))]
        if not free:
            dataset = open_raster(source.href, source.asset)
            with self._lock:
                self._open.append(dataset)
            free = [_Handle(dataset)]
            handles += free
        free[0].last = key
        return free[0].dataset

    def _follows(self, key: CellKey, last: CellKey | None) -> bool:
        """Say whether a cell lies just behind another in a file of rows of blocks."""
        if last is None:
            return False
        cells = self._files[key.file].cells
        columns = -(-cells.width // cells.cell_px[1])
        return key.row * columns + key.col == last.row * columns + last.col + 1

    def _forget(self, number: int) -> None:
        """Open the file anew at the next try: what a handle has half read may be all it ever gives."""
        self._local.__dict__.get("handles", {}).pop(number, None)


def _explained(error: DataError | StoreError, source: BandSource) -> tuple[bool, DataError | StoreError]:
    """Say whether a link was signed anew, and whether bytes are damaged or do not come now, by asking once more."""
    from geodl_core.io.remote.http import is_there  # noqa: PLC0415  # 0.1 s to import, for what fails alone

    try:
        is_renewed = renew_refused(source.href, source.asset)
        if isinstance(error, DataError):
            is_there(source.href, source.asset)
    except StoreError as refusal:
        return False, StoreError(f"{error.message}: {refusal.message}", refusal.hint)
    return is_renewed, error
