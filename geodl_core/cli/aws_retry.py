"""`geodl aws retry`: runs that failed, once more."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from geodl_core.cli.aws_options import STACK_OPTIONS, opened_stack, say, tell
from geodl_core.cli.job_options import with_options
from geodl_core.cli.runs_change import UNASKED
from geodl_core.errors import GeodlError, InputError, UnavailableError

if TYPE_CHECKING:
    from geodl_core.aws.ledger.ledger import CloudRun
    from geodl_core.aws.site.executions import Deployment


@click.command("retry", short_help="Try runs once more that failed.")
@click.argument("run_ids", nargs=-1, metavar="[RUN]...")
@click.option("--failed", "is_all", is_flag=True, help="All that failed.")
@click.option("--watch", metavar="NAME", help="With --failed: that this watch asked for.")
@click.option("--since", metavar="TIME|AGE", help="With --failed: since 2026-05-14, 2026-05-14T10:30:00Z, 12h, 7d.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask, however many there are.")
@with_options(STACK_OPTIONS)
def retry(run_ids: tuple[str, ...], is_all: bool, **options: Any) -> None:
    """Start runs once more that failed, were invalid or cancelled; parts that are there already are used.

    RUN is an id, or its first 8 characters. --failed means those in the state failed: an invalid one fails again
    unless what it needs has changed, and is named by its id.

    \b
    Examples:
      geodl aws retry 3f2a91c0
      geodl aws retry --failed --since 1d
      geodl aws retry --failed --watch fields --yes
    """
    if bool(run_ids) == is_all:
        raise InputError("retry: expected either ids of runs or --failed", hint="geodl aws status shows what failed")
    if not is_all and (options["watch"] or options["since"]):
        raise InputError("--watch and --since: they are for --failed alone")
    with opened_stack(options["stack"]) as (_, deployment):
        runs = _meant(deployment, run_ids, options)
        if not runs:
            say("no runs to retry")
            return
        if len(runs) > UNASKED and not options["yes"]:
            click.confirm(f"retry {len(runs)} runs?", abort=True)
        _retry(deployment, runs)


def _meant(deployment: "Deployment", run_ids: tuple[str, ...], options: Mapping[str, Any]) -> list["CloudRun"]:
    """Return the runs that a person means, each once."""
    from geodl_core.aws.ledger.found_runs import ended_since, find_run
    from geodl_core.cli.runs_options import since_of

    if run_ids:
        found = [find_run(deployment.ledger, run_id) for run_id in run_ids]
        return list({run.id: run for run in found}.values())
    since = since_of(options["since"]) or 0.0
    return list(ended_since(deployment.ledger, ("failed",), since, options["watch"]))


def _retry(deployment: "Deployment", runs: list["CloudRun"]) -> None:
    """Queue and start runs, and say so of each.

    Raises:
        InputError: one could not be retried.
    """
    from geodl_core.aws.ledger.ledger import retry_cloud_run
    from geodl_core.aws.site.executions import start_run

    left: list[GeodlError] = []
    for run in runs:
        name = f"{run.id[:8]}  {run.item_id}  {run.model}"
        try:
            queued = retry_cloud_run(deployment.ledger, run.id)
        except InputError as error:
            left.append(error)
            tell(f"left       {error.message}")
            continue
        try:
            start_run(deployment, queued)
        except UnavailableError as error:
            tell(f"note: {error.message}: the sweep starts it within minutes")
            say(f"queued     {name}")
            continue
        say(f"started    {name}, attempt {queued.attempt}")
    if len(runs) > 1:
        say(f"{len(runs) - len(left)} of {len(runs)} runs are tried again")
    if left:
        raise InputError(left[0].message if len(left) == 1 else f"{len(left)} runs could not be retried")
