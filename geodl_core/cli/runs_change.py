"""`geodl runs retry`, `cancel` and `rerun`: of one run, or of all that are meant."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from geodl_core.cli.job_options import with_options
from geodl_core.cli.runs_options import CHOICE_OPTIONS, PLACE_OPTIONS, asked_runs, is_choosing, opened_runs
from geodl_core.domain.run.state import FINAL, STATES, State
from geodl_core.errors import InputError

if TYPE_CHECKING:
    from geodl_core.service.runs.access import Runs

UNASKED = 10
"""More runs than so many are changed only after a question, or with --yes."""
MANY_OPTIONS = (*CHOICE_OPTIONS, click.option("-y", "--yes", is_flag=True, help="Do not ask, however many there are."))


@dataclass(frozen=True, slots=True)
class _Change:
    """What is done to runs."""

    verb: str
    past: str
    done: str
    """State in which it leaves them."""
    of: tuple[State, ...]
    """States in which it can be done."""
    do: Callable[["Runs", str], dict[str, Any]]


STOPPED: tuple[State, ...] = ("failed", "invalid", "cancelled")
UNDER_WAY = tuple(state for state in STATES if state not in FINAL)
RETRY = _Change("retry", "retried", "queued", STOPPED, lambda runs, run_id: runs.retry(run_id))
RERUN = _Change("rerun", "rerun", "queued", FINAL, lambda runs, run_id: runs.rerun(run_id))
CANCEL = _Change("cancel", "cancelled", "cancelled", UNDER_WAY, lambda runs, run_id: runs.cancel(run_id))


@click.command("retry", short_help="Try runs once more that failed.")
@click.argument("run_ids", nargs=-1, metavar="[RUN]...")
@with_options(MANY_OPTIONS)
@with_options(PLACE_OPTIONS)
def retry(run_ids: tuple[str, ...], **options: Any) -> None:
    """Queue runs once more that failed, were invalid or cancelled; parts that are there already are used.

    RUN is an id, or its first 8 characters; without one the options say which runs are meant.

    \b
    Examples:
      geodl runs retry 3f2a91c0
      geodl runs retry --state failed --since 1d
      geodl runs retry --where "error_class = 'StoreError'" --yes
      geodl runs retry 3f2a91c0 --stack geodl
    """
    _change(RETRY, run_ids, options)


@click.command("cancel", short_help="Stop runs.")
@click.argument("run_ids", nargs=-1, metavar="[RUN]...")
@with_options(MANY_OPTIONS)
@with_options(PLACE_OPTIONS)
def cancel(run_ids: tuple[str, ...], **options: Any) -> None:
    """Stop runs that have not ended; workers notice within seconds, jobs of a deployment on AWS are ended.

    RUN is an id, or its first 8 characters; without one the options say which runs are meant.

    \b
    Examples:
      geodl runs cancel 3f2a91c0
      geodl runs cancel --state queued --watch fields --yes
      geodl runs cancel 3f2a91c0 --stack geodl
    """
    _change(CANCEL, run_ids, options)


@click.command("rerun", short_help="Compute runs anew.")
@click.argument("run_ids", nargs=-1, metavar="[RUN]...")
@with_options(MANY_OPTIONS)
@with_options(PLACE_OPTIONS)
def rerun(run_ids: tuple[str, ...], **options: Any) -> None:
    """Compute runs anew that have ended, also those that succeeded; nothing that is there already is used.

    RUN is an id, or its first 8 characters; without one the options say which runs are meant.

    \b
    Examples:
      geodl runs rerun 3f2a91c0
      geodl runs rerun --model landcover --since 2026-05-14 --yes
    """
    _change(RERUN, run_ids, options)


def _change(change: _Change, run_ids: Sequence[str], options: Mapping[str, Any]) -> None:
    """Do something to runs, and say of each what was done.

    Raises:
        InputError: no run is meant, or one could not be changed.
    """
    if bool(run_ids) == is_choosing(options):
        raise InputError(
            f"runs {change.verb}: expected either ids of runs, or options that say which are meant",
            hint="geodl runs list shows them",
        )
    with opened_runs(options) as runs:
        meant = [runs.read(run_id) for run_id in run_ids] if run_ids else _meant(change, runs, options)
        if not meant:
            click.echo(f"no runs to {change.verb}")
            return
        if len(meant) > UNASKED and not options["yes"]:
            click.confirm(f"{change.verb} {len(meant)} runs?", abort=True)
        left = [text for facts in meant if (text := _one(change, runs, facts))]
    if left and run_ids and len(meant) == 1:
        raise InputError(left[0])
    for text in left:
        click.echo(f"left       {text}", err=True)
    if len(meant) > 1:
        click.echo(f"{len(meant) - len(left)} of {len(meant)} runs {change.done}")
    if left and run_ids:
        raise InputError(f"{len(left)} of {len(meant)} runs could not be {change.past}")


def _meant(change: _Change, runs: "Runs", options: Mapping[str, Any]) -> list[dict[str, Any]]:
    from geodl_core.service.runs.access import chosen_runs
    from geodl_core.service.runs.facts import read_choice

    choice = read_choice(options["where"]) if options["where"] else None
    asked = asked_runs(options, limit=0)
    states = tuple(state for state in asked.states or change.of if state in change.of)
    return list(chosen_runs(runs, replace(asked, states=states), choice)) if states else []


def _one(change: _Change, runs: "Runs", facts: Mapping[str, Any]) -> str | None:
    """Change a run and say so; return why not, with its name, where it could not be."""
    from geodl_core.cli.main import printable

    name = printable(f"{facts['id'][:8]}  {facts['item']['id']}  {facts['model']}")
    try:
        after = change.do(runs, facts["id"])
    except InputError as error:
        return error.message
    if after["state"] != change.done:
        return f"run {facts['id'][:8]}: it had ended already, {after['state']}"
    click.echo(f"{change.done:<10} {name}")
    return None
