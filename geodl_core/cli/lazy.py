"""Groups of commands that import a command's module when it is asked for, so that help stays light."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """A group that knows its commands by name and place.

    Args:
        commands: name → `module:attribute`.
    """

    def __init__(self, *arguments: Any, commands: Mapping[str, str], **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.places = dict(commands)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order given."""
        return list(self.places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None where there is none of this name."""
        if cmd_name not in self.places:
            return None
        module, _, attribute = self.places[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command
