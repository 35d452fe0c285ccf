"""Why an execution failed, for a person: what Lambda, Batch and Step Functions write as cause, in a line.

Formats: Lambda's error object (errorType, errorMessage), Batch's job as DescribeJobs gives it (Status, StatusReason,
Attempts, Container or EcsProperties), both as JSON in the Cause of a state that failed; as AWS's documentation of each.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from geodl_core.domain.place.href import scrub
from geodl_core.domain.run.state import State, state_after
from geodl_core.errors import (
    DataError,
    GeodlError,
    InferenceError,
    InputError,
    OutOfMemoryError,
    RefusedError,
    UnavailableError,
)

MOST_TEXT = 2_000


def _family(kind: type[GeodlError]) -> Iterator[type[GeodlError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _family(child)


KINDS: dict[str, type[GeodlError]] = {kind.__name__: kind for kind in _family(GeodlError)}
"""Errors by the names of their classes, which is all that Lambda tells."""
EXIT_CODES: dict[int, type[GeodlError]] = {
    2: InputError,
    3: DataError,
    4: InferenceError,
    75: UnavailableError,
    77: RefusedError,
    137: OutOfMemoryError,
}
"""Of a container: the classes whose code it is; 137 is SIGKILL, which is what memory without end comes to."""
PLAIN = {
    "States.Timeout": "it took longer than it may",
    "States.TIMED_OUT": "it took longer than it may",
    "States.ABORTED": "it was stopped by hand",
    "Sandbox.Timedout": "the function took longer than it may",
    "Lambda.Unknown": "the function ended without an answer: out of time or memory",
    "Runtime.ExitError": "the function's process ended: out of memory",
    "Runtime.OutOfMemory": "the function ran out of memory",
    "States.DataLimitExceeded": "a message between the steps was larger than 256 KiB",
    "States.ExceedToleratedFailureThreshold": "a shard failed",
}
SPOT = ("Host EC2", "Your Spot Task was interrupted")
"""How Batch begins to say that a machine on Spot, or a task on Fargate Spot, was taken back."""
JOB = re.compile(r"[0-9a-f]{64}-\d+-(?P<part>\d+|merge)")
"""Names of a run's jobs, as the state machine gives them."""
SAID = re.compile(r"^error: (?P<text>.+)$", re.MULTILINE)
"""What `geodl` writes last, where it fails on purpose."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run failed."""

    kind: str
    """Name of a class of `errors`, or what a service calls it."""
    message: str
    log: str | None = None
    """Name of the log stream of the job that failed, where one did."""

    @property
    def state(self) -> State:
        """Of a run that ended so."""
        known = KINDS.get(self.kind)
        return "failed" if known is None else state_after(known(self.message))


def read_failure(error: str, cause: str) -> Failure:
    """Return why a state failed.

    Args:
        error: name of the error, as Step Functions has it.
        cause: its cause: JSON or text, from anywhere.
    """
    told = _object(cause)
    if "Error" in told and set(told) <= {"Error", "Cause"}:
        # What a Catch was given, handed on as it was by a state that fails.
        return read_failure(str(told["Error"]), str(told.get("Cause") or ""))
    if "errorMessage" in told or "errorType" in told:
        return _of_function(error, told)
    if "JobId" in told or "Container" in told or "StatusReason" in told:
        return _of_job(told)
    plain = PLAIN.get(error)
    text = scrub(cause.strip())
    message = plain if plain and not text else f"{plain}: {text}" if plain else text or error
    return Failure(error, message[:MOST_TEXT])


def with_log(failure: Failure, lines: str) -> Failure:
    """Return a failure with what the job itself wrote last about it, where it did."""
    said = [match["text"] for match in SAID.finditer(lines)]
    if not said:
        return failure
    return Failure(failure.kind, f"{scrub(said[-1])} ({failure.message})"[:MOST_TEXT], failure.log)


def _of_function(error: str, told: Mapping[str, Any]) -> Failure:
    kind = str(told.get("errorType") or error)
    message = scrub(str(told.get("errorMessage") or ""))
    if "Task timed out" in message:
        return Failure("Sandbox.Timedout", f"{PLAIN['Sandbox.Timedout']}: {message}"[:MOST_TEXT])
    if kind in PLAIN:
        message = f"{PLAIN[kind]}: {message}" if message else PLAIN[kind]
    elif kind not in KINDS:
        message = f"{kind}: {message}"
    return Failure(kind, message[:MOST_TEXT] or kind)


def _of_job(told: Mapping[str, Any]) -> Failure:
    """Return why a Batch job failed: by its exit code, else by what Batch says."""
    container = _container(told)
    code, reason = container.get("ExitCode"), str(container.get("Reason") or "")
    status = scrub(str(told.get("StatusReason") or ""))
    log = container.get("LogStreamName")
    attempts = told.get("Attempts")
    tries = len(attempts) if isinstance(attempts, list) else 0
    kind = EXIT_CODES.get(code) if isinstance(code, int) else None
    if "OutOfMemory" in reason:
        kind = OutOfMemoryError
    if status.startswith(SPOT):
        kind, reason = UnavailableError, "its machine was taken away (Spot)"
    said = "; ".join(filter(None, (scrub(reason), "" if status.startswith("Essential container") else status)))
    ended = f"exit code {code}" if code is not None else "it was never started"
    name = _shown_name(str(told.get("JobName") or "job"))
    message = f"{name}: {ended}{f', in {tries} tries' if tries > 1 else ''}{f': {said}' if said else ''}"
    stream = log if isinstance(log, str) else None
    return Failure("States.TaskFailed" if kind is None else kind.__name__, message[:MOST_TEXT], stream)


def _container(told: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what Batch says of a job's container; of several of the one that failed.

    There are two shapes of job definitions: one with EcsProperties (Managed Instances) has a list of tasks, with a list
    of containers each.
    """
    plain = told.get("Container")
    ecs = told.get("EcsProperties")
    found = [plain] if isinstance(plain, Mapping) else []
    for task in _mappings(ecs.get("TaskProperties")) if isinstance(ecs, Mapping) else ():
        found += _mappings(task.get("Containers"))
    said = [one for one in found if one.get("ExitCode") is not None or one.get("Reason")]
    failed = [one for one in said if one.get("ExitCode") != 0]
    return next(iter([*failed, *said, *found]), {})


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _shown_name(name: str) -> str:
    """Return what a job is called for a person, who knows the run: its number, or what it does."""
    match = JOB.fullmatch(name)
    if match is None:
        return name
    return f"shard {match['part']}" if match["part"].isdigit() else match["part"]


def _object(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, Mapping) else {}
