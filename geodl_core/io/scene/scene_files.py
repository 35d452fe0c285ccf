"""The files of a scene: which bands of them are read together, in which cells, and how cells become chips."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.windows import Window as RasterioWindow

from geodl_core.domain.grid import Grid
from geodl_core.domain.pixels.chip import Index, Mask, upsample
from geodl_core.domain.plan.cells import CELL_PX, Cells, cell_window, cut_cells
from geodl_core.domain.plan.placing import Resampling
from geodl_core.domain.plan.plan import BandSource, Plan
from geodl_core.domain.scene.masks import LeftOut, is_masked
from geodl_core.domain.window import Window, clip, grow
from geodl_core.io.scene.cells import Cell, CellKey, cut
from geodl_core.io.scene.raster import decoding, gdal_options, validity
from geodl_core.io.scene.warp import read_mask_on_grid, read_on_grid

LEAST_CELL_PX = 64
"""Side of a cell of the grid whose pixels are means of many."""
NEIGHBOURS: dict[Resampling, int] = {"nearest": 0, "bilinear": 1, "cubic": 2}
"""Pixels around those in which a window lies that interpolation asks for."""


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

    @property
    def ratio(self) -> int:
        """Grid pixels along a pixel of its cells."""
        return self.sources[0].ratio or 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its cells' values."""
        if self.sources[0].ratio is None:
            return np.dtype(np.float32)
        return np.result_type(*(source.dtype for source in self.sources))


def scene_files(plan: Plan) -> list[SceneFile]:
    """Return the files of a plan; bands that come from one file are read together, so that it is decoded once."""
    groups: dict[tuple[str, int | None, str], list[int]] = {}
    for channel, source in enumerate(plan.sources):
        groups.setdefault((source.href, source.ratio, source.kind), []).append(channel)
    files = []
    for channels in groups.values():
        sources = tuple(plan.sources[channel] for channel in channels)
        files.append(SceneFile(sources, tuple(channels), None, _cells(sources[0], plan)))
    for mask in plan.masks:
        left_out = LeftOut(mask.values, mask.bits)
        files.append(SceneFile((mask.source,), (), left_out, _cells(mask.source, plan)))
    return files


def needed_window(rows: Index, cols: Index, file: SceneFile) -> Window:
    """Return the part of a file that the positions need, with the neighbours that interpolation asks for."""
    ratio = file.ratio
    exact = Window(
        int(rows.min()) // ratio, int(cols.min()) // ratio, int(rows.max()) // ratio + 1, int(cols.max()) // ratio + 1
    )
    more = NEIGHBOURS[_kind(file)] if ratio > 1 and file.masked_values is None else 0
    return clip(grow(exact, more), file.cells.height, file.cells.width)


def cell_bytes(file: SceneFile, key: CellKey) -> int:
    """Return how large a decoded cell of a file is."""
    window = cell_window(file.cells, key.row, key.col)
    each = file.dtype.itemsize * len(file.sources) if file.masked_values is None else 0
    return window.height * window.width * (each + 1)


def read_cell(dataset: Any, file: SceneFile, grid: Grid, window: Window) -> Cell:
    """Decode a window of a file's cells.

    Raises:
        DataError: a block cannot be decoded.
    """
    source = file.sources[0]
    with rasterio.Env(**gdal_options(source.href)), decoding(source.asset, window):
        if file.masked_values is not None:
            return _mask_cell(dataset, file, (grid, window), file.masked_values)
        if source.ratio is None:
            values, valid = read_on_grid(dataset, file.sources, grid, window)
        else:
            place = _place(window)
            values = dataset.read([source.index + 1 for source in file.sources], window=place)
            valid = np.ones(window.shape, np.bool_)
            for position, source in enumerate(file.sources):
                valid &= validity(dataset, source, values[position], window=place)
    return Cell(values, None if valid.all() else valid)


def bands_on_grid(
    file: SceneFile, cells: Sequence[tuple[CellKey, Cell]], at: tuple[Index, Index], pixels: npt.NDArray[Any]
) -> Mask:
    """Put a file's bands into their channels of (C, H, W) `pixels`; return their common (H, W) validity."""
    rows, cols = at
    window = needed_window(rows, cols, file)
    ratio = file.ratio
    is_whole = ratio == 1 and window.shape == pixels.shape[1:] and rows[0] == window.top and cols[0] == window.left
    channels = list(file.channels)
    if is_whole and channels == list(range(len(pixels))):
        cut([(place, cell.values) for place, cell in _placed(file, cells, window)], pixels)
        return _validity_of(file, cells, window)
    values = np.empty((len(channels), *window.shape), file.dtype)
    cut([(place, cell.values) for place, cell in _placed(file, cells, window)], values)
    valid = _validity_of(file, cells, window)
    if ratio > 1:
        how = ratio, _kind(file)
        for channel, band in zip(channels, values, strict=True):
            pixels[channel], upsampled = upsample(band, valid, (rows, window.top), (cols, window.left), how)
        return upsampled
    if is_whole:
        pixels[channels] = values
        return valid
    take = np.ix_(rows - window.top, cols - window.left)
    for channel, band in zip(channels, values, strict=True):
        pixels[channel] = band[take]
    return valid[take]


def mask_on_grid(file: SceneFile, cells: Sequence[tuple[CellKey, Cell]], rows: Index, cols: Index) -> Mask:
    """Return which (H, W) pixels a mask leaves in: by the mask's pixel in which each lies."""
    window = needed_window(rows, cols, file)
    ratio = file.ratio
    return _validity_of(file, cells, window)[np.ix_(rows // ratio - window.top, cols // ratio - window.left)]


def _cells(source: BandSource, plan: Plan) -> Cells:
    height, width = plan.grid.shape
    if source.ratio is None:
        # Fixed for the scene, so that a pixel never depends on the window that asked for it; and about as much of
        # the file as of others.
        side = max(LEAST_CELL_PX, round(CELL_PX / source.shrink))
        return Cells(height, width, (min(side, height), min(side, width)))
    return cut_cells((-(-height // source.ratio), -(-width // source.ratio)), source.block_px)


def _mask_cell(dataset: Any, file: SceneFile, where: tuple[Grid, Window], left_out: LeftOut) -> Cell:
    source = file.sources[0]
    if source.ratio is None:
        values, found = read_mask_on_grid(dataset, source, *where)
        kept = ~(is_masked(values, left_out.values, left_out.bits) & found)
    else:
        values = dataset.read(source.index + 1, window=_place(where[1]))
        kept = ~is_masked(values, left_out.values, left_out.bits)
    return Cell(values[None][:0], None if kept.all() else kept)


def _kind(file: SceneFile) -> Resampling:
    kind = file.sources[0].kind
    return "bilinear" if kind == "average" else kind


def _place(window: Window) -> RasterioWindow:
    return RasterioWindow(window.left, window.top, window.width, window.height)


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
