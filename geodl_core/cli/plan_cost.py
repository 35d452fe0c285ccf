"""`geodl plan --on aws`: what a scene takes there, and scenes like it, in time and money."""

from collections.abc import Iterator, Mapping
from math import floor, log10
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geodl_core.cli.stack_option import stack_option_for
from geodl_core.settings import Settings

if TYPE_CHECKING:
    from geodl_core.aws.cost.cost import Cost, Entry
    from geodl_core.aws.cost.outlook import Outlook, Rate
    from geodl_core.aws.cost.prices import PriceTable
    from geodl_core.aws.cost.schedule import Course
    from geodl_core.aws.cost.setup import Setup
    from geodl_core.engine.plan_scene import ScenePlan
    from geodl_core.service.jobs.read_job import AskedJob

PRICES_HELP = "TOML or JSON of other prices, or another region's.  [default: of us-east-1, with their date]"
RATE_HELP = "Pixels a second of a job, its start included.  [default: as --stack noted, else 500,000]"
COST_OPTIONS = (
    click.option("--on", "place", type=click.Choice(["aws"]), help="Say what it takes there, in time and money."),
    click.option("--scenes", type=click.IntRange(min=1), help="And a back-fill of so many scenes like it."),
    click.option(
        "--plot",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE.svg",
        help="The back-fill's course as a picture.",
    ),
    click.option("--prices", type=click.Path(path_type=Path), metavar="FILE", help=PRICES_HELP),
    click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="PIXELS", help=RATE_HELP),
    stack_option_for("Deployment whose limits, measured rate and models hold.", shown="template.yaml's"),
    click.option(
        "--max-vcpus", type=click.IntRange(min=4), help="Of all shards' machines; a job takes 4.  [default: as --stack]"
    ),
    click.option("--spot/--on-demand", "is_spot", default=None, help="Machines' price.  [default: Spot]"),
    click.option(
        "--compute", type=click.Choice(["gpu-ec2", "fargate"]), help="Machines of shards.  [default: as --stack]"
    ),
)
ONLY_WITH = {
    "scenes": "--scenes",
    "plot": "--plot",
    "prices": "--prices",
    "rate": "--rate",
    "max_vcpus": "--max-vcpus",
    "is_spot": "--spot",
    "compute": "--compute",
}
"""Name of an option that says something of AWS → the option. A stack may be named by the environment."""


def require_place(options: Mapping[str, Any]) -> None:
    """Refuse options that say something of a place that is not asked for.

    Raises:
        click.UsageError: as `ONLY_WITH` and `--plot` say.
    """
    given = [name for name in ONLY_WITH if options[name] is not None]
    if given and options["place"] is None:
        names = {
            "is_spot": "--spot",
            **{name: f"--{name.replace('_', '-')}" for name in ONLY_WITH if name != "is_spot"},
        }
        raise click.UsageError(f"{names[given[0]]} needs --on aws")
    plot = options["plot"]
    if plot is not None and options["scenes"] is None:
        raise click.UsageError("--plot needs --scenes: it shows a back-fill")
    if plot is not None and plot.suffix.lower() != ".svg":
        raise click.UsageError(f"--plot: expected a name that ends in .svg, found {plot.name}")


