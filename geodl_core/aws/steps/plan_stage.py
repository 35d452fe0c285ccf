"""The first step of an execution: lay a run out, or find that its result is there."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geodl_core.aws.ledger.ledger import CloudRun, DynamoLedger, move_run
from geodl_core.aws.ledger.orders import read_kept_order
from geodl_core.aws.ledger.rates import read_rate, shard_pixels, shards_for
from geodl_core.aws.ledger.runs import current_run
from geodl_core.aws.site.documents import read_document
from geodl_core.aws.site.executions import STARTED
from geodl_core.aws.site.layout import (
    Bucket,
    result_item_url,
    result_url,
    shard_list,
    shards_key,
    shards_url,
    work_url,
)
from geodl_core.aws.site.registry import load_from_bucket
from geodl_core.aws.steps.estimate import merge_way
from geodl_core.domain.naming import output_collection_id
from geodl_core.domain.plan.plan import live_tiles, shard_count
from geodl_core.domain.run.options import command_options
from geodl_core.domain.run.order import Order
from geodl_core.engine.load_model import load_model
from geodl_core.engine.merge_plan import merged_before
from geodl_core.engine.origin import origin_of
from geodl_core.engine.plan_files import PLAN_NAME, RunWishes, write_plan
from geodl_core.engine.plan_mosaic import plan_items
from geodl_core.engine.plan_scene import ScenePlan
from geodl_core.engine.result_place import forget_work, is_result_whole, result_id
from geodl_core.io.remote.objects import join, write_object
from geodl_core.service.jobs.allowed_item import allowed_item
from geodl_core.service.jobs.read_job import AskedJob, job_of

LEAST_PRIORITY = -100
"""Of orders; Batch takes numbers from 0 on."""
HAND = "hand"
"""Share of what no watch ordered."""
MERGED = "computed and merged before: only its Item is missing"
"""What the history says of an attempt that computes nothing."""


@dataclass(frozen=True, slots=True)
class StageSite:
    """Where a step of an execution works, and with what."""

    bucket: Bucket
    ledger: DynamoLedger
    s3: Any
    """boto3's client."""
    shard_s: float = 300.0
    """Seconds of work that a job should have."""
    at_once: int = 256
    """Jobs of the run that are submitted at the same time."""


def plan_stage(site: StageSite, event: dict[str, Any]) -> dict[str, Any]:
    """Lay out a run and write its plan; the same again writes the same.

    Args:
        site: bucket and ledger.
        event: run_id and attempt.

    Returns:
        run_id, attempt, plan, of, shards_bucket, shards_key, at_once, merge, is_empty, is_merged, is_done, priority,
        lane, share, model and shard_pixels; where the result is there already, `is_done` is true and the run has
        succeeded; where an earlier attempt has merged it and only its Item is missing, `is_merged` is true. The lane is
        1 for an order that goes before all of no priority, else 0.

    Raises:
        GeodlError: as `current_run`, `read_kept_order`, `load_from_bucket`, `plan_items` and `write_plan`.
    """
    run = current_run(site.ledger, event)
    if run.state == "queued":
        # Faster than whoever started this execution.
        run = move_run(site.ledger, run.id, "claimed", STARTED)
    order = read_kept_order(site.s3, site.bucket, run.id)
    asked = _asked(site, order)
    planned = plan_items((asked.item,), asked.model, asked.arguments)
    collection = order.collection or output_collection_id(asked.model.name)
    place = work_url(site.bucket, run.id)
    of = _shards(site, run, order, planned)
    tiles = len(live_tiles(planned.plan))
    told = {
        "run_id": run.id,
        "attempt": run.attempt,
        "plan": join(place, PLAN_NAME),
        "of": of,
        "shards_bucket": site.bucket.name,
        "shards_key": shards_key(site.bucket, run.id),
        "at_once": site.at_once,
        "merge": merge_way(planned),
        "is_empty": tiles == 0,
        "is_merged": False,
        "is_done": False,
        "priority": run.priority - LEAST_PRIORITY,
        "lane": int(run.priority > 0),
        "share": share_of(run.watch),
        "model": order.model,
        "shard_pixels": shard_pixels(planned.plan, of),
    }
    facts = {"job_id": planned.plan.job_id, "shards": of, "tiles": tiles}
    if _is_done(site, run, planned, collection):
        result = {"collection": collection, "id": result_id(planned)}
        if run.state != "succeeded":
            move_run(site.ledger, run.id, "succeeded", "the result was there already", result=result, **facts)
        return told | {"is_done": True}
    is_merged = _is_merged(site, run, planned, collection)
    _write(site, run, (planned, asked, collection), of)
    if run.state != "running":
        move_run(site.ledger, run.id, "running", MERGED if is_merged else _said(tiles, of), place=place, **facts)
    return told | {"is_merged": is_merged}


