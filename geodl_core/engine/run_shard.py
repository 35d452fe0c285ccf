"""Run a shard: read, infer and decode its tiles in a loop, and write its part."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.domain.chip import Chip, to_class_ids
from geodl_core.domain.classes import Storage
from geodl_core.domain.plan import Plan, Shard, Tile, shard_tiles, tile_at
from geodl_core.domain.window import Window, grow, slices_within
from geodl_core.engine.session import Session
from geodl_core.errors import ModelError
from geodl_core.io.cog import SceneReader
from geodl_core.io.parts import write_part

IN_FLIGHT_PER_THREAD = 2
"""One group in the network, one read ahead."""

TileIds = list[tuple[Tile, npt.NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class Worker:
    """What a shard is computed with."""

    reader: SceneReader
    session: Session
    storage: Storage
    lookup: npt.NDArray[Any]
    """(K,) class id of each class index; for a class map the class ids that may occur."""
    is_class_map: bool
    is_cropping: bool
    """Whether the network's answer lacks the halo."""
    batch: int
    """Tiles a call; the graph's own where it is fixed."""
    threads: int
    on_tiles: Callable[[int], None]
    """Told how many tiles were finished."""


def run_shard(plan: Plan, shard: Shard, worker: Worker, path: Path) -> None:
    """Compute one shard and write its part atomically.

    Memory is bounded by the tiles in flight, two groups a thread; the part's bytes do not depend on the threads.

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
    indices = shard_tiles(plan, shard)
    tiles = [tile_at(plan, int(index)) for index in indices]
    groups = [tiles[start : start + worker.batch] for start in range(0, len(tiles), worker.batch)]
    span = (int(indices[0]), int(indices[-1])) if len(indices) else (0, -1)
    pending: deque[Future[TileIds]] = deque()
    with write_part(path, plan.job_id, span) as part, ThreadPoolExecutor(worker.threads) as pool:
        try:
            for position in range(len(groups) + worker.threads * IN_FLIGHT_PER_THREAD):
                if position < len(groups):
                    pending.append(pool.submit(_infer_group, plan, groups[position], worker))
                if position >= worker.threads * IN_FLIGHT_PER_THREAD - 1 and pending:
                    finished = pending.popleft().result()
                    for tile, ids in finished:
                        part.add(tile.index, ids)
                    worker.on_tiles(len(finished))
        finally:
            for future in pending:
                future.cancel()


def _infer_group(plan: Plan, tiles: Sequence[Tile], worker: Worker) -> TileIds:
    """Return the class ids of each tile's core; a tile without a valid pixel in its core is not inferred."""
    chips = [worker.reader.read(tile.read) for tile in tiles]
    valid = [_core_validity(tile, chip) for tile, chip in zip(tiles, chips, strict=True)]
    alive = [position for position, mask in enumerate(valid) if mask.any()]
    results = [(tile, np.full(tile.core.shape, worker.storage.nodata, worker.storage.dtype)) for tile in tiles]
    if not alive:
        return results
    pixels = np.stack([chips[position].pixels for position in alive])
    if len(alive) < worker.batch:
        # A graph of fixed batch takes no fewer; what is added is thrown away.
        pixels = np.concatenate([pixels, np.zeros((worker.batch - len(alive), *pixels.shape[1:]), pixels.dtype)])
    classes = worker.session.infer(pixels)
    answered = [_answered(plan, tile, worker) for tile in tiles]
    expected = (len(pixels), *answered[0].shape)
    if classes.shape != expected:
        raise ModelError(f"the network gives {classes.shape} (tiles, rows, columns), expected {expected}")
    for row, position in enumerate(alive):
        tile, mask = tiles[position], valid[position]
        core = classes[row][slices_within(tile.core, answered[position])]
        results[position] = (tile, _to_ids(core, mask, worker))
    return results


def _answered(plan: Plan, tile: Tile, worker: Worker) -> Window:
    """Return the window that the network's answer covers."""
    return grow(tile.read, -plan.halo_px) if worker.is_cropping else tile.read


def _core_validity(tile: Tile, chip: Chip) -> npt.NDArray[np.bool_]:
    return chip.valid[slices_within(tile.core, tile.read)]


def _to_ids(classes: npt.NDArray[Any], valid: npt.NDArray[np.bool_], worker: Worker) -> npt.NDArray[Any]:
    if not worker.is_class_map:
        return to_class_ids(classes, valid, worker.lookup, worker.storage.nodata)
    strange = np.setdiff1d(classes[valid], worker.lookup)
    if strange.size:
        raise ModelError(f"the network wrote the values {strange[:5].tolist()}, which Classes does not have")
    return np.where(valid, classes, worker.storage.nodata).astype(worker.storage.dtype)
