"""`geodl backfill`: order runs for a range of days of the past."""

import json
import time
from typing import TYPE_CHECKING

import click

from geodl_core.cli.main import printable
from geodl_core.cli.scan import CATALOG, opened, survey_there
from geodl_core.cli.stack_option import meant_stack, opened_controls, stack_option
from geodl_core.errors import GeodlError, InputError

if TYPE_CHECKING:
    from geodl_core.aws.watches.backfills import CloudBackfill
    from geodl_core.domain.scan.estimate import Rates
    from geodl_core.domain.scan.windows import Window
    from geodl_core.service.scans.backfill import Limits

FAILURES = ("FAILED", "TIMED_OUT")
"""States of a back-fill that has not done what it was asked for; one that was stopped was asked to stop."""


@click.command("backfill", short_help="Order runs of a watch for a range of days.")
@click.argument("watch")
@click.option("--from", "first", required=True, metavar="DATE", help="First day (UTC), 2025-03-01.")
@click.option("--to", "last", required=True, metavar="DATE", help="Last day, taken in.")
@click.option("--dry-run", is_flag=True, help="Say scenes, area, time and price, and order nothing.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Stop after N new runs; the same command goes on.")
@click.option("--max-runs", type=click.IntRange(1), metavar="N", help="Runs that may start on one day (UTC).")
@click.option("--rate", type=click.FloatRange(0, min_open=True), metavar="KM2", help="That a worker does in an hour.")
@click.option("--price", type=click.FloatRange(0), metavar="AMOUNT", help="Of an hour of a worker.")
@click.option("--json", "as_json", is_flag=True, help="Print a document.")
@click.option("--again", is_flag=True, help="With --stack: begin one that has ended anew.")
@click.option("--stop", is_flag=True, help="With --stack: stop it, and the scenes that it runs.")
@CATALOG
@stack_option
def backfill(
    watch: str,
    first: str,
    last: str,
    dry_run: bool,
    limit: int | None,
    max_runs: int | None,
    rate: float | None,
    price: float | None,
    as_json: bool,
    again: bool,
    stop: bool,
    catalog: str | None,
    stack: str | None,
) -> None:
    """Order runs of a watch for all scenes that were taken on a range of days, newest first.

    A back-fill that was stopped goes on at the page where it was, by the same command. The brake of the watch,
    max_runs_per_day, holds: what is beyond it starts on a later day.

    With --stack the deployment does it, in one execution for a watch and its days, however often that is asked for; the
    command does not wait for it. --stop stops it, and the scenes that it runs; --again goes on with all that is left.
    --dry-run searches from here.

    \b
    Examples:
      geodl backfill fields --from 2025-03-01 --to 2025-10-31 --dry-run --price 1.20
      geodl backfill fields --from 2025-03-01 --to 2025-10-31
      geodl backfill fields --from 2025-03-01 --to 2025-10-31 --limit 200 --max-runs 50
      geodl backfill fields --from 2025-03-01 --to 2025-10-31 --stack geodl
      geodl backfill fields --from 2025-03-01 --to 2025-10-31 --stack geodl --stop
    """
    from geodl_core.domain.scan.estimate import Rates
    from geodl_core.domain.scan.windows import DAY_S, Window, read_day
    from geodl_core.service.scans.backfill import Limits

    window = Window(read_day(first, "--from"), read_day(last, "--to") + DAY_S)
    stack, rates = meant_stack(stack, catalog=catalog), Rates(rate, price)
    if again and stack is None:
        raise InputError("--again: expected --stack beside it", hint="here the same command begins anew by itself")
    if stop and (again or dry_run):
        raise InputError("--stop: expected neither --again nor --dry-run beside it")
    if stop and stack is None:
        raise InputError("--stop: expected --stack beside it", hint="here a back-fill is stopped with its command")
    if stack is None:
        asked = watch, window, rates if dry_run else Limits(limit, max_runs)
        _fill_here(catalog, asked, as_json)
        return
    if limit is not None or max_runs is not None:
        raise InputError("--limit, --max-runs: a deployment does all", hint="max_runs_per_day of the watch holds")
    if dry_run:
        survey_there(stack, (watch, "backfill", window), rates, as_json)
    else:
        _fill_there(stack, (watch, window), "stop" if stop else "again" if again else "start", as_json)


def _fill_here(catalog: str | None, asked: "tuple[str, Window, Rates | Limits]", as_json: bool) -> None:
    """Order runs within limits, or say by rates what they would take."""
    from geodl_core.cli.scan_output import ScanProgress, print_report, print_survey
    from geodl_core.service.ledger.watches import read_stored_watch
    from geodl_core.service.scans.backfill import Limits, survey
    from geodl_core.service.scans.backfill import backfill as fill

    name, window, how = asked
    with opened(catalog) as services, ScanProgress(is_quiet=as_json) as progress:
        found = read_stored_watch(services.ledger, name).watch
        if isinstance(how, Limits):
            report = fill(services, found, window, how, (progress.listen, time.sleep))
            progress.stop()
            print_report(found, report, as_json)
        else:
            result = survey(services, (found, "backfill", window), how, (progress.listen, progress.wait))
            progress.stop()
            print_survey((found, "backfill", window), result, as_json)


def _fill_there(stack: str, asked: "tuple[str, Window]", verb: str, as_json: bool) -> None:
    """Have a deployment start a back-fill, start it again or stop it, and tell how it does."""
    from geodl_core.aws.watches.backfills import ENDED, backfill_facts, start_backfill, stop_backfill

    controls, watch = opened_controls(stack)[1], asked[0]
    if verb == "stop":
        found = stop_backfill(controls, *asked)
    else:
        found = start_backfill(controls, *asked, again=verb == "again")
    if as_json:
        click.echo(json.dumps(backfill_facts(found), ensure_ascii=False))
    else:
        click.echo(f"backfill {backfill_text(found)}")
        if found.cause:
            click.echo(f"cause    {printable(found.cause)}")
        tells = f"the same command tells how it goes, as does geodl watch show {watch} --stack {stack}"
        again = "--again begins anew: what was run is not run again"
        click.echo(f"next     {again if found.status in ENDED else tells}")
    if found.status in FAILURES:
        raise GeodlError(f"back-fill {found.name}: expected it done or under way, found it {found.status}")


def backfill_text(found: "CloudBackfill") -> str:
    """Return how a back-fill of a deployment does, in a line."""
    counts = ", ".join(f"{count:,} {name}" for name, count in found.counts.items())
    return f"{found.name}: {found.status.lower()}" + (f"; {counts}" if counts else "")
