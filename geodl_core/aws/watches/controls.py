"""What watches and scans of a deployment are changed by, from a function of it or from a user's machine."""

import json
from dataclasses import dataclass
from typing import Any

from geodl_core.aws.ledger.watches import CloudWatch, pause_cloud_watch, put_cloud_watch, remove_cloud_watch
from geodl_core.aws.site.account import account_errors
from geodl_core.aws.site.clients import client
from geodl_core.aws.site.executions import Deployment
from geodl_core.aws.site.model_index import resolve_model
from geodl_core.aws.watches.expressions import expressions_of
from geodl_core.aws.watches.schedules import Scheduling, follow_watch
from geodl_core.domain.watch.filters import read_filter
from geodl_core.domain.watch.watch import Watch, read_watch
from geodl_core.errors import InputError, UnavailableError


@dataclass(frozen=True, slots=True)
class Controls:
    """A deployment, and what else a change of its watches concerns."""

    deployment: Deployment
    scheduling: Scheduling | None
    """None where the deployment has no schedules."""
    functions: Any
    """boto3's client of Lambda."""
    backfill_machine: str
    """ARN; empty where there is none."""
    scan_function: str
    """ARN; empty where there is none."""


def open_controls(deployment: Deployment, group: str, role: str, scan: str, backfill: str) -> Controls:
    """Return the controls of a deployment.

    Args:
        deployment: bucket, ledger, state machine.
        group: name of the group of schedules.
        role: ARN of the role of schedules.
        scan: ARN of the function of scans.
        backfill: ARN of the state machine for back-fills. Any of these is empty where there is none.

    Raises:
        InputError: there are no credentials, or no region.
    """
    with account_errors("schedules"):
        scheduling = Scheduling(client("scheduler"), group, role, scan) if group and role and scan else None
        return Controls(deployment, scheduling, client("lambda"), backfill, scan)


def keep_cloud_watch(controls: Controls, document: Any, place: str, *, replaces: bool) -> CloudWatch:
    """Keep a watch that serves, with its schedule.

    Args:
        controls: of the deployment.
        document: from JSON or YAML.
        place: what it is called in errors.
        replaces: one of the same name, which stays paused if it was.

    Raises:
        InputError: it cannot be read, its filter is none, it cannot be scheduled, or there is one of this name already.
        ModelError: its model is not registered in the bucket.
        UnavailableError: something does not answer.
    """
    watch = read_watch(document, place)
    require_served(controls, watch)
    kept = put_cloud_watch(controls.deployment.ledger, watch, replaces=replaces)
    _follow(controls, watch.name, kept.revision)
    return kept


def require_served(controls: Controls, watch: Watch) -> None:
    """Make sure that a watch can be asked and scheduled, and that there is its model.

    Raises:
        InputError: as `keep_cloud_watch`.
        ModelError: as `keep_cloud_watch`.
        StoreError: the bucket does not answer.
    """
    name = f"watch {watch.name}"
    if watch.filter is not None:
        read_filter(watch.filter, f"{name}: filter")
    if watch.schedule is not None:
        if controls.scheduling is None:
            raise InputError(f"{name}: expected a deployment with schedules, found one without")
        try:
            expressions_of(watch.schedule)
        except InputError as error:
            raise InputError(f"{name}: {error.message}", error.hint) from error
    resolve_model(controls.deployment.s3, controls.deployment.bucket, watch.model)


def pause_kept_watch(controls: Controls, name: str, *, is_paused: bool) -> CloudWatch:
    """Pause a watch, and its schedule, or let them go on.

    Raises:
        InputError: there is none.
        UnavailableError: something does not answer.
    """
    kept = pause_cloud_watch(controls.deployment.ledger, name, is_paused=is_paused)
    _follow(controls, name, kept.revision)
    return kept


def remove_kept_watch(controls: Controls, name: str) -> None:
    """Forget a watch, and its schedule; its runs and results stay.

    Raises:
        InputError: there is none.
        UnavailableError: something does not answer.
    """
    _follow(controls, name, remove_cloud_watch(controls.deployment.ledger, name))


def scan_now(controls: Controls, name: str) -> None:
    """Have the function scan for a watch, which may be paused; it does so by itself.

    Raises:
        InputError: there is no function, or it may not be called.
        UnavailableError: Lambda does not answer.
    """
    if not controls.scan_function:
        raise InputError("expected a function that scans, found none", hint="GEODL_SCAN_FUNCTION names it")
    with account_errors(f"scan of {name}"):
        payload = json.dumps({"watch": name}).encode()
        controls.functions.invoke(FunctionName=controls.scan_function, InvocationType="Event", Payload=payload)


def _follow(controls: Controls, name: str, revision: int) -> None:
    if controls.scheduling is None:
        return
    try:
        follow_watch(controls.scheduling, controls.deployment.ledger, name, revision)
    except UnavailableError as error:
        hint = "the watch itself is changed; its schedule follows within minutes, or by the same call again"
        raise type(error)(error.message, hint) from error