def share_of(watch: str | None) -> str:
    """Return the share of the machines that a watch's jobs belong to: letters and digits, another for each watch.

    Args:
        watch: its name; None for what no watch ordered.
    """
    if watch is None:
        return HAND
    kept = "".join(letter for letter in watch if letter.isascii() and letter.isalnum())
    # What loses a sign, or is called as what no watch ordered, would be another's share.
    return watch if kept == watch != HAND else f"{kept}{hashlib.sha256(watch.encode()).hexdigest()[:12]}"


def _said(tiles: int, of: int) -> str:
    return f"planned: {tiles} tiles in {of} shard{'s' if of > 1 else ''}"


def _shards(site: StageSite, run: CloudRun, order: Order, planned: ScenePlan) -> int:
    """Return in how many shards a run is cut: in as many as before, so that the parts which are there serve."""
    if run.shards and run.job_id == planned.plan.job_id and not run.is_forced:
        return shard_count(planned.plan, run.shards)
    return shards_for(planned.plan, order.options.shards, read_rate(site.ledger, order.model), site.shard_s)


def _asked(site: StageSite, order: Order) -> AskedJob:
    """Return the job that an order means."""
    options = command_options(order.options)
    package = load_from_bucket(site.s3, site.bucket, order.model)
    asked = job_of(package, load_model(package), options, (Path(), ""))
    item = allowed_item(order.item, ())
    return AskedJob(item, package, asked.model, asked.arguments, asked.batch_size, asked.out, asked.catalog)


def _is_done(site: StageSite, run: CloudRun, planned: ScenePlan, collection: str) -> bool:
    """Say whether the result is registered, with all its files; its Item lies beside them once it is."""
    if run.state == "succeeded":
        return True
    if run.is_forced:
        return False
    existing = read_document(site.s3, result_item_url(site.bucket, collection, result_id(planned)))
    return isinstance(existing, dict) and is_result_whole(
        existing, result_url(site.bucket, collection, result_id(planned))
    )


def _is_merged(site: StageSite, run: CloudRun, planned: ScenePlan, collection: str) -> bool:
    """Say whether an earlier attempt has merged the result, and failed at its Item alone."""
    if run.attempt == 1 or run.is_forced:
        return False
    results = result_url(site.bucket, collection, result_id(planned))
    return merged_before(work_url(site.bucket, run.id), results, planned.plan.job_id) is not None


def _write(site: StageSite, run: CloudRun, what: tuple[ScenePlan, AskedJob, str], of: int) -> None:
    planned, asked, collection = what
    place = work_url(site.bucket, run.id)
    if run.is_forced and run.state != "running":
        forget_work(place)
    results = result_url(site.bucket, collection, result_id(planned))
    origin = origin_of((asked.item,), asked.package, asked.arguments, collection)
    write_plan(place, planned, asked.package, origin, RunWishes(of, asked.batch_size, results))
    write_object(shards_url(site.bucket, run.id), shard_list(of))
