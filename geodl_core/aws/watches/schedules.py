"""Schedules of watches: EventBridge Scheduler calls the function of scans when a watch says so.

The table comes first, the schedule second: whoever dies in between leaves a watch without its schedule, or a schedule
whose watch is gone, and `heal_schedules` sees from the table which. `META`/`SCHEDULES` says up to which revision of
watches the schedules are as the table has it, so that there is nothing to look at where nothing has changed.

A schedule has no dead-letter queue: what a firing that was lost would have found is found by the next one, whose window
reaches back behind the last whole scan. Requests carry no token but that of boto3's own repetitions: a token of the
watch's would hide a schedule that is removed and made again.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from geodl_core.aws.ledger.ledger import DAY_S, DynamoLedger, answers, number
from geodl_core.aws.ledger.watches import find_cloud_watch, list_cloud_watches, revision_of_watches
from geodl_core.aws.watches.expressions import expressions_of
from geodl_core.domain.watch.watch import Watch
from geodl_core.errors import CatalogError, InputError, UnavailableError

LOG = logging.getLogger("geodl.schedules")
META: dict[str, str] = {"pk": "META", "sk": "SCHEDULES"}
SECOND = "_"
"""Before the name of a watch's second schedule; no watch's name begins so."""
TRIES = 10
RETRIES: dict[str, int] = {"MaximumEventAgeInSeconds": 3_600, "MaximumRetryAttempts": 20}
"""Of a call that the function does not take."""
REFUSED = ("AccessDeniedException", "ValidationException", "ResourceNotFoundException")


@dataclass(frozen=True, slots=True)
class Scheduling:
    """Where the schedules of a deployment's watches are."""

    scheduler: Any
    """boto3's client of EventBridge Scheduler."""
    group: str
    """Of schedules; those in it that call the function are the watches'."""
    role: str
    """ARN of the role that they call by."""
    function: str
    """ARN of the function of scans."""


def wanted_schedules(scheduling: Scheduling, watch: Watch, *, is_paused: bool) -> dict[str, dict[str, Any]]:
    """Return the schedules that a watch is to have, by name, as Scheduler takes them; none where it does not scan.

    Raises:
        InputError: Scheduler cannot say when it scans.
    """
    if watch.mode != "schedule" or watch.schedule is None:
        return {}
    given = {
        "ScheduleExpressionTimezone": watch.schedule.timezone,
        "State": "DISABLED" if is_paused else "ENABLED",
        "Target": {
            "Arn": scheduling.function,
            "RoleArn": scheduling.role,
            "Input": json.dumps({"watch": watch.name}),
            "RetryPolicy": RETRIES,
        },
    }
    names = (watch.name, f"{SECOND}{watch.name}")
    found = expressions_of(watch.schedule)
    return {name: {**given, "ScheduleExpression": one} for name, one in zip(names, found, strict=False)}


def follow_watch(scheduling: Scheduling, ledger: DynamoLedger, name: str, revision: int | None = None) -> None:
    """Bring the schedules of a watch to what the table says of it, whoever has changed it last.

    Args:
        scheduling: where they are.
        ledger: with the table.
        name: of the watch, which may be gone.
        revision: of watches, that the caller has made; None where it has made none.

    Raises:
        InputError: Scheduler refuses it.
        UnavailableError: Scheduler or the table do not answer.
    """
    for _ in range(TRIES):
        kept = find_cloud_watch(ledger, name)
        wanted = {} if kept is None else wanted_schedules(scheduling, kept.watch, is_paused=kept.is_paused)
        for each in (name, f"{SECOND}{name}"):
            if each in wanted:
                _put(scheduling, each, wanted[each])
            else:
                _delete(scheduling, each)
        # Who wrote an older state after a newer one sees the newer one here.
        if find_cloud_watch(ledger, name) == kept:
            break
    if revision is not None:
        _settle(ledger, revision - 1, revision)


