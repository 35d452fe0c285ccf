"""`geodl item`: make Items of rasters, and look at Items."""

import click

from geodl_core.cli.lazy import LazyGroup

COMMANDS = {
    "make": "geodl_core.cli.item_make:make",
    "inspect": "geodl_core.cli.item_inspect:inspect",
}


@click.group(cls=LazyGroup, commands=COMMANDS, short_help="Make Items of rasters, and look at Items.")
def item() -> None:
    """Make STAC Items of rasters, and look at Items.

    \b
    Examples:
      geodl item make B04.tif B08.tif --datetime 2026-05-14T10:30:00Z
      geodl item inspect item.json --model landcover.emd
    """
