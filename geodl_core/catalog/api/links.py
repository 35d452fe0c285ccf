"""Links and hrefs that follow from where a document is served: made when it is read, taken off when it is written."""

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, unquote

from geodl_core.errors import ItemError

INFERRED = frozenset({"self", "root", "parent", "collection", "item", "items"})
OFFERED = frozenset(
    {"http://www.opengis.net/def/rel/ogc/1.0/queryables", "aggregate", "aggregations", "xyz", "tilejson", "preview"}
)
"""What a server may do with a document; others may mean something else by these names."""
ServedFile = Callable[[str], str | None]
"""Href of an asset → name of its file, None where this server does not hand it out."""
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


def local_path(href: str) -> str | None:
    """Return the absolute path that an href is, or names as `file:///…`; None where it is neither."""
    path = unquote(href.removeprefix("file://")) if href.startswith("file://") else href
    return path if path.startswith("/") else None


def with_file_urls(item: Mapping[str, Any], base: str, served_file: ServedFile) -> dict[str, Any]:
    """Return an Item in which files that this server hands out have its URLs for hrefs."""
    assets = item.get("assets")
    if not isinstance(assets, dict):
        return dict(item)
    shown = dict(assets)
    for key, asset in assets.items():
        href = asset.get("href") if isinstance(asset, dict) else None
        name = served_file(href) if isinstance(href, str) and _fits_url(key) else None
        if name is not None:
            shown[key] = {**asset, "href": _file_url(item, base, key, name)}
    return {**item, "assets": shown}


def with_stored_hrefs(
    item: Mapping[str, Any], base: str, read_stored: Callable[[], Mapping[str, Any] | None]
) -> dict[str, Any]:
    """Return an Item with the hrefs that are stored in place of the URLs that `with_file_urls` gave it.

    Args:
        item: as somebody sent it.
        base: address of the landing page, with a slash at the end.
        read_stored: returns the Item of these ids as it is stored; asked only where there is such a URL.

    Raises:
        ItemError: the URL of a file that the stored Item does not have.
    """
    found = {key: asset for key, asset in item["assets"].items() if _is_file_url(asset["href"], item, base)}
    if not found:
        return dict(item)
    known = _urls_of_stored(read_stored(), base)
    wrong = next((key for key, asset in found.items() if asset["href"] not in known), None)
    if wrong is not None:
        raise ItemError(
            f"item {item['id']!r}: asset {wrong!r}: expected the address of a file that the stored Item has, found "
            f"{found[wrong]['href'][:200]!r}"
        )
    restored = {key: {**asset, "href": known[asset["href"]]} for key, asset in found.items()}
    return {**item, "assets": {**item["assets"], **restored}}


def check_derived(item: Mapping[str, Any], base: str) -> None:
    """Return if an Item does not say that it was derived from itself.

    Raises:
        ItemError: it does; whoever follows such links would never come to an end.
    """
    own = {item_url(base, str(item["collection"]), str(item["id"]))}
    own |= {one["href"] for one in item["links"] if one["rel"] == "self"}
    if any(one["rel"] == "derived_from" and one["href"] in own for one in item["links"]):
        raise ItemError(f"item {item['id']!r}: expected derived_from links to other Items, found one to itself")


def _file_url(item: Mapping[str, Any], base: str, key: str, name: str) -> str:
    return f"{_assets_url(item, base)}{quote(key, safe='')}/file/{quote(name, safe='')}"


def _assets_url(item: Mapping[str, Any], base: str) -> str:
    return f"{item_url(base, str(item['collection']), str(item['id']))}/assets/"


def _is_file_url(href: str, item: Mapping[str, Any], base: str) -> bool:
    above = _assets_url(item, base)
    parts = href.removeprefix(above).split("/")
    return href.startswith(above) and len(parts) == 3 and parts[1] == "file"


def _urls_of_stored(stored: Mapping[str, Any] | None, base: str) -> dict[str, str]:
    """Return URL → href of each local file of an Item, whether it is there now or not."""
    assets = stored.get("assets") if stored else None
    found: dict[str, str] = {}
    for key, asset in assets.items() if isinstance(assets, dict) else ():
        href = asset.get("href") if isinstance(asset, dict) else None
        path = local_path(href) if isinstance(href, str) else None
        if stored and isinstance(href, str) and path is not None:
            found[_file_url(stored, base, key, PurePosixPath(path).name)] = href
    return found


def _fits_url(key: str) -> bool:
    """Say whether a key can be part of an address: clients shorten those with dots before they ask."""
    return "/" not in key and key not in ("", ".", "..")


def _own_links(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [one for one in document.get("links") or () if one.get("rel") not in INFERRED]
