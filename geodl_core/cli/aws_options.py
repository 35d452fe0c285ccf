"""Options of the commands that work with a deployment on AWS: which one it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from geodl_core.cli.stack_option import stack_option_for
from geodl_core.errors import InputError
from geodl_core.settings import put_in_environment

if TYPE_CHECKING:
    from geodl_core.aws.site.executions import Deployment
    from geodl_core.aws.site.stack import Stack

STACK_NAME = "geodl"


def _let_region_hold(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Let a region hold for boto3 and for programs that are started."""
    if value:
        put_in_environment({"AWS_DEFAULT_REGION": value, "AWS_REGION": value})


STACK_OPTIONS = (
    stack_option_for("Name of the deployment.", STACK_NAME),
    click.option(
        "--region",
        metavar="REGION",
        expose_value=False,
        callback=_let_region_hold,
        help="Of AWS.  [default: as the aws command has it; env: AWS_DEFAULT_REGION]",
    ),
)


def require_boto3() -> None:
    """See that what talks to AWS is installed.

    Raises:
        InputError: it is not.
    """
    if find_spec("boto3") is None:
        raise InputError("expected the package boto3, found none", hint="pip install 'geodl[aws]' brings it")


@contextmanager
def opened_stack(name: str) -> Iterator[tuple["Stack", "Deployment"]]:
    """Give a stack and its deployment.

    Raises:
        InputError: there is none of this name, or no leave to look.
        UnavailableError: AWS does not answer.
    """
    require_boto3()
    from geodl_core.aws.site.stack import read_stack, stack_deployment

    stack = read_stack(name)
    yield stack, stack_deployment(stack)


def say(text: Any) -> None:
    """Print a line, without what steers a terminal."""
    from geodl_core.cli.main import printable

    click.echo(printable(str(text)))


def tell(text: Any) -> None:
    """Print a line about what is going on, apart from what is printed for machines."""
    from geodl_core.cli.main import printable

    click.echo(printable(str(text)), err=True)
