"""What a result of a deployment was made of: the source Item, as the order kept it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from geodl_core.aws.ledger.found_runs import runs_of_job
from geodl_core.aws.ledger.orders import find_kept_order
from geodl_core.aws.site.executions import Deployment


def ordered_item(deployment: Deployment, result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the source Item of a result, as it was ordered; None where no order of its job is kept any more.

    A result's Item names its job, and the ledger's runs name theirs: whichever run of the job it was, the source is
    the same to the checksums of its files.

    Args:
        deployment: that made it.
        result: its Item, from the catalog or from the bucket.

    Raises:
        CatalogError: the ledger does not answer.
        StoreError: the bucket does not answer.
    """
    properties = result.get("properties") or {}
    job_id = properties.get("geodl:job_id")
    if not isinstance(job_id, str):
        return None
    for run_id in runs_of_job(deployment.ledger, job_id, _seconds(properties.get("created"))):
        order = find_kept_order(deployment.s3, deployment.bucket, run_id)
        if order is not None:
            return order.item
    return None


def _seconds(stamp: Any) -> float:
    """Return a time of an Item in seconds since 1970; 0 where it says none."""
    try:
        moment = datetime.fromisoformat(str(stamp))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return 0.0
