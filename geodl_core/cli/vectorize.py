"""`geodl vectorize`: polygons of a class map."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geodl_core.errors import InputError
from geodl_core.settings import Settings

if TYPE_CHECKING:
    from geodl_core.domain.regions.class_map import ClassMap
    from geodl_core.engine.vectorize import Measure, Wish, Written

SUFFIX = ".parquet"


@click.command("vectorize", short_help="Turn a class map into polygons.")
@click.argument("classified", metavar="CLASSIFIED")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="By its suffix GeoParquet, GeoPackage, GeoJSON or FlatGeobuf.  [default: beside the raster, .parquet]",
)
@click.option("--asset", metavar="KEY", help="Class map of the Item.  [default: classification]")
@click.option("--class", "classes", multiple=True, metavar="NAME|VALUE", help="Only it; repeatable.  [default: all]")
@click.option("--without", multiple=True, metavar="NAME|VALUE", help="Leave out this class; repeatable.")
@click.option("--min-area", metavar="AREA", help="Smaller regions join a neighbour: 500 (m²) or 20px.")
@click.option(
    "--connectivity",
    type=click.Choice(["4", "8"]),
    default="4",
    show_default=True,
    help="Regions hold together along sides, or at corners too.",
)
@click.option("--simplify", metavar="SIZE", help="Borders lose bends of this size: 15 (m) or 1.5px.")
@click.option("--crs", metavar="CODE|WKT", help="Of the polygons.  [default: the raster's; GeoJSON's is WGS 84]")
@click.option(
    "--catalog",
    metavar="PATH|URL",
    help="For catalog:COLLECTION/ID.  [default: geodl-out/catalog.db; env: GEODL_CATALOG]",
)
@click.option("--force", is_flag=True, help="Replace a file that exists.")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object, for machines.")
def vectorize(classified: str, **options: Any) -> None:
    """Turn a class map into polygons: one of each region, with its class and its area on the ellipsoid.

    CLASSIFIED is the path or URL of a raster, of a STAC Item of a result, or catalog:COLLECTION/ID. Regions that are
    too small join their largest neighbour first; then borders are simplified, each once for both its sides, so that
    there are neither gaps nor overlaps.

    \b
    Examples:
      geodl vectorize geodl-out/geodl-landcover/scene_landcover_0123abcd/classification.tif
      geodl vectorize result.json --min-area 500 --simplify 15 -o landcover.gpkg
      geodl vectorize catalog:geodl-landcover/scene_landcover_0123abcd --class water --class 40 -o found.geojson
      geodl vectorize classes.tif --min-area 20px --without background --crs EPSG:3857 -o classes.fgb
    """
    from geodl_core.engine import vectorize as engine

    class_map = _class_map(classified, options["asset"], options["catalog"] or Settings.from_env().catalog)
    wish = _wish(class_map, options)
    target = options["out"] or _beside(class_map.href)
    if target.exists() and not options["force"]:
        raise InputError(f"{target} exists", hint="replace it with --force, or name another with -o")
    written = engine.vectorize(class_map, wish, target)
    if options["is_json"]:
        click.echo(json.dumps(_document(written, class_map, target), ensure_ascii=False))
    else:
        _report(written, class_map, target)


def _class_map(classified: str, asset: str | None, catalog: str) -> "ClassMap":
    from dataclasses import replace

    from geodl_core.domain.regions.class_map import class_map_of
    from geodl_core.io.vector.class_raster import item_beside, side_names
    from geodl_core.service.jobs.read_job import source_of

    beside = None if asset else item_beside(classified)
    found = class_map_of(source_of(str(beside) if beside else classified, catalog, None), asset)
    if beside and Path(found.href).resolve() != Path(classified).resolve():
        # Another raster of the same result.
        found = class_map_of(source_of(classified, catalog, None))
    return found if found.names else replace(found, names=side_names(found.href))


def _wish(class_map: "ClassMap", options: dict[str, Any]) -> "Wish":
    from geodl_core.domain.regions.class_map import select
    from geodl_core.engine.vectorize import Wish

    return Wish(
        selection=select(class_map, options["classes"], options["without"]),
        min_area=_measure(options["min_area"], "--min-area"),
        connectivity=int(options["connectivity"]),
        simplify=_measure(options["simplify"], "--simplify"),
        crs=options["crs"],
    )


def _measure(text: str | None, option: str) -> "Measure":
    from geodl_core.engine.vectorize import NOTHING, Measure

    if text is None:
        return NOTHING
    plain = text.strip().lower()
    try:
        number = float(plain.removesuffix("px"))
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise InputError(f"{option} {text}: expected a number such as 500, or pixels such as 20px")
    return Measure(number, plain.endswith("px"))


def _beside(href: str) -> Path:
    """Return where the polygons lie by default: beside the raster, or here where that is remote."""
    from geodl_core.domain.place.href import file_of
    from geodl_core.io.scene.source import stem_of

    path = Path(file_of(href))
    return (path.parent if path.is_file() else Path()) / f"{stem_of(href)}{SUFFIX}"


def _document(written: "Written", class_map: "ClassMap", target: Path) -> dict[str, Any]:
    from geodl_core.domain.regions.class_map import class_name

    classes = [
        {
            "value": value,
            "name": class_name(class_map, value),
            "polygons": count,
            "area_m2": None if written.areas_m2 is None else written.areas_m2[value],
        }
        for value, count in written.polygons.items()
    ]
    return {"file": str(target), "crs": written.crs, "points": written.points, "classes": classes}


def _report(written: "Written", class_map: "ClassMap", target: Path) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    document = _document(written, class_map, target)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("value", justify="right")
    table.add_column("class")
    table.add_column("polygons", justify="right")
    table.add_column("km²", justify="right")
    for entry in document["classes"]:
        area = "–" if entry["area_m2"] is None else f"{entry['area_m2'] / 1e6:,.3f}"
        table.add_row(str(entry["value"]), Text(entry["name"]), f"{entry['polygons']:,}", area)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(table)
    console.print(f"crs      {written.crs[:60]}")
    console.print(f"polygons {target}")
