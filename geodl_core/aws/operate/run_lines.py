"""What a run's functions and jobs wrote, in order of time: from CloudWatch Logs, found by the run's id."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from botocore.exceptions import ClientError

from geodl_core.aws.ledger.ledger import CloudRun
from geodl_core.aws.operate.batch_jobs import MERGE, BatchJob
from geodl_core.aws.site.account import account_errors
from geodl_core.aws.site.clients import client
from geodl_core.aws.site.stack import Stack
from geodl_core.domain.place.href import scrub

Stage = Literal["plan", "shard", "merge", "register"]
STAGES: tuple[Stage, ...] = ("plan", "shard", "merge", "register")
FUNCTIONS: Mapping[Stage, tuple[str, ...]] = {
    "plan": ("plan",),
    "shard": (),
    "merge": ("merge-raster", "merge-vector"),
    "register": ("register",),
}
"""Stage → functions that do it."""
OTHERS = ("ingest", "scan", "sweep", "runs", "fail")
"""Functions that say something of a run beside its stages."""
MOST_TERMS = 20
"""Of a filter of CloudWatch Logs; its text may have 1,024 characters."""
MOST_LINES = 50_000
PLATFORM = ("START ", "END ", "REPORT ", "INIT_START ", "XRAY ")
"""Beginnings of lines that Lambda writes of a call."""
REPORT = re.compile(r"Duration: (?P<ms>[\d.]+) ms.*?Memory Size: (?P<size>\d+) MB.*?Max Memory Used: (?P<used>\d+) MB")
MISSING = "ResourceNotFoundException"


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a function or a job wrote."""

    at_s: float
    """Seconds since 1970."""
    source: str
    """Name of the function without the stack's, or `shard 3`, or `merge job`."""
    level: str
    """INFO, WARNING…, empty where the line does not say."""
    text: str
    key: str
    """By which it is told from others."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines of a run."""

    stage: Stage | None = None
    """None for all."""
    shard: int | None = None
    """Only of the job of this number; None for all."""
    since_s: float | None = None
    """Only lines from then on; None for the run's whole life."""


def read_lines(
    stack: Stack, run: CloudRun, wanted: Wanted, jobs: Iterable[BatchJob], requests: Iterable[str]
) -> list[LogLine]:
    """Return lines of a run, in order of time.

    Args:
        stack: the deployment.
        run: whose lines.
        wanted: which of them.
        jobs: of the run.
        requests: ids of the calls of functions that its executions made.

    Raises:
        InputError: the logs may not be read.
        UnavailableError: CloudWatch Logs does not answer.
    """
    logs = client("logs")
    since_s = run.created - 60 if wanted.since_s is None else wanted.since_s
    with account_errors("logs"):
        found = list(_of_functions(logs, stack, wanted, (since_s, [run.id, *sorted(requests)])))
        for job in jobs:
            if _is_wanted(job, wanted):
                found += _of_job(logs, stack.batch_logs, job, since_s)
    return sorted({line.key: line for line in found}.values(), key=lambda line: (line.at_s, line.source))


def functions_for(wanted: Wanted) -> tuple[str, ...]:
    """Return the functions whose lines are asked for."""
    if wanted.shard is not None:
        return ()
    if wanted.stage is not None:
        return FUNCTIONS[wanted.stage]
    return (*(name for names in FUNCTIONS.values() for name in names), *OTHERS)


def _is_wanted(job: BatchJob, wanted: Wanted) -> bool:
    if wanted.shard is not None:
        return job.shard == wanted.shard
    return wanted.stage in (None, MERGE if job.shard is None else "shard")


