"""What a shard is computed with, and the steps that plain and blended tiles share."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from geodl_core.domain.pixels.augment import AS_IT_IS, MergePolicy, Turn, merge_scores, turn, turn_back
from geodl_core.domain.pixels.chip import Chip, Mask
from geodl_core.domain.pixels.decode import Decoding, Scores, decide, to_ids, to_stored_scores
from geodl_core.domain.pixels.product import Product
from geodl_core.domain.plan.job import Compression
from geodl_core.domain.plan.plan import Plan, Tile
from geodl_core.domain.window import Window, grow, slices_within
from geodl_core.engine.session import Session
from geodl_core.errors import GeodlError, ModelError, OutOfMemoryError

AreaMask = Callable[[Window], Mask]
"""Which pixels of a window lie in the area of interest, (h, w)."""


class Reader(Protocol):
    """Reads the chips of a scene or of a mosaic."""

    def announce(self, windows: Sequence[Window]) -> None:
        """Tell which windows will be read, so that they are read ahead."""
        ...

    def read(self, window: Window) -> Chip:
        """Read one window, which may reach outside the scene."""
        ...


@dataclass(frozen=True, slots=True)
class Network:
    """A session, and what it takes and gives."""

    session: Session
    gives_scores: bool
    has_class: bool
    """Whether a last channel of the scores is the class index."""
    is_cropping: bool
    """Whether the network's answer lacks the halo."""
    batch: int
    """Tiles a call at most; the graph's own where it is fixed."""
    is_batch_fixed: bool
    """Whether a call must be of just `batch` tiles."""
    turns: tuple[Turn, ...] = AS_IT_IS
    """Ways in which it looks at each chip; more than one needs scores."""
    policy: MergePolicy = "mean"


@dataclass(frozen=True, slots=True)
class Worker:
    """What a shard is computed with."""

    reader: Reader
    network: Network
    decoding: Decoding
    products: tuple[Product, ...]
    """The class map, and where asked for the scores."""
    area_mask: AreaMask | None
    pool: Executor
    """Of all shards of a run."""
    threads: int
    """Of the pool."""
    compression: Compression
    on_tiles: Callable[[int], None]
    """Told how many tiles were finished."""
    check: Callable[[], None]
    """Makes sure that the scene's files are still those of the plan; called before a part counts as done."""


def read_chip(tile: Tile, reader: Reader) -> Chip:
    """Read a tile's chip; errors name the tile."""
    try:
        return reader.read(tile.read)
    except GeodlError as error:
        raise type(error)(f"tile {tile.index}: {error.message}", error.hint) from error


def answered_window(plan: Plan, tile: Tile, network: Network) -> Window:
    """Return the window that the network's answer covers."""
    return grow(tile.read, -plan.halo_px) if network.is_cropping else tile.read


def core_validity(tile: Tile, chip: Chip, area_mask: AreaMask | None) -> Mask:
    """Return which of a tile's (h, w) core pixels get a result."""
    valid = chip.valid[slices_within(tile.core, tile.read)]
    if area_mask is None or not valid.any():
        return valid
    return valid & area_mask(tile.core)


def infer(pixels: npt.NDArray[Any], answered: Window, wanted: Window, network: Network) -> npt.NDArray[Any]:
    """Return what is wanted of the network's answer for (N, C, H, W) stored values.

    Args:
        pixels: of tiles of one shape.
        answered: what the answer covers.
        wanted: the part of it to return.
        network: whose turns are all taken.

    Returns:
        (N, h, w) class indices, which may keep a channel axis of 1, or (N, C, h, w) scores.

    Raises:
        ModelError: the answer has another size than expected.
    """
    rows, cols = slices_within(wanted, answered)
    if len(network.turns) == 1:
        return _infer_batch(pixels, answered.shape, (rows, cols), network)
    merged = merge_scores((_look(pixels, answered.shape, way, network) for way in network.turns), network.policy)
    return merged[..., rows, cols]


def _look(pixels: npt.NDArray[Any], shape: tuple[int, int], way: Turn, network: Network) -> npt.NDArray[Any]:
    height, width = shape if way.quarters % 2 == 0 else shape[::-1]
    everything = (slice(0, height), slice(0, width))
    return turn_back(_infer_batch(turn(pixels, way), (height, width), everything, network), way)


def _infer_batch(
    pixels: npt.NDArray[Any], shape: tuple[int, int], cut: tuple[slice, slice], network: Network
) -> npt.NDArray[Any]:
    """Infer a batch whose answer has a shape, and cut it; a graph that can do so does it before its last steps."""
    count = len(pixels)
    if network.is_batch_fixed and count < network.batch:
        # A graph of fixed batch takes no fewer; what is added is thrown away.
        pixels = np.concatenate([pixels, np.zeros((network.batch - count, *pixels.shape[1:]), pixels.dtype)])
    rows, cols = cut
    answer = _infer_halved(pixels, (rows.start, cols.start, rows.stop, cols.stop), network)[:count]
    found = (len(answer), *answer.shape[-2:])
    if found == (count, *shape):
        return answer[..., rows, cols]
    if found != (count, rows.stop - rows.start, cols.stop - cols.start):
        raise ModelError(f"the network gives {answer.shape}, expected {count} tiles of {shape} (rows, columns)")
    return answer


def _infer_halved(pixels: npt.NDArray[Any], crop: tuple[int, int, int, int], network: Network) -> npt.NDArray[Any]:
    """Infer a batch, its halves one after the other where it does not fit into memory and may be split."""
    try:
        return network.session.infer(pixels, crop)
    except OutOfMemoryError:
        if network.is_batch_fixed or len(pixels) == 1:
            raise
    half = len(pixels) // 2
    return np.concatenate([_infer_halved(part, crop, network) for part in (pixels[:half], pixels[half:])])


def stored_values(answer: npt.NDArray[Any], valid: Mask, worker: Worker) -> list[npt.NDArray[Any]]:
    """Return what is stored of a core, (samples, h, w) for each product.

    Args:
        answer: (h, w) class indices or (C, h, w) scores of the core.
        valid: (h, w).
        worker: how they are decoded.
    """
    if not worker.network.gives_scores:
        # A mask or class map may keep a channel axis of 1.
        return [to_ids(answer.reshape(answer.shape[-2:]), valid, worker.decoding)[None]]
    scores: Scores = answer[:-1] if worker.network.has_class else answer
    classes = answer[-1].astype(np.int64) if worker.network.has_class else decide(scores, worker.decoding)
    values = [to_ids(classes, valid, worker.decoding)[None]]
    values += [to_stored_scores(scores, valid, worker.decoding, product) for product in worker.products[1:]]
    return values


def nothing(tile: Tile, products: Sequence[Product]) -> list[npt.NDArray[Any]]:
    """Return what is stored of a core without a valid pixel."""
    return [np.full((product.samples, *tile.core.shape), product.nodata, product.dtype) for product in products]
