"""What scenes cost on AWS, counted: requests, states, seconds of functions and machines, storage; times their prices.

Each count is what the code does, and tests tie them to it: requests are counted where a server takes them
(tests/integration/test_aws_request_counts.py), states in the definitions of the machines (tests/unit/aws).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil

from geodl_core.aws.cost.prices import PriceTable
from geodl_core.aws.cost.schedule import Course
from geodl_core.aws.cost.setup import (
    COLD_S,
    FARGATE_JOB_GB,
    FARGATE_START_S,
    FUNCTION_GB,
    INGEST_S,
    INSTANCE_DISK_GB,
    JOB_VCPUS,
    LEAST_ACU,
    LIST_ITEM_S,
    LISTED,
    LOOK_S,
    MERGE_DISK_GB,
    MERGE_JOB_DISK_GB,
    MERGE_JOB_GB,
    PAUSE_S,
    PLAN_S,
    REGISTER_S,
    WAKE_S,
    Setup,
)
from geodl_core.aws.steps.estimate import MergeWay

MESSAGE_BYTES = 65_536
"""That SNS and SQS count as one request."""
SCENE_STATES = 7
"""Plan, whether it is done, map, which merge, merge, register, done."""
SHARD_STATES = 3
"""Of a child of the map: the job, whether it is the first, its end."""
FIRST_STATES = 1
"""More of the first child: it notes the rate."""
BACKFILL_STATES = 1
"""Of a child of the back-fill's map: the scene's execution."""
LIST_STATES = 6
"""Of each list of a back-fill."""

SCENE_READS, SCENE_WRITES = 15.0, 25.0
"""Units of DynamoDB, of a scene that a message orders: reads that may lag count half, transactions twice."""
BACKFILL_READS, BACKFILL_WRITES = 14.0, 25.0
"""Of one that a back-fill lists."""
INGEST_PUTS, INGEST_GETS = 2, 1
"""Order; which versions of the model there are, and the newest one's Item."""
PLAN_PUTS, PLAN_GETS = 3, 5
"""Plan, model, list of shards; order, model in three files, whether the result is there."""
SHARD_PUTS, SHARD_GETS = 1, 5
"""The part; plan, model, whether the part is there, and twice by who merges."""
MERGE_PUTS, MERGE_GETS = 1, 3
"""What merging leaves, beside the result's files; that, plan and model."""
REGISTER_PUTS, REGISTER_GETS = 1, 3
"""The Item; what merging left, plan and model."""
PROBE_GETS = 1
"""Of a detector: what its network told when it was registered."""
PART_BYTES = 8 << 20
"""Of an upload in parts: beside those its begin and its end are requests, too."""

LINES = (
    "messages",
    "functions",
    "state machine",
    "ledger",
    "bucket",
    "machines",
    "disks and addresses",
    "merge job",
    "database",
    "logs and traces",
    "results stored",
    "plans and parts stored",
    "watching",
    "secrets",
    "network",
)
"""What is paid for, in the order in which a scene comes to it; at the end what stands there for all."""
SCENE_LOG_BYTES, SHARD_LOG_BYTES = 20_000, 3_000
SCENE_TRACES = 3
"""Of two messages and an execution."""
MONTH_DAYS = 365 / 12
GONE_DAYS = 7
"""That the bucket keeps what was taken away."""
HOUR_S = 3_600.0
FREE_FARGATE_DISK_GB, FREE_FUNCTION_DISK_GB = 20.0, 0.5
ACU = 1.0
"""Capacity units that the database has while it is awake."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a scene asks for."""

    shards: int
    job_s: float
    merge: MergeWay
    merge_s: float
    result_bytes: float
    files: int
    """Of the result, its Item apart."""
    model_bytes: int = 0
    item_bytes: int = 30_000
    blocks: int = 0
    """Of the scene's rasters, that are read at most."""
    is_detector: bool = False

    @property
    def is_merged_by_job(self) -> bool:
        return self.merge == "batch"


@dataclass(frozen=True, slots=True)
class Entry:
    """So much of something that has a price."""

    line: str
    """What it is for."""
    price: str
    count: float
    share: str | None = None
    """Name of the price that says which part of it is paid."""


@dataclass(frozen=True, slots=True)
class Cost:
    """US dollars by what they are for."""

    lines: Mapping[str, float]

    @property
    def total(self) -> float:
        """The sum."""
        return sum(self.lines.values())


