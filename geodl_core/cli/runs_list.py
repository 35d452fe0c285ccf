"""`geodl runs list`: a table of runs."""

import json
import time
from collections.abc import Mapping
from typing import Any

import click

from geodl_core.cli.job_options import with_options
from geodl_core.cli.runs_options import CHOICE_OPTIONS, PLACE_OPTIONS, asked_runs, opened_runs

SHORT_ID = 8
LONGEST = {"watch": 20, "item": 32, "model": 24}
"""Characters of a name that are shown at `WIDTH`; it is shortened in its middle, since ends differ."""
LEAST_NAME = 8
LEAST = {"run": SHORT_ID, "state": len("succeeded"), "age": len("365 d"), "done": len("100 %"), "error": 12}
"""Characters that are left of a column on a narrow terminal."""
COLOURS = {
    "queued": "cyan",
    "claimed": "blue",
    "running": "blue",
    "succeeded": "green",
    "failed": "red",
    "invalid": "magenta",
    "cancelled": "yellow",
}
COLUMNS = ("run", "state", "age", "watch", "item", "model", "done", "error")
WIDTH = 140
"""Of the table where it does not go to a terminal."""
AGES = ((172_800, 86_400, "d"), (7_200, 3_600, "h"), (120, 60, "m"), (0, 1, "s"))


@click.command("list", short_help="List runs, newest first.")
@with_options(CHOICE_OPTIONS)
@click.option("--limit", type=click.IntRange(0), default=50, show_default=True, help="Runs in all; 0: every one.")
@click.option("--json", "as_json", is_flag=True, help="Print all that is known of each run, as JSON.")
@with_options(PLACE_OPTIONS)
def list_(limit: int, as_json: bool, **options: Any) -> None:
    """List runs, newest first; of a deployment on AWS those that changed last first.

    --where looks at: id, state, attempt, priority, watch, model, model_name, item, collection (of the Item),
    output_collection, result, result_collection, error_class, progress, shards, tiles, tiles_done, created, updated,
    started, finished.

    \b
    Examples:
      geodl runs list
      geodl runs list --state failed --state invalid --since 2d
      geodl runs list --watch fields --where "attempt > 1 and error_class = 'StoreError'"
      geodl runs list --where "created > TIMESTAMP('2026-05-14T00:00:00Z')" --json
      geodl runs list --server https://geodl.example.com
      geodl runs list --stack geodl --state failed
    """
    from geodl_core.service.runs.access import chosen_runs
    from geodl_core.service.runs.facts import read_choice

    choice = read_choice(options["where"]) if options["where"] else None
    with opened_runs(options) as runs:
        found = list(chosen_runs(runs, asked_runs(options, limit), choice))
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _print_table(found)


def _print_table(found: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not found:
        click.echo("no runs")
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, no_wrap=True, overflow="ellipsis", min_width=LEAST.get(name))
    now = time.time()
    rows = [_cells(facts, now, console.width) for facts in found]
    for facts, row in zip(found, _fitted(rows, console.width), strict=True):
        # Text, not str: square brackets in a name are no markup.
        cells = [Text(cell) for cell in row]
        cells[1].stylize(COLOURS.get(facts["state"], ""))
        table.add_row(*cells)
    console.print(table)
    click.echo(f"{len(found)} run{'s' if len(found) != 1 else ''}")


def _cells(facts: Mapping[str, Any], now: float, width: int) -> tuple[str, ...]:
    from geodl_core.cli.main import printable
    from geodl_core.service.runs.facts import progress, seconds_of

    error = " ".join(str((facts["error"] or {}).get("message") or "").split())
    # Half of what a narrow terminal lacks, or a wide one has more, is the names'.
    share = max(0.0, 1 + (width - WIDTH) / 2 / sum(LONGEST.values()))
    most = {key: max(LEAST_NAME, int(count * share)) for key, count in LONGEST.items()}
    name, _, version = str(facts["model"]).partition("@")
    done = progress(facts)
    cells = (
        facts["id"][:SHORT_ID],
        facts["state"] + (f" ({facts['attempt']})" if facts["attempt"] > 1 else ""),
        age_of(now - seconds_of(facts["created"])),
        shortened(facts["watch"] or "", most["watch"]),
        shortened(facts["item"]["id"], most["item"]),
        shortened(f"{name}@{version[:4]}" if version else name, most["model"]),
        "" if done is None else f"{done} %",
        error,
    )
    return tuple(printable(cell) for cell in cells)


def _fitted(rows: list[tuple[str, ...]], width: int) -> list[tuple[str, ...]]:
    """Return the rows of a table with errors cut, so that each run has a line."""
    columns = zip(COLUMNS, *rows, strict=True)
    widest = [max(LEAST.get(column[0], 0), *map(len, column)) for column in columns]
    # Three spaces between columns, as the table has them.
    room = max(LEAST["error"], width - sum(widest[:-1]) - 3 * len(COLUMNS) - 1)
    return [(*row[:-1], row[-1] if len(row[-1]) <= room else f"{row[-1][: room - 1]}…") for row in rows]


def shortened(text: str, most: int) -> str:
    """Return a name in so many characters at most, without its middle."""
    if len(text) <= most:
        return text
    after = (most - 1) // 2
    return f"{text[: most - 1 - after]}…{text[-after:]}"


def age_of(seconds: float) -> str:
    """Return a time span in the unit that says most of it."""
    least, unit, name = next(age for age in AGES if seconds >= age[0] or age[0] == 0)
    return f"{max(0, int(seconds // unit))} {name}" if least else f"{max(0, int(seconds))} {name}"
