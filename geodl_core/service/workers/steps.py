"""The three kinds of work of a run: lay it out, compute shards, merge and register."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from geodl_core.domain.naming import output_collection_id, safe_name
from geodl_core.domain.plan.plan import live_tiles, shard_count
from geodl_core.engine.merge_plan import merge_plan, register_plan
from geodl_core.engine.open_worker import Means
from geodl_core.engine.origin import origin_of
from geodl_core.engine.plan_files import (
    MODEL_NAME,
    PLAN_NAME,
    OpenPlan,
    RunWishes,
    has_part,
    opened_plan,
    store_part,
    tasks_of,
    write_plan,
)
from geodl_core.engine.plan_inputs import require_unchanged
from geodl_core.engine.plan_mosaic import plan_items
from geodl_core.engine.plan_scene import ScenePlan
from geodl_core.engine.register_scene import Catalog
from geodl_core.engine.result_place import forget_work, is_result_whole, result_folder, result_id
from geodl_core.engine.run_tasks import Listener, run_tasks
from geodl_core.errors import DataError, GeodlError, InputError, UnavailableError
from geodl_core.io.remote.objects import delete, exists, is_remote, join
from geodl_core.io.store import held_folder
from geodl_core.service.jobs.read_order import read_order
from geodl_core.service.ledger.leases import Planned, Work
from geodl_core.service.ledger.runs import Run

LOG = logging.getLogger("geodl.work")


@dataclass(frozen=True, slots=True)
class Site:
    """Where a worker works, and with what."""

    out: Path
    """Folder of results."""
    catalog_location: str
    """Path or URL of the catalog; its password, too."""
    catalog: Catalog | None
    """Of results; None for a worker that computes shards alone."""
    means: Means
    batch_size: int | None = None
    """Tiles given to a network at a time; as planned where None."""
    store: str | None = None
    """URL in an object store for plans, parts and results; else they lie in `out`."""
    local_roots: tuple[Path, ...] = ()
    """Folders whose files Items may name."""


@dataclass(frozen=True, slots=True)
class PlanOutcome:
    """What planning a run led to."""

    facts: Planned
    result: dict[str, Any] | None
    """The output Item, where it was there already."""
    notes: tuple[str, ...] = ()
    """What a person should know of the plan."""


def plan_run(work: Work, site: Site, confirm: Callable[[], None]) -> PlanOutcome:
    """Lay out a run and write its plan, or find its result.

    Args:
        work: that was lent.
        site: where.
        confirm: called before anything is written or taken away; what it raises ends this.

    Raises:
        GeodlError: as `read_order`, `plan_items` and `write_plan`.
    """
    assert work.item is not None
    assert site.catalog is not None
    run = work.run
    asked = read_order(run, work.item, (site.out, site.catalog_location), site.local_roots)
    planned = plan_items((asked.item,), asked.model, asked.arguments)
    collection = run.collection or output_collection_id(asked.model.name)
    place, results = places_of(site, planned, collection)
    shards = shard_count(planned.plan, run.options.get("shards"))
    facts = Planned(planned.plan.job_id, place, shards, len(live_tiles(planned.plan)))
    existing = site.catalog.get_item(collection, result_id(planned))
    if existing is not None and not run.is_forced and is_result_whole(existing, results):
        return PlanOutcome(facts, existing)
    confirm()
    if run.is_forced:
        forget_work(place)
    origin = origin_of((asked.item,), asked.package, asked.arguments, collection)
    wishes = RunWishes(shards, asked.batch_size, None if results == place else results)
    write_plan(place, planned, asked.package, origin, wishes)
    notes = (f"values: {planned.rule}",) if planned.rule else ()
    return PlanOutcome(facts, None, (*notes, *planned.notes, *planned.warnings))


def places_of(site: Site, planned: ScenePlan, collection: str) -> tuple[str, str]:
    """Return the folder or URL of a run's plan and parts, and that of its results.

    On one machine both are the folder that `geodl run` would use. In a store what may be taken away at any time lies
    apart, by Collection and job, below `work`.
    """
    if site.store is None:
        folder = str(result_folder(site.out, planned, collection).absolute())
        return folder, folder
    folder = safe_name(collection)
    results = join(site.store, folder, safe_name(result_id(planned)))
    # One job may be asked for in two Collections: each has a plan of its own, that names it.
    return join(site.store, "work", folder, planned.plan.job_id), results


def run_shards(work: Work, site: Site, opened: OpenPlan, listener: Listener) -> None:
    """Compute those shards of a lease whose parts are not there yet.

    Raises:
        GeodlError: as `run_tasks` does.
    """
    run = work.run
    every = tasks_of(opened, run.shards)
    missing = []
    for task in (every[n] for n in work.numbers):
        if has_part(opened, task):
            listener.on_tiles(task.header.tiles)
        else:
            missing.append(task)
    if not missing:
        return
    require_unchanged(opened.planned.job, opened.planned.plan)
    means = replace(site.means, batch_size=site.batch_size or opened.document.batch_size)
    run_tasks(opened.planned, opened.package, means, missing, listener)
    for task in missing:
        store_part(opened, task)


def finish_run(work: Work, site: Site, now: Callable[[], datetime], confirm: Callable[[], None]) -> dict[str, Any]:
    """Merge the parts of a run and register its result, or find that somebody has; return the output Item.

    Args:
        work: that was lent.
        site: where.
        now: for the Item's time stamps.
        confirm: called before the result is registered; what it raises ends this.

    Raises:
        GeodlError: as `merge_plan` and `register_plan`.
    """
    run, catalog = work.run, site.catalog
    assert run.place is not None
    assert catalog is not None
    with opened_plan(run.place) as opened, _held(run.place):
        existing = catalog.get_item(opened.document.collection, result_id(opened.planned))
        if existing is not None and not run.is_forced and is_result_whole(existing, opened.results):
            return existing
        merge_plan(opened, run.shards, keeps_parts=False)
        confirm()
        return register_plan(opened, catalog, now())


def clear_up(run: Run) -> None:
    """Take away what a finished run needs no longer: plan, model, what merging left, and parts that nobody merged."""
    assert run.place is not None
    for name in (PLAN_NAME, MODEL_NAME):
        delete(join(run.place, name))
    forget_work(run.place)


def is_work_lost(work: Work, error: GeodlError) -> bool:
    """Say whether an error came of a plan or of parts that are not there any more, so that planning anew may help."""
    place = work.run.place
    if work.kind == "plan" or place is None or isinstance(error, UnavailableError):
        return False
    if work.kind == "finish" and isinstance(error, DataError):
        return True
    try:
        return not all(exists(join(place, name)) for name in (PLAN_NAME, MODEL_NAME))
    except GeodlError:
        return False


def open_place(run: Run) -> AbstractContextManager[OpenPlan]:
    """Return the plan of a run, to be entered.

    Raises:
        InputError: the run has none.
    """
    if run.place is None:
        raise InputError(f"run {run.id[:8]}: expected a plan, found none")
    return opened_plan(run.place)


def _held(place: str) -> AbstractContextManager[None]:
    return nullcontext() if is_remote(place) else held_folder(Path(place))
