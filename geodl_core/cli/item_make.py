"""`geodl item make`: a STAC Item of rasters."""

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geodl_core.errors import InputError

if TYPE_CHECKING:
    from geodl_core.domain.scene.make_item import ItemWords, RasterAsset


@click.command("make", short_help="Make a STAC Item of rasters.")
@click.argument("rasters", nargs=-1, metavar="[RASTER]...")
@click.option(
    "--asset", "named", multiple=True, metavar="KEY=RASTER", help="A raster with the asset's key; repeatable."
)
@click.option("--id", "item_id", metavar="ID", help="Of the Item.  [default: the first raster's name]")
@click.option("--datetime", "when", metavar="TIME[/TIME]", help="An instant, or start and end.")
@click.option("--collection", metavar="ID", help="To which the Item belongs.")
@click.option("--property", "properties", multiple=True, metavar="KEY=VALUE", help="As JSON or text; repeatable.")
@click.option(
    "--scale", type=float, help="Of all bands: value = stored × scale + offset.  [default: the raster's tags]"
)
@click.option("--offset", type=float, help="Of all bands.  [default: the raster's tags]")
@click.option("--checksum", is_flag=True, help="Note each file's SHA-256: a run is then found again by its content.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The Item.  [default: the first raster, .json]")
@click.option("--force", is_flag=True, help="Replace an Item that exists.")
def make(rasters: tuple[str, ...], **options: Any) -> None:
    """Make a STAC Item of one or several rasters; each becomes an asset with the name of its file.

    What the files say is taken over: CRS, grid, types, nodata, scale and offset, statistics, names and colours of
    bands, and the time, which is else that of the file's last change. Rasters without CRS, and rasters that lie apart,
    are refused.

    \b
    Examples:
      geodl item make orchard.tif
      geodl item make B04.tif B08.tif --id field-7 --datetime 2026-05-14T10:30:00Z --scale 0.0001
      geodl item make --asset red=r.tif --asset nir=n.tif --property platform=drone --checksum -o item.json
    """
    from geodl_core.domain.scene.make_item import differing, make_item, times_of
    from geodl_core.io.store import write_bytes

    places = _places(rasters, options["named"])
    target = options["output"] or _target(places)
    if target.exists() and not options["force"]:
        raise InputError(f"{target} exists", hint="replace it with --force, or name another with -o")
    assets = [asset for key, place in places for asset in _described(key, place, options["checksum"])]
    words = _words(places, options)
    item = make_item([replace(asset, href=_href(asset.href, target)) for asset in assets], words)
    write_bytes(target, (json.dumps(item, indent=2, ensure_ascii=False) + "\n").encode())
    for line in _report(assets, item):
        click.echo(line)
    told = "--datetime" if words.times else next((asset.times_origin for asset in assets if asset.times), "nothing")
    click.echo(f"time     {'/'.join(times_of(assets, words))}, by {told}")
    for key in differing(assets):
        click.echo(
            f"note     {key} does not cover the same ground as {assets[0].key}; the finest band gives a run's grid"
        )
    click.echo(f"item     {target}")
    click.echo(f"next     geodl run {shlex.quote(str(target))} --model MODEL")


def _places(rasters: Sequence[str], named: Sequence[str]) -> list[tuple[str, str]]:
    """Return the key and place of each raster."""
    from geodl_core.io.scene.source import stem_of
    from geodl_core.io.services.services import is_service

    places = [(stem_of(raster), raster) for raster in rasters]
    for text in named:
        key, equals, place = text.partition("=")
        if not (key and equals and place):
            raise InputError(f"--asset {text}: expected KEY=RASTER")
        places.append((key, place))
    if not places:
        raise InputError("expected a raster, found none", hint="geodl item make RASTER, or --asset KEY=RASTER")
    for _, place in places:
        if is_service(place):
            raise InputError(f"{place}: expected a raster, found a service", hint="give it to geodl run as it is")
        if Path(place).is_dir():
            raise InputError(f"{place}: expected a raster, found a folder", hint="name the rasters in it")
    return places


def _described(key: str, place: str, is_hashed: bool) -> list["RasterAsset"]:
    from geodl_core.io.scene.describe import describe_rasters, with_checksum
    from geodl_core.io.scene.source import absolute_href

    found = describe_rasters(absolute_href(place), key)
    return [replace(asset, checksum=with_checksum(asset)) if is_hashed else asset for asset in found]


def _target(places: Sequence[tuple[str, str]]) -> Path:
    """Return where the Item lies by default: beside its first raster, or here where that is remote."""
    from geodl_core.domain.place.href import file_of
    from geodl_core.io.scene.source import stem_of

    key, place = places[0]
    path = Path(file_of(place))
    folder = path.parent if path.is_file() else Path()
    return folder / f"{stem_of(place) or key}.json"


def _href(href: str, target: Path) -> str:
    """Return an href from where the Item lies, so that Item and rasters can be moved together."""
    from geodl_core.domain.place.href import file_of

    path = Path(file_of(href))
    if not path.is_file():
        return href
    try:
        relative = Path(os.path.relpath(path, target.absolute().parent)).as_posix()
    except ValueError:  # another drive of Windows
        return href
    relative = relative if relative.startswith("../") else f"./{relative}"
    return relative if str(path) == href else href.replace(str(path), relative, 1)


def _words(places: Sequence[tuple[str, str]], options: Mapping[str, Any]) -> "ItemWords":
    from geodl_core.domain.scene.make_item import ItemWords, item_id_of
    from geodl_core.io.scene.source import stem_of

    return ItemWords(
        id=options["item_id"] or item_id_of(stem_of(places[0][1])),
        times=_times(options["when"]),
        collection=options["collection"],
        properties=dict(_property(text) for text in options["properties"]),
        scale=options["scale"],
        offset=options["offset"],
    )


def _property(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise InputError(f"--property {text}: expected KEY=VALUE")
    if key in ("datetime", "start_datetime", "end_datetime"):
        raise InputError(f"--property {text}: the time is said with --datetime")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _times(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    try:
        moments = [datetime.fromisoformat(part) for part in text.split("/")]
    except ValueError as error:
        raise InputError(f"--datetime {text}: expected a time such as 2026-05-14T10:30:00Z, or two as A/B") from error
    aware = [moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC) for moment in moments]
    if len(aware) > 2 or aware != sorted(aware):
        raise InputError(f"--datetime {text}: expected a time, or start and end in this order")
    return tuple(moment.isoformat().replace("+00:00", "Z") for moment in aware)


def _report(assets: Sequence["RasterAsset"], item: Mapping[str, Any]) -> list[str]:
    lines = []
    for asset in assets:
        names = ", ".join(band["name"] for band in item["assets"][asset.key]["bands"])
        height, width = asset.grid.shape
        lines.append(f"asset    {asset.key}: {names}; {width} × {height} pixels, {asset.grid.crs[:40]}")
    return lines
