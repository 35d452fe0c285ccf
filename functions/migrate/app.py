"""A resource of CloudFormation: the schema of the catalog in its database, made and brought up to date."""

from functools import partial
from typing import Any

from aws_lambda_powertools import Logger, Tracer
from aws_lambda_powertools.utilities.data_classes import CloudFormationCustomResourceEvent, event_source
from aws_lambda_powertools.utilities.typing import LambdaContext

from geodl_core.aws.site.clients import client
from geodl_core.aws.site.secrets import catalog_reader
from geodl_core.aws.steps.migrate import migrate_stage
from geodl_core.settings import AwsSettings

logger, tracer = Logger(), Tracer(patch_modules=("botocore",))
READ = catalog_reader(partial(client, "secretsmanager"), AwsSettings.from_env().catalog_secret)


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@event_source(data_class=CloudFormationCustomResourceEvent)
def handler(event: CloudFormationCustomResourceEvent, context: LambdaContext) -> dict[str, Any]:
    """Migrate, and tell CloudFormation how that went → status and reason."""
    told = migrate_stage(event.raw_event, READ, context.get_remaining_time_in_millis() / 1000)
    logger.info("catalog", extra=told)
    return told
