"""Blocks: the same whatever the tiles and shards that they are put together from."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodl_core.domain.classes import ClassEntry, Storage
from geodl_core.domain.grid import Grid
from geodl_core.domain.pixels.blocks import BLOCK_PX, Block, BlockBuilder, block_shape, is_empty
from geodl_core.domain.pixels.product import Product, class_product, score_product
from geodl_core.domain.plan.plan import Plan, Shard, live_tiles, pack_live, shard_tiles, tile_at, tile_shape
from geodl_core.domain.window import slices_within

CLASS = class_product(Storage("uint8", 255))
FEW = tuple(ClassEntry(value, str(value), (0, 0, 0)) for value in range(2))
BOTH = (CLASS, score_product(FEW, "float32"))
CORES = [128, 256, 512, 1024, 1536, 200, 300, 500, 700]
"""Sides that divide 512, are multiples of it, or neither."""


def plan_of(height: int, width: int, core: tuple[int, int], live: np.ndarray | None = None, panel: int = 0) -> Plan:
    grid = Grid("EPSG:32632", (10.0, 0.0, 600000.0, 0.0, -10.0, 5400000.0), height, width)
    bitmap = np.ones(tile_shape(grid, core), np.bool_) if live is None else live
    return Plan("job", grid, core, 0, 1, 0, "reflect", (), "uint8", pack_live(bitmap), panel_cols=panel)


def rasters_of(plan: Plan, products: tuple[Product, ...]) -> list[np.ndarray]:
    """What all tiles together say: a few values, nodata among them; nodata where tiles are dead."""
    rng = np.random.default_rng(plan.grid.height)
    is_live = np.zeros(plan.grid.shape, np.bool_)
    for index in live_tiles(plan):
        core = tile_at(plan, int(index)).core
        is_live[core.top : core.bottom, core.left : core.right] = True
    rasters = []
    for product in products:
        shape = (product.samples, *plan.grid.shape)
        some = np.array([0, 1, product.nodata]).astype(product.dtype)
        rasters.append(np.where(is_live, some[rng.integers(0, 3, shape, np.uint8)], some[2]))
    return rasters


def run(plan: Plan, tiles: np.ndarray, products: tuple[Product, ...], rasters: list[np.ndarray]) -> list[Block]:
    """Feed a shard's tiles in their order."""
    builder = BlockBuilder(plan, tiles, products)
    blocks: list[Block] = []
    for index in tiles:
        tile = tile_at(plan, int(index))
        core = tile.core
        values = [raster[:, core.top : core.bottom, core.left : core.right] for raster in rasters]
        blocks += builder.add(tile, values)
    return blocks


def expected_block(plan: Plan, product: Product, raster: np.ndarray, row: int, col: int) -> np.ndarray:
    block = np.full((product.samples, BLOCK_PX, BLOCK_PX), product.nodata, product.dtype)
    part = raster[:, row * BLOCK_PX : (row + 1) * BLOCK_PX, col * BLOCK_PX : (col + 1) * BLOCK_PX]
    block[:, : part.shape[1], : part.shape[2]] = part
    return block


def join(blocks: list[Block], product: Product) -> np.ndarray:
    """Put fragments together: where one has a value it is the result."""
    joined = blocks[0].values.copy()
    for block in blocks[1:]:
        has_value = ~np.isnan(block.values) if np.isnan(product.nodata) else block.values != product.nodata
        joined[has_value] = block.values[has_value]
    return joined


