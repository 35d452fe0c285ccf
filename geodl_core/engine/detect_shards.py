"""Run the shards of a detector: read, infer and decode their tiles in a loop, and write their parts."""

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from itertools import chain, groupby, islice

import numpy as np
import numpy.typing as npt

from geodl_core.domain.detection.detections import Detections, join
from geodl_core.domain.detection.detector import MARGIN_PX, seam_overlap
from geodl_core.domain.detection.seams import SeamRule, settle
from geodl_core.domain.plan.plan import Plan, Tile, shard_tiles, tile_at
from geodl_core.engine.find_objects import Finder, find_objects
from geodl_core.engine.plan_scene import ScenePlan
from geodl_core.engine.result_place import Task
from geodl_core.engine.run_shard import IN_FLIGHT_PER_THREAD, MEMORY_HINT, announce_tasks, named
from geodl_core.errors import DataError, InferenceError, ModelError, OutOfMemoryError, StoreError
from geodl_core.io.parts.found import add_detections
from geodl_core.io.parts.parts import write_part

SETTLED, OPEN = "settled", "open"
"""Objects that no other shard can change, and those that may be an object of another shard too."""


def detect_shards(planned: ScenePlan, tasks: Sequence[Task], finder: Finder) -> None:
    """Compute shards one after the other, and write each one's part atomically when it is done.

    What objects of a shard can be settled are; so that merging shards costs no more than their seams. Memory is
    bounded by the tiles in flight and the objects of a shard.

    Args:
        planned: the job.
        tasks: the shards.
        finder: what they are computed with.

    Raises:
        DataError: a block cannot be decoded.
        InferenceError: the network failed.
        ItemError: a file of the scene is not the one that was planned for.
        ModelError: the network's answer cannot be what the definition says.
        StoreError: a part cannot be written, or a remote file cannot be read now.
    """
    plan = planned.plan
    numbers = [shard_tiles(plan, task.shard) for task in tasks]
    announce_tasks(plan, tasks, finder.reader)
    rule = rule_of(planned)
    # Closed whatever happens, so that nothing is waited for that an error has made useless.
    with closing(_found(plan, numbers, finder)) as found:
        for task, indices in zip(tasks, numbers, strict=True):
            with write_part(task.path, task.header) as part:
                try:
                    candidates = join(list(islice(found, len(indices))))
                except (DataError, StoreError):
                    # A file that was exchanged may not decode at all, and that is what should be said.
                    with suppress(StoreError):
                        finder.check()
                    raise
                settled, still_open = settle(candidates, indices, plan, rule)
                add_detections(part, SETTLED, settled)
                add_detections(part, OPEN, still_open)
                # What was read while a file was exchanged would be of two scenes.
                finder.check()


def rule_of(planned: ScenePlan) -> SeamRule:
    """Return by what rule objects of neighbouring tiles are one."""
    choice = planned.job.detection
    if choice is None or choice.nms_overlap is None:
        raise ModelError(f"the model {planned.model.name}: expected a detector's job")
    margin_px = MARGIN_PX if choice.exclude_pad_detections else planned.plan.halo_px
    return SeamRule(seam_overlap(choice.nms_overlap), choice.seam_measure, margin_px, choice.merge_cut)


def _found(plan: Plan, shards: Sequence[npt.NDArray[np.int64]], finder: Finder) -> Generator[Detections, None, None]:
    """Yield the objects of each tile, in order, while later tiles are read and inferred."""
    pending: deque[Future[list[Detections]]] = deque()
    try:
        for group in chain.from_iterable(_groups(plan, indices, finder.batch) for indices in shards):
            pending.append(finder.pool.submit(_named, plan, group, finder))
            if len(pending) == finder.threads * IN_FLIGHT_PER_THREAD:
                yield from _finished(pending, finder)
        while pending:
            yield from _finished(pending, finder)
    finally:
        for future in pending:
            future.cancel()


def _finished(pending: "deque[Future[list[Detections]]]", finder: Finder) -> Iterator[Detections]:
    for detections in pending.popleft().result():
        finder.on_tiles(1)
        yield detections


def _groups(plan: Plan, indices: npt.NDArray[np.int64], batch: int) -> Iterator[list[Tile]]:
    """Yield runs of at most a batch of tiles.

    Where a run ends follows from the tiles' numbers, but where a shard begins or ends; an answer for a tile may depend
    on its company by rounding alone, and tiles go one by one unless the user says otherwise.
    """
    for _, group in groupby(map(int, indices), key=lambda index: index // batch):
        yield [tile_at(plan, index) for index in group]


def _named(plan: Plan, tiles: Sequence[Tile], finder: Finder) -> list[Detections]:
    """Find a group's objects; errors name the tiles."""
    try:
        return find_objects(plan, tiles, finder)
    except (InferenceError, ModelError) as error:
        hint = error.hint or (MEMORY_HINT if isinstance(error, OutOfMemoryError) else None)
        raise type(error)(f"{named(tiles)}: {error.message}", hint) from error
    except MemoryError as error:
        raise OutOfMemoryError(f"{named(tiles)}: out of memory", hint=MEMORY_HINT) from error
