"""The run that a step of an execution is about."""

from typing import Any

from geodl_core.aws.ledger.ledger import CloudRun, DynamoLedger, read_run
from geodl_core.errors import AbsentError, InputError


def current_run(ledger: DynamoLedger, event: dict[str, Any]) -> CloudRun:
    """Return the run that an execution is about, as far as it has begun.

    Raises:
        InputError: there is none, it was ended, or another attempt has taken its place.
        CatalogError: the ledger does not answer.
    """
    run_id, attempt = str(event["run_id"]), int(event["attempt"])
    run = read_run(ledger, run_id)
    if run is None:
        raise AbsentError(f"no run {run_id[:12]}")
    if run.attempt != attempt or run.state in ("cancelled", "failed", "invalid"):
        raise InputError(f"run {run_id[:8]}: attempt {attempt} is over, found it {run.state} at attempt {run.attempt}")
    return run
