"""The last step of an execution: the result's Item into the catalog, and to the topic."""

from datetime import UTC, datetime
from functools import partial
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from geodl_core.aws.site.catalogs import catalog_opener, publish_result
from geodl_core.aws.site.clients import client, open_bucket, open_ledger
from geodl_core.aws.steps.register_stage import RegisterSite, register_stage
from geodl_core.aws.topics.publish import Topic
from geodl_core.settings import AwsSettings

logger, metrics, tracer = Logger(), Metrics(), Tracer(patch_modules=("botocore",))
AWS = AwsSettings.from_env()
LEDGER = open_ledger(AWS.table)
TOPIC = Topic(client("sns"), client("s3"), AWS.topic, open_bucket(AWS.bucket))
OPEN = catalog_opener(partial(client, "secretsmanager"), AWS.catalog, AWS.catalog_secret)
SITE = RegisterSite(LEDGER, OPEN, partial(publish_result, TOPIC, LEDGER), lambda: datetime.now(UTC))


@logger.inject_lambda_context(correlation_id_path="run_id")
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Register a run: {run_id, attempt, plan} → run_id, and collection and id of the Item."""
    registered = register_stage(SITE, event)
    metrics.add_metric("RunsSucceeded", MetricUnit.Count, 1)
    area, seconds = registered.get("square_km"), registered.get("job_s")
    if area and seconds:
        metrics.add_metric("SquareKilometres", MetricUnit.NoUnit, area)
        metrics.add_metric("JobSeconds", MetricUnit.Seconds, seconds)
        metrics.add_metric("UsdPerKm2", MetricUnit.NoUnit, seconds / 3600 * AWS.machine_usd / area)
    logger.info("registered", extra=registered)
    return registered
