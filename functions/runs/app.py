"""The status of runs, and the watches, behind an HTTP API."""

from functools import partial, update_wrapper
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.utilities.typing import LambdaContext

from geodl_core.aws.api.runs_api import NOWHERE, ROUTES, Door, answer
from geodl_core.aws.site.clients import client, open_deployment
from geodl_core.aws.site.secrets import token_reader
from geodl_core.aws.watches.controls import open_controls
from geodl_core.settings import AwsSettings

logger, metrics, tracer, app = Logger(), Metrics(), Tracer(patch_modules=("botocore",)), APIGatewayHttpResolver()
AWS = AwsSettings.from_env()
PLACE = open_deployment(AWS.bucket, AWS.table, AWS.machine)
CONTROLS = open_controls(PLACE, AWS.schedule_group, AWS.schedule_role, AWS.scan_function, AWS.backfill_machine)
DOOR = Door(token_reader(partial(client, "secretsmanager"), AWS.tokens_secret), AWS.is_private)


def respond(asked: tuple[str, str], **names: str) -> Response[str]:
    """Answer a request of a route."""
    reply = answer(CONTROLS, DOOR, asked, app.current_event.raw_event, names)
    return Response(reply.status, "application/json", reply.body, dict(reply.headers))


app.not_found(lambda _: Response(NOWHERE.status, "application/json", NOWHERE.body))
for verb, pattern in ROUTES:
    app.route(pattern, verb)(update_wrapper(partial(respond, (verb, pattern)), respond))


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer a request."""
    metrics.add_metric("Requests", "Count", 1)
    return app.resolve(event, context)
