"""Publishing: Items in whatever envelope into the catalog, each with its own outcome."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from geodl_core.catalog.answers import Refusal
from geodl_core.catalog.api.documents import STAC_VERSION, checked_item
from geodl_core.catalog.api.links import check_derived
from geodl_core.domain.watch.envelopes import Message, read_envelope
from geodl_core.domain.watch.match import MODELS
from geodl_core.errors import InputError, ItemError, StoreError
from geodl_core.service.jobs.allowed_item import require_placed
from geodl_core.service.services import Services
from geodl_core.service.triggers.fetch import MOST_BYTES, fetch_item

Outcome = Literal["published", "unchanged", "refused", "unavailable", "ready"]
MOST_HREFS = 100
"""In one envelope: each is asked for before the publisher gets an answer."""
WORLD = (-180.0, -90.0, 180.0, 90.0)


@dataclass(frozen=True, slots=True)
class Published:
    """What became of one message."""

    place: str
    """Where it stood in what was sent."""
    outcome: Outcome
    """`unavailable`: worth another try; `ready`: would be published, were it no dry run."""
    collection: str | None = None
    item_id: str | None = None
    text: str = ""
    """Why, or what was done besides."""


def publish(services: Services, document: Any, place: str, collection: str | None = None) -> list[Published]:
    """Put the Items of an envelope into the catalog.

    An Item that is there as it is stays unwritten, and starts nothing. One whose Collection does not exist gets a small
    one. What is wrong with one Item does not stop the others.

    Args:
        services: with the catalog.
        document: what was sent, from JSON.
        place: what it is called in errors.
        collection: of Items that name none.

    Returns:
        The outcome of each message, in order.

    Raises:
        InputError: more messages than are taken at a time.
        CatalogError: the catalog does not answer.
    """
    envelope = read_envelope(document, place)
    if len(envelope.hrefs) > MOST_HREFS:
        raise InputError(f"{place}: expected at most {MOST_HREFS} hrefs at a time, found {len(envelope.hrefs):,}")
    results: dict[int, Published] = {}
    ready: list[tuple[int, dict[str, Any]]] = []
    for number, message in enumerate(envelope.messages):
        if message.key is not None:
            results[number] = _again(services, message.place, message.key)
            continue
        try:
            ready.append((number, _item_of(message, collection)))
        except ItemError as error:
            item = message.item or {}
            results[number] = Published(message.place, "refused", *_names(item, collection), _said(error))
        except StoreError as error:
            results[number] = Published(message.place, "unavailable", text=_said(error))
    places = [envelope.messages[number].place for number, _ in ready]
    stored = store_items(services, [item for _, item in ready], places)
    results |= {number: one for (number, _), one in zip(ready, stored, strict=True)}
    return [results[number] for number in sorted(results)]


def store_items(services: Services, items: Sequence[dict[str, Any]], places: Sequence[str]) -> list[Published]:
    """Put checked Items into the catalog, together if all of them serve, else one by one.

    Raises:
        CatalogError: the catalog does not answer.
    """
    changed = [number for number, item in enumerate(items) if not _is_there(services, item)]
    texts = _stored(services, [items[number] for number in changed])
    told = dict(zip(changed, texts, strict=True))
    return [
        _result(item, place, told.get(number)) for number, (item, place) in enumerate(zip(items, places, strict=True))
    ]


def _result(item: Mapping[str, Any], place: str, told: tuple[Outcome, str] | None) -> Published:
    outcome, text = told or ("unchanged", "it is in the catalog as it is")
    return Published(place, outcome, str(item["collection"]), str(item["id"]), text)


def _stored(services: Services, items: list[dict[str, Any]]) -> list[tuple[Outcome, str]]:
    """Write Items; return what became of each."""
    if not items:
        return []
    made: tuple[str, ...] = ()
    try:
        refusal = services.catalog.write_items(items, "put")
        if isinstance(refusal, Refusal) and refusal.reason == "missing":
            made = tuple(_make_collections(services, items))
            refusal = services.catalog.write_items(items, "put")
    except ItemError as error:
        if len(items) > 1:
            return [one for item in items for one in _stored(services, [item])]
        return [("refused", _said(error))]
    if isinstance(refusal, Refusal):
        return [("refused", refusal.message)] * len(items)
    return [
        ("published", f"made the Collection {item['collection']}" if item["collection"] in made else "")
        for item in items
    ]


def _make_collections(services: Services, items: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Make the Collections that Items lack; yield those that were made here."""
    for name in dict.fromkeys(str(item["collection"]) for item in items):
        if services.catalog.read_collection(name) is None:
            answer = services.catalog.write_collection(small_collection(name), "create")
            if not isinstance(answer, Refusal):
                yield name


