"""Links that follow from where a document is served: made when it is read, taken off when it is written."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from geodl_core.errors import ItemError

INFERRED = frozenset({"self", "root", "parent", "collection", "item", "items"})
OFFERED = frozenset(
    {"http://www.opengis.net/def/rel/ogc/1.0/queryables", "aggregate", "aggregations", "xyz", "tilejson", "preview"}
)
"""What a server may do with a document; others may mean something else by these names."""
JSON, GEOJSON, SCHEMA = "application/json", "application/geo+json", "application/schema+json"


def collection_url(base: str, collection_id: str) -> str:
    """Return the address of a Collection; `base` ends with a slash."""
    return f"{base}collections/{quote(collection_id, safe='')}"


def item_url(base: str, collection_id: str, item_id: str) -> str:
    """Return the address of an Item."""
    return f"{collection_url(base, collection_id)}/items/{quote(item_id, safe='')}"


def link(rel: str, href: str, kind: str = JSON, **more: Any) -> dict[str, Any]:
    """Return a link."""
    return {"rel": rel, "href": href, "type": kind, **more}


def served_item(item: Mapping[str, Any], base: str) -> dict[str, Any]:
    """Return an Item with the links of this server in place of those that it was stored with."""
    above = collection_url(base, str(item["collection"]))
    return {
        **item,
        "links": [
            link("self", item_url(base, str(item["collection"]), str(item["id"])), GEOJSON),
            link("parent", above),
            link("collection", above),
            link("root", base),
            *_own_links(item),
        ],
    }


def served_collection(collection: Mapping[str, Any], base: str) -> dict[str, Any]:
    """Return a Collection with the links of this server in place of those that it was stored with."""
    here = collection_url(base, str(collection["id"]))
    return {
        **collection,
        "links": [
            link("self", here),
            link("parent", base),
            link("items", f"{here}/items", GEOJSON),
            link("root", base),
            link("http://www.opengis.net/def/rel/ogc/1.0/queryables", f"{here}/queryables", SCHEMA),
            link("aggregate", f"{here}/aggregate"),
            link("aggregations", f"{here}/aggregations"),
            *_own_links(collection),
        ],
    }


def stored_links(document: Mapping[str, Any], base: str) -> dict[str, Any]:
    """Return a document without the links that this server made, as it is to be stored."""
    made = {*OFFERED, *INFERRED}
    kept = [one for one in document["links"] if one["rel"] not in made or not one["href"].startswith(base)]
    return {**document, "links": kept}


def check_derived(item: Mapping[str, Any], base: str) -> None:
    """Return if an Item does not say that it was derived from itself.

    Raises:
        ItemError: it does; whoever follows such links would never come to an end.
    """
    own = {item_url(base, str(item["collection"]), str(item["id"]))}
    own |= {one["href"] for one in item["links"] if one["rel"] == "self"}
    if any(one["rel"] == "derived_from" and one["href"] in own for one in item["links"]):
        raise ItemError(f"item {item['id']!r}: expected derived_from links to other Items, found one to itself")


def _own_links(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [one for one in document.get("links") or () if one.get("rel") not in INFERRED]
