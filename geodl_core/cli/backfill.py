"""`geodl backfill`: order runs for a range of days of the past."""

import time

import click

from geodl_core.cli.scan import CATALOG, opened


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
@CATALOG
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
    catalog: str | None,
) -> None:
    """Order runs of a watch for all scenes that were taken on a range of days, newest first.

    A back-fill that was stopped goes on at the page where it was, by the same command. The brake of the watch,
    max_runs_per_day, holds: what is beyond it starts on a later day.

    \b
    Examples:
      geodl backfill fields --from 2025-03-01 --to 2025-10-31 --dry-run --price 1.20
      geodl backfill fields --from 2025-03-01 --to 2025-10-31
      geodl backfill fields --from 2025-03-01 --to 2025-10-31 --limit 200 --max-runs 50
    """
    from geodl_core.cli.scan_output import ScanProgress, print_report, print_survey
    from geodl_core.domain.scan.estimate import Rates
    from geodl_core.domain.scan.windows import DAY_S, Window, read_day
    from geodl_core.service.ledger.watches import read_stored_watch
    from geodl_core.service.scans.backfill import Limits, survey
    from geodl_core.service.scans.backfill import backfill as fill

    window = Window(read_day(first, "--from"), read_day(last, "--to") + DAY_S)
    with opened(catalog) as services, ScanProgress(is_quiet=as_json) as progress:
        found = read_stored_watch(services.ledger, watch).watch
        whom = progress.listen, time.sleep
        if dry_run:
            result = survey(services, (found, "backfill", window), Rates(rate, price), whom)
            progress.stop()
            print_survey((found, "backfill", window), result, as_json)
        else:
            report = fill(services, found, window, Limits(limit, max_runs), whom)
            progress.stop()
            print_report(found, report, as_json)
