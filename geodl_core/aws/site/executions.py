"""Executions of the state machine that takes a scene from its plan to its Item: started, looked up, stopped."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from geodl_core.aws.ledger.ledger import CloudRun, DynamoLedger, move_run
from geodl_core.aws.site.layout import Bucket
from geodl_core.errors import InputError, UnavailableError

STARTED = "execution started"
"""Text of the line in a run's history."""
MOST_NAMES = 1_000
"""That Step Functions gives in one answer."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What belongs to one deployment, with clients to reach it."""

    bucket: Bucket
    ledger: DynamoLedger
    s3: Any
    """boto3's clients of S3 and Step Functions."""
    states: Any
    machine: str
    """ARN of the state machine for scenes."""


@dataclass(frozen=True, slots=True)
class Execution:
    """An execution, as Step Functions tells of it."""

    status: str
    """RUNNING, SUCCEEDED, FAILED, TIMED_OUT, ABORTED or PENDING_REDRIVE."""
    error: str | None
    cause: str | None


def execution_name(run: CloudRun) -> str:
    """Return the name of the execution of a run's attempt: there is never another of that name."""
    return f"{run.id}-{run.attempt}"


def execution_arn(machine: str, name: str) -> str:
    """Return the ARN of an execution.

    Raises:
        InputError: the machine's ARN is none.
    """
    head, separator, machine_name = machine.partition(":stateMachine:")
    if not separator:
        raise InputError(f"expected the ARN of a state machine, found {machine[:200]!r}")
    return f"{head}:execution:{machine_name}:{name}"


def start_run(deployment: Deployment, run: CloudRun) -> None:
    """Start the execution of a queued run, and note that; where it was started before, nothing else happens.

    Raises:
        UnavailableError: Step Functions does not take it now.
        CatalogError: the ledger does not answer.
    """
    name = execution_name(run)
    # The same name with the same input is the same execution, as long as it is running.
    asked = json.dumps({"attempt": run.attempt, "run_id": run.id}, sort_keys=True)
    with _answers("start", name):
        try:
            deployment.states.start_execution(stateMachineArn=deployment.machine, name=name, input=asked)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ExecutionAlreadyExists":
                raise
    note_started(deployment.ledger, run)


def note_started(ledger: DynamoLedger, run: CloudRun) -> None:
    """Write down that a queued run was started, unless what was started has written more by now."""
    try:
        move_run(ledger, run.id, "claimed", STARTED)
    except InputError:
        return


def describe(deployment: Deployment, run: CloudRun) -> Execution | None:
    """Return the execution of a run's attempt, None where there is none.

    Raises:
        UnavailableError: Step Functions does not answer.
    """
    name = execution_name(run)
    with _answers("describe", name):
        try:
            told = deployment.states.describe_execution(executionArn=execution_arn(deployment.machine, name))
        except ClientError as error:
            if error.response["Error"]["Code"] == "ExecutionDoesNotExist":
                return None
            raise
    return Execution(str(told["status"]), told.get("error"), told.get("cause"))


def running_names(deployment: Deployment) -> set[str]:
    """Return the names of all executions that are running.

    Raises:
        UnavailableError: Step Functions does not answer.
    """
    names: set[str] = set()
    with _answers("list", "executions"):
        pages = deployment.states.get_paginator("list_executions")
        asked = {"stateMachineArn": deployment.machine, "statusFilter": "RUNNING"}
        for page in pages.paginate(**asked, PaginationConfig={"PageSize": MOST_NAMES}):
            names.update(str(entry["name"]) for entry in page["executions"])
    return names


def stop_run(deployment: Deployment, run: CloudRun, why: str) -> None:
    """Stop the execution of a run's attempt, if it runs; its jobs are ended with it.

    Raises:
        UnavailableError: Step Functions does not answer.
    """
    name = execution_name(run)
    with _answers("stop", name):
        try:
            arn = execution_arn(deployment.machine, name)
            deployment.states.stop_execution(executionArn=arn, error="Cancelled", cause=why)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ExecutionDoesNotExist":
                raise


@contextmanager
def _answers(verb: str, name: str) -> Iterator[None]:
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise UnavailableError(f"Step Functions: cannot {verb} {name} now ({error})", hint="try again later") from error
