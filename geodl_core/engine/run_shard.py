"""Run shards: read, infer and decode their tiles in a loop, and write their parts."""

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from itertools import chain, groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.domain.pixels.blocks import Block, BlockBuilder, is_empty
from geodl_core.domain.pixels.product import Product
from geodl_core.domain.plan.job import Compression
from geodl_core.domain.plan.plan import Plan, Tile, shard_tiles, tile_at
from geodl_core.engine.blend_tiles import blended_tiles
from geodl_core.engine.result_place import Task
from geodl_core.engine.worker import (
    Reader,
    Worker,
    answered_window,
    core_validity,
    infer,
    nothing,
    read_chip,
    stored_values,
)
from geodl_core.errors import DataError, InferenceError, OutOfMemoryError, StoreError
from geodl_core.io.cog.block_codec import BlockFormat, Predictor, encode_block, half_format
from geodl_core.io.cog.cog_write import halve
from geodl_core.io.parts.parts import PartWriter, write_part

IN_FLIGHT_PER_THREAD = 2
"""One group in the network, one read ahead."""
MEMORY_HINT = "--threads 1, a lower --max-memory or --tile-memory, or a smaller batch_size needs less"
ENCODING_BYTES = 64 << 20
"""Of blocks that wait to be written, at a time."""

TileValues = tuple[Tile, list[npt.NDArray[Any]]]
"""A tile and what is stored of its core, (samples, h, w) for each product."""


def run_shards(plan: Plan, tasks: Sequence[Task], worker: Worker) -> None:
    """Compute shards one after the other, and write each one's part atomically when it is done.

    While a shard's last tiles are in the network the next one's first are read. Memory is bounded by the tiles in
    flight, two groups a thread (blended: twelve tiles' scores); the parts' bytes do not depend on the threads.

    Args:
        plan: of the scene.
        tasks: the shards.
        worker: reader, network and how to store their results.

    Raises:
        DataError: a block cannot be decoded.
        InferenceError: the network failed.
        ItemError: a file of the scene is not the one that was planned for.
        ModelError: the network's answer has another size, or a class that the definition lacks.
        StoreError: a part cannot be written, or a remote file cannot be read now.
    """
    numbers = [shard_tiles(plan, task.shard) for task in tasks]
    tiles = [[tile_at(plan, int(index)) for index in indices] for indices in numbers]
    announce_tasks(plan, tasks, worker.reader)
    compute = blended_tiles if plan.blend_px else _plain_tiles
    # Closed whatever happens, so that nothing is waited for that an error has made useless.
    with closing(compute(plan, tiles, worker)) as finished:
        for task, indices in zip(tasks, numbers, strict=True):
            with write_part(task.path, task.header) as part:
                builder = BlockBuilder(plan, indices, worker.products)
                try:
                    _fill_part(part, builder, (finished, len(indices)), worker)
                except (DataError, StoreError):
                    # A file that was exchanged may not decode at all, and that is what should be said.
                    with suppress(StoreError):
                        worker.check()
                    raise
                # What was read while a file was exchanged would be of two scenes.
                worker.check()


def announce_tasks(plan: Plan, tasks: Sequence[Task], reader: Reader) -> None:
    """Have the windows of shards read ahead; not of blended ones, which are read several times."""
    if tasks and not plan.blend_px:
        indices = chain.from_iterable(shard_tiles(plan, task.shard) for task in tasks)
        reader.announce([tile_at(plan, int(index)).read for index in indices])


def _fill_part(
    part: PartWriter, builder: BlockBuilder, finished: tuple[Iterator[TileValues], int], worker: Worker
) -> None:
    """Take a shard's tiles, encode the blocks that they complete, and write them in order."""
    encoding: deque[tuple[Block, Future[tuple[bytes, bytes]] | None]] = deque()
    tiles, count = finished
    waiting_bytes = 0
    for _ in range(count):
        tile, values = next(tiles)
        _add_counts(part.counts, values[0], worker.products[0])
        for block in builder.add(tile, values):
            product = worker.products[block.product]
            if is_empty(block, product):
                continue
            future = worker.pool.submit(_encode, block, product, worker.compression) if block.is_final else None
            encoding.append((block, future))
            waiting_bytes += block.values.nbytes
        while encoding and (waiting_bytes > ENCODING_BYTES or encoding[0][1] is None or encoding[0][1].done()):
            waiting_bytes -= encoding[0][0].values.nbytes
            _write_block(part, *encoding.popleft(), worker)
        worker.on_tiles(1)
    while encoding:
        _write_block(part, *encoding.popleft(), worker)


