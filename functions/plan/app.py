"""The first step of an execution: lay the run out."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from geodl_core.aws.site.clients import client, open_bucket, open_ledger
from geodl_core.aws.steps.plan_stage import StageSite, plan_stage
from geodl_core.settings import AwsSettings, Settings, hold_access

logger, metrics, tracer = Logger(), Metrics(), Tracer(patch_modules=("botocore",))
AWS = AwsSettings.from_env()
hold_access(Settings.from_env().access)
SITE = StageSite(open_bucket(AWS.bucket), open_ledger(AWS.table), client("s3"), AWS.shard_s, AWS.at_once)


@logger.inject_lambda_context(correlation_id_path="run_id")
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Plan a run: {run_id, attempt} → what the next steps need."""
    planned = plan_stage(SITE, event)
    metrics.add_metric("ShardsPlanned", MetricUnit.Count, 0 if planned["is_done"] else planned["of"])
    logger.info("planned", extra={"shards": planned["of"], "merge": planned["merge"], "is_done": planned["is_done"]})
    return planned
