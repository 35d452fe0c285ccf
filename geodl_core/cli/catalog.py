"""`geodl catalog`: make a catalog, and take its content out and in."""

import click

from geodl_core.cli.lazy import LazyGroup

COMMANDS = {
    "init": "geodl_core.cli.catalog_init:init",
    "export": "geodl_core.cli.catalog_export:export_catalog",
    "import": "geodl_core.cli.catalog_import:import_catalog",
}


@click.group(cls=LazyGroup, commands=COMMANDS, short_help="Make a catalog, export and import it.")
def catalog() -> None:
    """Make a catalog, and take its Collections and Items out and in.

    \b
    Examples:
      geodl catalog init --catalog postgresql://geodl:secret@localhost/stac
      geodl catalog export items.parquet
    """
