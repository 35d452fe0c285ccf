"""`geodl aws token`: who may write to a deployment's APIs."""

import click

from geodl_core.cli.aws_options import STACK_OPTIONS, require_boto3, say
from geodl_core.cli.job_options import with_options
from geodl_core.errors import InputError

SCOPES = ("read", "publish", "admin")


@click.command("token", short_help="Make, list and remove tokens.")
@click.argument("name", required=False)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help="What it is good for; repeatable. publish includes read, admin everything.",
)
@click.option("--list", "is_list", is_flag=True, help="List the tokens.")
@click.option("--remove", "removed", metavar="NAME", help="Forget the token of this name.")
@with_options(STACK_OPTIONS)
def token(name: str | None, scopes: tuple[str, ...], is_list: bool, removed: str | None, stack: str) -> None:
    """Make a token for NAME and print it, which happens this once: the deployment keeps a hash of it.

    A new token is good within seconds; one that was removed opens nothing after five minutes.

    \b
    Examples:
      geodl aws token field-office --scope publish
      geodl aws token --list
      geodl aws token --remove field-office
    """
    require_boto3()
    from geodl_core.aws.operate.token_secret import add_secret_token, list_secret_tokens, remove_secret_token
    from geodl_core.aws.site.stack import read_stack

    if sum((name is not None, is_list, removed is not None)) != 1:
        raise InputError("token: expected one of NAME, --list and --remove")
    if name is None and scopes:
        raise InputError("--scope: it is for a new token alone")
    if name is not None and not scopes:
        raise InputError(f"token {name}: expected what it is good for", hint=f"--scope {'|'.join(SCOPES)}")
    found = read_stack(stack)
    if name is not None:
        click.echo(add_secret_token(found, name, scopes))
        click.echo(f"{name}: {', '.join(scopes)}; it is not shown again", err=True)
    elif removed is not None:
        remove_secret_token(found, removed)
        click.echo(f"removed {removed}; within five minutes it opens nothing", err=True)
    else:
        for one in list_secret_tokens(found):
            say(f"{one.name}  {','.join(one.scopes)}")
