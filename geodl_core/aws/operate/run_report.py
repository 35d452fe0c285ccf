"""All that is known of a run: its row and history in the ledger, its execution, the state that failed, links."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import quote

from botocore.exceptions import ClientError

from geodl_core.aws.ledger.ledger import CloudRun, cloud_history
from geodl_core.aws.site.account import account_errors
from geodl_core.aws.site.executions import Deployment, Execution, describe, execution_arn, execution_name
from geodl_core.aws.site.stack import Stack
from geodl_core.aws.steps.causes import read_failure

MOST_EVENTS = 2_000
"""Of an execution that are looked at, from its end."""
MOST_CHILDREN = 1_000
FAILED = ("TaskFailed", "LambdaFunctionFailed", "TaskTimedOut", "TaskSubmitFailed", "MapRunFailed")
"""Types of events that tell of a state's failure, in Step Functions' HistoryEvent."""
WRITERS = ("Failed", "ShardFailed", "End", "ShardEnd")
"""States of infra/scene.asl.yaml that write a failure down, and end after it."""


@dataclass(frozen=True, slots=True)
class FailedState:
    """Where an execution failed."""

    name: str
    """Of the state; empty where the history does not tell."""
    error: str
    message: str
    """For a person."""
    children: int = 0
    """Of the map of shards that failed."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run, as an operator wants to see it."""

    run: CloudRun
    history: Sequence[Mapping[str, Any]]
    execution: Execution | None
    failure: FailedState | None
    links: Mapping[str, str]


def report_run(stack: Stack, deployment: Deployment, run: CloudRun) -> RunReport:
    """Return all that is known of a run.

    Raises:
        UnavailableError: ledger or Step Functions do not answer.
    """
    execution = describe(deployment, run)
    failure = None
    if execution is not None and execution.status not in ("RUNNING", "SUCCEEDED"):
        failure = find_failed_state(deployment, run, execution)
    return RunReport(
        run, cloud_history(deployment.ledger, run.id), execution, failure, links_of(stack, deployment, run)
    )


def find_failed_state(deployment: Deployment, run: CloudRun, execution: Execution) -> FailedState:
    """Return in which state an execution failed first, and why: that of a shard where one did.

    Raises:
        UnavailableError: Step Functions does not answer.
    """
    arn = execution_arn(deployment.machine, execution_name(run))
    with account_errors(f"execution {execution_name(run)[:12]}"):
        found = _last_failure(deployment.states, arn)
        children = _failed_children(deployment.states, arn)
        if children:
            inner = _last_failure(deployment.states, children[0])
            if inner is not None:
                name = inner.name or (found.name if found is not None else "")
                return FailedState(name, inner.error, inner.message, len(children))
    if found is not None:
        return found
    failure = read_failure(execution.error or f"States.{execution.status}", execution.cause or "")
    return FailedState("", failure.kind, failure.message)


def links_of(stack: Stack, deployment: Deployment, run: CloudRun) -> dict[str, str]:
    """Return where a run is to be seen: its execution and logs in AWS's console, its result."""
    arn = execution_arn(deployment.machine, execution_name(run))
    region = arn.split(":")[3]
    console = f"https://{region}.console.aws.amazon.com"
    links = {
        "execution": f"{console}/states/home?region={region}#/v2/executions/details/{arn}",
        "work": f"s3://{stack.bucket}/work/{run.id}/",
    }
    if run.result is not None and stack.stac_api:
        collection, item = (quote(str(run.result[name]), safe="") for name in ("collection", "id"))
        links["result"] = f"{stack.stac_api.rstrip('/')}/collections/{collection}/items/{item}"
    return links


def _last_failure(states: Any, arn: str) -> FailedState | None:
    """Return what ended an execution: its last failure, but for that of writing a failure down."""
    events = {int(event["id"]): event for event in islice(_events(states, arn), MOST_EVENTS)}
    failures = [(_state_of(events, event), event) for _, event in sorted(events.items()) if event["type"] in FAILED]
    told = [one for one in failures if one[0] not in WRITERS]
    ends = [event for event in events.values() if event["type"] == "ExecutionFailed"]
    if not told and not ends:
        return None
    name, event = told[-1] if told else (_state_of(events, ends[0]), ends[0])
    details: Mapping[str, Any] = next((value for key, value in event.items() if key.endswith("EventDetails")), {})
    failure = read_failure(str(details.get("error") or ""), str(details.get("cause") or ""))
    return FailedState(name, failure.kind, failure.message)


def _state_of(events: Mapping[int, Mapping[str, Any]], event: Mapping[str, Any]) -> str:
    """Return the name of the state that an event belongs to: the last that was entered before it, on its branch."""
    number = int(event["id"])
    while number in events:
        found = events[number]
        name = str(found.get("stateEnteredEventDetails", {}).get("name", ""))
        if name and (name not in WRITERS or event["type"] in FAILED):
            return name
        # Where branches are run at the same time their events lie between one another.
        number = min(number - 1, int(found.get("previousEventId", number - 1)))
    return ""


def _events(states: Any, arn: str) -> Iterator[Mapping[str, Any]]:
    """Yield the events of an execution, newest first; none where Step Functions has forgotten it."""
    try:
        for page in states.get_paginator("get_execution_history").paginate(executionArn=arn, reverseOrder=True):
            yield from page["events"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ExecutionDoesNotExist":
            raise


def _failed_children(states: Any, arn: str) -> list[str]:
    """Return the executions of shards that failed, the first one first."""
    try:
        runs = states.list_map_runs(executionArn=arn).get("mapRuns", ())
    except ClientError as error:
        if error.response["Error"]["Code"] == "ExecutionDoesNotExist":
            return []
        raise
    found: list[Mapping[str, Any]] = []
    for run in runs:
        pages = states.get_paginator("list_executions").paginate(mapRunArn=run["mapRunArn"], statusFilter="FAILED")
        found += islice((entry for page in pages for entry in page["executions"]), MOST_CHILDREN)
    return [str(entry["executionArn"]) for entry in sorted(found, key=lambda entry: entry["stopDate"])]


def request_ids(deployment: Deployment, run: CloudRun, attempt: int) -> set[str]:
    """Return the ids of the calls of functions that an execution of a run made, by which their logs are found.

    Raises:
        UnavailableError: Step Functions does not answer.
    """
    found: set[str] = set()
    arn = execution_arn(deployment.machine, f"{run.id}-{attempt}")
    with account_errors(f"execution {run.id[:12]}-{attempt}"):
        for event in islice(_events(deployment.states, arn), MOST_EVENTS):
            for details in (value for key, value in event.items() if key.endswith("EventDetails")):
                found |= _request_ids(details.get("output")) | _request_ids(details.get("cause"))
    return found


def _request_ids(text: Any) -> set[str]:
    """Return the request ids in what a function's state gave: its result's metadata, or its error."""
    try:
        told = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return set()
    if not isinstance(told, Mapping):
        return set()
    metadata = told.get("SdkResponseMetadata")
    ids = (told.get("requestId"), metadata.get("RequestId") if isinstance(metadata, Mapping) else None)
    return {one for one in ids if isinstance(one, str) and one}
