"""What was left lying: runs that are due by now, that were claimed and never started, whose execution ended untold."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import chain

from geodl_core.aws.ledger.ledger import CloudRun, StatePage, list_by_state, move_run, read_run
from geodl_core.aws.site.executions import Deployment, describe, execution_name, running_names, start_run
from geodl_core.aws.steps.causes import Failure, read_failure
from geodl_core.aws.steps.fail_stage import end_run
from geodl_core.domain.run.state import ACTIVE, FINAL, State
from geodl_core.errors import InputError, UnavailableError

MOST_RUNS = 10_000
"""Looked at in each state; more wait for the next sweep."""
MOST_SAID = 5
LONG_S = 6 * 3_600.0
"""After which a run that has not come on is told."""
GRACE_S = 120.0
"""Whoever was at a run so lately may be at it still; Step Functions' lists lag behind, too."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did."""

    started: int
    """Runs that were due, and that no back-fill holds."""
    restarted: int
    """That were claimed, and had no execution."""
    ended: int
    """Whose execution had ended without telling."""
    stalled: int
    """Whose execution runs, and has not come on for long: jobs that wait for machines that do not come."""


def sweep(deployment: Deployment) -> Swept:
    """Start what is due, and end what ended; the same at any time and any number of times.

    Raises:
        UnavailableError: ledger or Step Functions do not answer, for a run at least; all others are swept.
    """
    now = deployment.ledger.clock()
    # However many wait for their day: those that are due are asked for, not the ones that have waited longest.
    due = _left(deployment, "queued", StatePage(MOST_RUNS, due=now), now)
    outcomes, failed = _each(due, partial(_start, deployment))
    lists = (_left(deployment, state, StatePage(MOST_RUNS), now) for state in ACTIVE)
    active = list(chain.from_iterable(lists))
    running = running_names(deployment) if active else set()
    settled, more = _each((run for run in active if execution_name(run) not in running), partial(_settle, deployment))
    if failed or more:
        raise UnavailableError("; ".join(error.message for error in [*failed, *more][:MOST_SAID]))
    stalled = sum(run.updated <= now - LONG_S for run in active if execution_name(run) in running)
    return Swept(len(outcomes), settled.count("restarted"), settled.count("ended"), stalled)


def end_stopped(deployment: Deployment, execution: str) -> bool:
    """End the run of an execution that was stopped, or ran out of time; return whether it had not ended yet.

    Args:
        deployment: ledger and state machine.
        execution: its name.

    Raises:
        UnavailableError: ledger or Step Functions do not answer.
    """
    run = read_run(deployment.ledger, execution.rpartition("-")[0])
    # One that was stopped before it planned is queued still; no other execution may have its name.
    if run is None or execution_name(run) != execution or run.state in FINAL:
        return False
    return _settle(deployment, run) == "ended"


def _each(runs: Iterable[CloudRun], act: Callable[[CloudRun], str]) -> tuple[list[str], list[UnavailableError]]:
    """Do something to each run; return what came of it, and what did not answer: one must not keep the others."""
    outcomes, failed = [], []
    for run in runs:
        try:
            outcomes.append(act(run))
        except UnavailableError as error:
            failed.append(error)
    return outcomes, failed


def _start(deployment: Deployment, run: CloudRun) -> str:
    start_run(deployment, run)
    return "started"


def _left(deployment: Deployment, state: State, asked: StatePage, now: float) -> list[CloudRun]:
    """Return the runs in a state that nobody has changed lately."""
    runs = list_by_state(deployment.ledger, state, asked)
    return [run for run in runs if run.updated <= now - GRACE_S]


def _settle(deployment: Deployment, run: CloudRun) -> str:
    """Bring a run that is not being worked on to where it belongs; return what was done."""
    execution = describe(deployment, run)
    if execution is None:
        return _again(deployment, run)
    if execution.status in ("RUNNING", "PENDING_REDRIVE"):
        return "left"
    if execution.status == "SUCCEEDED":
        failure = Failure("InferenceError", "its execution ended without a result")
    else:
        failure = read_failure(execution.error or f"States.{execution.status}", execution.cause or "")
    return "ended" if end_run(deployment.ledger, run, failure) else "left"


def _again(deployment: Deployment, run: CloudRun) -> str:
    """Queue a run whose execution there never was, and start it."""
    try:
        queued = move_run(deployment.ledger, run.id, "queued", "there was no execution")
    except InputError:
        return "left"
    start_run(deployment, queued)
    return "restarted"
