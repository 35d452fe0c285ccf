"""A deployment that things happen to: looked at run by run and job by job, and changed as an operator may change it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from deployed import TOKEN, Stack, ask, eventually, geodl, runs
from geodl_core.domain.run.state import FINAL

QUEUES = ("ShardQueue", "UrgentQueue", "MergeQueue")
STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")


def run_of(stack: Stack, scene: str) -> dict[str, Any] | None:
    """The run of a scene, as the API tells it; None while there is none."""
    return next((run for run in runs(stack) if run["item"]["id"] == scene), None)


def ended_run(stack: Stack, scene: str, within_s: float = 90.0, attempt: int = 1) -> dict[str, Any]:
    """The run of a scene once an attempt of it has ended."""

    def found() -> dict[str, Any] | None:
        run = run_of(stack, scene)
        return run if run and run["state"] in FINAL and run["attempt"] >= attempt else None

    run: dict[str, Any] = eventually(found, within_s, lambda: f"{run_of(stack, scene)}")
    return run


def states(stack: Stack, run: Mapping[str, Any]) -> list[str]:
    """The states that a run has been in, in their order."""
    told = ask(stack, "RunsApi", f"/runs/{run['id']}/history", token=TOKEN).document
    return [one["state"] for one in told["events"]]


def jobs(stack: Stack, run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The jobs of a run as Batch describes them, oldest first."""
    batch, ids = stack.client("batch"), []
    for queue in QUEUES:
        for status in STATUSES:
            listed = batch.list_jobs(jobQueue=stack.outputs[queue], jobStatus=status)["jobSummaryList"]
            ids += [one["jobId"] for one in listed if one["jobName"].startswith(run["id"])]
    described: list[dict[str, Any]] = batch.describe_jobs(jobs=ids)["jobs"] if ids else []
    return sorted(described, key=lambda job: job["createdAt"])


def logs(stack: Stack, job: Mapping[str, Any]) -> list[str]:
    """What each attempt of a job wrote."""
    client, found = stack.client("logs"), []
    for attempt in job["attempts"]:
        stream = attempt["container"]["logStreamName"]
        events = client.get_log_events(logGroupName=stack.outputs["BatchLogs"], logStreamName=stream)["events"]
        found.append("\n".join(event["message"] for event in events))
    return found


def running_job(stack: Stack, scene: str) -> dict[str, Any]:
    """The job of a scene that runs, once one does; the number of its process is at the end of `taskArn`."""

    def found() -> dict[str, Any] | None:
        run = run_of(stack, scene)
        return next((job for job in jobs(stack, run) if job["status"] == "RUNNING"), None) if run else None

    job: dict[str, Any] = eventually(found, 30)
    return job


def process_of(job: Mapping[str, Any]) -> int:
    """The number of the process that is a job's container."""
    return int(job["container"]["taskArn"].rpartition("/")[2])


def results_of(stack: Stack, scene: str) -> list[dict[str, Any]]:
    """The Items of the STAC API that were made of a scene."""
    features = ask(stack, "StacApi", "/search?limit=1000").document["features"]
    return [one for one in features if one["properties"]["geodl:source"].rpartition("/")[2] == scene]


def messages(stack: Stack, queue: str) -> int:
    """How many messages a queue holds, those among them that are being looked at."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    told = stack.client("sqs").get_queue_attributes(QueueUrl=stack.outputs[queue], AttributeNames=names)
    return sum(map(int, told["Attributes"].values()))


def send(stack: Stack, text: str) -> None:
    """Put a message into the queue past the topic."""
    stack.client("sqs").send_message(QueueUrl=stack.outputs["IngestQueue"], MessageBody=text)


def retry(stack: Stack, run: Mapping[str, Any]) -> None:
    """Try a run once more, as an operator does."""
    geodl(stack, "aws", "retry", run["id"][:8])


@contextmanager
def shard_job(stack: Stack, **changes: Any) -> Iterator[None]:
    """Have the state machine take another job definition for shards; executions that run go on with theirs.

    Args:
        stack: the deployment.
        changes: of the definition's properties; `image` is the container's.
    """
    batch, machines, arn = stack.client("batch"), stack.client("stepfunctions"), stack.outputs["SceneMachine"]
    definition = machines.describe_state_machine(stateMachineArn=arn)["definition"]
    (kept,) = batch.describe_job_definitions(jobDefinitionName="geodl-shard")["jobDefinitions"]
    names = ("type", "parameters", "retryStrategy", "timeout", "schedulingPriority", "platformCapabilities")
    container = kept["containerProperties"] | {name: changes.pop(name) for name in ("image",) if name in changes}
    made = batch.register_job_definition(
        **{name: kept[name] for name in names if name in kept} | {"containerProperties": container, **changes},
        jobDefinitionName="geodl-shard-changed",
    )["jobDefinitionArn"]
    assert kept["jobDefinitionArn"] in definition
    changed = definition.replace(kept["jobDefinitionArn"], made)
    machines.update_state_machine(stateMachineArn=arn, definition=changed)
    try:
        yield
    finally:
        machines.update_state_machine(stateMachineArn=arn, definition=definition)
        batch.deregister_job_definition(jobDefinition=made)


@contextmanager
def queue_attributes(stack: Stack, **attributes: str) -> Iterator[None]:
    """Change a setting of the queue of messages for a while."""
    sqs, url = stack.client("sqs"), stack.outputs["IngestQueue"]
    names = list(attributes)
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
    try:
        yield
    finally:
        sqs.set_queue_attributes(QueueUrl=url, Attributes=before)


def steps(stack: Stack, run: Mapping[str, Any], attempt: int = 1) -> list[str]:
    """The states that a run's execution has entered, in their order, without those of its shards."""
    arn = stack.outputs["SceneMachine"].replace(":stateMachine:", ":execution:") + f":{run['id']}-{attempt}"
    events = stack.client("stepfunctions").get_execution_history(executionArn=arn, maxResults=1000)["events"]
    return [one["stateEnteredEventDetails"]["name"] for one in events if "stateEnteredEventDetails" in one]


def said(text: str, *parts: str) -> bool:
    """Whether a text has all of some parts; fails with the text where it has not."""
    missing = [part for part in parts if part not in text]
    assert not missing, f"{missing} not in {json.dumps(text)}"
    return True
