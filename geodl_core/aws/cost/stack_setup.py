"""A deployed stack as the cost model sees it: its limits, and how fast models were in it."""

from geodl_core.aws.cost.outlook import Rate
from geodl_core.aws.cost.setup import Compute, Setup
from geodl_core.aws.ledger.rates import read_rate
from geodl_core.aws.site.stack import Stack, stack_deployment
from geodl_core.domain.mlm.write import VERSION_LENGTH
from geodl_core.domain.model.model import Model
from geodl_core.errors import InputError

COMPUTES: dict[str, tuple[Compute, bool]] = {
    "gpu-ec2": ("gpu-ec2", True),
    # Without what ECS asks for managing them.
    "gpu-managed-instances": ("gpu-ec2", False),
    "fargate": ("fargate", True),
}
"""ShardCompute → where shards run, and whether on Spot."""


def stack_setup(stack: Stack) -> Setup:
    """Return how a stack is set up; what an older stack does not say is as by default.

    Raises:
        InputError: a parameter that is no number, or names what is not known here.
    """
    usual, told = Setup(), stack.parameters
    word = told.get("ShardCompute", "gpu-ec2")
    if word not in COMPUTES:
        raise InputError(f"stack {stack.name}: expected ShardCompute to be one of {', '.join(COMPUTES)}, found {word}")
    compute, is_spot = COMPUTES[word]
    on_demand = _number(stack, "MaxOnDemandVcpus", usual.max_on_demand_vcpus) if word == "gpu-ec2" else 0
    has_database = not stack.catalog_url and not told.get("CatalogDsnSecret")
    return Setup(
        compute=compute,
        instance=told.get("GpuInstanceTypes", "").split(",")[0].strip() or usual.instance,
        is_spot=is_spot,
        max_vcpus=int(_number(stack, "MaxGpuVcpus", usual.max_vcpus)),
        max_on_demand_vcpus=int(on_demand),
        max_merge_vcpus=int(_number(stack, "MaxCpuVcpus", usual.max_merge_vcpus)),
        shards_at_once=int(_number(stack, "MapConcurrency", usual.shards_at_once)),
        scenes_at_once=int(stack.backfill_concurrency or _number(stack, "BackfillConcurrency", usual.scenes_at_once)),
        shard_s=_number(stack, "ShardSeconds", usual.shard_s),
        has_database=has_database,
        has_proxy=has_database and told.get("UseRdsProxy") == "true",
        pays=told.get("RequesterPays") == "1",
        work_days=_number(stack, "WorkDays", usual.work_days),
    )


def stack_rate(stack: Stack, model: Model) -> Rate | None:
    """Return how fast a model was in a stack, None where it has not run there.

    Raises:
        InputError: there are no credentials, or no region.
        CatalogError: the stack's table does not answer.
    """
    reference = f"{model.name}@{model.digest[:VERSION_LENGTH]}"
    found = read_rate(stack_deployment(stack).ledger, reference)
    return None if found is None else Rate(found, f"of the last run of {reference} in stack {stack.name}")


def _number(stack: Stack, name: str, usual: float) -> float:
    text = stack.parameters.get(name, "")
    try:
        return float(text) if text else usual
    except ValueError as error:
        raise InputError(f"stack {stack.name}: expected {name} to be a number, found {text!r}") from error
