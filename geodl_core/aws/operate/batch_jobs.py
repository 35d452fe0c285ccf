"""Jobs of AWS Batch, as an operator looks at them: how many are in each state, and which belong to a run."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from botocore.exceptions import ClientError

from geodl_core.aws.site.account import account_errors
from geodl_core.aws.site.clients import client
from geodl_core.aws.site.stack import Stack

WAITING = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
"""States of jobs that have not ended, in their order."""
MOST_COUNTED = 100_000
"""Jobs that are looked at, newest first."""
DESCRIBED = 100
"""That Batch describes at a time."""
MERGE = "merge"
"""End of the name of a job that merges; those of shards end with their number."""
QUEUE = "AWS::Batch::JobQueue"


@dataclass(frozen=True, slots=True)
class BatchJob:
    """A job of a run."""

    id: str
    run_id: str
    attempt: int
    """Of the run."""
    part: str
    """Number of the shard, or `merge`."""
    status: str
    reason: str
    started_s: float | None
    """Seconds since 1970; of its last try."""
    stopped_s: float | None
    streams: tuple[str, ...]
    """Its tries' log streams, oldest first."""

    @property
    def shard(self) -> int | None:
        """Its number, None of a merge."""
        return int(self.part) if self.part.isdigit() else None

    @property
    def seconds(self) -> float:
        """That it computed, as far as it has ended."""
        return 0.0 if self.started_s is None or self.stopped_s is None else max(0.0, self.stopped_s - self.started_s)


def queues_of(stack: Stack) -> list[str]:
    """Return the ARNs of a stack's queues, those that are no output among them.

    Raises:
        InputError: AWS refuses to tell.
        UnavailableError: AWS does not answer.
    """
    with account_errors(f"stack {stack.name}"):
        pages = client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack.name)
        entries = [entry for page in pages for entry in page["StackResourceSummaries"]]
    found = [entry.get("PhysicalResourceId") for entry in entries if entry["ResourceType"] == QUEUE]
    return sorted({name for name in (stack.shard_queue, stack.urgent_queue, stack.merge_queue, *found) if name})


def count_jobs(stack: Stack) -> Mapping[str, int]:
    """Return how many jobs are in each state before their end, over all queues.

    Raises:
        InputError: AWS refuses to tell.
        UnavailableError: AWS does not answer.
    """
    counts: Counter[str] = Counter(dict.fromkeys(WAITING, 0))
    batch = client("batch")
    for queue in queues_of(stack):
        for status in WAITING:
            with account_errors("jobs of Batch"):
                counts[status] += sum(1 for _ in islice(_listed(batch, jobQueue=queue, jobStatus=status), MOST_COUNTED))
    return counts


def jobs_of(stack: Stack, run_id: str) -> list[BatchJob]:
    """Return the jobs of a run that Batch still knows, all attempts, by attempt and number; it forgets them after days.

    Raises:
        InputError: AWS refuses to tell.
        UnavailableError: AWS does not answer.
    """
    batch, found = client("batch"), []
    names = [{"name": "JOB_NAME", "values": [f"{run_id}-*"]}]
    with account_errors("jobs of Batch"):
        for queue in queues_of(stack):
            listed = _listed(batch, jobQueue=queue, filters=names)
            ids = [entry["jobId"] for entry in listed if entry["jobName"].startswith(f"{run_id}-")]
            found += [job for entry in described(batch, ids) if (job := read_job(entry)) is not None]
    return sorted(found, key=lambda job: (job.attempt, job.shard is None, job.shard or 0))


def jobs_since(stack: Stack, since_s: float) -> list[BatchJob]:
    """Return the jobs of runs that were submitted since a time, as far as Batch still knows them.

    Args:
        stack: the deployment.
        since_s: seconds since 1970.

    Raises:
        InputError: AWS refuses to tell.
        UnavailableError: AWS does not answer.
    """
    batch, found = client("batch"), []
    later = [{"name": "AFTER_CREATED_AT", "values": [str(int(since_s * 1000))]}]
    with account_errors("jobs of Batch"):
        for queue in queues_of(stack):
            listed = list(islice(_listed(batch, jobQueue=queue, filters=later), MOST_COUNTED))
            # Most are told with their times at once.
            timeless = [entry["jobId"] for entry in listed if "startedAt" not in entry]
            timed = [entry for entry in listed if "startedAt" in entry]
            found += [job for entry in (*timed, *described(batch, timeless)) if (job := read_job(entry)) is not None]
    return found


def described(batch: Any, ids: list[str]) -> Iterator[Mapping[str, Any]]:
    """Yield jobs as Batch describes them."""
    for start in range(0, len(ids), DESCRIBED):
        yield from batch.describe_jobs(jobs=ids[start : start + DESCRIBED])["jobs"]


def read_job(entry: Mapping[str, Any]) -> BatchJob | None:
    """Return a job of a run, None where its name says that it is none."""
    run_id, _, rest = str(entry["jobName"]).partition("-")
    attempt, _, part = rest.partition("-")
    if not attempt.isdigit() or not (part.isdigit() or part == MERGE):
        return None
    streams = [_stream(one) for one in entry.get("attempts", ())] + [_stream(entry)]
    return BatchJob(
        id=str(entry["jobId"]),
        run_id=run_id,
        attempt=int(attempt),
        part=part,
        status=str(entry["status"]),
        reason=str(entry.get("statusReason") or ""),
        started_s=_seconds(entry.get("startedAt")),
        stopped_s=_seconds(entry.get("stoppedAt")),
        streams=tuple(dict.fromkeys(name for name in streams if name)),
    )


def _listed(batch: Any, **asked: Any) -> Iterator[Mapping[str, Any]]:
    try:
        for page in batch.get_paginator("list_jobs").paginate(**asked):
            yield from page["jobSummaryList"]
    except ClientError as error:
        # A queue that was deleted by hand has no jobs.
        if error.response["Error"]["Code"] != "ClientException":
            raise


def _stream(entry: Mapping[str, Any]) -> str:
    """Return the log stream of a job or of one of its tries, in both shapes of job definitions."""
    containers = [entry.get("container") or {}]
    shapes = [*entry.get("taskProperties", ()), *(entry.get("ecsProperties") or {}).get("taskProperties", ())]
    for task in shapes:
        containers += task.get("containers", ())
    return next((str(one["logStreamName"]) for one in containers if one.get("logStreamName")), "")


def _seconds(milliseconds: Any) -> float | None:
    return None if milliseconds is None else float(milliseconds) / 1000
