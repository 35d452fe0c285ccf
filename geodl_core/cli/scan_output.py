"""What scans and back-fills show: progress, a report, the table of a dry run."""

import json
import time
from dataclasses import asdict
from types import TracebackType
from typing import Self

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from geodl_core.cli.main import printable
from geodl_core.domain.scan.estimate import Tally, tally_json
from geodl_core.domain.scan.windows import Window, stamp
from geodl_core.domain.watch.watch import Watch
from geodl_core.service.scans.backfill import Survey
from geodl_core.service.scans.scan_watch import ScanReport

SECONDS_BETWEEN_LINES = 10
WIDTH = 100
"""Of the table where it does not go to a terminal."""
REASONS = {
    "item": "no Item that can be used",
    "deprecated": "replaced by another edition",
    "collection": "of another collection",
    "time": "of another time",
    "seen": "seen before",
    "geometry": "geometry cannot be read",
    "area": "beside the area",
    "cover": "covers too little of the area",
    "cloud": "too cloudy",
    "filter": "does not pass the filter",
}


class ScanProgress:
    """Shows how far a scan is: a bar on a terminal, plain lines otherwise, nothing where machines read.

    Args:
        is_quiet: show nothing.
    """

    def __init__(self, is_quiet: bool) -> None:
        self._console = Console(stderr=True, quiet=is_quiet, soft_wrap=True, highlight=False, markup=False)
        columns = (TextColumn("scanning"), BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"))
        self._bar = Progress(*columns, TimeRemainingColumn(), console=self._console, transient=True)
        self._task: TaskID | None = None
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Take the bar down."""
        if self._task is not None:
            self._bar.stop()
            self._task = None

    def listen(self, report: ScanReport) -> None:
        """Show how far a scan is."""
        text = f"{report.found:,} Items, {report.matched:,} wanted, {report.ordered:,} new"
        if self._console.is_terminal and not self._console.quiet:
            if self._task is None:
                self._task = self._bar.add_task(text, total=1.0)
                self._bar.start()
            self._bar.update(self._task, completed=report.share, description=text)
        elif time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self._console.print(f"scanned {100 * report.share:.0f} %: {text}")

    def wait(self, seconds: float, why: str) -> None:
        """Say why nothing moves, and wait."""
        self._console.print(f"note: {printable(why)}; asked again in {seconds:.0f} s")
        time.sleep(seconds)


def print_report(watch: Watch, report: ScanReport, as_json: bool) -> None:
    """Print what a scan did."""
    if as_json:
        click.echo(json.dumps({"watch": watch.name, **asdict(report)}, indent=2))
        return
    click.echo(f"found    {_count(report.found, 'Item')} on {_count(report.pages, 'page')}; {report.matched:,} wanted")
    click.echo(f"ordered  {_count(report.ordered, 'run')}; {report.present:,} ordered before")
    _print_refusals(report)
    if report.state == "held":
        click.echo("held     by --limit: the same command orders the next ones")
    if report.ordered:
        click.echo("next     geodl serve, or geodl worker, carries them out")


def print_survey(asked: tuple[Watch, str, Window], found: Survey, as_json: bool, *, stack: str | None = None) -> None:
    """Print what a scan would do; of a deployment where one is named."""
    watch, kind, window = asked
    if as_json:
        document = {"watch": watch.name, "kind": kind, "from": stamp(window.start), "to": stamp(window.end)}
        rates = {"km2_per_hour": found.rates.km2_per_hour, "price_per_hour": found.rates.price_per_hour}
        months = [tally_json(month) for month in found.months]
        report = {"refused": dict(found.report.refused), "notes": dict(found.report.notes)}
        click.echo(json.dumps({**document, **tally_json(found.total), **rates, "months": months, **report}, indent=2))
        return
    console = Console()
    console = console if console.is_terminal else Console(width=WIDTH)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True)
    cells = _cells(found.total)
    for name, total in zip(("month", "scenes", "new", "km²", "time", "price"), cells, strict=True):
        table.add_column(name, total, justify="left" if name == "month" else "right", no_wrap=True)
    for month in found.months:
        table.add_row(*_cells(month))
    console.print(table)
    _print_refusals(found.report)
    if found.total.hours is None and stack is not None:
        click.echo(f"time     geodl plan ITEM --model {watch.model} --on aws --scenes N --stack {stack} tells")
    elif found.total.hours is None:
        click.echo("time     not known: no run of the model has ended yet; --rate says it")
    else:
        click.echo(f"time     of one worker, at {found.rates.km2_per_hour:,.1f} km² an hour")
    click.echo("nothing was ordered")


def _cells(tally: Tally) -> list[str]:
    hours = "?" if tally.hours is None else _duration(tally.hours)
    price = "" if tally.price is None else f"{tally.price:,.2f}"
    return [tally.month or "all", f"{tally.scenes:,}", f"{tally.new:,}", f"{tally.km2:,.1f}", hours, price]


def _duration(hours: float) -> str:
    if hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} d"


def _print_refusals(report: ScanReport) -> None:
    for reason, count in sorted(report.refused.items(), key=lambda pair: -pair[1]):
        click.echo(f"refused  {count:,}: {REASONS.get(reason, reason)}")
    for note, count in report.notes.items():
        times = f" ({count} times)" if count > 1 else ""
        click.echo(f"note     {printable(note)}{times}")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
