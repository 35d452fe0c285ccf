"""`--stack`: a deployment on AWS. All commands have it from here, under one name; they differ in what holds without it.

`aws_options` has it for commands that are about a deployment in any case.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from geodl_core.errors import InputError
from geodl_core.settings import Settings

if TYPE_CHECKING:  # heavy: paid by a command, not by --help
    from geodl_core.aws.site.executions import Deployment
    from geodl_core.aws.site.stack import Stack
    from geodl_core.aws.watches.controls import Controls


def stack_option_for(means: str, default: str | None = None, shown: str | None = None) -> Callable[[Any], Any]:
    """Return the option.

    Args:
        means: what a command does with the deployment, for its help.
        default: name of the deployment that is meant without it; None for none.
        shown: what holds without it, where that is no deployment.
    """
    otherwise = shown or default
    note = f"default: {otherwise}; " if otherwise else ""
    return click.option(
        "--stack", metavar="NAME", envvar="GEODL_STACK", default=default, help=f"{means}  [{note}env: GEODL_STACK]"
    )


stack_option = stack_option_for("Of a deployment on AWS, instead of a catalog here.")
"""For commands that work on this machine as well; `meant_stack` says which place is meant."""


def meant_stack(stack: str | None, **others: object) -> str | None:
    """Return the name of the deployment that is meant, None where another place is.

    A place that was named on the command line stands above GEODL_STACK.

    Args:
        stack: value of the option.
        others: options that name other places, by name, and their values.

    Raises:
        InputError: both were named on the command line.
    """
    named = [name for name, value in others.items() if value]
    if not stack or not named:
        return stack or None
    if click.get_current_context().get_parameter_source("stack") is ParameterSource.ENVIRONMENT:
        return None
    raise InputError(f"--stack and --{named[0].replace('_', '-')} exclude one another: expected one of them")


def note_stack(catalog: str | None, hint: str) -> None:
    """Say on standard error that a command that knows no deployments looks elsewhere than GEODL_STACK says.

    Nothing is said where the command line names a catalog, or where the environment's is one of another machine.

    Args:
        catalog: that the command line names.
        hint: what looks at a deployment instead.
    """
    from geodl_core.cli.main import printable
    from geodl_core.domain.place.href import hide_secrets

    settings = Settings.from_env()
    if not settings.stack or catalog or settings.catalog.startswith(("http://", "https://")):
        return
    where = hide_secrets(settings.catalog)
    click.echo(printable(f"note: GEODL_STACK is set; this looks at {where} here ({hint})"), err=True)


def opened_deployment(name: str) -> "Deployment":
    """Return a deployment: its bucket and its ledger, with clients to reach them.

    Raises:
        InputError: there is none of this name, no leave to look, or what talks to AWS is not installed.
        UnavailableError: AWS does not answer.
    """
    from geodl_core.cli.aws_options import require_boto3

    require_boto3()
    from geodl_core.aws.site.stack import read_stack, stack_deployment

    return stack_deployment(read_stack(name))


def opened_controls(name: str) -> "tuple[Stack, Controls]":
    """Return a deployment, and what its watches are changed by.

    Raises:
        InputError: there is none of this name, no leave to look, or what talks to AWS is not installed.
        UnavailableError: AWS does not answer.
    """
    from geodl_core.cli.aws_options import require_boto3

    require_boto3()
    from geodl_core.aws.site.stack import read_stack
    from geodl_core.aws.watches.stack_watches import stack_controls

    stack = read_stack(name)
    return stack, stack_controls(stack)
