"""How a deployment does: its runs, what hangs, what failed lately, its queues, jobs and alarms."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TypeVar

from geodl_core.aws.ledger.found_runs import Count, count_runs, ended_since
from geodl_core.aws.ledger.ledger import CloudRun, DynamoLedger, StatePage, list_by_state
from geodl_core.aws.operate.batch_jobs import count_jobs
from geodl_core.aws.site.account import account_errors
from geodl_core.aws.site.clients import client
from geodl_core.aws.site.executions import Deployment, execution_name, running_names
from geodl_core.aws.site.stack import Stack
from geodl_core.aws.steps.sweep import LONG_S
from geodl_core.domain.run.state import ACTIVE, STATES, State
from geodl_core.errors import GeodlError

DAY_S = 86_400.0
STUCK_S = 900.0
"""The sweep comes every two minutes: what it has not mended by then hangs."""
MOST_SHOWN = 20
MOST_FAILED = 10_000
MOST_LATEST = 5

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Stuck:
    """A run that does not get on."""

    run: CloudRun
    why: str
    seconds: float
    """Since its last change."""


@dataclass(frozen=True, slots=True)
class Depth:
    """What is in a queue, about."""

    waiting: int
    in_work: int
    """Received, and not deleted yet."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm of the deployment."""

    name: str
    state: str
    """OK, ALARM or INSUFFICIENT_DATA."""
    reason: str


@dataclass(frozen=True, slots=True)
class Overview:
    """How a deployment does; what could not be asked for is empty, and named in `problems`."""

    counts: Mapping[State, Count]
    latest: Sequence[CloudRun]
    """Those changed last, newest first, `MOST_LATEST` at most."""
    stuck: Sequence[Stuck]
    failed: Sequence[CloudRun]
    """In the last day, newest first, `MOST_SHOWN` at most."""
    failed_count: int
    queues: Mapping[str, Depth]
    jobs: Mapping[str, int]
    alarms: Sequence[Alarm]
    problems: Mapping[str, str] = field(default_factory=dict)
    """Part → why it could not be asked for."""


def look_over(stack: Stack, deployment: Deployment) -> Overview:
    """Return how a deployment does; a part that may not be asked for does not hide the others.

    Raises:
        CatalogError: the ledger does not answer.
    """
    ledger, now = deployment.ledger, deployment.ledger.clock()
    problems: dict[str, str] = {}

    def asked(part: str, ask: Callable[[], _T], empty: _T) -> _T:
        try:
            return ask()
        except GeodlError as error:
            problems[part] = error.message
            return empty

    lately = list(islice(ended_since(ledger, ("failed", "invalid"), now - DAY_S, None), MOST_FAILED))
    lately.sort(key=lambda run: -run.updated)
    stuck: Sequence[Stuck] = ()
    queues: Mapping[str, Depth] = {}
    jobs: Mapping[str, int] = {}
    alarms: Sequence[Alarm] = ()
    return Overview(
        counts=count_runs(ledger),
        latest=latest_runs(ledger),
        stuck=asked("stuck runs", lambda: find_stuck(deployment), stuck),
        failed=lately[:MOST_SHOWN],
        failed_count=len(lately),
        queues=asked("queues", lambda: read_depths(stack), queues),
        jobs=asked("jobs", lambda: count_jobs(stack), jobs),
        alarms=asked("alarms", lambda: read_alarms(stack), alarms),
        problems=problems,
    )


def latest_runs(ledger: DynamoLedger) -> list[CloudRun]:
    """Return the runs that were changed last, newest first.

    Raises:
        CatalogError: the ledger does not answer.
    """
    page = StatePage(MOST_LATEST, is_newest_first=True)
    found = [run for state in STATES for run in list_by_state(ledger, state, page)]
    return sorted(found, key=lambda run: (-run.updated, run.id))[:MOST_LATEST]


def find_stuck(deployment: Deployment) -> list[Stuck]:
    """Return the runs that should have got on, those that hang longest first.

    Raises:
        UnavailableError: ledger or Step Functions do not answer.
    """
    now = deployment.ledger.clock()
    oldest = StatePage(MOST_FAILED)
    waiting = list_by_state(deployment.ledger, "queued", replace(oldest, due=now - STUCK_S))
    found = [(run, "it is due, and was not started") for run in waiting if run.updated <= now - STUCK_S]
    active = [run for state in ACTIVE for run in list_by_state(deployment.ledger, state, oldest)]
    quiet = [run for run in active if run.updated <= now - STUCK_S]
    names = running_names(deployment) if quiet else set()
    for run in quiet:
        if execution_name(run) not in names:
            found.append((run, "no execution of it runs"))
        elif run.updated <= now - LONG_S:
            found.append((run, "it computes for long"))
    stuck = [Stuck(run, why, now - run.updated) for run, why in found]
    return sorted(stuck, key=lambda one: -one.seconds)


def read_depths(stack: Stack) -> dict[str, Depth]:
    """Return how much is in the queues.

    Raises:
        InputError: AWS refuses to tell.
        UnavailableError: AWS does not answer.
    """
    names = (
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
    )
    found = {}
    for name, url in (("ingest", stack.ingest_queue), ("dead letters", stack.ingest_dead_letters)):
        if url:
            with account_errors(f"queue {name}"):
                told = client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
            waiting, in_work, later = (int(told.get(one, 0)) for one in names)
            found[name] = Depth(waiting + later, in_work)
    return found


def read_alarms(stack: Stack) -> list[Alarm]:
    """Return the alarms of a stack, those that ring first.

    Raises:
        InputError: AWS refuses to tell.
        UnavailableError: AWS does not answer.
    """
    with account_errors("alarms"):
        pages = client("cloudwatch").get_paginator("describe_alarms").paginate(AlarmNamePrefix=f"{stack.name}-")
        entries = [entry for page in pages for entry in page.get("MetricAlarms", ())]
    alarms = [
        Alarm(str(one["AlarmName"]), str(one["StateValue"]), str(one.get("StateReason") or ""))
        for one in entries
        if _is_named_by(stack, str(one["AlarmName"]))
    ]
    return sorted(alarms, key=lambda alarm: (alarm.state != "ALARM", alarm.name))


def _is_named_by(stack: Stack, alarm: str) -> bool:
    """Say whether CloudFormation named an alarm so for this stack: NAME-LOGICALID-RANDOM, and no hyphen in either.

    The alarms of a stack `geodl-prod` begin as those of a stack `geodl` do.
    """
    return alarm.removeprefix(f"{stack.name}-").count("-") == 1
