"""What was written to the catalog, or what the event has, to the topic of Items."""

from datetime import UTC, datetime
from functools import partial
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from geodl_core.aws.site.catalogs import catalog_opener
from geodl_core.aws.site.clients import client, open_bucket, open_ledger
from geodl_core.aws.topics.publish import Topic, publish_event
from geodl_core.settings import AwsSettings

logger, metrics, tracer = Logger(), Metrics(), Tracer(patch_modules=("botocore",))
AWS = AwsSettings.from_env()
LEDGER = open_ledger(AWS.table)
TOPIC = Topic(client("sns"), client("s3"), AWS.topic, open_bucket(AWS.bucket))
SECRET = partial(client, "secretsmanager")
OPEN = catalog_opener(SECRET, "", AWS.catalog_secret) if AWS.catalog_secret else None


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    """Publish: Items in any envelope, or by a schedule what the catalog's outbox has → how many."""
    count = publish_event(TOPIC, event, OPEN, LEDGER, datetime.now(UTC))
    metrics.add_metric("ItemsPublished", MetricUnit.Count, count)
    return {"published": count}