def cost_of(entries: Iterable[Entry], prices: PriceTable) -> Cost:
    """Return what entries cost, by the lines that there are of `LINES`.

    Raises:
        InputError: the table lacks a price.
    """
    lines: dict[str, float] = {}
    for entry in entries:
        share = 1.0 if entry.share is None else prices.usd(entry.share)
        lines[entry.line] = lines.get(entry.line, 0.0) + entry.count * share * prices.usd(entry.price)
    return Cost({name: lines[name] for name in LINES if name in lines})


def scene_entries(work: Work, setup: Setup, course: Course, is_alone: bool) -> tuple[Entry, ...]:
    """Return what a scene uses that a message orders.

    Args:
        work: the scene.
        setup: of the deployment.
        course: of this one scene.
        is_alone: nothing ran before and nothing comes after: machines and the database start for it and wait in vain.
            Else it is one of a stream, and pays for its own time.
    """
    cold_s = COLD_S if is_alone else 0.0
    awake_s = REGISTER_S + (WAKE_S + PAUSE_S if is_alone and setup.rests else 0.0)
    message = ceil(work.item_bytes / MESSAGE_BYTES)
    looks = Entry("functions", "lambda_gb_s", FUNCTION_GB["ingest"] * (INGEST_S + LOOK_S + cold_s))
    return (
        # The Item's and its result's; each is taken from the queue, and from it away.
        Entry("messages", "sns_publish", message + 1),
        Entry("messages", "sqs_request", 2 * (message + 1)),
        Entry("functions", "lambda_request", 2),
        looks,
        *_functions(work, cold_s),
        Entry("state machine", "states_transition", scene_states(work)),
        Entry("ledger", "dynamodb_read", SCENE_READS),
        Entry("ledger", "dynamodb_write", SCENE_WRITES),
        Entry("bucket", "s3_put", _puts(work) + INGEST_PUTS),
        Entry("bucket", "s3_get", _gets(work, setup) + INGEST_GETS),
        *_machines(setup, course.instance_s if is_alone else course.busy_s, work.shards),
        *_merge_job(work),
        *(_database(setup, awake_s, 1) if setup.has_database else ()),
        *_kept(work, setup),
    )


def backfill_entries(work: Work, setup: Setup, course: Course) -> tuple[Entry, ...]:
    """Return what a back-fill uses.

    Its Items are found by a search, not by messages; each result is published.

    Args:
        work: each scene.
        setup: of the deployment.
        course: of all scenes.
    """
    scenes = course.asked.scenes
    lists = ceil(scenes / LISTED)
    each = (
        Entry("messages", "sns_publish", 1),
        Entry("messages", "sqs_request", 2),
        Entry("functions", "lambda_request", 1),
        Entry("functions", "lambda_gb_s", FUNCTION_GB["ingest"] * LOOK_S + FUNCTION_GB["scan"] * LIST_ITEM_S),
        *_functions(work, 0.0),
        Entry("state machine", "states_transition", scene_states(work) + BACKFILL_STATES),
        Entry("ledger", "dynamodb_read", BACKFILL_READS),
        Entry("ledger", "dynamodb_write", BACKFILL_WRITES),
        Entry("bucket", "s3_put", _puts(work) + 1),
        Entry("bucket", "s3_get", _gets(work, setup)),
        *_merge_job(work),
        *_kept(work, setup),
    )
    entries = [Entry(entry.line, entry.price, scenes * entry.count, entry.share) for entry in each]
    entries.append(Entry("state machine", "states_transition", lists * LIST_STATES))
    entries.extend(_machines(setup, course.instance_s, scenes * work.shards))
    if setup.has_database:
        entries.extend(_database(setup, course.seconds + PAUSE_S * setup.rests, scenes))
    return tuple(entries)


def scene_states(work: Work) -> int:
    """Return how many states a scene's execution and its children enter, if nothing is repeated."""
    return SCENE_STATES + SHARD_STATES * work.shards + FIRST_STATES


