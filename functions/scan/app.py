"""A scheduled watch's scan, or the next list of a back-fill."""

import time
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from geodl_core.aws.site.clients import open_deployment
from geodl_core.aws.steps.ingest import Known
from geodl_core.aws.steps.scan import Turn, scan_stage
from geodl_core.settings import AwsSettings, Settings, hold_access

logger, metrics, tracer = Logger(), Metrics(), Tracer(patch_modules=("botocore",))
AWS = AwsSettings.from_env()
hold_access(Settings.from_env().access)
DEPLOYMENT, KNOWN = open_deployment(AWS.bucket, AWS.table, AWS.machine), Known()


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Scan: {watch} or {watch, backfill, since, until, number} → what was found, and whether that was all."""
    turn = Turn(lambda: context.get_remaining_time_in_millis() / 1000, time.sleep)
    scanned = scan_stage(DEPLOYMENT, KNOWN, event, turn)
    for name, key in (("ItemsFound", "found"), ("RunsOrdered", "ordered"), ("RunsStarted", "started")):
        metrics.add_metric(name, MetricUnit.Count, scanned[key])
    return scanned
