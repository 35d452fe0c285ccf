"""`geodl model`: make, look at, change, pack and keep models."""

import click

from geodl_core.cli.lazy import LazyGroup

COMMANDS = {
    "init": "geodl_core.cli.model_init:init",
    "inspect": "geodl_core.cli.model_inspect:inspect",
    "validate": "geodl_core.cli.model_inspect:validate",
    "edit": "geodl_core.cli.model_edit:edit",
    "pack": "geodl_core.cli.model_edit:pack",
    "add": "geodl_core.cli.model_add:add",
    "list": "geodl_core.cli.model_registry:list_",
    "show": "geodl_core.cli.model_registry:show",
    "remove": "geodl_core.cli.model_registry:remove",
    "export": "geodl_core.cli.model_registry:export",
}


@click.group(cls=LazyGroup, commands=COMMANDS, short_help="Make, look at, change, pack and keep models.")
def model() -> None:
    """Make, look at, change, pack and keep models.

    \b
    Examples:
      geodl model init net.onnx --bands Red,Green,Blue --class 1:Water:#4169E1 --class 2:Land
      geodl model inspect net.emd
      geodl model add net.emd
    """
