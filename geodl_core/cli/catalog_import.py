"""`geodl catalog import`: Collections and Items of files into a catalog."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from geodl_core.errors import InputError
from geodl_core.settings import Settings

if TYPE_CHECKING:
    from geodl_core.catalog.exchange.import_items import Imported

MOST_SHOWN = 20


@click.command("import", short_help="Read Collections and Items from files.")
@click.argument("source", metavar="SOURCE", type=click.Path(path_type=Path))
@click.option(
    "--catalog",
    metavar="PATH|URL",
    help="A catalog file, or the address of a STAC API.  [default: geodl-out/catalog.db; env: GEODL_CATALOG]",
)
@click.option("-c", "--collection", metavar="ID", help="Of Items that name none.")
@click.option("--skip-existing", is_flag=True, help="Leave what the catalog has as it is.  [default: replace it]")
@click.option("--keep-going", is_flag=True, help="Import what can be, list the rest; the exit code is 2 then.")
def import_catalog(
    source: Path, catalog: str | None, collection: str | None, skip_existing: bool, keep_going: bool
) -> None:
    """Read Collections and Items from files into a catalog, which is made where it is missing.

    SOURCE is a file or folder: stac-geoparquet of any writer, a static STAC catalog, lines of JSON (.ndjson, also
    .gz), a FeatureCollection, or Items as JSON. Collections that are missing are made, as wide as their Items. Links
    of a static catalog are followed inside its folder alone.

    \b
    Examples:
      geodl catalog import items
      geodl catalog import scenes.parquet --catalog http://127.0.0.1:8080
      geodl catalog import site/catalog.json --skip-existing
      geodl catalog import found.geojson -c field-work --keep-going
    """
    from geodl_core.catalog.exchange.import_items import ImportOptions, import_items
    from geodl_core.catalog.exchange.read_items import read_items
    from geodl_core.catalog.open import open_catalog
    from geodl_core.cli.catalog_export import counting

    if not source.exists():  # before a catalog is made
        raise InputError(f"{source}: expected a file or folder with STAC Items, found none")
    options = ImportOptions(skip_existing, keep_going, collection)
    opened = open_catalog(catalog or Settings.from_env().catalog)
    with closing(opened), counting("importing", None) as advance:
        done = import_items(read_items(source), opened, options, advance)
    _report(done)
    if done.failed:
        raise InputError(f"{source}: {done.failed:,} of its documents were not imported", hint="they are listed above")


def _report(done: "Imported") -> None:
    for problem in done.problems[:MOST_SHOWN]:
        click.echo(f"bad      {_line(problem)}", err=True)
    if done.failed > MOST_SHOWN:
        click.echo(f"bad      and {done.failed - MOST_SHOWN:,} more", err=True)
    for collection_id in done.made:
        click.echo(f"note     collection {_line(collection_id)} came without a description and was made of its items")
    click.echo(f"imported {done.items:,} items, {len(done.collections):,} collections")
    if done.skipped:
        click.echo(f"skipped  {done.skipped:,} items that are there")


def _line(text: str) -> str:
    from geodl_core.cli.main import printable

    return printable(text)