def heal_schedules(scheduling: Scheduling, ledger: DynamoLedger) -> int:
    """Make schedules agree with watches, where a change of these was not followed, and once a day in any case.

    Returns:
        How many watches had other schedules than they were to have.

    Raises:
        InputError: Scheduler refuses something.
        UnavailableError: Scheduler or the table do not answer.
    """
    current, now = revision_of_watches(ledger), ledger.clock()
    seen, checked = _settled(ledger)
    if seen == current and now - checked < DAY_S:
        return 0
    # Before the watches: one that is not among these then is gone, and not about to come.
    there = set(_names(scheduling))
    wanted: dict[str, dict[str, Any]] = {}
    for kept in list_cloud_watches(ledger):
        with _one_by_one(kept.watch.name):
            wanted |= wanted_schedules(scheduling, kept.watch, is_paused=kept.is_paused)
    differ = {name for name in there if name not in wanted}
    differ |= {name for name, one in wanted.items() if not _is_same(scheduling, name, one)}
    watches = {name.removeprefix(SECOND) for name in differ}
    for name in sorted(watches):
        with _one_by_one(name):
            follow_watch(scheduling, ledger, name)
    _settle(ledger, seen, current, checked=now)
    return len(watches)


@contextmanager
def _one_by_one(name: str) -> Iterator[None]:
    """Let a watch that Scheduler does not take, and that was let in by another version, stop none of the others."""
    try:
        yield
    except InputError as error:
        LOG.warning("watch cannot be scheduled", extra={"facts": {"watch": name, "problem": error.message}})


def _put(scheduling: Scheduling, name: str, wanted: Mapping[str, Any]) -> None:
    window = {"FlexibleTimeWindow": {"Mode": "OFF"}}
    request = {"Name": name, "GroupName": scheduling.group, **window, **wanted}
    with _replies(name):
        # Others may take it away and make it anew meanwhile.
        for call in ("update_schedule", "create_schedule") * 4:
            try:
                getattr(scheduling.scheduler, call)(**request)
            except ClientError as error:
                # Not there yet, or there by now.
                again = {"update_schedule": "ResourceNotFoundException", "create_schedule": "ConflictException"}[call]
                if error.response["Error"]["Code"] != again:
                    raise
                missing = error
            else:
                return
        raise missing


def _delete(scheduling: Scheduling, name: str) -> None:
    with _replies(name):
        try:
            scheduling.scheduler.delete_schedule(Name=name, GroupName=scheduling.group)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise


def _names(scheduling: Scheduling) -> Iterator[str]:
    """Yield the names of the schedules in the group that call the function."""
    with _replies(f"group {scheduling.group}"):
        for page in scheduling.scheduler.get_paginator("list_schedules").paginate(GroupName=scheduling.group):
            for one in page["Schedules"]:
                if one["Target"]["Arn"] == scheduling.function:
                    yield str(one["Name"])


def _is_same(scheduling: Scheduling, name: str, wanted: Mapping[str, Any]) -> bool:
    with _replies(name):
        try:
            found = scheduling.scheduler.get_schedule(Name=name, GroupName=scheduling.group)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return False
            raise
    target = {key: found["Target"].get(key) for key in wanted["Target"]}
    return {**{key: found.get(key) for key in wanted}, "Target": target} == dict(wanted)


def _settled(ledger: DynamoLedger) -> tuple[int, float]:
    """Return the revision that schedules are at, and when all were looked at last."""
    with answers(ledger):
        row = ledger.table.get_item(Key=META, ConsistentRead=True).get("Item") or {}
    return int(row.get("revision", 0)), float(row.get("checked", 0))


def _settle(ledger: DynamoLedger, seen: int, revision: int, checked: float | None = None) -> None:
    """Write down that schedules are at a revision, where nobody else has written since what was seen."""
    values = {":revision": revision, ":seen": seen, ":at": number(ledger.clock() if checked is None else checked)}
    # A first change was not looked at with all others: there are none.
    sets = "revision = :revision, checked = " + ("if_not_exists(checked, :at)" if checked is None else ":at")
    try:
        ledger.table.update_item(
            Key=META,
            UpdateExpression=f"SET {sets}",
            ConditionExpression="revision = :seen" + ("" if seen else " OR attribute_not_exists(revision)"),
            ExpressionAttributeValues=values,
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise CatalogError(f"table {ledger.table.name}: it does not answer ({error})") from error
    except BotoCoreError as error:
        raise CatalogError(f"table {ledger.table.name}: it does not answer ({error})") from error


@contextmanager
def _replies(name: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        told = error.response["Error"]
        if told["Code"] in REFUSED:
            raise InputError(f"schedule {name}: Scheduler refuses it ({told['Code']}: {told['Message']})") from error
        raise UnavailableError(f"schedule {name}: Scheduler does not take it now ({told['Code']})") from error
    except BotoCoreError as error:
        raise UnavailableError(f"schedule {name}: Scheduler does not answer ({type(error).__name__})") from error
