"""From a message to executions: its Items, the watches that they match, what those order, each started once."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from geodl_core.aws.ledger.claims import Brake, claim_order, release_run
from geodl_core.aws.ledger.ledger import CloudRun, read_run
from geodl_core.aws.ledger.orders import keep_order
from geodl_core.aws.ledger.watches import keep_remark, list_cloud_watches, revision_of_watches
from geodl_core.aws.site.documents import read_document
from geodl_core.aws.site.executions import Deployment, start_run
from geodl_core.aws.site.layout import LARGE, result_item_url
from geodl_core.aws.site.model_index import ModelCache, model_finder
from geodl_core.domain.run.order import Order, order_id
from geodl_core.domain.watch.envelopes import Message, read_envelope, require_complete
from geodl_core.domain.watch.loops import Lookup
from geodl_core.domain.watch.match import WatchIndex, index_watches, match_item
from geodl_core.errors import GeodlError, ItemError, UnavailableError
from geodl_core.service.watches.verdict import decide, fault_text, shown_name

LOG = logging.getLogger("geodl.ingest")
MOST_SAID = 5
"""Problems that an error names."""
MOST_NAMED = 300
"""Characters of an Item's name in a line of the log."""


@dataclass(slots=True)
class Known:
    """What a function remembers between messages. Empty at first."""

    revision: int = -1
    """Of the watches in the index; -1 where there is no index yet."""
    index: WatchIndex = field(default_factory=lambda: index_watches(()))
    brakes: Mapping[str, int] = field(default_factory=dict)
    models: ModelCache = field(default_factory=ModelCache)


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of an order."""

    run_id: str
    watch: str | None
    is_new: bool
    """False where the same was ordered before."""
    is_started: bool
    """False where it had been, or where its watch's brake puts it off."""


def ingest(
    deployment: Deployment, known: Known, document: Any, place: str, catalog: Lookup | None = None
) -> list[Taken]:
    """Start what watches order for the Items of a message.

    The same message again starts nothing twice; one that was left half done is brought to its end.

    Args:
        deployment: bucket, ledger, state machine.
        known: remembers watches and models.
        document: of the message, from JSON; in whatever envelopes.
        place: what it is called in errors.
        catalog: finds Items that are named by collection and id; None where there is no catalog.

    Raises:
        ItemError: something in the message is no Item, all else is done: worth a look by a person.
        UnavailableError: something does not answer now, all else is done: worth another try.
    """
    refresh(deployment, known)
    taken: list[Taken] = []
    problems: list[str] = []
    is_transient = False
    for message in read_envelope(document, place).messages:
        try:
            taken += take_item(deployment, known, _item_of(deployment, message, catalog))
        # An Item of anybody may upset any library: its neighbours must not suffer for that.
        except Exception as error:
            if not isinstance(error, GeodlError):
                LOG.exception("unexpected")
            is_transient = is_transient or isinstance(error, UnavailableError)
            problems.append(f"{message.place}: {fault_text(error)}")
    if problems:
        kind = UnavailableError if is_transient else ItemError
        more = f" and {len(problems) - MOST_SAID} more" if len(problems) > MOST_SAID else ""
        raise kind("; ".join(problems[:MOST_SAID]) + more)
    return taken


def refresh(deployment: Deployment, known: Known) -> None:
    """Build the index of watches anew where they have changed.

    Raises:
        CatalogError: the table does not answer.
    """
    current = revision_of_watches(deployment.ledger)
    if current == known.revision:
        return
    kept = list_cloud_watches(deployment.ledger)
    awake = [one.watch for one in kept if one.watch.mode == "item" and not one.is_paused]
    known.index = index_watches(awake)
    known.brakes = brakes_of(one.watch for one in kept)
    known.models.found.clear()
    known.revision = current
    for watch, why in known.index.broken:
        LOG.error("watch cannot be read", extra={"facts": {"watch": watch.name, "problem": why}})


def brakes_of(watches: Any) -> dict[str, int]:
    """Return how many runs of each watch may start on a day, where it says so."""
    return {watch.name: watch.max_runs_per_day for watch in watches if watch.max_runs_per_day is not None}


