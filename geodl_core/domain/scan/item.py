"""Items of a foreign API as orders carry them: absolute hrefs, and a link to where the API has them."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urljoin

from geodl_core.domain.scan.links import at_home
from geodl_core.errors import DataError

LEFT = ("://", "/vsi")
"""Hrefs with these are absolute, also where the standard library knows nothing of their scheme."""


def item_location(item: Mapping[str, Any], api: str) -> str:
    """Return where the API has an Item: what the Item says of itself, if that lies there."""
    for link in _links(item):
        if link.get("rel") == "self" and isinstance(link.get("href"), str):
            try:
                return at_home(link["href"], api)
            except DataError:
                break
    collection, name = (quote(str(each), safe="") for each in (item.get("collection"), item["id"]))
    return f"{api.rstrip('/')}/collections/{collection}/items/{name}"


def settled_item(item: Mapping[str, Any], location: str) -> dict[str, Any] | None:
    """Return an Item with absolute asset hrefs and a link to itself; None where it has no assets that can be read.

    Its STAC version stays: whoever runs it reads it as the newest one.

    Args:
        item: with an id.
        location: URL that relative hrefs start from.
    """
    assets = item.get("assets")
    if not isinstance(item.get("stac_version"), str) or not isinstance(assets, Mapping) or not assets:
        return None
    settled = {}
    for key, asset in assets.items():
        href = asset.get("href") if isinstance(asset, Mapping) else None
        absolute = None if href is None else _absolute(href, location)
        if absolute is None:
            return None
        settled[key] = {**asset, "href": absolute}
    links = [dict(link) for link in _links(item) if link.get("rel") != "self"]
    own = {"rel": "self", "href": location, "type": "application/geo+json"}
    return {**item, "assets": settled, "links": [own, *links]}


def _links(item: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    listed = item.get("links")
    return [link for link in listed if isinstance(link, Mapping)] if isinstance(listed, list) else []


def _absolute(href: Any, location: str) -> str | None:
    if not isinstance(href, str):
        return None
    try:
        return href if any(mark in href for mark in LEFT) else urljoin(location, href)
    except ValueError:
        return None
