"""The STAC API behind an HTTP API. Whoever may write is told by a token or by the gateway."""

from functools import cache, partial
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2, event_source
from aws_lambda_powertools.utilities.typing import LambdaContext
from mangum import Mangum

from geodl_core.aws.api.api_app import awake, create_api
from geodl_core.aws.site.catalogs import wake_catalog
from geodl_core.aws.site.clients import client, open_bucket, open_ledger
from geodl_core.aws.site.secrets import token_reader
from geodl_core.aws.topics.publish import Topic, publish_outbox
from geodl_core.settings import AwsSettings

logger, metrics, tracer = Logger(), Metrics(), Tracer(patch_modules=("botocore",))
AWS, SECRETS = AwsSettings.from_env(), partial(client, "secretsmanager")
TOPIC = Topic(client("sns"), client("s3"), AWS.topic, open_bucket(AWS.bucket))
TOKENS = token_reader(SECRETS, AWS.tokens_secret)


@cache
def app() -> Mangum:
    """Open the catalog, which may have to wake, with the first request; return what answers."""
    catalog = wake_catalog(SECRETS, AWS.catalog_secret)
    publish = partial(publish_outbox, TOPIC, catalog, open_ledger(AWS.table))
    return Mangum(create_api(catalog, TOKENS, publish, is_private=AWS.is_private), lifespan="off")


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
@event_source(data_class=APIGatewayProxyEventV2)
def handler(event: APIGatewayProxyEventV2, context: LambdaContext) -> Any:
    """Answer a request."""
    metrics.add_metric("Requests", MetricUnit.Count, 1)
    return awake(lambda: app()(event.raw_event, context))
