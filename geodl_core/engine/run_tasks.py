"""Run shards of any model: with a worker that classifies pixels, or a finder of objects."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock

from geodl_core.engine.detect_shards import detect_shards
from geodl_core.engine.open_finder import open_finder
from geodl_core.engine.open_worker import Means, open_worker, session_of
from geodl_core.engine.plan_scene import ScenePlan
from geodl_core.engine.result_place import Task
from geodl_core.engine.run_shard import run_shards
from geodl_core.io.package.package import ModelPackage


@dataclass(frozen=True, slots=True)
class Listener:
    """What a watching person is told."""

    on_tiles: Callable[[int], None]
    """How many tiles were finished."""
    on_note: Callable[[str], None]
    """A line on something that was decided."""


def run_tasks(
    planned: ScenePlan, package: ModelPackage, means: Means, tasks: Sequence[Task], listener: Listener
) -> int:
    """Compute shards and write their parts.

    Args:
        planned: the job.
        package: of its model.
        means: of this machine.
        tasks: the shards.
        listener: told of tiles and notes.

    Returns:
        How many tiles were computed at a time.

    Raises:
        GeodlError: as `open_worker` and `run_shards`, or `open_finder` and `detect_shards`.
    """
    if planned.model.detector is None:
        with open_worker(planned, package, means, listener.on_tiles, tasks) as worker:
            session = session_of(worker)
            if session is not None and session.note:
                listener.on_note(session.note)
            run_shards(planned.plan, tasks, worker)
            return worker.threads
    dropped = _Counter()
    with open_finder(planned, package, means, (listener.on_tiles, dropped.add), tasks) as finder:
        if finder.session.note:
            listener.on_note(finder.session.note)
        detect_shards(planned, tasks, finder)
        if dropped.count:
            listener.on_note(f"the network gave {dropped.count:,} boxes without an area, which were left out")
        return finder.threads


class _Counter:
    """Counts what several threads report."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self.count += count
