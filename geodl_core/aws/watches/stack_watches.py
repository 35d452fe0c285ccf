"""The watches of a deployment as a user's machine asks for them: told with their next firing, applied, surveyed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from geodl_core.aws.ledger.ledger import DynamoLedger
from geodl_core.aws.ledger.watches import read_cloud_watch, read_rows, read_scan
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
from geodl_core.domain.watch.watch import Source, Watch
from geodl_core.errors import InputError, ItemError, QueryError
from geodl_core.service.scans.backfill import Survey, survey_with
from geodl_core.service.scans.scan_watch import Listen, Wait
from geodl_core.service.scans.scheduler import next_firing
from geodl_core.service.watches.existing import Applied, Searched, candidates
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


def next_cron(watch: Watch, now: float) -> float | None:
    """Return when a watch's cron fires next, seconds since 1970; None where it has none.

    When a rate fires Scheduler alone knows.
    """
    if watch.mode != "schedule" or watch.schedule is None or watch.schedule.cron is None:
        return None
    try:
        return next_firing(watch.schedule, now, None)
    except InputError:
        return None


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
    controls: Controls, asked: tuple[Watch, Kind, Window | None], rates: Rates, whom: tuple[Listen, Wait]
) -> tuple[Window, Survey]:
    """Return what a scan or back-fill of a deployment would order, searched for from here; nothing is stored.

    Args:
        controls: of the deployment.
        asked: watch, kind of scan, and window; None for what a scan would look at now.
        rates: what work takes.
        whom: is told after each page; waits so many seconds, and is told why.

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
