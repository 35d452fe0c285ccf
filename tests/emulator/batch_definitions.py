"""Queues, scheduling policies and job definitions of AWS Batch: the fields that MiniStack forgets, and the rules that
AWS checks when they are made.

Sources: Batch's API reference (RegisterJobDefinition, EvaluateOnExit, CreateSchedulingPolicy, JobQueueDetail).
"""

import json
import re

from ministack.core.responses import AccountRegionScopedDict, get_account_id, get_region
from ministack.services import batch

KEPT_OF_DEFINITIONS = (
    "ecsProperties", "parameters", "platformCapabilities", "propagateTags", "retryStrategy", "schedulingPriority",
    "timeout",
)  # fmt: skip
KEPT_OF_QUEUES = ("schedulingPolicyArn", "jobStateTimeLimitActions")
GLOB = re.compile(r"[0-9A-Za-z.:\s]*\*?")
EXIT_GLOB = re.compile(r"[0-9]*\*?")
policies = AccountRegionScopedDict()
"""ARN of a scheduling policy → the policy."""


class Refused(Exception):
    """A request that AWS answers with ClientException."""


def refused(error: Refused):
    """The answer to a request that is refused."""
    return batch.error_response_json("ClientException", str(error), 400)


def register(request):
    """RegisterJobDefinition."""
    try:
        _check_retries(request.get("retryStrategy") or {})
        container_of(request)
    except Refused as error:
        return refused(error)
    answer = batch._register_job_definition(request)
    made = batch._job_definitions[request["jobDefinitionName"]][-1]
    made.update({name: request[name] for name in KEPT_OF_DEFINITIONS if name in request})
    if "ecsProperties" in request:
        del made["containerProperties"]
    return answer


def deregister(request):
    """DeregisterJobDefinition."""
    found = find(request.get("jobDefinition", ""))
    if found:
        found["status"] = "INACTIVE"
    return batch._json(200, {})


def create_queue(request):
    """CreateJobQueue."""
    status, headers, body = batch._create_job_queue(request)
    if status < 400:
        made = batch._job_queues[request["jobQueueName"]]
        made.update({name: request[name] for name in KEPT_OF_QUEUES if name in request})
    return status, headers, body


def update_queue(request):
    """UpdateJobQueue."""
    name = last_part(request.get("jobQueue", ""))
    if name not in batch._job_queues:
        return refused(Refused(f"{name} does not exist"))
    batch._job_queues[name].update({key: value for key, value in request.items() if key != "jobQueue"})
    return batch._json(200, {"jobQueueName": name, "jobQueueArn": batch._job_queues[name]["jobQueueArn"]})


def create_policy(request):
    """CreateSchedulingPolicy."""
    arn = f"arn:aws:batch:{get_region()}:{get_account_id()}:scheduling-policy/{request['name']}"
    policies[arn] = {**request, "arn": arn}
    return batch._json(200, {"name": request["name"], "arn": arn})


def find(reference):
    """The job definition that a name, name:revision or ARN means, the newest without a revision; None without one."""
    name, _, revision = reference.rsplit("job-definition/", 1)[-1].partition(":")
    active = [one for one in batch._job_definitions.get(name) or [] if one["status"] == "ACTIVE"]
    if revision:
        active = [one for one in active if str(one["revision"]) == revision]
    return active[-1] if active else None


def container_of(definition):
    """The properties of the one container that runs a job.

    Raises:
        Refused: there is none, or more than one.
    """
    if "ecsProperties" not in definition:
        return definition.get("containerProperties") or {}
    tasks = definition["ecsProperties"].get("taskProperties") or []
    containers = [one for task in tasks for one in task.get("containers") or []]
    if len(tasks) != 1 or len(containers) != 1:
        raise Refused("ecsProperties: the emulator runs one task of one container")
    task = tasks[0]
    return {**containers[0], "jobRoleArn": task.get("taskRoleArn"), "executionRoleArn": task.get("executionRoleArn")}


def last_part(reference):
    """The name in an ARN, or the name itself."""
    return reference.rsplit("/", 1)[-1]


def _check_retries(strategy):
    attempts, conditions = strategy.get("attempts", 1), strategy.get("evaluateOnExit") or []
    if not 1 <= int(attempts) <= 10:
        raise Refused("RetryStrategy attempts must be between 1 and 10")
    if len(conditions) > 5:
        raise Refused("RetryStrategy evaluateOnExit has more than 5 conditions")
    for condition in conditions:
        for name, rule in (("onExitCode", EXIT_GLOB), ("onReason", GLOB), ("onStatusReason", GLOB)):
            if name in condition and not rule.fullmatch(condition[name]):
                raise Refused(f"evaluateOnExit {name}: {json.dumps(condition[name])} may only end with *")
        if str(condition.get("action", "")).upper() not in ("RETRY", "EXIT"):
            raise Refused("evaluateOnExit: an action is RETRY or EXIT")
