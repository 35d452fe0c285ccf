"""`geodl scan`: look now for the Items that a scheduled watch wants."""

import json
import time
from typing import TYPE_CHECKING, Any, cast

import click

from geodl_core.cli.stack_option import meant_stack, opened_controls, stack_option
from geodl_core.errors import InputError
from geodl_core.settings import Settings

if TYPE_CHECKING:
    from geodl_core.domain.scan.estimate import Rates
    from geodl_core.domain.scan.windows import Kind, Window
    from geodl_core.service.services import FullCatalog, Services

CATALOG = click.option(
    "--catalog",
    metavar="PATH|postgresql://…",
    help="Where watches and runs are kept.  [default: geodl-out/catalog.db; env: GEODL_CATALOG]",
)


@click.command("scan", short_help="Look now for what a scheduled watch wants.")
@click.argument("watch")
@click.option("--since", metavar="TIME", help="Items from then on.  [default: the scan before, and lookback_days more]")
@click.option("--until", metavar="TIME", help="Items before then; with --since.  [default: now]")
@click.option("--dry-run", is_flag=True, help="Say what would be ordered, and order nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print a document.")
@CATALOG
@stack_option
def scan(
    watch: str, since: str | None, until: str | None, catalog: str | None, stack: str | None, **options: bool
) -> None:
    """Scan a STAC API for a watch, now instead of by its schedule, and order runs for what is new.

    The runs are carried out by geodl serve or geodl worker. A scan that was stopped goes on at the page where it was;
    what was ordered before is not ordered again. A paused watch is scanned for as well.

    With --stack the deployment's function scans, and the command does not wait for it; --dry-run searches from here.

    \b
    Examples:
      geodl scan fields-upper-austria
      geodl scan fields-upper-austria --dry-run
      geodl scan fields-upper-austria --since 2026-05-01 --until 2026-05-10T12:00:00Z
      geodl scan fields-upper-austria --stack geodl
    """
    stack = meant_stack(stack, catalog=catalog)
    if stack is not None:
        if since is not None or until is not None:
            raise InputError("--since, --until: a deployment scans from where it was", hint="geodl backfill takes days")
        _scan_there(stack, watch, **options)
        return
    from geodl_core.cli.scan_output import ScanProgress, print_report, print_survey
    from geodl_core.domain.scan.estimate import Rates
    from geodl_core.service.ledger.watches import read_stored_watch
    from geodl_core.service.scans.backfill import survey
    from geodl_core.service.scans.scan_watch import next_window, scan_watch

    with opened(catalog) as services, ScanProgress(is_quiet=options["as_json"]) as progress:
        found = read_stored_watch(services.ledger, watch).watch
        window = _window(services, since, until)
        if options["dry_run"]:
            window = window or next_window(services, found)
            result = survey(services, (found, "scan", window), Rates(), (progress.listen, progress.wait))
            progress.stop()
            print_survey((found, "scan", window), result, options["as_json"])
        else:
            report = scan_watch(services, found, window, progress.listen, time.sleep)
            progress.stop()
            print_report(found, report, options["as_json"])


def survey_there(stack: str, asked: "tuple[str, Kind, Window | None]", rates: "Rates", as_json: bool) -> None:
    """Print what a scan of a deployment would order, as a search from here finds it."""
    from geodl_core.aws.ledger.watches import read_cloud_watch
    from geodl_core.aws.watches.stack_watches import survey_on_stack
    from geodl_core.cli.scan_output import ScanProgress, print_survey

    name, kind, window = asked
    _, controls = opened_controls(stack)
    found = read_cloud_watch(controls.deployment.ledger, name).watch
    with ScanProgress(is_quiet=as_json) as progress:
        whom = progress.listen, progress.wait
        looked_at, result = survey_on_stack(controls, (found, kind, window), rates, whom)
        progress.stop()
    print_survey((found, kind, looked_at), result, as_json, stack=stack)


def _scan_there(stack: str, watch: str, *, dry_run: bool, as_json: bool) -> None:
    from geodl_core.aws.api.asked import Asked
    from geodl_core.aws.api.watches_api import scan_for_watch
    from geodl_core.domain.scan.estimate import Rates

    if dry_run:
        survey_there(stack, (watch, "scan", None), Rates(), as_json)
        return
    told = scan_for_watch(opened_controls(stack)[1], Asked({"name": watch}, {}))
    if as_json:
        click.echo(json.dumps(told))
    else:
        click.echo(f"asked    {stack} to scan for {watch}")
        click.echo(f"next     geodl watch show {watch} --stack {stack} says what it found")


def opened(catalog: str | None) -> Any:
    """Give the services of a local ledger, as a context manager."""
    from contextlib import contextmanager

    @contextmanager
    def services() -> Any:
        from geodl_core.catalog.open import open_catalog
        from geodl_core.service.ledger.database import Ledger
        from geodl_core.service.services import Services

        settings = Settings.from_env()
        location = catalog or settings.catalog
        with Ledger(location) as ledger, open_catalog(location) as shelf:
            # No foreign API: the ledger refuses it.
            yield Services(cast("FullCatalog", shelf), ledger, settings.out)

    return services()


def _window(services: "Services", since: str | None, until: str | None) -> "Window | None":
    from geodl_core.domain.scan.windows import Window, read_moment

    if since is None:
        if until is not None:
            raise click.UsageError("--until: expected --since as well")
        return None
    end = services.ledger.clock() if until is None else read_moment(until, "--until")
    return Window(read_moment(since, "--since"), end)
