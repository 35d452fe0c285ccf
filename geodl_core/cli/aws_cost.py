"""`geodl aws cost`: what runs of a deployment have cost."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geodl_core.cli.aws_options import STACK_OPTIONS, opened_stack, say, tell
from geodl_core.cli.job_options import with_options
from geodl_core.cli.plan_cost import PRICES_HELP, cost_table, dollars, duration, small
from geodl_core.errors import GeodlError

if TYPE_CHECKING:
    from geodl_core.aws.cost.prices import PriceTable
    from geodl_core.aws.operate.spending import Spending, Spent
    from geodl_core.aws.site.stack import Stack

MOST_NAME = 16


@click.command("cost", short_help="Say what runs have cost.")
@click.option("--days", type=click.IntRange(1, 365), default=7, show_default=True, help="Back from now.")
@click.option("--prices", type=click.Path(path_type=Path), metavar="FILE", help=PRICES_HELP)
@click.option("--billed", "is_billed", is_flag=True, help="Ask Cost Explorer, too, which costs a cent.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_options(STACK_OPTIONS)
def cost(days: int, prices: Path | None, is_billed: bool, as_json: bool, stack: str) -> None:
    """Say what the runs of the last days have cost, by watch: what they used, times the table of prices.

    Seconds of jobs are those that Batch noted, for as long as it knows them (a week or so); of older runs, those of
    their model's last noted shard. Machines' starts and their waiting for work are not in it.

    \b
    Examples:
      geodl aws cost
      geodl aws cost --days 30 --billed
      geodl aws cost --prices ours.toml --json
    """
    from geodl_core.aws.cost.prices import read_prices
    from geodl_core.aws.cost.stack_setup import stack_setup
    from geodl_core.aws.operate.spending import spending

    table = read_prices(prices)
    with opened_stack(stack) as (found, deployment):
        told = spending(found, deployment, stack_setup(found), table, days)
        bill = _bill(found, days) if is_billed else None
    if as_json:
        click.echo(json.dumps(spending_json(told, table, bill), ensure_ascii=False))
        return
    for line in spending_lines(told, table):
        say(line)
    if bill is not None:
        say(f"billed   {dollars(sum(bill.values()), 2)} by Cost Explorer, before taxes")
        for name, value in bill.items():
            say(f"         {name}  {dollars(value, 2)}")


def _bill(stack: "Stack", days: int) -> dict[str, float] | None:
    """Return what Cost Explorer says, None where it may not be asked or knows nothing of the stack."""
    from datetime import UTC, datetime

    from geodl_core.aws.operate.spending import billed

    try:
        found = billed(stack, datetime.now(UTC), days)
    except GeodlError as error:
        tell(f"note: {error.message}")
        return None
    if not found:
        tell("note: Cost Explorer knows no cost by the tag aws:cloudformation:stack-name; is it activated for billing?")
        return None
    return found


def spending_lines(told: "Spending", prices: "PriceTable") -> Iterator[str]:
    """Yield what a deployment came to, for a person."""
    count = sum(one.runs for one in told.watches)
    more = "" if told.is_all else ", and more that are not looked at"
    yield f"days     {told.days}; prices of {prices.region}, {prices.as_of}"
    yield f"runs     {count:,} ended{more}"
    if told.estimated or told.unknown:
        estimated = f"of {told.estimated:,} as their model's last shard"
        yield f"jobs     times of {told.measured:,} runs are measured, {estimated}"
    if told.unknown:
        yield f"note     of {told.unknown:,} runs no times are known: they are counted without machines"
    if told.watches:
        yield from _watch_table(told.watches)
        lines: dict[str, float] = {}
        for one in told.watches:
            for name, value in one.cost.lines.items():
                lines[name] = lines.get(name, 0.0) + value
        ended = sum(one.states.get("succeeded", 0) for one in told.watches)
        columns: list[Mapping[str, float]] = [lines, {name: value / max(1, ended) for name, value in lines.items()}]
        yield from cost_table((f"{count:,} run{'s' if count > 1 else ''}", "a result"), columns, 6)
    yield f"standing {dollars(told.standing.total, 2)} in {told.days} days besides, whatever runs"


def _watch_table(watches: Any) -> Iterator[str]:
    """Yield what each watch came to, a line each."""
    from geodl_core.cli.runs_list import shortened

    width = max(len("watch"), *(min(MOST_NAME, len(one.watch)) for one in watches))
    yield f"{'watch':<{width}}  {'runs':>6}  {'failed':>6}  {'jobs':>8}  {'cost':>9}  {'a run':>9}  {'a km²':>9}"
    for one in watches:
        failed = one.states.get("failed", 0) + one.states.get("invalid", 0)
        area = small(one.cost.total / one.area_km2) if one.area_km2 else "–"
        cells = (
            f"{shortened(one.watch, MOST_NAME):<{width}}",
            f"{one.runs:>6,}",
            f"{failed:>6,}",
            f"{duration(one.job_s):>8}",
            f"{dollars(one.cost.total, 4):>9}",
            f"{dollars(one.cost.total / one.runs, 6):>9}",
            f"{area:>9}",
        )
        yield "  ".join(cells)


def spending_json(told: "Spending", prices: "PriceTable", bill: dict[str, float] | None) -> dict[str, Any]:
    """Return what a deployment came to, for machines."""
    return {
        "days": told.days,
        "region": prices.region,
        "prices_as_of": prices.as_of,
        "watches": [_spent_json(one) for one in told.watches],
        "standing_usd": told.standing.total,
        "runs": {"measured": told.measured, "estimated": told.estimated, "unknown": told.unknown, "all": told.is_all},
        "billed_usd": bill,
    }


def _spent_json(one: "Spent") -> dict[str, Any]:
    return {
        "watch": one.watch,
        "runs": dict(one.states),
        "job_s": one.job_s,
        "area_km2": one.area_km2,
        "usd": dict(one.cost.lines),
        "total_usd": one.cost.total,
    }