def small_collection(name: str) -> dict[str, Any]:
    """Return a Collection of which nothing is known but its name."""
    return {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "stac_extensions": [],
        "id": name,
        "description": f"Items that were published to {name} before anybody described it.",
        "license": "other",
        "extent": {"spatial": {"bbox": [list(WORLD)]}, "temporal": {"interval": [[None, None]]}},
        "links": [],
    }


def prepared_item(item: Mapping[str, Any], collection: str | None) -> dict[str, Any]:
    """Return an Item as it is to be stored.

    Raises:
        ItemError: it is none, too large, of no Collection, or of the models'.
    """
    named = item.get("collection") or collection
    name = str(item.get("id"))[:80]
    if not isinstance(named, str):
        raise ItemError(
            f"item {name!r}: expected a collection, found none", hint="--collection names one for such Items"
        )
    if named == MODELS:
        raise ItemError(
            f"item {name!r}: expected another collection than {MODELS}", hint="geodl model add registers models"
        )
    if "/" in named or not named.isprintable() or len(named) > 1024:
        raise ItemError(f"item {name!r}: expected the id of a collection, found {named[:40]!r}")
    checked = checked_item({**item, "collection": named}, named)
    check_derived(checked, "")
    checked = without_place(checked)
    size = len(json.dumps(checked, separators=(",", ":")))
    if size > MOST_BYTES:
        raise ItemError(f"item {name!r}: expected at most {MOST_BYTES:,} bytes, found {size:,}")
    return checked


def without_place(item: dict[str, Any]) -> dict[str, Any]:
    """Return an Item without the path of the file that it was published from: from now on it is the catalog's.

    Raises:
        ItemError: an asset's href is relative, and no address says to what.
    """
    require_placed(item)
    kept = [one for one in item["links"] if one["rel"] != "self" or "://" in one["href"]]
    return {**item, "links": kept}


def _item_of(message: Message, collection: str | None) -> dict[str, Any]:
    if message.problem is not None:
        raise ItemError(message.problem)
    item = message.item if message.href is None else fetch_item(message.href)
    return prepared_item(item or {}, collection)


def _again(services: Services, place: str, key: tuple[str, str]) -> Published:
    """Write an Item of the catalog anew, as it is: whoever names one wants the watches to look at it."""
    stored = services.catalog.read_item(*key)
    if stored is None:
        return Published(place, "refused", *key, "the catalog has no such Item")
    if key[0] == MODELS:
        return Published(place, "refused", *key, "models are not published")
    answer = services.catalog.write_items([stored.content], "replace", frozenset((stored.etag,)))
    # Where another writer came between, the watches look at what that one has written.
    text = "" if isinstance(answer, Refusal) else "it was in the catalog; watches look at it once more"
    return Published(place, "published", *key, text)


def _is_there(services: Services, item: Mapping[str, Any]) -> bool:
    stored = services.catalog.read_item(str(item["collection"]), str(item["id"]))
    return stored is not None and stored.content == item


def _names(item: Mapping[str, Any], collection: str | None) -> tuple[str | None, str | None]:
    found = (item.get("collection") or collection, item.get("id"))
    named, item_id = (one[:200] if isinstance(one, str) else None for one in found)
    return named, item_id


def _said(error: InputError | StoreError) -> str:
    return error.message if error.hint is None else f"{error.message} ({error.hint})"
