"""The end of an execution that failed: its cause into the ledger."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from geodl_core.aws.site.clients import client, open_ledger
from geodl_core.aws.steps.fail_stage import fail_stage
from geodl_core.settings import AwsSettings

logger, metrics, tracer = Logger(), Metrics(), Tracer(patch_modules=("botocore",))
AWS = AwsSettings.from_env()
LEDGER = open_ledger(AWS.table)
LOGS = (client("logs"), AWS.batch_logs) if AWS.batch_logs else None


@logger.inject_lambda_context(correlation_id_path="run_id")
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Write down why a run failed: {run_id, attempt, error} → run_id, state, error, cause, is_ended."""
    ended = fail_stage(LEDGER, event, LOGS)
    metrics.add_metric("RunsFailed", MetricUnit.Count, int(ended["is_ended"]))
    logger.error("run ended", extra=ended)
    return ended
