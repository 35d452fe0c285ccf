"""`geodl watch list|show|pause|resume|remove`."""

import json
from datetime import UTC, datetime
from typing import Any

import click

from geodl_core.cli.stack_option import meant_stack, opened_controls, stack_option
from geodl_core.cli.watch_options import catalog_option, json_option, services_of

WIDTH = 120
"""Of the table where it does not go to a terminal."""
MOST_BACKFILLS = 5
"""That are shown of a watch, the last ones."""


@click.command("list", short_help="Show all watches.")
@catalog_option
@stack_option
@json_option
def list_(catalog: str | None, stack: str | None, is_json: bool) -> None:
    """Show all watches: what they look at, what they ordered today, and what went wrong last.

    \b
    Examples:
      geodl watch list
      geodl watch list --catalog results/catalog.db --json
      geodl watch list --stack geodl
    """
    told = _told(catalog, meant_stack(stack, catalog=catalog), None)
    if is_json:
        click.echo(json.dumps({"watches": told}, ensure_ascii=False))
    elif told:
        _print_table(told)
    else:
        click.echo("no watches")


@click.command("show", short_help="Show a watch.")
@click.argument("name")
@catalog_option
@stack_option
@json_option
def show(name: str, catalog: str | None, stack: str | None, is_json: bool) -> None:
    """Show a watch: its document, what it ordered today, and which Item it passed over last, and why.

    \b
    Examples:
      geodl watch show crops
      geodl watch show crops --json
    """
    where = meant_stack(stack, catalog=catalog)
    told = _told(catalog, where, name)[0]
    if is_json:
        click.echo(json.dumps(told, ensure_ascii=False))
        return
    for key, value in told["watch"].items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        click.echo(f"{key:<20} {text if len(text) <= 200 else f'{text[:197]}...'}")
    click.echo(f"{'state':<20} {_state(told)}")
    if told["runs_today"] is not None:
        click.echo(f"{'runs today':<20} {told['runs_today']}")
    click.echo(f"{'added':<20} {_time(told['created'])}")
    problem = told["last_problem"]
    if problem:
        click.echo(f"{'passed over':<20} {problem['count']} in all; last {_time(problem['at'])}, {problem['item']}:")
        click.echo(f"{'':<20} {problem['text']}")
    if told["watch"].get("mode") == "schedule" and where is not None:
        _print_scans(name, where)


def _print_scans(name: str, stack: str) -> None:
    """Print what the scans of a deployment's watch found, the last one and its last back-fills."""
    from geodl_core.aws.ledger.watches import read_scan
    from geodl_core.aws.watches.backfills import list_backfills
    from geodl_core.cli.backfill import backfill_text
    from geodl_core.cli.main import printable

    controls = opened_controls(stack)[1]
    scan = read_scan(controls.deployment.ledger, name)
    if scan is None:
        click.echo(f"{'last scan':<20} none yet")
    else:
        state = "going on, " if scan["is_open"] else ""
        counts = ", ".join(f"{scan.get(each, 0):,} {each}" for each in ("found", "matched", "ordered"))
        click.echo(f"{'last scan':<20} {state}{_time(scan['touched'])}; {counts}")
    for one in list_backfills(controls, name)[:MOST_BACKFILLS]:
        click.echo(f"{'back-fill':<20} {backfill_text(one)}")
        if one.cause:
            click.echo(f"{'':<20} {printable(one.cause)}")


@click.command("pause", short_help="Pause a watch.")
@click.argument("name")
@catalog_option
@stack_option
def pause(name: str, catalog: str | None, stack: str | None) -> None:
    """Pause a watch: what is published while it is paused does not start its runs.

    \b
    Examples:
      geodl watch pause crops
    """
    _pause(name, catalog, meant_stack(stack, catalog=catalog), is_paused=True)
    click.echo(f"paused {name}")


@click.command("resume", short_help="Let a paused watch go on.")
@click.argument("name")
@catalog_option
@stack_option
def resume(name: str, catalog: str | None, stack: str | None) -> None:
    """Let a paused watch go on, with what is published from now on.

    \b
    Examples:
      geodl watch resume crops
    """
    _pause(name, catalog, meant_stack(stack, catalog=catalog), is_paused=False)
    click.echo(f"resumed {name}")


@click.command("remove", short_help="Remove a watch.")
@click.argument("name")
@catalog_option
@stack_option
def remove(name: str, catalog: str | None, stack: str | None) -> None:
    """Remove a watch; its runs and results stay.

    \b
    Examples:
      geodl watch remove crops
    """
    _remove(name, catalog, meant_stack(stack, catalog=catalog))
    click.echo(f"removed {name}")


def _told(catalog: str | None, stack: str | None, name: str | None) -> list[dict[str, Any]]:
    """Return a watch, or all of them, as they are told of."""
    if stack is not None:
        from geodl_core.aws.ledger.watches import list_cloud_watches, read_cloud_watch
        from geodl_core.aws.watches.stack_watches import next_cron
        from geodl_core.aws.watches.told_watches import told_cloud_watches

        ledger = opened_controls(stack)[1].deployment.ledger
        there = list_cloud_watches(ledger) if name is None else [read_cloud_watch(ledger, name)]
        return told_cloud_watches(ledger, there, next_cron)
    from geodl_core.service.ledger.watches import list_watches, read_stored_watch
    from geodl_core.service.routes.watches_api import told_watches

    with services_of(catalog) as services:
        here = list_watches(services.ledger) if name is None else [read_stored_watch(services.ledger, name)]
        return told_watches(services, here)


def _pause(name: str, catalog: str | None, stack: str | None, *, is_paused: bool) -> None:
    if stack is not None:
        from geodl_core.aws.watches.controls import pause_kept_watch

        pause_kept_watch(opened_controls(stack)[1], name, is_paused=is_paused)
        return
    from geodl_core.service.ledger.watches import pause_watch

    with services_of(catalog) as services:
        pause_watch(services.ledger, name, is_paused=is_paused)


def _remove(name: str, catalog: str | None, stack: str | None) -> None:
    if stack is not None:
        from geodl_core.aws.watches.controls import remove_kept_watch

        remove_kept_watch(opened_controls(stack)[1], name)
        return
    from geodl_core.service.ledger.watches import remove_watch
    from geodl_core.service.watches.remarks import forget_remarks

    with services_of(catalog) as services:
        remove_watch(services.ledger, name)
        forget_remarks(services.ledger, name)


def _print_table(told: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("watch", "model", "looks at", "state", "today", "passed over last"):
        table.add_column(title, overflow="fold")
    for one in told:
        watch, problem = one["watch"], one["last_problem"]
        most = watch.get("max_runs_per_day")
        runs = one["runs_today"]
        today = "" if runs is None else f"{runs}" + (f" of {most}" if most else "")
        row = (watch["name"], watch["model"], _looks_at(watch), _state(one), today)
        table.add_row(*row, f"{problem['item']}: {problem['text']}" if problem else "")
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = WIDTH
    console.print(table)


def _looks_at(watch: dict[str, Any]) -> str:
    what = ", ".join(watch.get("collections", ())) or "all collections"
    more = [name for name in ("aoi", "filter") if watch.get(name)]
    return what + (f" ({', '.join(more)})" if more else "")


def _state(told: dict[str, Any]) -> str:
    if told["is_paused"]:
        return "paused"
    if told["watch"].get("mode") != "schedule":
        return "on new Items"
    return "scheduled" if told["next_at"] is None else f"scans at {_time(told['next_at'])}"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(sep=" ", timespec="seconds").replace("+00:00", "Z")