def take_item(deployment: Deployment, known: Known, item: Mapping[str, Any]) -> list[Taken]:
    """Start what watches order for an Item; see `ingest`."""
    watches = match_item(known.index, item)
    find = model_finder(deployment.s3, deployment.bucket, known.models, deployment.ledger.clock)
    verdict = decide(item, watches, results_lookup(deployment), find)
    for remark in verdict.remarks:
        LOG.warning("item passed over", extra={"facts": {"watch": remark.watch, "why": remark.text}})
        keep_remark(deployment.ledger, remark)
    taken = [take_order(deployment, order, known.brakes.get(order.watch or "")) for order in verdict.orders]
    runs = {str(one.watch): one.run_id for one in taken}
    name = shown_name(item)[:MOST_NAMED]
    # A line an Item: what answers why nothing was started, too.
    LOG.info("item taken" if watches else "item that no watch wants", extra={"facts": {"item": name, "runs": runs}})
    return taken


def take_order(deployment: Deployment, order: Order, most_per_day: int | None) -> Taken:
    """Start what is ordered, unless that was done before or has to wait.

    The order is written before it is claimed, and claimed before it is started: whoever comes after a crash goes on
    from there.

    Args:
        deployment: bucket, ledger, state machine.
        order: what to run.
        most_per_day: brake of its watch, None for none.

    Raises:
        UnavailableError: something does not answer now.
    """
    run_id = order_id(order)
    run, is_new = read_run(deployment.ledger, run_id), False
    if run is None:
        keep_order(deployment.s3, deployment.bucket, run_id, order)
        claim = claim_order(deployment.ledger, order, most_per_day)
        run, is_new = claim.run, claim.is_new
    elif run.held_by is not None and order.watch is not None and most_per_day is not None:
        run = release_run(deployment.ledger, run, Brake(order.watch, most_per_day))
    is_started = is_due(deployment, run)
    if is_started:
        start_run(deployment, run)
    return Taken(run_id, order.watch, is_new, is_started)


def is_due(deployment: Deployment, run: CloudRun) -> bool:
    """Say whether a run waits for its start, and need not wait longer."""
    return run.state == "queued" and run.not_before <= deployment.ledger.clock()


def results_lookup(deployment: Deployment) -> Lookup:
    """Return what finds results of this deployment by collection and id: the bucket has their Items."""

    def lookup(collection: str, item_id: str) -> Mapping[str, Any] | None:
        found = read_document(deployment.s3, result_item_url(deployment.bucket, collection, item_id))
        return found if isinstance(found, dict) else None

    return lookup


def started_ids(taken: list[Taken]) -> Iterator[str]:
    """Yield the ids of the runs that were started."""
    return (one.run_id for one in taken if one.is_started)


def _item_of(deployment: Deployment, message: Message, catalog: Lookup | None) -> Mapping[str, Any]:
    """Return the Item of a message.

    Raises:
        ItemError: there is none.
        StoreError: what has it does not answer now.
    """
    if message.item is not None:
        require_complete(message.item)
        return message.item
    if message.key is not None:
        return _of_catalog(message.key, catalog)
    if message.href is None:
        raise ItemError(str(message.problem))
    if message.href.startswith(f"{deployment.bucket.url}/{LARGE}/"):
        found = read_document(deployment.s3, message.href)
        if not isinstance(found, Mapping) or found.get("type") != "Feature":
            raise ItemError(f"{message.href}: expected an Item, found none; it may have been too long ago")
        require_complete(found)
        return found
    from geodl_core.service.triggers.fetch import fetch_item  # noqa: PLC0415  # 0.3 s, for such messages alone

    return fetch_item(message.href)


def _of_catalog(key: tuple[str, str], catalog: Lookup | None) -> Mapping[str, Any]:
    name = "/".join(key)
    if catalog is None:
        raise ItemError(f"{name}: expected an Item, found its name alone, and no catalog is configured to look it up")
    found = catalog(*key)
    if found is None:
        raise ItemError(f"{name}: the catalog has no such Item")
    return found
