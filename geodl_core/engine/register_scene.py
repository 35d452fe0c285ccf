"""Register a result: publish its Item, and mark what it replaces."""

import json
import posixpath
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from geodl_core.domain.naming import safe_name
from geodl_core.domain.query import ItemPage, ItemQuery
from geodl_core.domain.result.collection import build_collection, current_results_query, supersede
from geodl_core.domain.result.item import build_item
from geodl_core.domain.result.result import Result
from geodl_core.io.store import write_bytes

COLLECTION_NAME = "collection.json"


class Catalog(Protocol):
    """Where Items and Collections are kept."""

    def get_collection(self, collection_id: str) -> dict[str, Any] | None:
        """Return a Collection, None where there is none."""
        ...

    def put_collection(self, collection: dict[str, Any]) -> None:
        """Create or replace a Collection."""
        ...

    def get_item(self, collection_id: str, item_id: str) -> dict[str, Any] | None:
        """Return an Item, None where there is none."""
        ...

    def put_items(self, items: Sequence[dict[str, Any]]) -> None:
        """Create or replace Items, all or none where the catalog can."""
        ...

    def search(self, query: ItemQuery) -> ItemPage:
        """Return a page of the Items that match."""
        ...


def register_scene(
    result: Result, folder: Path, catalog: Catalog, now: datetime, base: str | None = None
) -> dict[str, Any]:
    """Write the result's Item beside its files and put it into the catalog.

    The Collection is created or widened first. An earlier result of the same source, model and arguments becomes the
    predecessor and is marked deprecated, in the same transaction.

    Args:
        result: of either kind, its files written.
        folder: of its files; its parent holds the Collection where it has the Collection's name.
        catalog: where to publish.
        now: for the Item's time stamps.
        base: URL at which the files lie, where that is not the folder.

    Returns:
        The Item as the catalog has it, with absolute hrefs.

    Raises:
        StoreError: the Item cannot be written.
        CatalogError: the catalog does not take it.
    """
    item, collection_id = build_item(result, now), result.provenance.collection
    # A result of another area or of other arguments is no newer version of it.
    earlier = [
        found
        for found in catalog.search(current_results_query(result)).items
        if found["id"] != item["id"]
        and found["properties"].get("geodl:arguments") == item["properties"]["geodl:arguments"]
    ]
    collection = build_collection(result, item, catalog.get_collection(collection_id))
    published = _with_absolute_hrefs(item, folder, base)
    published, replaced = supersede(published, earlier, now)
    item["links"] = [*item["links"], *(link for link in published["links"] if link["rel"] == "predecessor-version")]
    _write_json(folder / f"{safe_name(item['id'])}.json", item)
    if base is None and folder.resolve().parent.name == safe_name(collection_id):
        above = folder.resolve().parent
        _write_json(above / COLLECTION_NAME, {**collection, "links": _item_links(above)})
    catalog.put_collection(collection)
    catalog.put_items([published, *replaced])
    return published


def _item_links(folder: Path) -> list[dict[str, Any]]:
    """Return links from a Collection beside its results to their Items, so that it can be browsed without a catalog."""
    items = sorted(path for path in folder.glob("*/*.json") if path.stem == path.parent.name)
    return [
        {"rel": "item", "href": f"./{path.parent.name}/{path.name}", "type": "application/geo+json"} for path in items
    ]


def _with_absolute_hrefs(item: Mapping[str, Any], folder: Path, base: str | None) -> dict[str, Any]:
    """Return an Item whose relative hrefs start from a folder, for a catalog that lies elsewhere."""

    def absolute(entry: Mapping[str, Any]) -> dict[str, Any]:
        href = str(entry["href"])
        if not href.startswith("."):
            return dict(entry)
        place = str((folder / href).resolve()) if base is None else _beside(base, href)
        return {**entry, "href": place}

    return {
        **item,
        "links": [absolute(link) for link in item["links"]],
        "assets": {key: absolute(asset) for key, asset in item["assets"].items()},
    }


def _beside(base: str, href: str) -> str:
    """Return where a relative href leads from a URL of any scheme."""
    scheme, _, place = base.partition("://")
    return f"{scheme}://{posixpath.normpath(posixpath.join(place, href))}"


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    write_bytes(path, (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode())
