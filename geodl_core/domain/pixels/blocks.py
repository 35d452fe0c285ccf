"""Blocks of an output raster: put together from tiles, and told which a shard has wholly to itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.domain.pixels.product import Product
from geodl_core.domain.plan.plan import Plan, Tile, live_bits, tile_shape
from geodl_core.domain.window import Window, intersect, slices_within

BLOCK_PX = 512
"""Side of the blocks of a result."""


@dataclass(frozen=True, slots=True)
class Block:
    """One block of one raster."""

    product: int
    """Position among the run's products."""
    row: int
    col: int
    values: npt.NDArray[Any]
    """(samples, 512, 512); nodata outside the grid and where nothing was computed."""
    is_final: bool
    """Whether no other shard has pixels in it."""


def block_shape(height: int, width: int) -> tuple[int, int]:
    """Return how many (rows, columns) of blocks a raster has."""
    return -(-height // BLOCK_PX), -(-width // BLOCK_PX)


class BlockBuilder:
    """Takes a shard's tiles one after the other, and gives each block when its last tile has come.

    Args:
        plan: of the scene.
        tiles: indices of the shard's tiles.
        products: what is written.
    """

    def __init__(self, plan: Plan, tiles: npt.NDArray[np.int64], products: Sequence[Product]) -> None:
        self._plan, self._products = plan, products
        shape = tile_shape(plan.grid, plan.core_px)
        self._live = live_bits(plan).reshape(shape)
        self._mine = np.zeros(shape, np.bool_)
        self._mine.reshape(-1)[tiles] = True
        self._arrays: dict[tuple[int, int], list[npt.NDArray[Any]]] = {}
        self._missing: dict[tuple[int, int], int] = {}

    def add(self, tile: Tile, values: Sequence[npt.NDArray[Any]]) -> Iterator[Block]:
        """Put in a tile's core, (samples, h, w) for each product; yield the blocks that it completes."""
        core = tile.core
        for row in range(core.top // BLOCK_PX, -(-core.bottom // BLOCK_PX)):
            for col in range(core.left // BLOCK_PX, -(-core.right // BLOCK_PX)):
                yield from self._put(row, col, core, values)

    def _put(self, row: int, col: int, core: Window, values: Sequence[npt.NDArray[Any]]) -> Iterator[Block]:
        place = Window(row * BLOCK_PX, col * BLOCK_PX, (row + 1) * BLOCK_PX, (col + 1) * BLOCK_PX)
        key = (row, col)
        if key not in self._arrays:
            self._arrays[key] = [_empty(product) for product in self._products]
            self._missing[key] = int(self._mine[self._tiles_in(place)].sum())
        shared = intersect(place, core)
        for array, cores in zip(self._arrays[key], values, strict=True):
            array[:, *slices_within(shared, place)] = cores[:, *slices_within(shared, core)]
        self._missing[key] -= 1
        if not self._missing[key]:
            tiles = self._tiles_in(place)
            is_final = int(self._live[tiles].sum()) == int(self._mine[tiles].sum())
            del self._missing[key]
            for product, array in enumerate(self._arrays.pop(key)):
                yield Block(product, row, col, array, is_final)

    def _tiles_in(self, place: Window) -> tuple[slice, slice]:
        height, width = self._plan.core_px
        return (
            slice(place.top // height, -(-place.bottom // height)),
            slice(place.left // width, -(-place.right // width)),
        )


def _empty(product: Product) -> npt.NDArray[Any]:
    return np.full((product.samples, BLOCK_PX, BLOCK_PX), product.nodata, product.dtype)


def is_empty(block: Block, product: Product) -> bool:
    """Say whether a block holds nodata alone."""
    if np.isnan(product.nodata):
        return bool(np.isnan(block.values).all())
    return bool((block.values == product.nodata).all())
