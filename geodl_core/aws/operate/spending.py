"""What runs of a deployment have cost: what the ledger and Batch know of them, times the table of prices."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from math import prod
from typing import Any

from geodl_core.aws.cost.cost import MONTH_DAYS, Cost, Entry, Work, cost_of, scene_entries
from geodl_core.aws.cost.prices import PriceTable
from geodl_core.aws.cost.schedule import Backfill, simulate
from geodl_core.aws.cost.setup import JOB_VCPUS, Setup
from geodl_core.aws.cost.standing import standing_entries
from geodl_core.aws.ledger.found_runs import ended_since
from geodl_core.aws.ledger.ledger import CloudRun, DynamoLedger, answers
from geodl_core.aws.operate.batch_jobs import BatchJob, jobs_since
from geodl_core.aws.site.account import account_errors
from geodl_core.aws.site.clients import client
from geodl_core.aws.site.documents import read_document
from geodl_core.aws.site.executions import Deployment
from geodl_core.aws.site.layout import result_item_url
from geodl_core.aws.site.stack import Stack
from geodl_core.domain.run.state import FINAL
from geodl_core.errors import GeodlError

DAY_S = 86_400.0
MOST_RUNS = 50_000
MOST_READ = 500
"""Items of results that are read for areas and sizes; the mean of these holds for the rest."""
READERS = 16
MERGE_S = 20.0
"""Assumed of a merge in a function, whose time nobody notes."""
FILES = 4
"""Of a result, about."""
HAND = "by hand"
"""In place of the watch of runs that none ordered."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a result's Item tells."""

    bytes: float
    area_km2: float | None
    """None where it has no place on Earth."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What the runs of a watch came to."""

    watch: str
    runs: int
    states: Mapping[str, int]
    job_s: float
    """That machines computed."""
    cost: Cost
    area_km2: float | None
    """Of the results; None where none tells it."""


@dataclass(frozen=True, slots=True)
class Spending:
    """What a deployment came to."""

    days: int
    watches: Sequence[Spent]
    """The dearest first."""
    standing: Cost
    """What is paid whatever runs, for these days."""
    measured: int
    """Runs whose jobs' seconds Batch still knows."""
    estimated: int
    """Runs whose jobs' seconds follow from their model's last rate."""
    unknown: int
    """Runs of whose jobs nothing is known: counted without machines."""
    is_all: bool
    """False where there are more runs than were looked at."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of runs beside their rows."""

    jobs: Mapping[str, Sequence[BatchJob]]
    """By run."""
    results: Mapping[str, Result]
    shard_s: Mapping[str, float]
    """Seconds of a shard, by model."""


def spending(stack: Stack, deployment: Deployment, setup: Setup, prices: PriceTable, days: int) -> Spending:
    """Return what a deployment came to in the last days.

    Args:
        stack: the deployment.
        deployment: the same, with clients.
        setup: how it is set up.
        prices: the table.
        days: back from now.

    Raises:
        InputError: AWS refuses to tell, or the table lacks a price.
        UnavailableError: ledger or bucket do not answer.
    """
    since_s = deployment.ledger.clock() - days * DAY_S
    runs = list(islice(ended_since(deployment.ledger, FINAL, since_s, None), MOST_RUNS + 1))
    is_all, runs = len(runs) <= MOST_RUNS, runs[:MOST_RUNS]
    jobs: dict[str, list[BatchJob]] = defaultdict(list)
    for job in jobs_since(stack, since_s - DAY_S):
        jobs[job.run_id].append(job)
    known = _Known(jobs, _read_results(deployment, runs), _shard_seconds(deployment.ledger, runs))
    by_watch: dict[str, list[CloudRun]] = defaultdict(list)
    for run in runs:
        by_watch[run.watch or HAND].append(run)
    spent = [_spent(watch, some, known, (replace(setup, kept_months=1.0), prices)) for watch, some in by_watch.items()]
    month = standing_entries(setup)
    standing = cost_of((replace(entry, count=entry.count * days / MONTH_DAYS) for entry in month), prices)
    origins = Counter(_origin(run, known) for run in runs)
    return Spending(
        days=days,
        watches=sorted(spent, key=lambda one: -one.cost.total),
        standing=standing,
        measured=origins["measured"],
        estimated=origins["estimated"],
        unknown=origins["unknown"],
        is_all=is_all,
    )


def billed(stack: Stack, now: datetime, days: int) -> dict[str, float]:
    """Return what Cost Explorer says of a stack, US dollars by service, the dearest first.

    It knows a stack by the tag that CloudFormation itself gives, once that is activated for billing. Each question
    costs a cent.

    Args:
        stack: the deployment.
        now: until when.
        days: back from now; Cost Explorer goes by whole days, and lags behind by one.

    Raises:
        InputError: AWS refuses to tell.
        UnavailableError: Cost Explorer does not answer.
    """
    begin, end = (now - timedelta(days=days)).astimezone(UTC).date(), now.astimezone(UTC).date()
    tag = {"Key": "aws:cloudformation:stack-name", "Values": [stack.name]}
    with account_errors("Cost Explorer"):
        told = client("ce").get_cost_and_usage(
            TimePeriod={"Start": begin.isoformat(), "End": end.isoformat()},
            Granularity="MONTHLY",
            Metrics=["UnblendedCost"],
            Filter={"Tags": tag},
            GroupBy=[{"Type": "DIMENSION", "Key": "SERVICE"}],
        )
    sums: dict[str, float] = defaultdict(float)
    for period in told.get("ResultsByTime", ()):
        for group in period.get("Groups", ()):
            sums[str(group["Keys"][0])] += float(group["Metrics"]["UnblendedCost"]["Amount"])
    return dict(sorted(sums.items(), key=lambda entry: -entry[1]))


