"""`geodl aws logs`: what a run's functions and jobs wrote, in order of time."""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from geodl_core.cli.aws_options import STACK_OPTIONS, opened_stack, say
from geodl_core.cli.job_options import with_options
from geodl_core.errors import InputError

if TYPE_CHECKING:
    from geodl_core.aws.ledger.ledger import CloudRun
    from geodl_core.aws.operate.run_lines import LogLine, Wanted
    from geodl_core.aws.site.executions import Deployment
    from geodl_core.aws.site.stack import Stack

PAUSE_S = 3.0
LATE_S = 120.0
"""CloudWatch Logs may show a line so much later than it was written."""


@click.command("logs", short_help="Print what a run's functions and jobs wrote.")
@click.argument("run_id", metavar="RUN")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@click.option("--stage", type=click.Choice(["plan", "shard", "merge", "register"]), help="Only what this step wrote.")
@click.option("--shard", type=click.IntRange(0), metavar="N", help="Only what this shard's job wrote, from 0.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
@with_options(STACK_OPTIONS)
def logs(run_id: str, follow: bool, as_json: bool, **options: str) -> None:
    """Print what a run's functions and jobs wrote, in order of time. RUN is an id, or its first 8 characters.

    Functions are found by the run's id in their lines, and by their calls in its execution; jobs by their names, for as
    long as Batch knows them (a week or so).

    \b
    Examples:
      geodl aws logs 3f2a91c0
      geodl aws logs 3f2a91c0 --follow
      geodl aws logs 3f2a91c0 --shard 3
      geodl aws logs 3f2a91c0 --stage merge --json
    """
    from geodl_core.aws.ledger.found_runs import find_run
    from geodl_core.aws.ledger.ledger import read_run
    from geodl_core.aws.operate.run_lines import Wanted
    from geodl_core.domain.run.state import FINAL

    stage, shard = options["stage"], options["shard"]
    if shard is not None and stage not in (None, "shard"):
        raise InputError(f"--shard {shard}: expected no --stage but shard, found {stage}")
    wanted = Wanted(stage, shard)  # type: ignore[arg-type]
    seen: set[str] = set()
    with opened_stack(options["stack"]) as (stack, deployment):
        run = find_run(deployment.ledger, run_id)
        _require_shard(run, wanted.shard)
        while True:
            lines = _lines(stack, deployment, run, wanted)
            _print(lines, seen, as_json=as_json)
            if not follow or run.state in FINAL:
                break
            latest = max((line.at_s for line in lines), default=run.created)
            wanted = replace(wanted, since_s=latest - LATE_S)
            time.sleep(PAUSE_S)
            # Asked before the lines are: what is written before the end is then printed.
            run = read_run(deployment.ledger, run.id) or run
    if not seen:
        raise InputError(f"run {run.id[:8]}: there are no lines", hint=_hint(run))
    if follow and not as_json:
        say(f"{run.state}{': ' + run.error['message'] if run.error else ''}")


def _require_shard(run: "CloudRun", shard: int | None) -> None:
    """Make sure that a run has a shard of this number; how many it has is known once it was planned."""
    if shard is not None and run.shards and shard >= run.shards:
        many = "1 shard" if run.shards == 1 else f"{run.shards:,} shards"
        raise InputError(f"--shard {shard}: the run has {many}", hint="shards are counted from 0")


def _lines(stack: "Stack", deployment: "Deployment", run: "CloudRun", wanted: "Wanted") -> list["LogLine"]:
    from geodl_core.aws.operate.batch_jobs import jobs_of
    from geodl_core.aws.operate.run_lines import functions_for, read_lines
    from geodl_core.aws.operate.run_report import request_ids

    has_functions = bool(functions_for(wanted))
    attempts = range(1, run.attempt + 1) if has_functions else ()
    requests = {one for attempt in attempts for one in request_ids(deployment, run, attempt)}
    jobs = jobs_of(stack, run.id) if wanted.stage in (None, "shard", "merge") else []
    return read_lines(stack, run, wanted, jobs, requests)


def _print(lines: Iterable["LogLine"], seen: set[str], *, as_json: bool) -> None:
    from geodl_core.domain.scan.windows import stamp

    for line in lines:
        if line.key in seen:
            continue
        seen.add(line.key)
        if as_json:
            facts = {name: value for name, value in asdict(line).items() if name not in ("at_s", "key")}
            click.echo(json.dumps({"at": stamp(line.at_s), **facts}, ensure_ascii=False))
            continue
        level = f"{line.level.lower()}: " if line.level not in ("", "INFO") and not _says(line) else ""
        say(f"{stamp(line.at_s)[11:19]}  {line.source:<12} {level}{line.text}")


def _says(line: "LogLine") -> bool:
    return line.text.lower().startswith(f"{line.level.lower()}:")


def _hint(run: "CloudRun") -> str:
    if run.state == "queued":
        return "it was not started yet"
    return "logs are kept for LogDays days, and Batch forgets its jobs after a week; geodl aws status RUN tells more"
