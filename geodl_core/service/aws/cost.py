"""What runs cost on AWS, counted: requests, transitions, seconds of functions and GPUs, storage."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from geodl_core.service.aws.prices import LIST, Prices

SCENE_STATES = 8
"""That an execution goes through: plan, whether done, whether empty, map, which merge, merge, register, end."""
SHARD_STATES = 1
"""Of a child of the map: the job."""
KB64 = 65_536


@dataclass(frozen=True, slots=True)
class SceneUse:
    """What one scene uses; the defaults are of an Item that one watch without a brake orders."""

    shards: int
    job_s: float
    """Seconds of a job, its container's start included."""
    result_bytes: float
    message_bytes: float = 30_000
    plan_gb_s: float = 12.0
    """6 s at 2 GB."""
    merge_gb_s: float = 60.0
    """20 s at 3 GB; 0 where a Batch job merges."""
    register_gb_s: float = 4.0
    ingest_gb_s: float = 0.25
    merge_job_s: float = 0.0
    """Seconds of a merge as a job on Fargate, of 4 virtual cores and 16 GB."""
    idle_share: float = 0.15
    """Of the jobs' time, that instances wait for work: their start, and their last minutes."""
    is_spot: bool = True
    kept_months: float = 12.0
    """That results are stored for."""
    log_bytes: float = 60_000
    wakes: int = 0
    """Further messages that lead to nothing: duplicates, Items that no watch wants."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What is counted of one scene, by the code that does it."""

    sns_publishes: float
    """The Item's, and its result's."""
    sqs_requests: float
    """A receive and a delete for each message; batches take fewer."""
    lambda_requests: float
    lambda_gb_s: float
    transitions: float
    dynamodb_writes: float
    dynamodb_reads: float
    s3_puts: float
    s3_gets: float
    gpu_s: float
    fargate_s: float
    stored_gb_months: float
    log_gb: float


@dataclass(frozen=True, slots=True)
class Cost:
    """US dollars by what they are for."""

    lines: Mapping[str, float]

    @property
    def total(self) -> float:
        """The sum."""
        return sum(self.lines.values())


def count_scene(use: SceneUse) -> Counts:
    """Return what a scene uses, counted by what the functions do.

    DynamoDB: a claim writes the run (2 units in a transaction, 1 in the index) and its line of history (2); each of the
    three moves after that the run (2, and 2 in the index, whose key changes) and a line (2): 5 + 3 × 6. Read are the
    watches' revision, the run before and in the claim, and in each move twice and once by its function, consistently
    (1 each), and the model's rate: 14. S3: written are the order, plan, model, list of shards, Item, five files of the
    result, what merging leaves, and a part for each shard; read are the order, the model's Item and three files, plan
    and model by each shard, merge and register, each part twice, and what merging left.
    """
    messages = 1 + use.wakes
    # The result is published, too, and looked at by all watches.
    delivered = messages + 1
    return Counts(
        sns_publishes=delivered * max(1, -(-use.message_bytes // KB64)),
        sqs_requests=2 * delivered,
        lambda_requests=delivered + (3 if use.merge_gb_s else 2),
        lambda_gb_s=delivered * use.ingest_gb_s + use.plan_gb_s + use.merge_gb_s + use.register_gb_s,
        transitions=SCENE_STATES + SHARD_STATES * use.shards,
        dynamodb_writes=5 + 3 * 6,
        dynamodb_reads=14 + 2 * use.wakes,
        s3_puts=11 + use.shards,
        s3_gets=5 + 2 * (use.shards + 2) + 2 * use.shards + 1,
        gpu_s=use.shards * use.job_s * (1 + use.idle_share),
        fargate_s=use.merge_job_s,
        stored_gb_months=use.result_bytes / 1e9 * use.kept_months,
        log_gb=use.log_bytes / 1e9,
    )


def scene_cost(use: SceneUse, prices: Prices = LIST) -> Cost:
    """Return what one scene costs."""
    counts = count_scene(use)
    gpu_hour = prices.gpu_hour * (prices.gpu_spot_share if use.is_spot else 1.0)
    fargate_hour = 4 * prices.fargate_vcpu_hour + 16 * prices.fargate_gb_hour
    messages = counts.sns_publishes * prices.sns_publish + counts.sqs_requests * prices.sqs_request
    functions = counts.lambda_requests * prices.lambda_request + counts.lambda_gb_s * prices.lambda_gb_s
    ledger = counts.dynamodb_writes * prices.dynamodb_write + counts.dynamodb_reads * prices.dynamodb_read
    return Cost(
        {
            "messages": messages,
            "functions": functions,
            "state machine": counts.transitions * prices.states_transition,
            "ledger": ledger,
            "requests to S3": counts.s3_puts * prices.s3_put + counts.s3_gets * prices.s3_get,
            "GPU": counts.gpu_s / 3600 * gpu_hour,
            "merge jobs": counts.fargate_s / 3600 * fargate_hour,
            "logs": counts.log_gb * prices.logs_gb,
            "storage": counts.stored_gb_months * prices.s3_gb_month,
        }
    )


def backfill_cost(use: SceneUse, scenes: int, prices: Prices = LIST) -> Cost:
    """Return what a back-fill costs: as many scenes, two more transitions and no message for each.

    Its Items are found by a search (a function of 2 GB: 0.3 s for each), not by messages; each result is published.
    """
    each = dict(scene_cost(replace(use, wakes=0), prices).lines)
    counts = count_scene(use)
    each["messages"] -= counts.sns_publishes / 2 * prices.sns_publish + 2 * prices.sqs_request
    each["functions"] += 0.6 * prices.lambda_gb_s - use.ingest_gb_s * prices.lambda_gb_s - prices.lambda_request
    each["state machine"] += 2 * prices.states_transition
    return Cost({name: scenes * value for name, value in each.items()})
