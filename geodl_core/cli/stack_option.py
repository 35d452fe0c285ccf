"""`--stack`: a deployment on AWS, for commands that work on this machine as well."""

from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from geodl_core.errors import InputError

if TYPE_CHECKING:  # heavy: paid by a command, not by --help
    from geodl_core.aws.site.stack import Stack
    from geodl_core.aws.watches.controls import Controls

stack_option = click.option(
    "--stack",
    metavar="NAME",
    envvar="GEODL_STACK",
    help="Of a deployment on AWS, instead of a catalog here.  [env: GEODL_STACK]",
)


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


def opened_controls(name: str) -> "tuple[Stack, Controls]":
    """Return a deployment, and what its watches are changed by.

    Raises:
        InputError: there is none of this name, or no leave to look.
        UnavailableError: AWS does not answer.
    """
    from geodl_core.aws.site.stack import read_stack
    from geodl_core.aws.watches.stack_watches import stack_controls

    stack = read_stack(name)
    return stack, stack_controls(stack)
