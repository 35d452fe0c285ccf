"""`geodl publish`: Items into a catalog, so that watches see them."""

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geodl_core.cli.stack_option import meant_stack, stack_option
from geodl_core.cli.watch_options import catalog_option, json_option, services_of
from geodl_core.errors import InputError
from geodl_core.settings import Settings

if TYPE_CHECKING:  # heavy: paid by the command, not by --help
    from geodl_core.aws.topics.publish import Topic
    from geodl_core.service.triggers.publish import Published


@click.command("publish", short_help="Put Items into a catalog, so that watches see them.")
@click.argument("items", nargs=-1, metavar="[ITEM]...")
@click.option("-c", "--collection", metavar="ID", help="Of rasters, and of Items that name none.")
@click.option(
    "--watch", "folder", type=click.Path(path_type=Path), metavar="FOLDER", help="Publish what appears in it."
)
@click.option("--server", metavar="URL", help="Publish through a geodl serve there; token in GEODL_TOKEN.")
@click.option("--topic", metavar="ARN", help="Publish to a topic of Amazon SNS.")
@click.option("--dry-run", is_flag=True, help="With --topic or --stack: say what would be published.")
@catalog_option
@stack_option
@json_option
def publish(
    items: tuple[str, ...],
    collection: str | None,
    folder: Path | None,
    server: str | None,
    topic: str | None,
    dry_run: bool,
    catalog: str | None,
    stack: str | None,
    is_json: bool,
) -> None:
    """Put Items into a catalog, so that watches see them.

    ITEM is the path or URL of an Item, of a FeatureCollection or of a message in an envelope of SNS, SQS, Lambda,
    EventBridge or CloudEvents; of a file with one of these a line (.ndjson, .jsonl); or a raster, which becomes an
    Item. An Item that is there as it is changes nothing. A Collection that is not there is made. `geodl serve` starts
    the runs.

    With --stack they go to the topic of a deployment on AWS, with --topic to any topic; an Item that is too large for a
    message goes by way of the deployment's bucket.

    \b
    Examples:
      geodl publish scene.json
      geodl publish orchard.tif --collection drone
      geodl publish scene.json --server https://geodl.example.com
      geodl publish --watch /data/incoming --collection drone
      geodl publish scenes.ndjson --stack geodl --dry-run
      geodl publish scene.json --topic arn:aws:sns:eu-central-1:123456789012:items
    """
    stack = meant_stack(stack, catalog=catalog, server=server, topic=topic, watch=folder)
    _require_one({"server": server, "catalog": catalog, "topic": topic})
    if folder is not None and (items or server or topic):
        raise InputError("--watch FOLDER: expected no ITEM, no --server and no --topic beside it")
    if dry_run and not (topic or stack):
        raise InputError("--dry-run: expected --topic or --stack beside it")
    if folder is not None:
        _watch(folder, collection, catalog, is_json)
        return
    if not items:
        raise InputError("expected an Item to publish, found none", hint="geodl publish ITEM, or --watch FOLDER")
    if topic or stack:
        results = _to_topic(items, _topic(topic, stack), collection, dry_run)
    else:
        results = _sent(items, server, collection) if server else _published(items, catalog, collection)
    told = []
    for one in results:
        _tell(one, is_json)
        told.append(one)
    _require_all(told)


def _require_one(places: dict[str, str | None]) -> None:
    named = [f"--{name}" for name, value in places.items() if value is not None]
    if len(named) > 1:
        raise InputError(f"{' and '.join(named)} exclude one another: expected one of them")


def _published(items: tuple[str, ...], catalog: str | None, collection: str | None) -> "Iterator[Published]":
    from geodl_core.service.triggers.local import read_publications
    from geodl_core.service.triggers.publish import publish as put

    with services_of(catalog, creates=True) as services:
        for item in items:
            for more, document in read_publications(item):
                yield from put(services, document, _name(item) + more, collection)


def _sent(items: tuple[str, ...], server: str, collection: str | None) -> "Iterator[Published]":
    from dataclasses import replace

    from geodl_core.service.triggers.local import read_publications
    from geodl_core.service.triggers.send import send

    token = Settings.from_env().token
    for item in items:
        for more, document in read_publications(item):
            for one in send(server, token, document, collection):
                # The server calls what it was sent the body.
                yield replace(one, place=_name(item) + more + one.place.removeprefix("body"))


def _topic(arn: str | None, stack: str | None) -> "Topic":
    from geodl_core.aws.site.stack import read_stack
    from geodl_core.aws.topics.topic import topic_of

    found = None if stack is None else read_stack(stack)
    return topic_of(found.items_topic if found else arn or "", found)


def _to_topic(items: tuple[str, ...], topic: "Topic", collection: str | None, is_dry: bool) -> "Iterator[Published]":
    from geodl_core.aws.topics.topic import publish_document
    from geodl_core.service.triggers.local import read_publications

    for item in items:
        for more, document in read_publications(item):
            yield from publish_document(topic, document, _name(item) + more, collection, is_dry=is_dry)


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
    what = "/".join(filter(None, (one.collection, one.item_id))) if one.item_id else one.place
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
