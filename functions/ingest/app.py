"""Messages of the queue → executions. A message that fails comes again; after three times it is a dead letter."""

from functools import partial
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from geodl_core.aws.site.catalogs import catalog_lookup, catalog_opener
from geodl_core.aws.site.clients import client, open_deployment
from geodl_core.aws.steps.ingest import Known, ingest
from geodl_core.settings import AwsSettings, Settings, hold_access

logger, metrics, tracer = Logger(), Metrics(), Tracer(patch_modules=("botocore",))
AWS = AwsSettings.from_env()
hold_access(Settings.from_env().access)
DEPLOYMENT = open_deployment(AWS.bucket, AWS.table, AWS.machine)
OPEN = partial(catalog_opener, partial(client, "secretsmanager"), AWS.catalog, AWS.catalog_secret)
CATALOG = catalog_lookup(OPEN()) if AWS.catalog or AWS.catalog_secret else None
KNOWN, processor = Known(), BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False, logger=logger)


@tracer.capture_method(capture_response=False)
def take(record: SQSRecord) -> None:
    """Start what one message leads to."""
    metrics.add_metric("Messages", MetricUnit.Count, 1)
    taken = ingest(DEPLOYMENT, KNOWN, record.body, f"message {record.message_id}", CATALOG)
    metrics.add_metric("RunsOrdered", MetricUnit.Count, sum(one.is_new for one in taken))
    metrics.add_metric("RunsStarted", MetricUnit.Count, sum(one.is_started for one in taken))


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Take a batch; return which messages are to come again."""
    return process_partial_response(event, record_handler=take, processor=processor, context=context)
