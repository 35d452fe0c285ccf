"""Change sets of CloudFormation: read for a person, executed and followed, or thrown away; and why one failed."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from geodl_core.aws.site.account import account_errors
from geodl_core.aws.site.clients import client
from geodl_core.aws.site.stack import describe_stack
from geodl_core.errors import InputError

Action = Literal["add", "modify", "replace", "remove", "import"]
ACTIONS: dict[str, Action] = {"Add": "add", "Modify": "modify", "Remove": "remove", "Import": "import"}
PAUSE_S = 3.0
STACK = "AWS::CloudFormation::Stack"
FOLLOWERS = ("cancelled", "Cancelled")
"""In the reasons of what failed because something else did."""
KEEPERS = (
    "AWS::S3::Bucket",
    "AWS::DynamoDB::Table",
    "AWS::RDS::DBCluster",
    "AWS::SecretsManager::Secret",
    "AWS::KMS::Key",
)
"""Types of resources that hold what cannot be made again."""


@dataclass(frozen=True, slots=True)
class Change:
    """What would happen to a resource."""

    action: Action
    logical_id: str
    kind: str
    """`AWS::S3::Bucket`."""
    is_perhaps: bool = False
    """Replaced only if a value that is not known yet differs."""

    @property
    def loses_data(self) -> bool:
        """Whether it takes data with it, as far as its type tells."""
        return self.action in ("replace", "remove") and self.kind in KEEPERS


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a resource of a stack."""

    id: str
    logical_id: str
    kind: str
    status: str
    reason: str

    @property
    def is_failure(self) -> bool:
        """Whether it failed by itself, and not because something else did."""
        return self.status.endswith("_FAILED") and not any(word in self.reason for word in FOLLOWERS)


def read_changes(change_set: str) -> tuple[Change, ...]:
    """Return what a change set would do: removals and replacements first, then by name.

    Args:
        change_set: its ARN.

    Raises:
        InputError: AWS refuses to tell.
        UnavailableError: AWS does not answer.
    """
    found = []
    with account_errors("change set"):
        for page in client("cloudformation").get_paginator("describe_change_set").paginate(ChangeSetName=change_set):
            found += [_change(entry["ResourceChange"]) for entry in page["Changes"] if "ResourceChange" in entry]
    order = ("remove", "replace", "modify", "import", "add")
    return tuple(sorted(found, key=lambda change: (order.index(change.action), change.kind, change.logical_id)))


def execute(stack: str, change_set: str, watch: Callable[[Event], None]) -> None:
    """Execute a change set, and wait for its end.

    Args:
        stack: name.
        change_set: its ARN.
        watch: is told what happens.

    Raises:
        InputError: it failed; names the resource that failed first, and why.
        UnavailableError: AWS does not answer.
    """
    seen = {event.id for event in events_of(stack)}
    with account_errors(f"stack {stack}"):
        client("cloudformation").execute_change_set(ChangeSetName=change_set, StackName=stack)
    status, events = follow(stack, seen, watch)
    if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        raise failed(stack, status, events)


def follow(stack: str, seen: set[str], watch: Callable[[Event], None]) -> tuple[str, list[Event]]:
    """Wait until nothing happens to a stack any more; return its state, and what happened meanwhile.

    Args:
        stack: name, or its ARN, by which it is known after it was deleted too.
        seen: ids of events that happened before.
        watch: is told of each event.

    Raises:
        UnavailableError: AWS does not answer.
    """
    happened: list[Event] = []
    while True:
        # Asked first: what happens before the end is then told before it.
        status = _status(stack)
        for event in _since(stack, seen):
            seen.add(event.id)
            happened.append(event)
            watch(event)
        if not status.endswith("_IN_PROGRESS"):
            return status, happened
        time.sleep(PAUSE_S)


def discard(stack: str, change_set: str) -> None:
    """Throw a change set away, and with it a stack that was made for it alone.

    Raises:
        UnavailableError: AWS does not answer.
    """
    with account_errors(f"stack {stack}"):
        client("cloudformation").delete_change_set(ChangeSetName=change_set, StackName=stack)
        told = describe_stack(stack)
        if told is not None and told["StackStatus"] == "REVIEW_IN_PROGRESS":
            client("cloudformation").delete_stack(StackName=stack)


def events_of(stack: str) -> list[Event]:
    """Return what happened to a stack, oldest first; nothing where there is none.

    Raises:
        UnavailableError: AWS does not answer.
    """
    return _since(stack, set())


def last_failure(stack: str, status: str) -> InputError:
    """Return the error of a stack's last change, which failed."""
    events = events_of(stack)
    starts = [
        number
        for number, event in enumerate(events)
        if event.kind == STACK and event.status in ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS")
    ]
    return failed(stack, status, events[starts[-1] :] if starts else events)


def failed(stack: str, status: str, events: Sequence[Event]) -> InputError:
    """Return the error of a change that failed: the resource that failed first, and why.

    Args:
        stack: name.
        status: that it ended in.
        events: of the change, oldest first.
    """
    causes = [event for event in events if event.is_failure and event.kind != STACK]
    cause = next(iter(causes), next((event for event in events if event.is_failure), None))
    why = f"it is {status}" if cause is None else f"{cause.logical_id} ({cause.kind}) failed: {cause.reason or '?'}"
    also = f"; {len(causes) - 1} more failed" if len(causes) > 1 else ""
    return InputError(f"stack {stack}: {why}{also}", hint=_hint(status))


def _hint(status: str) -> str:
    if status in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"):
        return f"it is {status}; geodl deploy --remove takes what is left away, then deploy again"
    if status == "UPDATE_ROLLBACK_FAILED":
        return "it is UPDATE_ROLLBACK_FAILED; aws cloudformation continue-update-rollback, once the cause is mended"
    return f"it is {status}: all is as it was before"


def _since(stack: str, seen: set[str]) -> list[Event]:
    found: list[Event] = []
    with account_errors(f"stack {stack}"):
        if _told(stack) is None:
            return []
        for entry in _entries(stack):
            if entry["EventId"] in seen:
                break
            found.append(_event(entry))
    return found[::-1]


def _entries(stack: str) -> Iterator[Mapping[str, Any]]:
    """Yield events of a stack, newest first."""
    for page in client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=stack):
        yield from page["StackEvents"]


def _status(stack: str) -> str:
    told = _told(stack)
    return "DELETE_COMPLETE" if told is None else str(told["StackStatus"])


def _told(stack: str) -> Mapping[str, Any] | None:
    """Return what CloudFormation tells of a stack by its name or ARN."""
    if not stack.startswith("arn:"):
        return describe_stack(stack)
    found: Mapping[str, Any] = client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    return found


def _event(entry: Mapping[str, Any]) -> Event:
    return Event(
        str(entry["EventId"]),
        str(entry.get("LogicalResourceId", "")),
        str(entry.get("ResourceType", "")),
        str(entry.get("ResourceStatus", "")),
        str(entry.get("ResourceStatusReason") or ""),
    )


def _change(entry: Mapping[str, Any]) -> Change:
    action = ACTIONS.get(str(entry["Action"]), "modify")
    replacement = str(entry.get("Replacement") or "False")
    if action == "modify" and replacement in ("True", "Conditional"):
        action = "replace"
    return Change(action, str(entry["LogicalResourceId"]), str(entry["ResourceType"]), replacement == "Conditional")
