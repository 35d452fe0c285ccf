"""What is told of a deployment's watches, and what they say of an Item: in the form that a ledger's have."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from geodl_core.aws.ledger.ledger import DAY_S, DynamoLedger
from geodl_core.aws.ledger.watches import CloudWatch, read_remark, read_rows
from geodl_core.aws.site.executions import Deployment
from geodl_core.aws.site.model_index import ModelCache, model_finder
from geodl_core.aws.steps.ingest import results_lookup
from geodl_core.domain.watch.watch import Watch, watch_json
from geodl_core.service.watches.tested import KeptWatch, Tested, ask_watches

NextAt = Callable[[Watch, float], float | None]
"""Returns when a watch scans next, from a time on; seconds since 1970."""


def told_cloud_watches(
    ledger: DynamoLedger, kept: Sequence[CloudWatch], next_at: NextAt | None = None
) -> list[dict[str, Any]]:
    """Return watches as `service.routes.watches_api.told_watches` tells of those of a ledger.

    `runs_today` is None where a watch has no brake: nobody counts them.

    Args:
        ledger: with remarks and brakes.
        kept: watches.
        next_at: tells when they scan; None where that is not known here.

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
        following = None if one.is_paused or next_at is None else next_at(watch, now)
        told.append({"watch": document, **facts, "next_at": following, "last_problem": remark})
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


def _braked_today(ledger: DynamoLedger, kept: Sequence[CloudWatch]) -> dict[str, int]:
    """Return how many runs of each watch with a brake count for today (UTC); of others nobody counts them."""
    day = int(ledger.clock() // DAY_S)
    keys = {one.watch.name: f"BRAKE#{one.watch.name}#{day}" for one in kept if one.watch.max_runs_per_day}
    rows = read_rows(ledger, [{"pk": key, "sk": "BRAKE"} for key in keys.values()])
    runs = {str(row["pk"]): int(row["runs"]) for row in rows}
    return {name: runs.get(key, 0) for name, key in keys.items()}
