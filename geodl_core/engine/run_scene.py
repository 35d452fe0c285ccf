"""Run a scene from end to end in one process: plan → shards → merge → write → register."""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from geodl_core.domain.model.model import Model
from geodl_core.domain.naming import output_collection_id
from geodl_core.domain.plan.job import Arguments
from geodl_core.domain.plan.plan import live_tiles, shard_count
from geodl_core.engine.open_worker import Means
from geodl_core.engine.origin import origin_of
from geodl_core.engine.plan_mosaic import plan_items
from geodl_core.engine.plan_scene import ScenePlan
from geodl_core.engine.rates import rate_key, record_rate
from geodl_core.engine.register_scene import Catalog, register_scene
from geodl_core.engine.result_place import PARTS, Task, is_result_whole, result_folder, result_id, shard_tasks
from geodl_core.engine.run_tasks import Listener, run_tasks
from geodl_core.engine.write_scene import write_scene
from geodl_core.io.package.package import ModelPackage
from geodl_core.io.parts.parts import is_part_whole
from geodl_core.io.store import held_folder


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to run, and where its results go."""

    item: Mapping[str, Any]
    """Source Item with absolute hrefs; of a mosaic the first."""
    package: ModelPackage
    model: Model
    """Of the package."""
    arguments: Arguments
    out: Path
    collection: str | None = None
    """Output Collection; by default `geodl-<model name>`."""
    shards: int | None = None
    means: Means = field(default_factory=Means)
    is_forced: bool = False
    """Compute anew what exists."""
    keeps_parts: bool = False
    others: tuple[Mapping[str, Any], ...] = ()
    """Further Items of a mosaic, in order."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a watching person wants to know."""

    stage: Literal["planned", "resumed", "tiles", "merging", "registering", "note"]
    plan: ScenePlan | None = None
    """With `planned`."""
    tiles: int = 0
    """Finished just now (`tiles`), found finished (`resumed`), to do (`planned`)."""
    text: str = ""
    """Of a `note`."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished run."""

    item: dict[str, Any]
    """As the catalog has it."""
    folder: Path
    is_computed: bool
    """False where it had been computed before."""


def run_scene(
    request: RunRequest, catalog: Catalog, clock: Callable[[], datetime], listen: Callable[[Event], None]
) -> RunResult:
    """Run one job, or find its result.

    What a killed run left behind is used: whole parts are kept, everything unfinished is removed.

    Args:
        request: what to run.
        catalog: where the result is registered.
        clock: tells the time, once, for the Item.
        listen: told what happens.

    Raises:
        GeodlError: as the stages do; nothing half-written is left then, and nothing registered.
    """
    model = request.model
    items = (request.item, *request.others)
    planned = plan_items(items, model, request.arguments)
    collection = request.collection or output_collection_id(model.name)
    folder = result_folder(request.out, planned, collection)
    with held_folder(folder):
        existing = catalog.get_item(collection, result_id(planned))
        if existing and not request.is_forced and is_result_whole(existing, str(folder)):
            return RunResult(existing, folder, is_computed=False)
        if request.is_forced:
            shutil.rmtree(folder / PARTS, ignore_errors=True)
        tasks = _run_shards(request, planned, folder / PARTS, listen)
        listen(Event("merging"))
        origin = origin_of(items, request.package, request.arguments, collection)
        scene = write_scene(planned, origin, tasks, folder)
        listen(Event("registering"))
        item = register_scene(scene, folder, catalog, clock())
        if not request.keeps_parts:
            shutil.rmtree(folder / PARTS, ignore_errors=True)
    return RunResult(item, folder, is_computed=True)


def _run_shards(request: RunRequest, planned: ScenePlan, folder: Path, listen: Callable[[Event], None]) -> list[Task]:
    """Run the shards whose parts are not there yet; return all in order."""
    plan = planned.plan
    tasks = shard_tasks(plan, shard_count(plan, request.shards), folder)
    listen(Event("planned", planned, len(live_tiles(plan))))
    missing = [task for task in tasks if not is_part_whole(task.path, task.header)]
    found = sum(task.header.tiles for task in tasks) - sum(task.header.tiles for task in missing)
    if found:
        listen(Event("resumed", tiles=found))
    if not missing:
        return tasks
    start = time.perf_counter()
    threads = run_tasks(planned, request.package, request.means, missing, listener_of(listen))
    seconds = time.perf_counter() - start
    tiles = sum(task.header.tiles for task in missing)
    key = rate_key(planned, threads, request.means.provider)
    record_rate(request.means.cache, key, tiles * plan.core_px[0] * plan.core_px[1] / seconds)
    return tasks


def listener_of(listen: Callable[[Event], None]) -> Listener:
    """Return what turns finished tiles and notes into events."""
    return Listener(lambda count: listen(Event("tiles", tiles=count)), lambda text: listen(Event("note", text=text)))
