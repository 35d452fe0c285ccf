"""Controls of a deployment on moto: a group of schedules, a function that notes its calls, a machine for back-fills."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cloud import Cloud, client
from geodl_core.aws.site.documents import write_document
from geodl_core.aws.site.layout import model_item_url
from geodl_core.aws.watches.controls import Controls
from geodl_core.aws.watches.schedules import Scheduling
from geodl_core.domain.watch.watch import Watch, read_watch

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/schedules"
WAIT = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 9, "End": True}}}


@dataclass
class Functions:
    """Lambda, as far as it is called: what was asked, in order."""

    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    def invoke(self, FunctionName: str, InvocationType: str, Payload: bytes) -> dict[str, int]:
        self.asked.append((FunctionName, InvocationType, json.loads(Payload)))
        return {"StatusCode": 202}


class Scheduler:
    """Scheduler with something that happens before its calls."""

    def __init__(self, happens: Callable[[str], None]) -> None:
        self._client, self._happens = client("scheduler"), happens

    def __getattr__(self, name: str) -> Any:
        self._happens(name)
        return getattr(self._client, name)


def controls_of(cloud: Cloud, scheduler: Any = None) -> Controls:
    """Return the controls of a deployment, with a registered model `water` in its bucket."""
    there = client("scheduler")
    group = f"{cloud.table}-watches"
    if group not in {one["Name"] for one in there.list_schedule_groups()["ScheduleGroups"]}:
        there.create_schedule_group(Name=group)
    item = {"type": "Feature", "id": "water-0123456789abcdef", "properties": {"created": "2026-01-01T00:00:00Z"}}
    write_document(cloud.s3, model_item_url(cloud.bucket, "water", "0123456789abcdef"), item)
    scan = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{cloud.table}-scan"
    scheduling = Scheduling(scheduler or there, group, ROLE, scan)
    return Controls(cloud.deployment, scheduling, Functions(), _machine(cloud), scan)


def scheduled(name: str = "w", **more: Any) -> Watch:
    """Return a watch that scans."""
    return read_watch(document_of(name, **more), name)


def document_of(name: str = "w", **more: Any) -> dict[str, Any]:
    """Return the document of a watch that scans."""
    usual = {"mode": "schedule", "schedule": {"cron": "0 6 * * *"}, "collections": ["scenes"]}
    return {"name": name, "model": "water", **usual, **more}


def schedules_of(controls: Controls) -> dict[str, dict[str, Any]]:
    """Return all schedules of the group, by name."""
    assert controls.scheduling is not None
    group, there = controls.scheduling.group, client("scheduler")
    names = [one["Name"] for one in there.list_schedules(GroupName=group)["Schedules"]]
    return {name: there.get_schedule(GroupName=group, Name=name) for name in names}


def _machine(cloud: Cloud) -> str:
    name = f"{cloud.table}-backfill"
    role = f"arn:aws:iam::{ACCOUNT}:role/states"
    found: str = client("stepfunctions").create_state_machine(name=name, roleArn=role, definition=json.dumps(WAIT))[
        "stateMachineArn"
    ]
    return found