def _functions(work: Work, cold_s: float) -> tuple[Entry, ...]:
    """Return what plan, merge and register take."""
    gb_s = FUNCTION_GB["plan"] * (PLAN_S + cold_s) + FUNCTION_GB["register"] * (REGISTER_S + cold_s)
    if work.is_merged_by_job:
        return Entry("functions", "lambda_request", 2), Entry("functions", "lambda_gb_s", gb_s)
    merge_s = work.merge_s + cold_s
    disk_gb = MERGE_DISK_GB - FREE_FUNCTION_DISK_GB
    return (
        Entry("functions", "lambda_request", 3),
        Entry("functions", "lambda_gb_s", gb_s + FUNCTION_GB["merge"] * merge_s),
        Entry("functions", "lambda_disk_gb_s", disk_gb * merge_s),
    )


def _puts(work: Work) -> int:
    """Return the requests that write, of plan, shards, merge and register."""
    uploads = (work.model_bytes, work.result_bytes)
    more = sum(1 + ceil(size / PART_BYTES) for size in uploads if size > PART_BYTES)
    return PLAN_PUTS + SHARD_PUTS * work.shards + work.files + MERGE_PUTS + REGISTER_PUTS + more


def _gets(work: Work, setup: Setup) -> int:
    """Return the requests that read; a scene's are its owner's, unless readers pay."""
    own = PLAN_GETS + SHARD_GETS * work.shards + MERGE_GETS + REGISTER_GETS
    return own + PROBE_GETS * work.is_detector + work.blocks * setup.pays


def machine_usd(setup: Setup, prices: PriceTable) -> float:
    """Return what an hour of a machine of shards costs, of those that are taken first; its disk and address apart.

    Raises:
        InputError: the table lacks a price.
    """
    return cost_of(_machines(setup, HOUR_S, 1), prices).lines["machines"]


def _machines(setup: Setup, seconds: float, jobs: int) -> tuple[Entry, ...]:
    """Return what machines take that are paid for so long, together, by so many jobs."""
    hours = seconds / HOUR_S
    if setup.is_fargate:
        share = "fargate_spot_share" if setup.is_spot else None
        return (
            Entry("machines", "fargate_vcpu_hour", hours * JOB_VCPUS, share),
            Entry("machines", "fargate_gb_hour", hours * FARGATE_JOB_GB, share),
            Entry("disks and addresses", "ipv4_hour", hours),
        )
    dear = hours * setup.on_demand_share(jobs)
    first, second = hours - dear, Entry("machines", setup.instance, dear)
    return (
        *((Entry("machines", setup.instance, first, "gpu_spot_share"),) if setup.is_spot else ()),
        *((second,) if dear else ()),
        Entry("disks and addresses", "ebs_gb_month", hours / 24 / MONTH_DAYS * INSTANCE_DISK_GB),
        Entry("disks and addresses", "ipv4_hour", hours),
    )


def _merge_job(work: Work) -> tuple[Entry, ...]:
    if not work.is_merged_by_job:
        return ()
    hours = (work.merge_s + FARGATE_START_S) / HOUR_S
    return (
        Entry("merge job", "fargate_vcpu_hour", hours * JOB_VCPUS),
        Entry("merge job", "fargate_gb_hour", hours * MERGE_JOB_GB),
        Entry("merge job", "fargate_disk_gb_hour", hours * (MERGE_JOB_DISK_GB - FREE_FARGATE_DISK_GB)),
    )


def _database(setup: Setup, awake_s: float, scenes: int) -> tuple[Entry, ...]:
    hours = awake_s / HOUR_S
    # What one that never rests has in any case stands in the costs of a month.
    acu = ACU if setup.rests else ACU - LEAST_ACU
    # Its address is looked up by each registration.
    return Entry("database", "aurora_acu_hour", hours * acu), Entry("database", "secrets_call", scenes)


def _kept(work: Work, setup: Setup) -> tuple[Entry, ...]:
    """Return logs, traces and storage: results as long as they are kept, plans and parts for some days."""
    work_gb_days = work.model_bytes * (setup.work_days + GONE_DAYS) + work.result_bytes * GONE_DAYS
    return (
        Entry("logs and traces", "logs_gb", (SCENE_LOG_BYTES + SHARD_LOG_BYTES * work.shards) / 1e9),
        Entry("logs and traces", "xray_trace", SCENE_TRACES),
        Entry("results stored", "s3_gb_month", work.result_bytes / 1e9 * setup.kept_months),
        Entry("plans and parts stored", "s3_gb_month", work_gb_days / 1e9 / MONTH_DAYS),
    )
