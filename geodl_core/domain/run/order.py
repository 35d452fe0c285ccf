"""An order: what a run is asked to do, before anybody has looked at the scene; its id is what keeps runs apart."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from geodl_core.domain.naming import RESULT_VERSION
from geodl_core.domain.run.options import RunOptions, options_json

LEAST_PRIORITY, MOST_PRIORITY = -100, 100
VERSIONS = ("s2:product_uri", "version")
"""Properties that tell one edition of an Item from another; `updated` does not: it changes where no pixel does."""


@dataclass(frozen=True, slots=True)
class Order:
    """One Item, one model and its options."""

    item: Mapping[str, Any]
    """Source Item, its asset hrefs absolute."""
    model: str
    """`NAME@VERSION` of the registry: the version is a content hash."""
    options: RunOptions = field(default_factory=RunOptions)
    collection: str | None = None
    """Output Collection; by default `geodl-<model name>`."""
    priority: int = 0
    """From -100 to 100; higher ones are run first."""
    watch: str | None = None
    """What asked for it; not a part of its identity: two watches that ask the same share one run."""
    dedupe_by: tuple[str, ...] = ()
    """Properties of the Item that tell scenes apart, instead of its id and assets."""
    depth: int = 0
    """How many runs stand between the Item and a scene that geodl did not make."""


def order_id(order: Order) -> str:
    """Return the order's content hash, SHA-256 in hexadecimal.

    The same Item published again gives the same id. What is looked at: collection and id of the Item, its edition, of
    each asset the checksum, else path and size; the model's version; options; output Collection. With `dedupe_by` the
    values of those properties stand for everything of the Item, so that one acquisition in two collections is one; an
    Item that has none of them is told apart as usual.
    """
    facts = {
        "result_version": RESULT_VERSION,
        "source": _named(order) or _content(order.item),
        "model": order.model,
        "options": options_json(order.options),
        "collection": order.collection,
    }
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _named(order: Order) -> dict[str, Any] | None:
    properties = order.item.get("properties") or {}
    found = {name: properties.get(name) for name in order.dedupe_by}
    return found if found and all(value is not None for value in found.values()) else None


def _content(item: Mapping[str, Any]) -> dict[str, Any]:
    properties = item.get("properties") or {}
    return {
        "collection": item.get("collection"),
        "id": item.get("id"),
        "edition": {name: properties[name] for name in VERSIONS if properties.get(name) is not None},
        "assets": {str(key): _version(asset) for key, asset in (item.get("assets") or {}).items()},
    }


def _version(asset: Any) -> list[Any]:
    """Return what tells one version of an asset from another, as far as the Item says it.

    Of the href only the path: hosts mirror one another, and queries hold signatures. One that is no URL stands for
    itself: that it cannot be read is said when it is run.
    """
    if not isinstance(asset, Mapping):
        return []
    if asset.get("file:checksum"):
        return [asset["file:checksum"]]
    href = str(asset.get("href"))
    try:
        path = urlsplit(href).path
    except ValueError:
        path = href
    return [path, asset.get("file:size")]
