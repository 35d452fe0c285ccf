"""`geodl aws status`: how a deployment does, or all that is known of a run."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from geodl_core.cli.aws_options import STACK_OPTIONS, opened_stack, say
from geodl_core.cli.job_options import with_options
from geodl_core.errors import UnavailableError

if TYPE_CHECKING:
    from geodl_core.aws.ledger.ledger import CloudRun
    from geodl_core.aws.operate.overview import Overview
    from geodl_core.aws.operate.run_report import RunReport
    from geodl_core.aws.site.executions import Deployment
    from geodl_core.aws.site.stack import Stack

REFRESH_S = 5.0
SHORT_ID = 8
LINK = ".console.aws.amazon.com/"
LABEL = 9
"""Characters of the first column."""


@click.command("status", short_help="Say how a deployment, or a run, does.")
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("-w", "--watch", "is_watching", is_flag=True, help="Print it anew every few seconds.")
@with_options(STACK_OPTIONS)
def status(run_id: str | None, as_json: bool, is_watching: bool, stack: str) -> None:
    """Say how a deployment does: runs by state, what hangs, what failed in the last day, queues, jobs, alarms.

    With RUN, an id or its first 8 characters: its state and history, its execution, and where and why that failed.

    \b
    Examples:
      geodl aws status
      geodl aws status --watch
      geodl aws status 3f2a91c0 --json
    """
    with opened_stack(stack) as (found, deployment):
        while True:
            try:
                told = _told(found, deployment, run_id, as_json=as_json)
            except UnavailableError as error:
                if not is_watching:
                    raise
                # Who watches wants to see it come back.
                told = [f"error: {error.message}"]
            if is_watching and not as_json:
                click.clear()
            for line in told:
                # Of links the part behind # would be taken for a secret; they are made here.
                click.echo(line) if LINK in line else say(line)
            if not is_watching:
                return
            time.sleep(REFRESH_S)


def _told(stack: "Stack", deployment: "Deployment", run_id: str | None, *, as_json: bool) -> Sequence[str]:
    """Return the lines to print."""
    from geodl_core.aws.ledger.found_runs import find_run
    from geodl_core.aws.operate.overview import look_over
    from geodl_core.aws.operate.run_report import report_run

    if run_id is None:
        overview = look_over(stack, deployment)
        return [_json(overview_json(overview))] if as_json else overview_lines(stack, overview)
    report = report_run(stack, deployment, find_run(deployment.ledger, run_id))
    return [_json(report_json(report))] if as_json else report_lines(report)


def overview_lines(stack: "Stack", overview: "Overview") -> list[str]:
    """Return how a deployment does, for a person."""
    from geodl_core.cli.runs_list import age_of

    counts = [f"{one.runs:,}{'' if one.is_all else '+'} {state}" for state, one in overview.counts.items() if one.runs]
    lines = [f"{'stack':<{LABEL}}{stack.name}, {stack.status}", f"{'runs':<{LABEL}}{', '.join(counts) or 'none yet'}"]
    lines += [f"  {_name(run)}  {run.state}" for run in overview.latest]
    for name, depth in overview.queues.items():
        label = "queue" if name == "ingest" else "dead"
        what = "message" if name == "ingest" else "letter"
        plural = "" if depth.waiting == 1 else "s"
        lines.append(f"{label:<{LABEL}}{depth.waiting:,} {what}{plural}, {depth.in_work:,} in work")
    if overview.jobs:
        jobs = ", ".join(f"{count:,} {state.lower()}" for state, count in overview.jobs.items() if count)
        lines.append(f"{'jobs':<{LABEL}}{jobs or 'none'}")
    ringing = [alarm for alarm in overview.alarms if alarm.state == "ALARM"]
    if overview.alarms:
        lines.append(f"{'alarms':<{LABEL}}{len(ringing)} of {len(overview.alarms)} ring")
    lines += [f"  {alarm.name}: {alarm.reason}" for alarm in ringing]
    if overview.stuck:
        lines.append(f"{'stuck':<{LABEL}}{len(overview.stuck)}")
        lines += [f"  {_name(one.run)}  {one.run.state} for {age_of(one.seconds)}: {one.why}" for one in overview.stuck]
    lines.append(f"{'failed':<{LABEL}}{overview.failed_count:,} in the last day")
    lines += [f"  {_name(run)}  {_cause(run)}" for run in overview.failed]
    left = overview.failed_count - len(overview.failed)
    lines += [f"  and {left:,} more"] if left > 0 else []
    lines += [f"note: {part} cannot be told: {why}" for part, why in overview.problems.items()]
    return lines


def report_lines(report: "RunReport") -> list[str]:
    """Return all that is known of a run, for a person."""
    from geodl_core.domain.scan.windows import stamp

    run = report.run
    facts = [
        ("run", run.id),
        ("state", f"{run.state}, attempt {run.attempt}"),
        ("item", "/".join(filter(None, (run.item_collection, run.item_id)))),
        ("model", run.model),
        ("watch", run.watch or "none"),
        ("job", run.job_id or "not planned yet"),
        ("shards", f"{run.shards:,}, {run.tiles:,} tiles" if run.job_id else "not planned yet"),
    ]
    if run.result:
        facts.append(("result", f"{run.result['collection']}/{run.result['id']}"))
    if run.error:
        facts.append(("error", f"{run.error['class']}: {run.error['message']}"))
    facts.append(("executed", report.execution.status.lower() if report.execution else "there is no execution"))
    failure = report.failure
    if failure is not None:
        count = f", {failure.children} shards" if failure.children > 1 else ""
        where, why = f"{failure.name or 'its execution'}{count}", f"{failure.error}: {failure.message}"
        # Most often it is what the run's own row has.
        facts.append(("failed in", where if ("error", why) in facts else f"{where}: {why}"))
    lines = [f"{name:<{LABEL + 1}}{value}" for name, value in facts]
    lines.append("history")
    for event in report.history:
        attempt = f" ({event['attempt']})" if event["attempt"] > 1 else ""
        clock = stamp(float(event["at"]))[:19].replace("T", " ")
        lines.append(f"  {clock}  {event['state'] + attempt:<14} {event['text']}")
    lines += [f"{name:<{LABEL + 1}}{link}" for name, link in report.links.items()]
    return lines


def overview_json(overview: "Overview") -> dict[str, Any]:
    """Return how a deployment does, for machines."""
    from dataclasses import asdict

    from geodl_core.aws.api.runs_api import run_facts

    return {
        "runs": {state: one.runs for state, one in overview.counts.items()},
        "latest": [run_facts(run) for run in overview.latest],
        "stuck": [{"run": run_facts(one.run), "why": one.why, "seconds": one.seconds} for one in overview.stuck],
        "failed": [run_facts(run) for run in overview.failed],
        "failed_count": overview.failed_count,
        "queues": {name: asdict(depth) for name, depth in overview.queues.items()},
        "jobs": dict(overview.jobs),
        "alarms": [asdict(alarm) for alarm in overview.alarms],
        "problems": dict(overview.problems),
    }


def report_json(report: "RunReport") -> dict[str, Any]:
    """Return all that is known of a run, for machines."""
    from dataclasses import asdict

    from geodl_core.aws.api.runs_api import run_facts
    from geodl_core.domain.scan.windows import stamp

    return {
        **run_facts(report.run),
        "history": [{**event, "at": stamp(float(event["at"]))} for event in report.history],
        "execution": None if report.execution is None else asdict(report.execution),
        "failed_in": None if report.failure is None else asdict(report.failure),
        "links": dict(report.links),
    }


def _name(run: "CloudRun") -> str:
    return f"{run.id[:SHORT_ID]}  {run.item_id}"


def _cause(run: "CloudRun") -> str:
    error: Mapping[str, Any] = run.error or {}
    return f"{error.get('class', 'unknown')}: {error.get('message', '')}"


def _json(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False)
