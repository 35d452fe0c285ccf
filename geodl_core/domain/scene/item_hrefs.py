"""By which href an Item's assets are read, and what has to be known to open it."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from geodl_core.domain.place.access import PLANETARY_COMPUTER, Access
from geodl_core.domain.place.href import require_public, with_notes
from geodl_core.domain.scene.item import read_scene

BLOB_HOST = ".blob.core.windows.net"
SIGN = "sign"
REGION = "region"


def reachable_item(item: Mapping[str, Any], access: Access, *, is_local: bool) -> dict[str, Any]:
    """Return an Item whose assets have the hrefs to be read, with notes on how.

    Args:
        item: with absolute hrefs.
        access: chooses among alternates.
        is_local: it lies on this machine, so that whoever wrote it may read its files anyway.

    Raises:
        ItemError: a raster asset of an Item from elsewhere, or of any in service mode, is no public URL.
    """
    is_signed = _is_of_planetary_computer(item)
    assets = {key: _reachable(asset, item, access, is_signed) for key, asset in item["assets"].items()}
    prepared = {**item, "assets": assets}
    if access.is_service or not is_local:
        for asset, href in {band.asset: band.href for band in read_scene(prepared).bands}.items():
            require_public(href, asset)
    return prepared


def _reachable(asset: Any, item: Mapping[str, Any], access: Access, is_signed: bool) -> Any:
    if not isinstance(asset, Mapping) or not isinstance(asset.get("href"), str):
        return asset
    chosen = _chosen(asset, access.schemes)
    href = chosen["href"]
    notes = {}
    url = urlsplit(href) if href.startswith(("https://", "s3://")) else urlsplit("")
    if is_signed and (url.hostname or "").endswith(BLOB_HOST):
        # A signature that came with the Item ends within the hour.
        href = url._replace(query="", fragment="").geturl()
        notes[SIGN] = PLANETARY_COMPUTER
    region = _region(chosen, item) if url.scheme == "s3" else None
    if region:
        notes[REGION] = region
    return {**chosen, "href": with_notes(href, notes)}


def _chosen(asset: Mapping[str, Any], schemes: tuple[str, ...]) -> dict[str, Any]:
    """Return an asset by the alternate whose scheme is preferred (STAC's alternate-assets extension)."""
    alternates = asset.get("alternate")
    others = alternates.values() if isinstance(alternates, Mapping) else ()
    candidates = [dict(asset), *({**asset, **other} for other in others if isinstance(other, Mapping))]
    for scheme in schemes:
        for candidate in candidates:
            if isinstance(candidate.get("href"), str) and candidate["href"].startswith(f"{scheme}://"):
                return candidate
    return candidates[0]


def _region(asset: Mapping[str, Any], item: Mapping[str, Any]) -> str | None:
    """Return the region of an asset's bucket by the storage extension, 1 or 2."""
    properties = item.get("properties") or {}
    found = [asset.get("storage:region"), properties.get("storage:region")]
    schemes, refs = properties.get("storage:schemes"), asset.get("storage:refs")
    if isinstance(schemes, Mapping) and isinstance(refs, list):
        named = [schemes.get(ref) for ref in refs if isinstance(ref, str)]
        found += [scheme.get("region") for scheme in named if isinstance(scheme, Mapping)]
    return next((text for text in found if isinstance(text, str) and text), None)


def _is_of_planetary_computer(item: Mapping[str, Any]) -> bool:
    return any(_host(href) == PLANETARY_COMPUTER for href in _origins(item))


def _origins(item: Mapping[str, Any]) -> Iterator[Any]:
    links, properties = item.get("links"), item.get("properties")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, Mapping) and link.get("rel") in ("self", "root", "parent", "collection", "canonical"):
            yield link.get("href")
    providers = properties.get("providers") if isinstance(properties, Mapping) else None
    for provider in providers if isinstance(providers, list) else ():
        if isinstance(provider, Mapping):
            yield provider.get("url")


def _host(href: Any) -> str | None:
    try:
        return urlsplit(href).hostname if isinstance(href, str) else None
    except ValueError:
        return None
