"""Now and then: start runs that are due, end those that ended untold, look after schedules and scans.

And whenever an execution was stopped: end its run.
"""

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from geodl_core.aws.site.clients import open_deployment
from geodl_core.aws.steps.sweep import end_stopped, sweep
from geodl_core.aws.steps.tend import tend
from geodl_core.aws.watches.controls import open_controls
from geodl_core.settings import AwsSettings

logger, metrics, tracer = Logger(), Metrics(), Tracer(patch_modules=("botocore",))
AWS = AwsSettings.from_env()
DEPLOYMENT = open_deployment(AWS.bucket, AWS.table, AWS.machine)
CONTROLS = open_controls(DEPLOYMENT, AWS.schedule_group, AWS.schedule_role, AWS.scan_function, AWS.backfill_machine)


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    """Sweep, or end the run of an execution that was stopped: {detail: {name}}; return how many of what."""
    if event.get("source") == "aws.states":
        ended = int(end_stopped(DEPLOYMENT, str(event["detail"]["name"])))
        metrics.add_metric("RunsFailed", MetricUnit.Count, ended)
        return {"ended": ended}
    swept = asdict(sweep(DEPLOYMENT))
    metrics.add_metric("RunsStarted", MetricUnit.Count, swept["started"])
    metrics.add_metric("RunsFailed", MetricUnit.Count, swept["ended"])
    metrics.add_metric("RunsStuck", MetricUnit.Count, sum(swept[name] for name in ("ended", "restarted", "stalled")))
    return swept | asdict(tend(CONTROLS))
