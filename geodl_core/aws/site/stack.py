"""A deployment as a user's machine finds it: the outputs and parameters of its CloudFormation stack, by name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from geodl_core.aws.site.account import account_errors, is_absent
from geodl_core.aws.site.clients import client, open_deployment
from geodl_core.aws.site.executions import Deployment
from geodl_core.errors import InputError

OUTPUTS = {
    "Bucket": "bucket",
    "Table": "table",
    "ItemsTopic": "items_topic",
    "IngestQueue": "ingest_queue",
    "IngestDeadLetters": "ingest_dead_letters",
    "SceneMachine": "scene_machine",
    "BackfillMachine": "backfill_machine",
    "StacApi": "stac_api",
    "RunsApi": "runs_api",
    "ShardQueue": "shard_queue",
    "UrgentQueue": "urgent_queue",
    "MergeQueue": "merge_queue",
    "ScanFunction": "scan_function",
    "ScheduleGroup": "schedule_group",
    "ScheduleRole": "schedule_role",
    "TokensSecret": "tokens_secret",
    "CatalogSecret": "catalog_secret",
    "CatalogUrl": "catalog_url",
    "BatchLogs": "batch_logs",
    "FunctionLogs": "function_logs",
    "FunctionsGroup": "functions_group",
    "Dashboard": "dashboard",
    "AlarmsTopic": "alarms_topic",
    "BackfillConcurrency": "backfill_concurrency",
}
"""Key of an output in the template → field of `Stack`."""
NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}")
"""What CloudFormation takes as a name."""
UNFINISHED = ("CREATE_FAILED", "CREATE_IN_PROGRESS", "ROLLBACK_", "DELETE_", "REVIEW_IN_PROGRESS")
"""Beginnings of states in which a stack has no outputs that hold."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A deployed stack; an output that it has not is empty."""

    name: str
    status: str = ""
    """As CloudFormation calls it: CREATE_COMPLETE, UPDATE_ROLLBACK_COMPLETE…"""
    parameters: Mapping[str, str] = field(default_factory=dict)
    bucket: str = ""
    """Its name, without s3://."""
    table: str = ""
    items_topic: str = ""
    ingest_queue: str = ""
    """URLs of the queues."""
    ingest_dead_letters: str = ""
    scene_machine: str = ""
    backfill_machine: str = ""
    stac_api: str = ""
    """Empty where results go to a STAC API of the user's own."""
    runs_api: str = ""
    shard_queue: str = ""
    """ARNs of Batch's queues."""
    urgent_queue: str = ""
    """Of shards' jobs that go first."""
    merge_queue: str = ""
    scan_function: str = ""
    schedule_group: str = ""
    """Its name."""
    schedule_role: str = ""
    tokens_secret: str = ""
    catalog_secret: str = ""
    """ARN; empty where results go to a STAC API of the user's own."""
    catalog_url: str = ""
    """Of that STAC API."""
    batch_logs: str = ""
    function_logs: str = ""
    """Beginning of the names of the functions' log groups."""
    functions_group: str = ""
    """Security group of the functions that use the database; empty where they are in no network."""
    dashboard: str = ""
    alarms_topic: str = ""
    backfill_concurrency: str = ""


def read_stack(name: str) -> Stack:
    """Return a stack by its name.

    Raises:
        InputError: no such stack, it is not deployed, it is none of geodl's, or AWS refuses to tell.
        UnavailableError: AWS does not answer.
    """
    told = describe_stack(name)
    if told is None:
        raise InputError(
            f"stack {name}: there is none in this account and region",
            hint="geodl deploy makes one; --stack or GEODL_STACK names another, AWS_DEFAULT_REGION another region",
        )
    status = str(told["StackStatus"])
    if status.startswith(UNFINISHED):
        raise InputError(f"stack {name}: expected it deployed, found it {status}", hint="geodl deploy tells more")
    found = {entry["OutputKey"]: str(entry["OutputValue"]) for entry in told.get("Outputs", ())}
    if not {"Bucket", "Table", "SceneMachine"} <= found.keys():
        raise InputError(f"stack {name}: expected one of geodl, found another (no Bucket, Table, SceneMachine)")
    parameters = {entry["ParameterKey"]: str(entry.get("ParameterValue", "")) for entry in told.get("Parameters", ())}
    outputs = {OUTPUTS[key]: value for key, value in found.items() if key in OUTPUTS}
    return Stack(name, status, parameters, **outputs)


def describe_stack(name: str) -> Mapping[str, Any] | None:
    """Return what CloudFormation tells of a stack, None where there is none.

    Raises:
        InputError: it cannot be a stack's name, or AWS refuses to tell.
        UnavailableError: AWS does not answer.
    """
    if not NAME.fullmatch(name):
        raise InputError(f"expected a stack's name, letters, digits and hyphens, found {name[:200]!r}")
    with account_errors(f"stack {name}"):
        try:
            found: Mapping[str, Any] = client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
        except ClientError as error:
            if is_absent(error):
                return None
            raise
    return found


def stack_deployment(stack: Stack) -> Deployment:
    """Return the deployment of a stack, with clients to reach it.

    Raises:
        InputError: there are no credentials, or no region.
    """
    with account_errors(f"stack {stack.name}"):
        return open_deployment(f"s3://{stack.bucket}", stack.table, stack.scene_machine)
