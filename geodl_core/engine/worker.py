"""What a shard is computed with, and the steps that plain and blended tiles share."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.domain.chip import Chip, to_class_ids
from geodl_core.domain.classes import Storage
from geodl_core.domain.plan import Plan, Tile
from geodl_core.domain.window import Window, grow, slices_within
from geodl_core.engine.session import Session
from geodl_core.errors import ModelError, OutOfMemoryError
from geodl_core.io.cog import SceneReader


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
    threshold: float
    """Of a mask whose scores are blended."""
    batch: int
    """Tiles a call at most; the graph's own where it is fixed."""
    is_batch_fixed: bool
    """Whether a call must be of just `batch` tiles."""
    pool: Executor
    """Of all shards of a run: the reader opens its files once for each of its threads."""
    threads: int
    """Of the pool."""
    on_tiles: Callable[[int], None]
    """Told how many tiles were finished."""


def answered_window(plan: Plan, tile: Tile, worker: Worker) -> Window:
    """Return the window that the network's answer covers."""
    return grow(tile.read, -plan.halo_px) if worker.is_cropping else tile.read


def core_validity(tile: Tile, chip: Chip) -> npt.NDArray[np.bool_]:
    """Return the (h, w) validity of a tile's core."""
    return chip.valid[slices_within(tile.core, tile.read)]


def infer(pixels: npt.NDArray[Any], window: Window, worker: Worker) -> npt.NDArray[Any]:
    """Return the network's answer for (N, C, H, W) stored values: (N, h, w) classes or (N, C, h, w) scores.

    Raises:
        ModelError: the answer has another size than expected.
    """
    count = len(pixels)
    if worker.is_batch_fixed and count < worker.batch:
        # A graph of fixed batch takes no fewer; what is added is thrown away.
        pixels = np.concatenate([pixels, np.zeros((worker.batch - count, *pixels.shape[1:]), pixels.dtype)])
    answer = _infer_halved(pixels, worker)[:count]
    if (len(answer), *answer.shape[-2:]) != (count, *window.shape):
        raise ModelError(f"the network gives {answer.shape}, expected {count} tiles of {window.shape} (rows, columns)")
    return answer


def _infer_halved(pixels: npt.NDArray[Any], worker: Worker) -> npt.NDArray[Any]:
    """Infer a batch, its halves one after the other where it does not fit into memory and may be split."""
    try:
        return worker.session.infer(pixels)
    except OutOfMemoryError:
        if worker.is_batch_fixed or len(pixels) == 1:
            raise
    half = len(pixels) // 2
    return np.concatenate([_infer_halved(pixels[:half], worker), _infer_halved(pixels[half:], worker)])


def to_ids(classes: npt.NDArray[Any], valid: npt.NDArray[np.bool_], worker: Worker) -> npt.NDArray[Any]:
    """Turn (h, w) class indices into stored values.

    Raises:
        ModelError: a class that the definition lacks.
    """
    if not worker.is_class_map:
        if classes.size and int(classes.max()) >= len(worker.lookup):
            raise ModelError(
                f"the network gives class index {classes.max()}, but Classes ends at {len(worker.lookup) - 1}"
            )
        return to_class_ids(classes, valid, worker.lookup, worker.storage.nodata)
    strange = np.setdiff1d(classes[valid], worker.lookup)
    if strange.size:
        raise ModelError(f"the network wrote the values {strange[:5].tolist()}, which Classes does not have")
    return np.where(valid, classes, worker.storage.nodata).astype(worker.storage.dtype)
