"""`geodl search`: which Items a catalog holds."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from geodl_core.cli.stack_option import note_stack
from geodl_core.settings import Settings

if TYPE_CHECKING:  # heavy: paid by a search, not by --help
    from geodl_core.domain.query import ItemQuery
    from geodl_core.engine.register_scene import Catalog

PAGE = 500
MODELS = "models"
MOST_CLASSES = 3
WIDTH = 100
"""Of the table where it does not go to a terminal."""


@click.command("search", short_help="Find Items in a catalog.")
@click.option(
    "--catalog",
    metavar="PATH|URL",
    help="A catalog file, or the address of a STAC API.  [default: geodl-out/catalog.db; env: GEODL_CATALOG]",
)
@click.option("-c", "--collection", "collections", multiple=True, metavar="ID", help="Only of it; repeatable.")
@click.option("--id", "ids", multiple=True, metavar="ID", help="Only this Item; repeatable.")
@click.option("--bbox", metavar="W,S,E,N", help="Degrees; west > east crosses the antimeridian.")
@click.option("--datetime", "when", metavar="TIME[/TIME]", help="2024-05, 2024-05-01/2024-06-15, 2024-05-01/..")
@click.option("--filter", "filter_", metavar="CQL2", help="CQL2 as text or JSON.")
@click.option("--sortby", metavar="[-]PROPERTY,…", help="'-' sorts down.  [default: -datetime]")
@click.option("--limit", type=click.IntRange(0), default=100, show_default=True, help="Items in all; 0: every one.")
@click.option("--json", "as_json", is_flag=True, help="Print a GeoJSON FeatureCollection.")
def search(
    catalog: str | None,
    collections: tuple[str, ...],
    ids: tuple[str, ...],
    bbox: str | None,
    when: str | None,
    filter_: str | None,
    sortby: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Find Items in a catalog: newest first, as a table or as GeoJSON.

    \b
    Examples:
      geodl search
      geodl search -c sentinel-2-l2a --datetime 2024-06 --bbox 5,45,10,48
      geodl search --filter "eo:cloud_cover < 10 and platform = 'sentinel-2a'"
      geodl search --sortby eo:cloud_cover,-datetime --limit 5
      geodl search --catalog https://stac.example.com/v1 --json > items.geojson

    \b
    Filters know and, or, not, =, <>, <, >, in, between, like, is null, casei(…),
    s_intersects(geometry, POLYGON((…))) and t_intersects(datetime, INTERVAL('…','..')).
    """
    from geodl_core.catalog.open import open_catalog
    from geodl_core.domain.query import ItemQuery

    query = ItemQuery(
        collections=collections,
        ids=ids,
        bbox=read_bbox(bbox),
        datetime=when,
        filter=filter_,
        sortby=_sortby(sortby),
        limit=min(limit or PAGE, PAGE),
    )
    note_stack(catalog, "--catalog names the STAC API of a deployment")
    with open_catalog(catalog or Settings.from_env().catalog, create=False) as opened:
        items = _found(opened, query, limit, shows_models=bool(collections or ids))
        if as_json:
            _print_json(items)
        else:
            _print_table(list(items))


def read_bbox(text: str | None) -> tuple[float, float, float, float] | None:
    """Return what --bbox means."""
    if text is None:
        return None
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError as err:
        raise click.BadParameter(f"expected west,south,east,north, found {text!r}", param_hint="--bbox") from err
    return west, south, east, north


def _sortby(text: str | None) -> tuple[tuple[str, bool], ...]:
    names = [name.strip() for name in (text or "").split(",")]
    return tuple((name.lstrip("+-"), not name.startswith("-")) for name in names if name.strip("+-"))


def _found(catalog: "Catalog", query: "ItemQuery", limit: int, shows_models: bool) -> Iterator[dict[str, Any]]:
    """The Items of all pages, `limit` at most unless that is 0.

    Registered models are Items of everywhere and all times; only who asks for their Collection means them.
    """
    given = 0
    while True:
        page = catalog.search(query)
        for item in page.items:
            if item.get("collection") == MODELS and not shows_models:
                continue
            yield item
            given += 1
            if given == limit:
                return
        if page.next_token is None:
            return
        query = replace(query, token=page.next_token)


def _print_json(items: Iterator[dict[str, Any]]) -> None:
    """Print page by page, so that a large answer need not fit into memory."""
    # The first Item is asked for before anything is printed: an error leaves no half document.
    first = next(items, None)
    click.echo('{"type": "FeatureCollection", "features": [', nl=False)
    if first is not None:
        click.echo("\n" + json.dumps(first, ensure_ascii=False), nl=False)
    for item in items:
        click.echo(",\n" + json.dumps(item, ensure_ascii=False), nl=False)
    click.echo("\n]}")


def _print_table(items: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not items:
        click.echo("no items")
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    results = [_results(item) for item in items]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("collection", overflow="fold", max_width=16)
    table.add_column("id", no_wrap=True, overflow="ignore")
    table.add_column("datetime", no_wrap=True)
    # Whoever looks at results wants to know what was found; of scenes, which bands there are.
    table.add_column("result" if any(results) else "assets", overflow="fold")
    for item, result in zip(items, results, strict=True):
        cells = [item.get("collection") or "", item["id"], _when(item)]
        # Text, not str: square brackets in an id are no markup.
        table.add_row(*(Text(cell) for cell in [*cells, result or _assets(item)]))
    console.print(table)
    click.echo(f"{len(items)} item{'s' if len(items) != 1 else ''}")


def _when(item: dict[str, Any]) -> str:
    properties = item["properties"]
    if properties.get("datetime"):
        return str(properties["datetime"])[:16].replace("T", " ")
    return f"{str(properties.get('start_datetime'))[:10]}/{str(properties.get('end_datetime'))[:10]}"


def _assets(item: dict[str, Any]) -> str:
    names = list(item.get("assets", {}))
    return ", ".join(names[:6]) + (f" +{len(names) - 6}" if len(names) > 6 else "")


def _results(item: dict[str, Any]) -> str:
    """What geodl found, largest class first; empty for Items that are no results of geodl."""
    classes = [one for asset in item.get("assets", {}).values() for one in asset.get("classification:classes", ())]
    shares = [one for one in classes if isinstance(one.get("percentage"), (int, float)) and one["percentage"] > 0]
    shares.sort(key=lambda one: -one["percentage"])
    finds_objects = isinstance(item["properties"].get("geodl:detections"), int)
    parts = [_share(one, finds_objects) for one in shares[:MOST_CLASSES]]
    if finds_objects and not parts:
        parts = ["no objects"]
    more = [f"+{len(shares) - MOST_CLASSES}"] if len(shares) > MOST_CLASSES else []
    state = ["deprecated"] if item["properties"].get("deprecated") else []
    return ", ".join([*state, *parts, *more])


def _share(one: dict[str, Any], finds_objects: bool) -> str:
    """A class with how many of its objects there are, or how much of the scene it is."""
    name = str(one.get("title") or one.get("name"))
    return f"{one.get('count', 0):,} {name}" if finds_objects else f"{name} {one['percentage']:.1f} %"
