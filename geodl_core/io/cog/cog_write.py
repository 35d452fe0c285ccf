"""A COG written from blocks that are compressed already: they are copied, overviews alone are encoded."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from pathlib import Path
from shutil import copyfileobj
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from geodl_core.domain.pixels.overview import halve_mean, halve_mode
from geodl_core.errors import DataError
from geodl_core.io.cog.block_codec import BlockFormat, encode_block, nodata_block
from geodl_core.io.cog.cog_layout import CogSpec, Sizes, blocks_shape, cog_header, framed_block, image_shapes
from geodl_core.io.store import atomic_file

__all__ = ["BlockSource", "CogSpec", "halve", "write_cog"]

Values = npt.NDArray[Any]
HALVE: dict[str, Callable[[Values, float], Values]] = {"mode": halve_mode, "mean": halve_mean}
COPY_BYTES = 1 << 20


class BlockSource(Protocol):
    """The blocks of a raster by row and column of blocks, each as `encode_block` made it."""

    def size(self, row: int, col: int) -> int | None:
        """Return the bytes of a block, None where all of it is nodata."""
        ...

    def payload(self, row: int, col: int) -> bytes:
        """Return a block's bytes."""
        ...

    def half(self, row: int, col: int) -> Values:
        """Return a block halved, (samples, block / 2, block / 2); nodata beyond the raster's edge."""
        ...


def halve(values: Values, block: BlockFormat, how: str) -> Values:
    """Return (samples, h, w) values at half their size, by the "mode" or the "mean" of the valid ones."""
    return HALVE[how](values, block.nodata)


def write_cog(target: Path, spec: CogSpec, blocks: BlockSource, pool: Executor | None = None) -> None:
    """Write a COG, atomically; the same bytes for the same blocks, with or without a pool.

    Holds one row of blocks of each overview; the overviews' bytes lie beside the target meanwhile. Blocks of nodata
    are written like all others, since some readers do not take files that leave them out.

    Args:
        target: the COG.
        spec: grid, format of the blocks, colours.
        blocks: asked row by row: first for all sizes and halves, then for all payloads.
        pool: of threads, that encode overviews.

    Raises:
        StoreError: it cannot be written.
        DataError: a block's payload has not the size that was told.
        InputError: GDAL cannot write such blocks or describe such a raster.
    """
    with atomic_file(target) as draft:
        empty = encode_block(spec.format, nodata_block(spec.format))
        overviews = _Overviews(spec, draft.parent, empty, pool)
        sizes = _feed(overviews, spec, blocks, len(empty))
        with draft.open("wb", buffering=COPY_BYTES) as file:
            file.write(cog_header(spec, [sizes, *overviews.sizes()]))
            for spool in overviews.spools():
                with spool.open("rb") as overview:
                    copyfileobj(overview, file, COPY_BYTES)
                spool.unlink()
            file.writelines(_framed_blocks(blocks, sizes, empty))


def _feed(overviews: "_Overviews", spec: CogSpec, blocks: BlockSource, empty_bytes: int) -> Sizes:
    """Put all halves into the overviews and return the (rows, cols) sizes of the image's blocks."""
    rows, cols = blocks_shape(spec.grid.shape, spec.format.block_px)
    sizes = np.full((rows, cols), empty_bytes, np.int64)
    for row in range(rows):
        for col in range(cols):
            size = blocks.size(row, col)
            if size is None:
                continue
            sizes[row, col] = size
            if overviews.count:
                overviews.put(0, row, col, blocks.half(row, col))
        overviews.end_row(0, row, is_last=row == rows - 1)
    return sizes


def _framed_blocks(blocks: BlockSource, sizes: Sizes, empty: bytes) -> Iterator[bytes]:
    framed_empty = framed_block(empty)
    for row, col in np.ndindex(sizes.shape):
        if blocks.size(row, col) is None:
            yield framed_empty
            continue
        payload = blocks.payload(row, col)
        if len(payload) != sizes[row, col]:
            raise DataError(f"block {row}, {col}: expected {sizes[row, col]} bytes, found {len(payload)}")
        yield framed_block(payload)


class _Overviews:
    """Takes halves row by row; a row of blocks that is whole goes to its level's file, and halved to the next level."""

    def __init__(self, spec: CogSpec, folder: Path, empty: bytes, pool: Executor | None) -> None:
        shapes = image_shapes(spec)[1:]
        self.count = len(shapes)
        self._block = spec.format
        self._how = spec.halve
        self._shapes = [blocks_shape(shape, spec.format.block_px) for shape in shapes]
        self._spools = [folder / f"overview-{level}" for level in range(self.count)]
        self._sizes: list[list[int]] = [[] for _ in shapes]
        self._rows: list[dict[int, Values]] = [{} for _ in shapes]
        self._empty = empty
        self._map = pool.map if pool else map

    def put(self, level: int, row: int, col: int, half: Values) -> None:
        """Lay the halved block (row, col) of the level before into a block of this one."""
        block = self._rows[level].get(col // 2)
        if block is None:
            block = self._rows[level][col // 2] = nodata_block(self._block)
        side = self._block.block_px // 2
        top, left = row % 2 * side, col % 2 * side
        block[:, top : top + side, left : left + side] = half

    def end_row(self, level: int, row: int, is_last: bool) -> None:
        """Write the blocks of this level, where `row` was the lower or the last row of the level before."""
        if level == self.count or not (row % 2 or is_last):
            return
        rows, cols = self._shapes[level]
        blocks, self._rows[level] = dict(sorted(self._rows[level].items())), {}
        payloads = dict(zip(blocks, self._map(self._encode, blocks.values()), strict=True))
        if level + 1 < self.count:
            halves: Iterable[Values] = self._map(self._halved, blocks.values())
            for col, half in zip(blocks, halves, strict=True):
                self.put(level + 1, row // 2, col, half)
        with self._spools[level].open("ab") as file:
            for col in range(cols):
                payload = payloads.get(col, self._empty)
                self._sizes[level].append(len(payload))
                file.write(framed_block(payload))
        self.end_row(level + 1, row // 2, is_last=row // 2 == rows - 1)

    def sizes(self) -> list[Sizes]:
        """Return the (rows, cols) sizes of all levels, finest first."""
        return [
            np.array(sizes, np.int64).reshape(shape) for sizes, shape in zip(self._sizes, self._shapes, strict=True)
        ]

    def spools(self) -> list[Path]:
        """Return the files with the blocks of all levels, coarsest first, as they lie in the COG."""
        return self._spools[::-1]

    def _encode(self, block: Values) -> bytes:
        return encode_block(self._block, block)

    def _halved(self, block: Values) -> Values:
        return halve(block, self._block, self._how)
