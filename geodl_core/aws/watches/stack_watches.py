"""The watches of a deployment as a user's machine asks for them: told like those of a ledger, applied, surveyed."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from geodl_core.aws.ledger.ledger import DAY_S, DynamoLedger
from geodl_core.aws.ledger.watches import CloudWatch, read_cloud_watch, read_remark, read_rows, read_scan
from geodl_core.aws.site.executions import Deployment
from geodl_core.aws.site.model_index import ModelCache, model_finder, resolve_model
from geodl_core.aws.site.stack import Stack, stack_deployment
from geodl_core.aws.steps.ingest import brakes_of, results_lookup, take_order
from geodl_core.aws.watches.controls import Controls, open_controls
from geodl_core.domain.run.order import Order, order_id
from geodl_core.domain.scan.estimate import Rates
from geodl_core.domain.scan.windows import Kind, Window, scan_window
from geodl_core.domain.watch.loops import Lookup
from geodl_core.domain.watch.match import index_watches, match_item
from geodl_core.domain.watch.watch import Source, Watch, watch_json
from geodl_core.errors import InputError, ItemError, QueryError
from geodl_core.service.scans.backfill import Survey, survey_with
from geodl_core.service.scans.scan_watch import Listen, Pause
from geodl_core.service.scans.scheduler import next_firing
from geodl_core.service.watches.existing import Applied, Searched, candidates
from geodl_core.service.watches.tested import KeptWatch, Tested, ask_watches
from geodl_core.service.watches.verdict import decide, shown_name

PAGE = 100
"""Of Items: a function answers with 6 MB at most."""


def stack_controls(stack: Stack) -> Controls:
    """Return what the watches of a stack are changed by.

    Raises:
        InputError: there are no credentials, or no region.
    """
    deployment = stack_deployment(stack)
    names = (stack.schedule_group, stack.schedule_role, stack.scan_function, stack.backfill_machine)
    return open_controls(deployment, *names)


def told_cloud_watches(ledger: DynamoLedger, kept: Sequence[CloudWatch]) -> list[dict[str, Any]]:
    """Return watches as `service.routes.watches_api.told_watches` tells of those of a ledger.

    `runs_today` is None where a watch has no brake: nobody counts them. `next_at` is that of a cron; when a rate fires
    Scheduler alone knows.

    Raises:
        CatalogError: the table does not answer.
    """
    now, runs = ledger.clock(), _braked_today(ledger, kept)
    told = []
    for one in kept:
        watch, remark = one.watch, read_remark(ledger, one.watch.name)
        document = watch_json(watch)
        if watch.aoi is not None:
            document["aoi"] = json.loads(watch.aoi)
        facts = {
            "is_paused": one.is_paused,
            "runs_today": runs.get(watch.name),
            "created": one.created,
            "updated": one.updated,
        }
        next_at = None if one.is_paused else _next_at(watch, now)
        told.append({"watch": document, **facts, "next_at": next_at, "last_problem": remark})
    return told


def examine_on_stack(deployment: Deployment, kept: Sequence[CloudWatch], item: Mapping[str, Any]) -> list[Tested]:
    """Return what watches of a deployment say of an Item, which need not be in its catalog.

    Items that it was derived from are looked for among the deployment's results, as where it is published.

    Raises:
        UnavailableError: something does not answer.
    """
    ledger = deployment.ledger
    runs = _braked_today(ledger, kept)
    watches = [KeptWatch(one.watch, one.is_paused, runs.get(one.watch.name, 0)) for one in kept]
    find = model_finder(deployment.s3, deployment.bucket, ModelCache(), ledger.clock)
    return ask_watches(watches, item, results_lookup(deployment), find)


def apply_on_stack(controls: Controls, catalog: Searched, name: str, *, is_dry: bool = False) -> Iterator[Applied]:
    """Order a watch's runs for the Items that are in the catalog of a deployment now, and start them.

    Args:
        controls: of the deployment.
        catalog: with its Items.
        name: of the watch; it may be paused, and of any mode.
        is_dry: only tell.

    Yields:
        Each Item that matches.

    Raises:
        InputError: there is no such watch, or it cannot be read.
        UnavailableError: something does not answer; what was ordered stays so.
    """
    deployment = controls.deployment
    watch = read_cloud_watch(deployment.ledger, name).watch
    index = index_watches([watch])
    for _, why in index.broken:
        raise QueryError(why)
    find = model_finder(deployment.s3, deployment.bucket, ModelCache(), deployment.ledger.clock)
    lookup = results_lookup(deployment)
    for items in candidates(catalog, watch, PAGE):
        for item in items:
            if match_item(index, item):
                yield from _apply(deployment, (watch, item), (lookup, find), is_dry)


def survey_on_stack(
    controls: Controls, asked: tuple[Watch, Kind, Window | None], rates: Rates, whom: tuple[Listen, Pause]
) -> tuple[Window, Survey]:
    """Return what a scan or back-fill of a deployment would order, searched for from here; nothing is stored.

    Args:
        controls: of the deployment.
        asked: watch, kind of scan, and window; None for what a scan would look at now.
        rates: what work takes.
        whom: is told after each page; waits so many seconds.

    Returns:
        The window that was looked at, and what is in it.

    Raises:
        InputError: the watch cannot be scanned for.
        UnavailableError: the API does not answer.
    """
    deployment, (watch, kind, window) = controls.deployment, asked
    ledger = deployment.ledger
    if window is None:
        standing = read_scan(ledger, watch.name) or {}
        lookback = (watch.source or Source()).lookback_days
        window = scan_window(ledger.clock(), lookback, standing.get("last_end"))
    model = resolve_model(deployment.s3, deployment.bucket, watch.model).reference
    known: Callable[[Sequence[str]], set[str]] = lambda ids: known_cloud_runs(ledger, ids)  # noqa: E731
    return window, survey_with((watch, kind, window), model, known, rates, whom)


def known_cloud_runs(ledger: DynamoLedger, ids: Sequence[str]) -> set[str]:
    """Return which of some runs the table has.

    Raises:
        CatalogError: the table does not answer.
    """
    rows = read_rows(ledger, [{"pk": f"RUN#{each}", "sk": "RUN"} for each in dict.fromkeys(ids)])
    return {str(row["id"]) for row in rows}


def _braked_today(ledger: DynamoLedger, kept: Sequence[CloudWatch]) -> dict[str, int]:
    """Return how many runs of each watch with a brake count for today (UTC); of others nobody counts them."""
    day = int(ledger.clock() // DAY_S)
    keys = {one.watch.name: f"BRAKE#{one.watch.name}#{day}" for one in kept if one.watch.max_runs_per_day}
    rows = read_rows(ledger, [{"pk": key, "sk": "BRAKE"} for key in keys.values()])
    runs = {str(row["pk"]): int(row["runs"]) for row in rows}
    return {name: runs.get(key, 0) for name, key in keys.items()}


def _apply(
    deployment: Deployment, pair: tuple[Watch, Mapping[str, Any]], ways: tuple[Lookup, Any], is_dry: bool
) -> Iterator[Applied]:
    watch, item = pair
    try:
        verdict = decide(item, [watch], *ways)
    except ItemError as error:
        yield Applied(shown_name(item), None, is_new=False, why_not=error.message)
        return
    for remark in verdict.remarks:
        yield Applied(remark.item, None, is_new=False, why_not=remark.text)
    for order in verdict.orders:
        yield _placed(deployment, order, watch, is_dry)


def _placed(deployment: Deployment, order: Order, watch: Watch, is_dry: bool) -> Applied:
    if is_dry:
        run_id = order_id(order)
        is_new = run_id not in known_cloud_runs(deployment.ledger, [run_id])
    else:
        taken = take_order(deployment, order, brakes_of([watch]).get(watch.name))
        run_id, is_new = taken.run_id, taken.is_new
    return Applied(shown_name(order.item), run_id, is_new)


def _next_at(watch: Watch, now: float) -> float | None:
    if watch.mode != "schedule" or watch.schedule is None or watch.schedule.cron is None:
        return None
    try:
        return next_firing(watch.schedule, now, None)
    except InputError:
        return None