def _of_functions(logs: Any, stack: Stack, wanted: Wanted, asked: tuple[float, list[str]]) -> Iterator[LogLine]:
    since_s, terms = asked
    for name in functions_for(wanted):
        for start in range(0, len(terms), MOST_TERMS):
            some = terms[start : start + MOST_TERMS]
            pattern = " ".join(f'?"{term}"' for term in some)
            group = f"{stack.function_logs}{name}"
            for event in _events(
                logs.get_paginator("filter_log_events").paginate,
                {"logGroupName": group, "filterPattern": pattern, "startTime": int(since_s * 1000)},
            ):
                # Not all that speak this interface know filters.
                if any(term in event["message"] for term in some):
                    yield _function_line(name, event)


def _of_job(logs: Any, group: str, job: BatchJob, since_s: float) -> list[LogLine]:
    source = "merge job" if job.shard is None else f"shard {job.shard}"
    if not group or not job.streams:
        return []
    asked = {"logGroupName": group, "logStreamNames": list(job.streams), "startTime": int(since_s * 1000)}
    events = _events(logs.get_paginator("filter_log_events").paginate, asked)
    return [_job_line(source, event) for event in events]


def _events(paginate: Callable[..., Iterable[Any]], asked: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the events of a group; none where it is not there: what has not run yet has none."""
    count = 0
    try:
        for page in paginate(**asked):
            yield from page["events"]
            count += len(page["events"])
            if count >= MOST_LINES:
                return
    except ClientError as error:
        if error.response["Error"]["Code"] != MISSING:
            raise


def _function_line(name: str, event: Mapping[str, Any]) -> LogLine:
    message = str(event["message"]).rstrip()
    level, text = _parsed(message)
    return LogLine(event["timestamp"] / 1000, name, level, scrub(text), _key(event))


def _job_line(source: str, event: Mapping[str, Any]) -> LogLine:
    text = str(event["message"]).rstrip()
    level = "ERROR" if text.startswith("error: ") else ""
    return LogLine(event["timestamp"] / 1000, source, level, scrub(text), _key(event))


def _key(event: Mapping[str, Any]) -> str:
    """Return what tells an event from others: its id, which not all that speak this interface give."""
    named = event.get("eventId")
    return str(named or json.dumps([event.get("logStreamName"), event["timestamp"], event["message"]]))


def _platform(told: Mapping[str, Any]) -> str:
    """Return what Lambda says of a call in JSON: its beginning, its end, or what it took."""
    record = told.get("record")
    metrics = record.get("metrics") if isinstance(record, Mapping) else None
    if not isinstance(metrics, Mapping) or "durationMs" not in metrics or "memorySizeMB" not in metrics:
        return str(told["type"]).removeprefix("platform.")
    seconds = float(metrics["durationMs"]) / 1000
    return f"took {seconds:.1f} s, {metrics.get('maxMemoryUsedMB', '?')} of {metrics['memorySizeMB']} MB"


def _parsed(message: str) -> tuple[str, str]:
    """Return level and text of a function's line: of Powertools' or Lambda's JSON, or of Lambda's own text."""
    if message.startswith(PLATFORM):
        report = REPORT.search(message)
        if report is None:
            return "", message.partition(" Version: ")[0].partition("\t")[0]
        return "", f"took {float(report['ms']) / 1000:.1f} s, {report['used']} of {report['size']} MB"
    try:
        told = json.loads(message)
    except (ValueError, RecursionError):
        return "", " ".join(message.split())
    if not isinstance(told, Mapping):
        return "", message
    if str(told.get("type", "")).startswith("platform."):
        return "", _platform(told)
    level = str(told.get("level") or told.get("log_level") or "")
    text = told.get("message") or told.get("errorMessage") or ""
    text = text if isinstance(text, str) else json.dumps(text, ensure_ascii=False, sort_keys=True)
    more = [f"{told[name]}" for name in ("exception_name", "errorType") if told.get(name) and told[name] not in text]
    facts = {name: told[name] for name in ("run_id", "state", "error", "cause", "facts") if name in told}
    facts.pop("run_id", None)
    more += [f"{name}: {value}" for name, value in facts.items()]
    return level, "; ".join([text, *more])
