"""`geodl catalog export`: Collections and Items of a catalog as files."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geodl_core.settings import Settings

if TYPE_CHECKING:
    from geodl_core.catalog.exchange.export import Format
    from geodl_core.catalog.exchange.source import Source

SECONDS_BETWEEN_LINES = 10


@click.command("export", short_help="Write Collections and Items to files.")
@click.argument("dest", metavar="DEST", type=click.Path(path_type=Path))
@click.option(
    "--catalog",
    metavar="PATH|URL",
    help="A catalog file, or the address of a STAC API.  [default: geodl-out/catalog.db; env: GEODL_CATALOG]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["stac-geoparquet", "static", "ndjson"]),
    default="stac-geoparquet",
    show_default=True,
    help="A table a Collection, a static STAC catalog, or a file of lines a Collection.",
)
@click.option("-c", "--collection", "collections", multiple=True, metavar="ID", help="Only it; repeatable.")
@click.option("--bbox", metavar="W,S,E,N", help="Degrees; west > east crosses the antimeridian.")
@click.option("--datetime", "when", metavar="TIME[/TIME]", help="2024-05, 2024-05-01/2024-06-15, 2024-05-01/..")
@click.option("--filter", "filter_", metavar="CQL2", help="CQL2 as text or JSON.")
@click.option("--force", is_flag=True, help="Replace a folder that holds other files, with all that is in it.")
def export_catalog(dest: Path, form: "Format", **options: Any) -> None:
    """Write Collections and Items of a catalog to a folder, whole or not at all.

    DEST becomes the folder. An earlier export in it is replaced; other files are not, unless --force says so. The same
    Items give the same bytes. `geodl catalog import` reads each format back.

    \b
    Examples:
      geodl catalog export items
      geodl catalog export site --format static -c geodl-landcover
      geodl catalog export june --format ndjson --datetime 2024-06 --filter "eo:cloud_cover < 10"
      geodl catalog export copy --catalog https://stac.example.com/v1 -c scenes --bbox 5,45,10,48
    """
    from geodl_core.catalog.exchange.destination import check_destination
    from geodl_core.catalog.exchange.export import export_catalog as export
    from geodl_core.catalog.open import open_catalog

    if dest.suffix.lower() in (".parquet", ".ndjson", ".jsonl", ".json"):
        raise click.BadParameter(f"expected the name of a folder, found {dest.name}", param_hint="DEST")
    check_destination(dest, options["force"])
    catalog = open_catalog(options["catalog"] or Settings.from_env().catalog, create=False)
    with closing(catalog):
        source = _source(catalog, options)
        with counting("exporting", _count(source)) as advance:
            written = export(source, dest, form, options["force"], advance)
    for collection_id, count in written.collections.items():
        click.echo(f"{count:>9,}  {collection_id}")
    click.echo(f"{sum(written.collections.values()):>9,}  items in {dest}")


def _source(catalog: Any, options: dict[str, Any]) -> "Source":
    from geodl_core.catalog.exchange.source import Source
    from geodl_core.catalog.sqlite import SqliteCatalog
    from geodl_core.cli.search import read_bbox
    from geodl_core.domain.query import ItemQuery

    query = ItemQuery(
        collections=options["collections"],
        bbox=read_bbox(options["bbox"]),
        datetime=options["when"],
        filter=options["filter_"],
    )
    if isinstance(catalog, SqliteCatalog):
        return Source(catalog, query)
    can_sort = getattr(catalog, "can_sort", None)
    return Source(catalog, query, is_sorted=can_sort() if can_sort else True, is_remote=can_sort is not None)


def _count(source: "Source") -> int | None:
    """Return how many Items there are, None where the catalog does not say."""
    from geodl_core.errors import CatalogError

    try:
        return source.catalog.count(source.query)
    except CatalogError:
        return None


@contextmanager
def counting(doing: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Give a function that is told of each few items more: a bar on a terminal, else a line now and then.

    Args:
        doing: what is done, such as `exporting`.
        total: number of items in all, None where it is not known.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    columns = (TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("items"))
    bar = Progress(*columns, TimeRemainingColumn(), console=console)
    task = bar.add_task(doing, total=total)
    done, told = 0, time.monotonic()

    def advance(count: int) -> None:
        nonlocal done, told
        done += count
        if console.is_terminal:
            bar.update(task, completed=done)
        elif time.monotonic() - told > SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            console.print(f"{doing} {done:,}" + ("" if total is None else f" of {total:,}") + " items")

    if not console.is_terminal:
        yield advance
        return
    with bar:
        yield advance