def cost_report(
    asked: "AskedJob", planned: "ScenePlan", options: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Return what a plan takes on AWS, for machines and for people; write the plot that is asked for.

    Args:
        asked: the job.
        planned: its plan.
        options: of the command line.

    Raises:
        GeodlError: as `read_prices`, `read_stack`, `scene_outlook` and `backfill_course`; or several Items.
    """
    from geodl_core.aws.cost.cost import cost_of
    from geodl_core.aws.cost.outlook import backfill_course, scene_outlook
    from geodl_core.aws.cost.prices import read_prices
    from geodl_core.aws.cost.schedule_svg import schedule_svg
    from geodl_core.aws.cost.standing import standing_entries
    from geodl_core.errors import InputError
    from geodl_core.io.store import write_bytes

    if asked.others:
        raise InputError("expected one Item: a deployment on AWS runs each published Item by itself")
    prices = read_prices(options["prices"])
    setup, rate = _setup(asked, options)
    outlook = scene_outlook((asked.item, asked.package, planned), options["shards"], setup, rate)
    standing = cost_of(standing_entries(setup), prices)
    document, lines = _scene_json(outlook, prices), [*_scene_lines(outlook, prices), _standing_line(standing)]
    document["standing_usd_per_month"] = {**standing.lines, "total": standing.total}
    if options["scenes"] is not None:
        course = backfill_course(outlook, options["scenes"])
        document["backfill"] = _backfill_json(outlook, course, prices)
        lines += _backfill_lines(outlook, course, prices)
        if options["plot"] is not None:
            title, subtitle = _titles(outlook, course)
            write_bytes(options["plot"], schedule_svg(course, title, subtitle).encode())
            lines.append(f"plot     {options['plot']}")
    return document, lines


def _setup(asked: "AskedJob", options: Mapping[str, Any]) -> "tuple[Setup, Rate]":
    """Return the deployment that is asked about, and how fast the model is there."""
    from dataclasses import replace

    from geodl_core.aws.cost.outlook import Rate
    from geodl_core.aws.cost.setup import JOB_VCPUS, SCENES_A_JOB, Setup

    setup, rate = Setup(pays=Settings.from_env().access.pays), Rate()
    if options["stack"]:
        from geodl_core.aws.cost.stack_setup import stack_rate, stack_setup
        from geodl_core.aws.site.stack import read_stack

        stack = read_stack(options["stack"])
        setup, rate = stack_setup(stack), stack_rate(stack, asked.model) or rate
    chosen = {name: options[name] for name in ("is_spot", "compute", "max_vcpus") if options[name] is not None}
    if "max_vcpus" in chosen:
        # As geodl deploy sets it.
        chosen["scenes_at_once"] = SCENES_A_JOB * (chosen["max_vcpus"] // JOB_VCPUS)
        # All of them, so that what is asked about is what was said.
        chosen["max_on_demand_vcpus"] = 0
    if options["rate"] is not None:
        rate = Rate(options["rate"], "as --rate says")
    return replace(setup, **chosen), rate


def _scene_lines(outlook: "Outlook", prices: "PriceTable") -> Iterator[str]:
    """Yield what a scene takes, one fact a line, and its cost as a table."""
    from geodl_core.aws.cost.cost import cost_of

    work, setup = outlook.work, outlook.setup
    yield f"on AWS   {prices.region}, prices of {prices.as_of}; {machine_text(setup)}"
    yield f"rate     {outlook.rate.pixels_per_s:,.0f} pixels a second of a job ({outlook.rate.origin})"
    yield f"shards   {work.shards} of {duration(work.job_s)}; {outlook.compute_s:,.0f} s of computing in all"
    where = "by a job on processors" if work.is_merged_by_job else "by a function"
    yield f"merge    {where}, about {duration(work.merge_s)}"
    times = [duration(outlook.seconds(is_alone)) for is_alone in (True, False)]
    yield f"time     {times[0]} alone, {times[1]} in a stream"
    costs = [cost_of(outlook.entries(is_alone), prices) for is_alone in (True, False)]
    yield from cost_table(("alone", "in a stream"), [cost.lines for cost in costs], 6)
    if outlook.area_km2:
        alone, stream = (cost.total / outlook.area_km2 for cost in costs)
        yield f"per km²  {small(alone)} alone, {small(stream)} in a stream; {outlook.area_km2:,.1f} km² are computed"
    yield "alone    machines and the database start for it, and wait for more in vain before they go"


def _standing_line(cost: "Cost") -> str:
    """Return what is paid whatever runs."""
    largest = sorted(cost.lines.items(), key=lambda entry: -entry[1])[:3]
    parts = ", ".join(f"{name} {dollars(value, 2)}" for name, value in largest)
    return f"standing {dollars(cost.total, 2)} a month besides, whatever runs: {parts}, …"


def _backfill_lines(outlook: "Outlook", course: "Course", prices: "PriceTable") -> Iterator[str]:
    """Yield what a back-fill takes."""
    from geodl_core.aws.cost.cost import cost_of
    from geodl_core.aws.cost.outlook import backfill_uses
    from geodl_core.aws.cost.schedule import limits, lower_bound_s

    asked = course.asked
    cost = cost_of(backfill_uses(outlook, course), prices)
    jobs = asked.scenes * asked.shards
    yield ""
    at_once = f"{asked.scenes_at_once} scenes and {asked.slots} jobs at a time"
    yield f"backfill {asked.scenes:,} scenes, {jobs:,} jobs; {at_once}"
    yield f"time     {duration(course.seconds)}; under these limits not less than {duration(lower_bound_s(asked))}"
    held = ", ".join(f"{name} {share:.0%}" for name, share in limits(course).items() if share >= 0.005)
    yield f"held by  {held} of the time"
    hours, busy = course.instance_s / 3600, course.busy_s / course.instance_s
    yield f"machines {hours:,.0f} hours paid, {busy:.0%} of them at work"
    yield from cost_table((f"{asked.scenes:,} scenes", "each"), [cost.lines, _each(cost.lines, asked.scenes)], 6)
    if outlook.area_km2:
        yield f"per km²  {small(cost.total / outlook.area_km2 / asked.scenes)}"


def _each(lines: Mapping[str, float], count: int) -> dict[str, float]:
    return {name: value / count for name, value in lines.items()}


def cost_table(heads: tuple[str, ...], columns: list[Mapping[str, float]], places: int) -> Iterator[str]:
    """Yield costs as a table: a line for each thing that is paid for, columns of US dollars, and their sums."""
    names = list(dict.fromkeys(name for column in columns for name in column))
    width = max(map(len, (*names, "in all")))
    rows = [[name, *(dollars(column.get(name, 0.0), places) for column in columns)] for name in names]
    rows.append(["in all", *(dollars(sum(column.values()), places) for column in columns)])
    widths = [max(len(text) for text in (head, *(row[at] for row in rows))) for at, head in enumerate(heads, start=1)]
    yield "cost     " + " " * width + "".join(f"  {head:>{size}}" for head, size in zip(heads, widths, strict=True))
    for name, *values in rows:
        cells = "".join(f"  {value:>{size}}" for value, size in zip(values, widths, strict=True))
        yield f"         {name:<{width}}{cells}"


def dollars(value: float, places: int) -> str:
    """Return an amount: cents for large ones, more places for what is less than a dollar."""
    return f"${value:,.2f}" if value >= 1 else f"${value:.{places}f}"


def small(value: float) -> str:
    """Return an amount that may be very small, three digits of it."""
    return f"${value:.{max(2, 2 - floor(log10(value)))}f}" if value > 0 else "$0"


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    for least, unit_s, unit in ((172_800, 86_400, "days"), (5_400, 3_600, "h"), (90, 60, "min")):
        if seconds >= least:
            return f"{seconds / unit_s:.1f} {unit}"
    return f"{seconds:.0f} s"


def machine_text(setup: "Setup") -> str:
    """Return what shards run on."""
    kind = "Fargate" if setup.is_fargate else setup.instance
    more = setup.slots - setup.first_slots
    if setup.is_spot and more:
        return f"{kind}, {setup.first_slots} jobs at a time on Spot and {more} on demand"
    return f"{kind}, {'Spot' if setup.is_spot else 'on demand'}, {setup.slots} jobs at a time"


def _titles(outlook: "Outlook", course: "Course") -> tuple[str, str]:
    asked = course.asked
    name = f"Back-fill of {asked.scenes:,} scene{'s' if asked.scenes > 1 else ''}: {duration(course.seconds)}"
    each = f"{asked.shards} job{'s' if asked.shards > 1 else ''} of {duration(asked.job_s)} each"
    return name, f"{each}; {machine_text(outlook.setup)}, {asked.scenes_at_once} scenes at a time"


def _scene_json(outlook: "Outlook", prices: "PriceTable") -> dict[str, Any]:
    from dataclasses import asdict

    work = outlook.work
    return {
        "region": prices.region,
        "prices_as_of": prices.as_of,
        "setup": asdict(outlook.setup),
        "pixels_per_s": outlook.rate.pixels_per_s,
        "rate_origin": outlook.rate.origin,
        "shards": work.shards,
        "job_s": work.job_s,
        "compute_s": outlook.compute_s,
        "merge": work.merge,
        "merge_s": work.merge_s,
        "area_km2": outlook.area_km2,
        "alone": {
            "seconds": outlook.seconds(is_alone=True),
            "machine_s": outlook.alone.instance_s,
            **_cost_json(outlook.entries(is_alone=True), prices, outlook.area_km2),
        },
        "stream": {
            "seconds": outlook.seconds(is_alone=False),
            "machine_s": outlook.stream.busy_s,
            **_cost_json(outlook.entries(is_alone=False), prices, outlook.area_km2),
        },
    }


def _backfill_json(outlook: "Outlook", course: "Course", prices: "PriceTable") -> dict[str, Any]:
    from geodl_core.aws.cost.outlook import backfill_uses
    from geodl_core.aws.cost.schedule import limits, lower_bound_s

    scenes = course.asked.scenes
    area = None if outlook.area_km2 is None else outlook.area_km2 * scenes
    return {
        "scenes": scenes,
        "jobs": scenes * course.asked.shards,
        "seconds": course.seconds,
        "least_seconds": lower_bound_s(course.asked),
        "held_by": limits(course),
        "machine_s": course.instance_s,
        "compute_s": course.busy_s,
        **_cost_json(backfill_uses(outlook, course), prices, area),
    }


def _cost_json(entries: "tuple[Entry, ...]", prices: "PriceTable", area_km2: float | None) -> dict[str, Any]:
    from geodl_core.aws.cost.cost import cost_of
    from geodl_core.aws.cost.outlook import used

    cost = cost_of(entries, prices)
    return {
        "used": used(entries),
        "usd": {**cost.lines},
        "usd_total": cost.total,
        "usd_per_km2": cost.total / area_km2 if area_km2 else None,
    }
