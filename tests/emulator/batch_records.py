"""What a job of AWS Batch is: its record as DescribeJobs shows it, made from a request and its job definition.

Sources: Batch's API reference (SubmitJob, JobDetail, AttemptDetail), Batch's guide ("Parameters", "Array jobs").
"""

import json
import re
import subprocess
from dataclasses import dataclass, field
from typing import Any

from ministack.services import batch

from emulator.batch_definitions import Refused, container_of, find, last_part, policies
from emulator.batch_slots import Ticket

NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,127}")
MOST_REQUEST_BYTES = 30 * 1024
MOST_CHILDREN = 10_000
PLACEHOLDER = re.compile(r"Ref::(\S+)")


@dataclass(slots=True)
class Job:
    """A job that is not over: its record, and what DescribeJobs does not show."""

    record: dict[str, Any]
    ticket: Ticket | None = None
    """None for an array job, whose children run."""
    parent: "Job | None" = None
    children: "list[Job]" = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    stopped: str | None = None
    """The reason that TerminateJob gave."""

    @property
    def container(self) -> dict[str, Any]:
        if "container" in self.record:
            return self.record["container"]
        return self.record["ecsProperties"]["taskProperties"][0]["containers"][0]

    @property
    def queue(self) -> dict[str, Any]:
        return batch._job_queues[last_part(self.record["jobQueue"])]


def check(request: dict[str, Any]) -> dict[str, Any]:
    """The job definition of a request that AWS would take.

    Raises:
        Refused: it would not, or the emulator does not know what the request asks for.
    """
    if not NAME.fullmatch(request.get("jobName") or ""):
        raise Refused("jobName: up to 128 letters, digits, hyphens and underscores, a letter or digit first")
    if len(json.dumps(request).encode()) > MOST_REQUEST_BYTES:
        raise Refused("SubmitJob request is larger than 30 KiB")
    size = (request.get("arrayProperties") or {}).get("size", 2)
    if not 2 <= int(size) <= MOST_CHILDREN:
        raise Refused("Array size must be between 2 and 10000")
    if any(one.get("type") for one in request.get("dependsOn") or []):
        raise Refused("dependsOn with a type is not emulated")
    if last_part(request.get("jobQueue", "")) not in batch._job_queues:
        raise Refused(f"JobQueue {request.get('jobQueue')} not found")
    definition = find(request.get("jobDefinition", ""))
    if definition is None:
        raise Refused(f"JobDefinition {request.get('jobDefinition')} not found")
    if "ecsProperties" in definition and request.get("containerOverrides"):
        raise Refused("containerOverrides do not go with a job definition of ecsProperties")
    return definition


def make(request: dict[str, Any], definition: dict[str, Any], job_id: str) -> dict[str, Any]:
    """The record of a new job."""
    parameters = {**(definition.get("parameters") or {}), **(request.get("parameters") or {})}
    container = _container(container_of(definition), request.get("containerOverrides") or {}, parameters)
    shape = {"container": container}
    if "ecsProperties" in definition:
        shape = {"ecsProperties": {"taskProperties": [{"containers": [container]}]}}
    return {
        "jobId": job_id,
        "jobArn": batch._job_arn(job_id),
        "jobName": request["jobName"],
        "jobQueue": batch._job_queues[last_part(request["jobQueue"])]["jobQueueArn"],
        "jobDefinition": definition["jobDefinitionArn"],
        "status": "SUBMITTED",
        "statusReason": "",
        "createdAt": batch._now_ms(),
        "attempts": [],
        "dependsOn": request.get("dependsOn") or [],
        "parameters": parameters,
        "tags": {**(definition.get("tags") or {}), **(request.get("tags") or {})},
        "retryStrategy": request.get("retryStrategy") or definition.get("retryStrategy") or {"attempts": 1},
        "timeout": request.get("timeout") or definition.get("timeout") or {},
        "shareIdentifier": request.get("shareIdentifier", ""),
        "schedulingPriority": int(
            request.get("schedulingPriorityOverride", definition.get("schedulingPriority") or 0),
        ),
        **shape,
    }


def ticket(job: Job, number: int, start: Any) -> Ticket:
    """The job's place among those that wait."""
    wants = {one["type"]: float(one["value"]) for one in job.container["resourceRequirements"]}
    policy = (policies.get(job.queue.get("schedulingPolicyArn")) or {}).get("fairsharePolicy")
    share = job.record["shareIdentifier"] if policy is not None else None
    weights = {
        one["shareIdentifier"]: one.get("weightFactor", 1.0) for one in (policy or {}).get("shareDistribution", [])
    }
    return Ticket(
        number=number,
        queue=job.queue["jobQueueName"],
        queue_priority=int(job.queue["priority"]),
        vcpus=int(wants.get("VCPU", 1)),
        gpus=int(wants.get("GPU", 0)),
        start=start,
        share=share,
        weight=next((weight for name, weight in weights.items() if _is_share(name, share)), 1.0),
        scheduling_priority=job.record["schedulingPriority"] if policy is not None else 0,
    )


def _is_share(name: str, share: str | None) -> bool:
    return share is not None and (share.startswith(name[:-1]) if name.endswith("*") else share == name)


def _container(own: dict[str, Any], overrides: dict[str, Any], parameters: dict[str, str]) -> dict[str, Any]:
    command = overrides.get("command") or own.get("command") or []
    wants = {one["type"]: str(one["value"]) for one in _both("resourceRequirements", own, overrides)}
    variables = {one["name"]: str(one.get("value", "")) for one in _both("environment", own, overrides)}
    return {
        "image": own.get("image", ""),
        "command": [PLACEHOLDER.sub(lambda found: _value(found, parameters), str(word)) for word in command],
        "environment": [{"name": name, "value": value} for name, value in variables.items()],
        "resourceRequirements": [{"type": name, "value": value} for name, value in wants.items()],
        "logConfiguration": own.get("logConfiguration") or {},
        **{name: own[name] for name in ("jobRoleArn", "executionRoleArn") if own.get(name)},
    }


def _value(found: re.Match[str], parameters: dict[str, str]) -> str:
    whole = found.span() == (0, len(found.string))
    return str(parameters.get(found[1], found[0])) if whole else found[0]


def _both(name: str, own: dict[str, Any], overrides: dict[str, Any]) -> list[dict[str, Any]]:
    return [*(own.get(name) or []), *(overrides.get(name) or [])]
