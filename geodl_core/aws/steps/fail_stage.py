"""The end of a run that failed: written down with a cause that a person understands."""

from contextlib import suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from geodl_core.aws.ledger.ledger import CloudRun, DynamoLedger, move_run, read_run
from geodl_core.aws.steps.causes import Failure, read_failure, with_log
from geodl_core.domain.run.state import FINAL
from geodl_core.errors import AbsentError, InputError

LAST_LINES = 20


def fail_stage(ledger: DynamoLedger, event: dict[str, Any], logs: tuple[Any, str] | None = None) -> dict[str, Any]:
    """Write down why a run failed.

    A run that has ended, or is at another attempt by now, is left as it is: of many shards that fail the first one
    tells.

    Args:
        ledger: where.
        event: run_id, attempt, and error as Step Functions gives it to a Catch: Error and mostly Cause.
        logs: client of CloudWatch Logs and the group of Batch's jobs, to ask what the job wrote last.

    Returns:
        run_id, state, error and cause; and is_ended, whether it was this that ended the run.

    Raises:
        InputError: no such run.
        CatalogError: the ledger does not answer.
    """
    run = read_run(ledger, str(event["run_id"]))
    if run is None:
        raise AbsentError(f"no run {str(event['run_id'])[:12]}")
    caught = event.get("error") or {}
    failure = read_failure(str(caught.get("Error") or ""), str(caught.get("Cause") or ""))
    if logs is not None and failure.log is not None:
        failure = with_log(failure, last_lines(*logs, failure.log))
    is_ended = run.attempt == int(event["attempt"]) and end_run(ledger, run, failure)
    state = failure.state if is_ended else run.state
    told = {"run_id": run.id, "state": state, "error": failure.kind, "cause": failure.message}
    return {**told, "is_ended": is_ended}


def end_run(ledger: DynamoLedger, run: CloudRun, failure: Failure) -> bool:
    """End a run, unless it has ended; say whether that was done here.

    Raises:
        CatalogError: the ledger does not answer.
    """
    if run.state in FINAL:
        return False
    told = {"class": failure.kind, "message": failure.message}
    with suppress(InputError):
        move_run(ledger, run.id, failure.state, f"{failure.kind}: {failure.message}"[:2_000], error=told)
        return True
    return False


def last_lines(client: Any, group: str, stream: str) -> str:
    """Return what a job wrote last; nothing where that cannot be had, since it only explains."""
    try:
        found = client.get_log_events(logGroupName=group, logStreamName=stream, limit=LAST_LINES, startFromHead=False)
    except (ClientError, BotoCoreError):
        return ""
    return "\n".join(str(event["message"]) for event in found["events"])