def live_of(data: st.DataObject, shape: tuple[int, int]) -> np.ndarray:
    share = data.draw(st.sampled_from([0.0, 0.3, 0.8, 1.0]))
    return np.random.default_rng(data.draw(st.integers(0, 99))).random(shape) < share


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 1700),
    st.integers(1, 1700),
    st.tuples(st.sampled_from(CORES), st.sampled_from(CORES)),
    st.integers(1, 9),
    st.integers(0, 3),
    st.data(),
)
def test_any_split_gives_the_same_blocks(
    height: int, width: int, core: tuple[int, int], of: int, panel: int, data: st.DataObject
) -> None:
    """Finals, and fragments put together, are the raster's blocks, for any number of shards and any panels."""
    shape = tile_shape(plan_of(height, width, core).grid, core)
    plan = plan_of(height, width, core, live_of(data, shape), panel)
    rasters = rasters_of(plan, BOTH)
    found: dict[tuple[int, int, int], list[Block]] = {}
    for n in range(of):
        for block in run(plan, shard_tiles(plan, Shard(n, of)), BOTH, rasters):
            found.setdefault((block.product, block.row, block.col), []).append(block)
    for number, product in enumerate(BOTH):
        for row, col in np.ndindex(block_shape(height, width)):
            expected = expected_block(plan, product, rasters[number], row, col)
            blocks = found.pop((number, row, col), [])
            assert not any(block.is_final for block in blocks) or len(blocks) == 1
            if blocks:
                np.testing.assert_array_equal(join(blocks, product), expected)
            else:
                assert is_empty(Block(number, row, col, expected, True), product)
    assert not found


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3000),
    st.integers(1, 3000),
    st.tuples(st.sampled_from(CORES), st.sampled_from(CORES)),
    st.integers(1, 9),
    st.data(),
)
def test_final_blocks_are_a_shards_own(
    height: int, width: int, core: tuple[int, int], of: int, data: st.DataObject
) -> None:
    """A block is final in just one shard: where no live tile of another touches it; else it is shared by all."""
    shape = tile_shape(plan_of(height, width, core).grid, core)
    plan = plan_of(height, width, core, live_of(data, shape), data.draw(st.integers(0, 3)))
    touching: dict[tuple[int, int], set[int]] = {}
    said: dict[tuple[int, int], dict[int, bool]] = {}
    nothing = [np.full((1, *plan.grid.shape), 255, np.uint8)]
    for n in range(of):
        tiles = shard_tiles(plan, Shard(n, of))
        for index in tiles:
            window = tile_at(plan, int(index)).core
            for row in range(window.top // BLOCK_PX, -(-window.bottom // BLOCK_PX)):
                for col in range(window.left // BLOCK_PX, -(-window.right // BLOCK_PX)):
                    touching.setdefault((row, col), set()).add(n)
        for block in run(plan, tiles, (CLASS,), nothing):
            assert n not in said.setdefault((block.row, block.col), {})
            said[block.row, block.col][n] = block.is_final
    assert {at: set(shards) for at, shards in said.items()} == touching
    for shards in said.values():
        assert set(shards.values()) == {len(shards) == 1}


@given(st.sampled_from(CORES), st.sampled_from(CORES))
@settings(max_examples=20, deadline=None)
def test_a_block_comes_with_its_last_tile(height: int, width: int) -> None:
    """Each block is given once, with the tile that completes it, whatever the order of the tiles."""
    plan = plan_of(1300, 1100, (height, width))
    tiles = np.random.default_rng(0).permutation(live_tiles(plan))
    builder = BlockBuilder(plan, tiles, (CLASS,))
    (raster,) = rasters_of(plan, (CLASS,))
    owed = dict.fromkeys(np.ndindex(block_shape(1300, 1100)), 0)
    cores = {int(index): tile_at(plan, int(index)).core for index in tiles}

    def touched(index: int) -> list[tuple[int, int]]:
        core = cores[index]
        rows = range(core.top // BLOCK_PX, -(-core.bottom // BLOCK_PX))
        return [(row, col) for row in rows for col in range(core.left // BLOCK_PX, -(-core.right // BLOCK_PX))]

    for index in tiles:
        for at in touched(int(index)):
            owed[at] += 1
    for index in tiles:
        core = cores[int(index)]
        complete = [at for at in touched(int(index)) if owed[at] == 1]
        for at in touched(int(index)):
            owed[at] -= 1
        values = [raster[:, core.top : core.bottom, core.left : core.right]]
        given_ = list(builder.add(tile_at(plan, int(index)), values))
        assert [(block.row, block.col) for block in given_] == complete
        for block in given_:
            np.testing.assert_array_equal(block.values, expected_block(plan, CLASS, raster, block.row, block.col))


def test_tiles_of_another_size() -> None:
    """Values that do not fit the tile's core, or are of another number of products, are refused."""
    plan = plan_of(600, 600, (300, 300))
    tile = tile_at(plan, 0)
    builder = BlockBuilder(plan, live_tiles(plan), BOTH)
    with pytest.raises(ValueError, match="zip"):
        list(builder.add(tile, [np.zeros((1, 300, 300), np.uint8)]))
    with pytest.raises(ValueError, match="broadcast"):
        list(builder.add(tile, [np.zeros((1, 299, 300), np.uint8), np.zeros((2, 299, 300), np.float32)]))


@pytest.mark.parametrize("product", [CLASS, *BOTH[1:], score_product(FEW, "uint8")])
def test_empty_blocks(product: Product) -> None:
    """A block is empty when every value of every band is nodata."""
    values = np.full((product.samples, BLOCK_PX, BLOCK_PX), product.nodata, product.dtype)
    block = Block(0, 0, 0, values, True)
    assert is_empty(block, product)
    for place in ((0, 0, 0), (-1, -1, -1)):
        changed = values.copy()
        changed[place] = 0
        assert not is_empty(replace(block, values=changed), product)


def test_a_core_is_put_in_its_place() -> None:
    """A tile across four blocks shows in each the pixels that lie there."""
    plan = plan_of(1024, 1024, (400, 400))
    tile = tile_at(plan, 4)
    (raster,) = rasters_of(plan, (CLASS,))
    core = tile.core
    builder = BlockBuilder(plan, np.array([4]), (CLASS,))
    blocks = list(builder.add(tile, [raster[:, core.top : core.bottom, core.left : core.right]]))
    assert [(block.row, block.col, block.is_final) for block in blocks] == [
        (row, col, False) for row in (0, 1) for col in (0, 1)
    ]
    whole = np.concatenate([np.concatenate([b.values for b in blocks[i : i + 2]], 2) for i in (0, 2)], 1)
    place = slices_within(core, plan.grid and tile_at(plan_of(1024, 1024, (1024, 1024)), 0).core)
    np.testing.assert_array_equal(whole[:, *place], raster[:, *place])
    whole[:, *place] = 255
    assert (whole == 255).all()
