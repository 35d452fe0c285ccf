"""`geodl deploy --remove`: the end of a deployment."""

import click

from geodl_core.cli.aws_options import say
from geodl_core.errors import InputError


def remove_stack(name: str, *, with_data: bool, is_asked: bool) -> None:
    """Delete a stack, unless it holds data that is not to be deleted; say what stays.

    Raises:
        InputError: there is no such stack, it holds data, or something of it cannot be deleted.
        UnavailableError: AWS does not answer.
    """
    from geodl_core.aws.deploy.removal import DELETING, holdings, remove, resources_of
    from geodl_core.cli.deploy import print_event, short_kind

    resources = resources_of(name)
    held = holdings(resources)
    if held and not with_data:
        raise InputError(
            f"stack {name}: it holds data: {'; '.join(map(str, held))}",
            hint="--with-data deletes that, too, and for ever",
        )
    say(f"stack {name}: {len(resources)} resources are to be deleted")
    for one in held:
        say(f"  with its data: {one}")
    for resource in resources:
        if resource.stays and not (with_data and resource.kind in DELETING):
            say(f"  stays ({resource.stays.lower()}): {resource.name} ({short_kind(resource.kind)})")
    if is_asked and not click.confirm(f"delete stack {name}{' and its data, for ever' if held else ''}?"):
        say("nothing was changed")
        return
    staying = remove(name, resources, print_event, with_data=with_data)
    say(f"stack {name} is deleted")
    for resource in staying:
        said = "a snapshot stays of" if resource.stays == "Snapshot" else "stays:"
        say(f"{said} {resource.name} ({short_kind(resource.kind)})")
