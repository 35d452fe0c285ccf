"""`geodl publish`: Items into a catalog, so that watches see them."""

import json
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geodl_core.cli.watch_options import catalog_option, json_option, services_of
from geodl_core.errors import InputError
from geodl_core.settings import Settings

if TYPE_CHECKING:  # heavy: paid by the command, not by --help
    from geodl_core.service.triggers.publish import Published


@click.command("publish", short_help="Put Items into a catalog, so that watches see them.")
@click.argument("items", nargs=-1, metavar="[ITEM]...")
@click.option("-c", "--collection", metavar="ID", help="Of rasters, and of Items that name none.")
@click.option(
    "--watch", "folder", type=click.Path(path_type=Path), metavar="FOLDER", help="Publish what appears in it."
)
@click.option("--server", metavar="URL", help="Publish through a geodl serve there; token in GEODL_TOKEN.")
@catalog_option
@json_option
def publish(
    items: tuple[str, ...],
    collection: str | None,
    folder: Path | None,
    server: str | None,
    catalog: str | None,
    is_json: bool,
) -> None:
    """Put Items into a catalog, so that watches see them.

    ITEM is the path or URL of an Item, of a FeatureCollection or of a message in an envelope of SNS, SQS, Lambda,
    EventBridge or CloudEvents; or a raster, which becomes an Item. An Item that is there as it is changes nothing. A
    Collection that is not there is made. `geodl serve` starts the runs.

    \b
    Examples:
      geodl publish scene.json
      geodl publish orchard.tif --collection drone
      geodl publish scene.json --server https://geodl.example.com
      geodl publish --watch /data/incoming --collection drone
    """
    if folder is not None and (items or server):
        raise InputError("--watch FOLDER: expected no ITEM and no --server beside it")
    if server is not None and catalog is not None:
        raise InputError("--server and --catalog exclude one another: expected one of them")
    if folder is not None:
        _watch(folder, collection, catalog, is_json)
        return
    if not items:
        raise InputError("expected an Item to publish, found none", hint="geodl publish ITEM, or --watch FOLDER")
    results = _sent(items, server, collection) if server else _published(items, catalog, collection)
    for one in results:
        _tell(one, is_json)
    _require_all(results)


def _published(items: tuple[str, ...], catalog: str | None, collection: str | None) -> "list[Published]":
    from geodl_core.service.triggers.local import read_publication
    from geodl_core.service.triggers.publish import publish as put

    with services_of(catalog, creates=True) as services:
        return [one for item in items for one in put(services, read_publication(item), _name(item), collection)]


def _sent(items: tuple[str, ...], server: str, collection: str | None) -> "list[Published]":
    from dataclasses import replace

    from geodl_core.service.triggers.local import read_publication
    from geodl_core.service.triggers.send import send

    token = Settings.from_env().token
    sent = [(item, one) for item in items for one in send(server, token, read_publication(item), collection)]
    # The server calls what it was sent the body.
    return [replace(one, place=_name(item) + one.place.removeprefix("body")) for item, one in sent]


def _watch(folder: Path, collection: str | None, catalog: str | None, is_json: bool) -> None:
    from geodl_core.service.triggers.folder import watch_folder, watched_folder

    watched = watched_folder(folder, collection)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    click.echo(f"watching {watched.path}", err=True)
    with services_of(catalog, creates=True) as services:
        watch_folder(services, watched, stop, lambda one: _tell(one, is_json))


def _name(item: str) -> str:
    from geodl_core.domain.place.href import hide_secrets

    return hide_secrets(item)


def _tell(one: "Published", is_json: bool) -> None:
    from dataclasses import asdict

    if is_json:
        click.echo(json.dumps(asdict(one), ensure_ascii=False))
        return
    what = f"{one.collection}/{one.item_id}" if one.item_id else one.place
    words: list[Any] = [f"{one.outcome:<12}{what}", one.text]
    click.echo("  ".join(filter(None, words)))


def _require_all(results: "list[Published]") -> None:
    """Make sure that everything was published.

    Raises:
        InputError: something was refused.
        UnavailableError: something may be published by another try.
    """
    from geodl_core.errors import UnavailableError

    late = sum(one.outcome == "unavailable" for one in results)
    refused = sum(one.outcome == "refused" for one in results)
    if late:
        raise UnavailableError(f"{late} of {len(results)} could not be fetched now")
    if refused:
        raise InputError(f"{refused} of {len(results)} refused")
