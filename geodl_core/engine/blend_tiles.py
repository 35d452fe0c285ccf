"""Tiles of a network that sees the whole tile: neighbours are inferred too, and their scores blended."""

from collections import OrderedDict
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.domain.pixels.blend import blend_weights, neighbours
from geodl_core.domain.plan.plan import Plan, Tile, live_bits, tile_at
from geodl_core.domain.window import intersect, slices_within
from geodl_core.engine.worker import Worker, answered_window, core_validity, infer, read_chip, stored_values

MOST_TILES = 12
"""Scores kept at a time: the 3 × 3 around the tile at work, and the next column of three."""

Scored = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]
"""(C, h, w) scores of a tile's answered window, and the (h, w) validity of its core."""


def blended_tiles(
    plan: Plan, shards: Sequence[Sequence[Tile]], worker: Worker
) -> Generator[tuple[Tile, list[npt.NDArray[Any]]], None, None]:
    """Yield what is stored of each tile's core, from the blended scores of all tiles that reach it.

    A tile's result depends on the plan alone, not on the shard it is computed in: neighbours outside the shard are
    inferred as well, and scores are added in the order of the tiles. A tile is inferred again for the rows of tiles
    above and below it, so that memory is bounded by twelve tiles at up to three times the work.
    """
    live = live_bits(plan)
    tiles = list(chain.from_iterable(shards))
    near = [[index for index in neighbours(plan, tile.index) if live[index]] for tile in tiles]
    held: OrderedDict[int, Future[Scored]] = OrderedDict()
    try:
        for position, tile in enumerate(tiles):
            for index in chain.from_iterable(near[position : position + 2]):
                if index not in held:
                    held[index] = worker.pool.submit(_score, plan, tile_at(plan, index), worker)
                held.move_to_end(index)
            scored = {index: held[index].result() for index in near[position]}
            yield tile, stored_values(_blend(plan, tile, scored, worker), scored[tile.index][1], worker)
            while len(held) > MOST_TILES:
                held.popitem(last=False)
    finally:
        for future in held.values():
            future.cancel()


def _score(plan: Plan, tile: Tile, worker: Worker) -> Scored:
    chip = read_chip(tile, worker.reader)
    answered = answered_window(plan, tile, worker.network)
    scores = infer(chip.pixels[None], answered, answered, worker.network)[0]
    return scores.reshape(-1, *scores.shape[-2:]), core_validity(tile, chip, worker.area_mask)


def _blend(plan: Plan, tile: Tile, scored: dict[int, Scored], worker: Worker) -> npt.NDArray[np.float32]:
    """Return the (C, h, w) scores of a tile's core from those of the tiles around, added in their order."""
    channels = next(iter(scored.values()))[0].shape[0]
    total = np.zeros((channels, *tile.core.shape), np.float32)
    weight = np.zeros(tile.core.shape, np.float32)
    for index in sorted(scored):
        other = tile_at(plan, index)
        window = answered_window(plan, other, worker.network)
        shared = intersect(tile.core, window)
        rows, cols = blend_weights(plan, other, shared)
        share = rows[:, None] * cols
        place = slices_within(shared, tile.core)
        total[:, *place] += scored[index][0][:, *slices_within(shared, window)] * share
        weight[place] += share
    # Where a neighbour is dead the others' weights do not add up to 1.
    total /= weight
    return total
