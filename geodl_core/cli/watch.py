"""`geodl watch`: standing orders, which Items run which model."""

import click

from geodl_core.cli.lazy import LazyGroup

COMMANDS = {
    "add": "geodl_core.cli.watch_add:add",
    "list": "geodl_core.cli.watch_show:list_",
    "show": "geodl_core.cli.watch_show:show",
    "test": "geodl_core.cli.watch_test:test",
    "apply": "geodl_core.cli.watch_test:apply",
    "pause": "geodl_core.cli.watch_show:pause",
    "resume": "geodl_core.cli.watch_show:resume",
    "remove": "geodl_core.cli.watch_show:remove",
}


@click.group(cls=LazyGroup, commands=COMMANDS, short_help="Keep standing orders: which Items run which model.")
def watch() -> None:
    """Keep standing orders: which Items run which model, and how.

    \b
    Examples:
      geodl watch add --name crops --model landcover --collection sentinel-2-l2a --aoi fields.geojson
      geodl watch add watches.yaml
      geodl watch test scene.json
    """