def _write_block(part: PartWriter, block: Block, future: "Future[tuple[bytes, bytes]] | None", worker: Worker) -> None:
    name = block_name(worker.products[block.product], block.row, block.col)
    if future is None:
        part.add_shared(name, block.values)
    else:
        part.add_final(name, *future.result())


def block_name(product: Product, row: int, col: int) -> str:
    """Return what a block is called in a part."""
    return f"{product.name}/{row}_{col}"


def block_format(product: Product, compression: Compression) -> BlockFormat:
    """Return how blocks of a product are stored."""
    predictor: Predictor = 3 if product.dtype == "float32" else 1
    return BlockFormat(product.dtype, product.samples, product.nodata, compression, predictor=predictor)


def _encode(block: Block, product: Product, compression: Compression) -> tuple[bytes, bytes]:
    """Return a block, and it at half its size for the overviews, as files have them."""
    stored = block_format(product, compression)
    half = halve(block.values, stored, product.halve)
    return encode_block(stored, block.values), encode_block(half_format(stored), half)


def _add_counts(counts: dict[int, int], ids: npt.NDArray[Any], product: Product) -> None:
    if ids.dtype in (np.uint8, np.uint16):
        occurring = np.bincount(ids.ravel())
        pairs = {int(value): int(occurring[value]) for value in np.flatnonzero(occurring)}
    else:
        unique, times = np.unique(ids, return_counts=True)
        pairs = dict(zip(unique.tolist(), times.tolist(), strict=True))
    for value, times_ in pairs.items():
        if value != product.nodata:
            counts[value] = counts.get(value, 0) + times_


def _plain_tiles(plan: Plan, shards: Sequence[Sequence[Tile]], worker: Worker) -> Generator[TileValues, None, None]:
    """Yield what is stored of each tile, in order, while later tiles are read and inferred."""
    pending: deque[Future[list[TileValues]]] = deque()
    try:
        for group in chain.from_iterable(_groups(plan, tiles, worker) for tiles in shards):
            pending.append(worker.pool.submit(_infer_group, plan, group, worker))
            if len(pending) == worker.threads * IN_FLIGHT_PER_THREAD:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def _groups(plan: Plan, tiles: Sequence[Tile], worker: Worker) -> Iterator[list[Tile]]:
    """Yield runs of at most a batch of tiles whose windows lie alike.

    Where a run ends follows from the tiles' numbers, so that a tile has the same company in any shard, but where a
    shard begins or ends; a network's answer for a tile may depend on its company by rounding alone.
    """

    def alike(tile: Tile) -> tuple[int, ...]:
        answered = answered_window(plan, tile, worker.network)
        corner = (tile.core.top - answered.top, tile.core.left - answered.left)
        return (tile.index // worker.network.batch, *tile.read.shape, *tile.core.shape, *corner)

    for _, group in groupby(tiles, key=alike):
        yield list(group)


def _infer_group(plan: Plan, tiles: Sequence[Tile], worker: Worker) -> list[TileValues]:
    """Return what is stored of each tile; one without a valid pixel in its core is not inferred.

    Raises:
        InferenceError: as the session says, with the tiles named; its child OutOfMemoryError also for memory of ours.
    """
    try:
        return _inferred(plan, tiles, worker)
    except InferenceError as error:
        hint = error.hint or (MEMORY_HINT if isinstance(error, OutOfMemoryError) else None)
        raise type(error)(f"{named(tiles)}: {error.message}", hint) from error
    except MemoryError as error:
        raise OutOfMemoryError(f"{named(tiles)}: out of memory", hint=MEMORY_HINT) from error


def named(tiles: Sequence[Tile]) -> str:
    """Return what a group of tiles is called in errors."""
    return f"tile {tiles[0].index}" if len(tiles) == 1 else f"tiles {tiles[0].index}–{tiles[-1].index}"


def _inferred(plan: Plan, tiles: Sequence[Tile], worker: Worker) -> list[TileValues]:
    chips = [read_chip(tile, worker.reader) for tile in tiles]
    valid = [core_validity(tile, chip, worker.area_mask) for tile, chip in zip(tiles, chips, strict=True)]
    alive = [position for position, mask in enumerate(valid) if mask.any()]
    results = [(tile, nothing(tile, worker.products)) for tile in tiles]
    if not alive:
        return results
    pixels = chips[alive[0]].pixels[None] if len(alive) == 1 else np.stack([chips[at].pixels for at in alive])
    first = tiles[alive[0]]
    answer = infer(pixels, answered_window(plan, first, worker.network), first.core, worker.network)
    for row, position in enumerate(alive):
        results[position] = (tiles[position], stored_values(answer[row], valid[position], worker))
    return results
