"""Run a shard: read, infer and decode its tiles in a loop, and write its part."""

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.domain.plan import Plan, Shard, Tile, shard_tiles, tile_at
from geodl_core.domain.window import slices_within
from geodl_core.engine.blend_tiles import blended_tiles
from geodl_core.engine.worker import Worker, answered_window, core_validity, infer, to_ids
from geodl_core.io.parts import write_part

IN_FLIGHT_PER_THREAD = 2
"""One group in the network, one read ahead."""

TileIds = list[tuple[Tile, npt.NDArray[Any]]]


def run_shard(plan: Plan, shard: Shard, worker: Worker, path: Path) -> None:
    """Compute one shard and write its part atomically.

    Memory is bounded by the tiles in flight, two groups a thread (blended: twelve tiles' scores); the part's bytes
    do not depend on the threads.

    Args:
        plan: of the scene.
        shard: which range of its live tiles.
        worker: reader, session and how to store their results.
        path: of the part.

    Raises:
        DataError: a block cannot be decoded.
        InferenceError: the network failed.
        ModelError: the network's answer has another size, or a class that the definition lacks.
        StoreError: the part cannot be written.
    """
    tiles = [tile_at(plan, int(index)) for index in shard_tiles(plan, shard)]
    span = (tiles[0].index, tiles[-1].index) if tiles else (0, -1)
    compute = blended_tiles if plan.blend_px else _plain_tiles
    # Closed whatever happens, so that nothing is waited for that an error has made useless.
    with closing(compute(plan, tiles, worker)) as finished, write_part(path, plan.job_id, span) as part:
        for tile, ids in finished:
            part.add(tile.index, ids)
            worker.on_tiles(1)


def _plain_tiles(
    plan: Plan, tiles: Sequence[Tile], worker: Worker
) -> Generator[tuple[Tile, npt.NDArray[Any]], None, None]:
    """Yield the class ids of each tile's core, in order, while later tiles are read and inferred."""
    pending: deque[Future[TileIds]] = deque()
    try:
        for group in _groups(tiles, worker.batch):
            pending.append(worker.pool.submit(_infer_group, plan, group, worker))
            if len(pending) == worker.threads * IN_FLIGHT_PER_THREAD:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def _groups(tiles: Sequence[Tile], batch: int) -> Iterator[list[Tile]]:
    """Yield runs of at most `batch` tiles whose read windows are of one shape.

    Where a run ends follows from the tiles' numbers, not from the shard, so that a tile has the same company in any.
    """
    for _, alike in groupby(tiles, key=lambda tile: (tile.index // batch, tile.read.shape)):
        yield list(alike)


def _infer_group(plan: Plan, tiles: Sequence[Tile], worker: Worker) -> TileIds:
    """Return the class ids of each tile's core; a tile without a valid pixel in its core is not inferred."""
    chips = [worker.reader.read(tile.read) for tile in tiles]
    valid = [core_validity(tile, chip) for tile, chip in zip(tiles, chips, strict=True)]
    alive = [position for position, mask in enumerate(valid) if mask.any()]
    results = [(tile, np.full(tile.core.shape, worker.storage.nodata, worker.storage.dtype)) for tile in tiles]
    if not alive:
        return results
    pixels = np.stack([chips[position].pixels for position in alive])
    answer = infer(pixels, answered_window(plan, tiles[alive[0]], worker), worker)
    for row, position in enumerate(alive):
        tile = tiles[position]
        # A mask or class map may keep a channel axis of 1.
        core = answer[row].reshape(answer.shape[-2:])[slices_within(tile.core, answered_window(plan, tile, worker))]
        results[position] = (tile, to_ids(core, valid[position], worker))
    return results