def _spent(watch: str, runs: Sequence[CloudRun], known: _Known, table: tuple[Setup, PriceTable]) -> Spent:
    """Return what runs came to: those that are alike are counted together."""
    setup, prices = table
    alike: dict[tuple[int, bool], list[CloudRun]] = defaultdict(list)
    for run in runs:
        alike[run.shards, any(job.shard is None for job in known.jobs.get(run.id, ()))].append(run)
    results = [known.results[run.id] for run in runs if run.id in known.results]
    mean_bytes = sum(result.bytes for result in results) / len(results) if results else 0.0
    entries: list[Entry] = []
    for (shards, is_merged_by_job), some in alike.items():
        work = _work(shards, some, known, mean_bytes, is_merged_by_job=is_merged_by_job)
        course = simulate(
            Backfill(1, work.shards, work.job_s, max_vcpus=max(setup.max_vcpus, JOB_VCPUS), boot_s=0.0, keep_s=0.0)
        )
        each = scene_entries(work, setup, course, is_alone=False)
        entries += [replace(entry, count=entry.count * len(some)) for entry in each]
    areas = [result.area_km2 for result in results if result.area_km2 is not None]
    ended = sum(run.state == "succeeded" for run in runs)
    return Spent(
        watch=watch,
        runs=len(runs),
        states=Counter(run.state for run in runs),
        job_s=sum(_job_s(run, known) for run in runs),
        cost=cost_of(entries, prices),
        # Where not every Item was read the others are as large in the mean.
        area_km2=sum(areas) / len(areas) * ended if areas else None,
    )


def _work(shards: int, runs: Sequence[CloudRun], known: _Known, result_bytes: float, *, is_merged_by_job: bool) -> Work:
    """Return what each of some runs asked for, in the mean."""
    job_s = sum(_job_s(run, known) for run in runs) / len(runs)
    merges = [job.seconds for run in runs for job in known.jobs.get(run.id, ()) if job.shard is None]
    has_result = sum(run.state == "succeeded" for run in runs) / len(runs)
    return Work(
        shards=max(1, shards),
        job_s=job_s / max(1, shards),
        merge="batch" if is_merged_by_job else "raster",
        merge_s=sum(merges) / len(runs) if is_merged_by_job else MERGE_S * has_result,
        result_bytes=result_bytes * has_result,
        files=FILES,
    )


def _job_s(run: CloudRun, known: _Known) -> float:
    """Return how long the jobs of a run's shards computed, as far as that is known."""
    jobs = known.jobs.get(run.id)
    if jobs:
        return sum(job.seconds for job in jobs if job.shard is not None)
    return run.shards * known.shard_s.get(run.model, 0.0)


def _origin(run: CloudRun, known: _Known) -> str:
    if run.shards == 0 or run.id in known.jobs:
        return "measured"
    return "estimated" if run.model in known.shard_s else "unknown"


def _shard_seconds(ledger: DynamoLedger, runs: Iterable[CloudRun]) -> dict[str, float]:
    """Return how long the last noted shard of each model took."""
    found = {}
    for model in {run.model for run in runs}:
        with answers(ledger):
            row = ledger.table.get_item(Key={"pk": f"RATE#{model}", "sk": "RATE"}).get("Item")
        if row is not None:
            found[model] = max(0.0, (float(row["stopped_ms"]) - float(row["started_ms"])) / 1000)
    return found


def _read_results(deployment: Deployment, runs: Iterable[CloudRun]) -> dict[str, Result]:
    """Return sizes and areas of results, by run; those whose Item cannot be read are left out."""
    wanted = [run for run in runs if run.state == "succeeded" and run.result is not None][:MOST_READ]

    def read(run: CloudRun) -> Result | None:
        place = run.result or {}
        url = result_item_url(deployment.bucket, str(place["collection"]), str(place["id"]))
        try:
            return read_result(read_document(deployment.s3, url))
        except GeodlError:
            return None

    with ThreadPoolExecutor(READERS) as pool:
        found = zip(wanted, pool.map(read, wanted), strict=True)
        return {run.id: result for run, result in found if result is not None}


def read_result(item: Any) -> Result | None:
    """Return what a result's Item tells of its size and area, None where it is none.

    The area is that of the pixels that have a class; of objects, that of the whole grid.
    """
    if not isinstance(item, Mapping) or not isinstance(item.get("properties"), Mapping):
        return None
    properties, assets = item["properties"], (item.get("assets") or {}).values()
    size = sum(float(asset.get("file:size") or 0) for asset in assets)
    pixel_m2 = properties.get("geodl:pixel_area_m2")
    if pixel_m2 is None:
        return Result(size, None)
    counts = [entry.get("count") for asset in assets for entry in asset.get("classification:classes") or ()]
    is_map = "geodl:detections" not in properties and counts and all(isinstance(one, int | float) for one in counts)
    pixels = sum(counts) if is_map else prod(properties.get("proj:shape") or (0,))
    return Result(size, pixels * float(pixel_m2) / 1e6)
