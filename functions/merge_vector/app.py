"""Merge the objects that shards found."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from geodl_core.aws.steps.merge_stage import merge_stage
from geodl_core.settings import Settings, hold_access

logger, metrics, tracer = Logger(), Metrics(), Tracer(patch_modules=("botocore",))
SETTINGS = Settings.from_env()
hold_access(SETTINGS.access)


@logger.inject_lambda_context(correlation_id_path="run_id")
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Merge a run: {plan, …} → plan and the number of objects."""
    merged = merge_stage(event, SETTINGS.cache)
    metrics.add_metric("ObjectsMerged", MetricUnit.Count, merged["count"])
    logger.info("merged", extra=merged)
    return merged
