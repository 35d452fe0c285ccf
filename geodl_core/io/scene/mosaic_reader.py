"""Chips of a mosaic: each pixel of the first Item that has it, all its channels of that one."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from geodl_core.domain.pixels.chip import Chip, Index, padded_indices
from geodl_core.domain.plan.plan import Layer, Plan
from geodl_core.domain.scene.mosaic import fill_of, layer_plan, scaled, shift
from geodl_core.domain.window import Window, intersect, slices_within
from geodl_core.io.scene.scene_reader import READ_BYTES, SceneReader


class MosaicReader:
    """Reads chips of a plan with layers, as `SceneReader` does of one without; each layer has a reader of its own.

    Every layer that a window meets is read, so that what is announced is taken, and each block decoded once.

    Args:
        plan: with layers.
        readers: threads that decode, for each layer.
        budget_bytes: of decoded pixels held, of all layers.
    """

    def __init__(self, plan: Plan, readers: int | None = None, budget_bytes: int = READ_BYTES) -> None:
        self._plan = plan
        share = budget_bytes // len(plan.layers)
        self.readers = [SceneReader(layer_plan(plan, layer), readers, share) for layer in plan.layers]
        radiometry = plan.layers[0].radiometry
        self._fill: npt.NDArray[Any] = np.zeros((1, 1, 1), plan.chip_dtype)
        if radiometry is not None:
            self._fill = fill_of(radiometry.scale, radiometry.offset, radiometry.floor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for reader in self.readers:
            reader.__exit__(kind, error, trace)

    def announce(self, windows: Sequence[Window]) -> None:
        """Tell which windows will be read, each once and about in this order, so that they are read ahead."""
        needed = [_hull(*self._indices(window)) for window in windows]
        for layer, reader in zip(self._plan.layers, self.readers, strict=True):
            parts = [intersect(window, layer.window) for window in needed]
            reader.announce([_own(part, layer) for part in parts if part.height and part.width])

    def read(self, window: Window) -> Chip:
        """Read one window, which may reach outside the mosaic; errors as those of `SceneReader.read`."""
        rows, cols = self._indices(window)
        needed = _hull(rows, cols)
        chip = self._read_inside(needed)
        pixels, valid = chip.pixels, chip.valid
        if needed == window:
            return chip
        take = np.ix_(rows - needed.top, cols - needed.left)
        pixels, valid = pixels[:, take[0], take[1]], valid[take]
        grid = self._plan.grid
        inside_rows = (np.arange(window.top, window.bottom) >= 0) & (np.arange(window.top, window.bottom) < grid.height)
        inside_cols = (np.arange(window.left, window.right) >= 0) & (np.arange(window.left, window.right) < grid.width)
        inside = inside_rows[:, None] & inside_cols
        if self._plan.pad == "constant":
            np.copyto(pixels, self._fill, where=~inside)
        return Chip(pixels, valid & inside)

    def _indices(self, window: Window) -> tuple[Index, Index]:
        grid, pad = self._plan.grid, self._plan.pad
        rows, _ = padded_indices(window.top, window.bottom, grid.height, pad)
        cols, _ = padded_indices(window.left, window.right, grid.width, pad)
        return rows, cols

    def _read_inside(self, window: Window) -> Chip:
        pixels = np.empty((len(self._plan.sources), *window.shape), self._plan.chip_dtype)
        pixels[:] = self._fill
        valid = np.zeros(window.shape, np.bool_)
        written = np.zeros(window.shape, np.bool_)
        for layer, reader in zip(self._plan.layers, self.readers, strict=True):
            part = intersect(window, layer.window)
            if not (part.height and part.width):
                continue
            chip = reader.read(_own(part, layer))
            rows, cols = slices_within(part, window)
            # A masked pixel keeps its values, for its neighbours, unless a later Item has a better one.
            shown = ~written[rows, cols] & chip.pixels.any(axis=0)
            taken = ~valid[rows, cols] & (chip.valid | shown)
            np.copyto(pixels[:, rows, cols], _values(chip, layer), where=taken)
            valid[rows, cols] |= chip.valid
            written[rows, cols] |= taken
        return Chip(pixels, valid)


def open_reader(plan: Plan, budget_bytes: int) -> SceneReader | MosaicReader:
    """Return what reads a plan's chips."""
    kind = MosaicReader if plan.layers else SceneReader
    return kind(plan, budget_bytes=budget_bytes)


def _values(chip: Chip, layer: Layer) -> npt.NDArray[Any]:
    radiometry = layer.radiometry
    if radiometry is None:
        return chip.pixels
    return scaled(chip.pixels, radiometry.scale, radiometry.offset, radiometry.floor)


def _own(window: Window, layer: Layer) -> Window:
    """Return a window on the layer's own part of the grid."""
    return shift(window, -layer.window.top, -layer.window.left)


def _hull(rows: Index, cols: Index) -> Window:
    return Window(int(rows.min()), int(cols.min()), int(rows.max()) + 1, int(cols.max()) + 1)
