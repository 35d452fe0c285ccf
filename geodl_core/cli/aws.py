"""`geodl aws`: a deployment on AWS, looked at and operated."""

import click

from geodl_core.cli.lazy import LazyGroup

COMMANDS = {
    "status": "geodl_core.cli.aws_status:status",
    "logs": "geodl_core.cli.aws_logs:logs",
    "retry": "geodl_core.cli.aws_retry:retry",
    "replay-dlq": "geodl_core.cli.aws_dead_letters:replay_dlq",
    "token": "geodl_core.cli.aws_token:token",
    "cost": "geodl_core.cli.aws_cost:cost",
}


@click.group(cls=LazyGroup, commands=COMMANDS, short_help="Operate a deployment on AWS.")
def aws() -> None:
    """Operate a deployment on AWS: see how it does, read logs, retry runs, replay messages, make tokens.

    \b
    Examples:
      geodl aws status
      geodl aws status 3f2a91c0
      geodl aws logs 3f2a91c0 --follow
      geodl aws retry --failed
    """
