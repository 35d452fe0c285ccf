"""STAC documents from files and URLs."""

import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pystac

from geodl_core.domain.place.href import VARIABLE, hide_secrets, is_inline
from geodl_core.errors import ItemError


def read_item(location: str) -> dict[str, Any]:
    """Read a STAC Item of any version from a path or URL.

    Returns:
        The Item as STAC 1.1, its asset hrefs absolute.

    Raises:
        ItemError: nothing there, not JSON, or not a STAC Item.
        StoreError: the server does not answer.
    """
    text = _fetch(location) if location.startswith(("http://", "https://")) else _read(location)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ItemError(
            f"{hide_secrets(location)}: expected a STAC Item as JSON, found other text ({error})"
        ) from error
    return parse_item(document, location)


def parse_item(document: Any, location: str) -> dict[str, Any]:
    """Return an Item as STAC 1.1 with absolute asset hrefs.

    Args:
        document: the Item's JSON.
        location: path or URL that its relative hrefs start from.

    Raises:
        ItemError: not a STAC Item.
    """
    shown = hide_secrets(location)
    if not isinstance(document, dict) or document.get("type") != "Feature":
        kind = document.get("type") if isinstance(document, dict) else type(document).__name__
        raise ItemError(
            f"{shown}: expected a STAC Item (a GeoJSON Feature), found {kind or 'JSON without a type'}",
            hint="take one Item out of it" if kind == "FeatureCollection" else "docs/items.md shows a small Item",
        )
    lacking = [key for key in ("id", "properties", "assets", "stac_version") if not document.get(key)]
    if lacking:
        raise ItemError(f"{shown}: expected a STAC Item, found a Feature without {', '.join(lacking)}")
    try:
        with warnings.catch_warnings():
            # Migration warns of extensions that it leaves as they are; geodl reads both forms.
            warnings.simplefilter("ignore")
            item = pystac.Item.from_dict(document, href=_absolute(location), migrate=True)
            item.make_asset_hrefs_absolute()
            migrated: dict[str, Any] = item.to_dict(include_self_link=True, transform_hrefs=False)
            for key, href in _variables(document, location):
                migrated["assets"][key]["href"] = href
    except (pystac.STACError, pystac.STACTypeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ItemError(f"{shown}: expected a STAC Item, found one that cannot be read ({error})") from error
    for key, asset in migrated["assets"].items():
        if is_inline(asset["href"]):
            raise ItemError(
                f"{shown}: asset {key}: expected the address of a file, found a service",
                hint="give the service itself to geodl run",
            )
    return _with_code(migrated)


def _with_code(item: dict[str, Any]) -> dict[str, Any]:
    """Return an Item with `proj:code` for `proj:epsg`, which pystac leaves where it did not find its extension."""
    properties = item["properties"]
    epsg = properties.pop("proj:epsg", None)
    if epsg and not properties.get("proj:code"):
        properties["proj:code"] = f"EPSG:{epsg}"
    return item


def _variables(document: Mapping[str, Any], location: str) -> Iterator[tuple[str, str]]:
    """Yield key and absolute href of the assets that are variables in files, where the Item is a file too.

    pystac takes such names for relative paths.
    """
    if "://" in location:
        return
    for key, asset in document["assets"].items():
        match = VARIABLE.fullmatch(str(asset["href"]))
        if match:
            file = (Path(location).absolute().parent / match["file"]).as_posix()
            yield key, str(asset["href"]).replace(match["file"], file, 1)


def item_href(item: dict[str, Any]) -> str | None:
    """Return where an Item says it lies, without credentials."""
    links = [link for link in item.get("links", []) if link.get("rel") == "self" and link.get("href")]
    return hide_secrets(str(links[0]["href"])) if links else None


def _absolute(location: str) -> str:
    return location if "://" in location else str(Path(location).absolute())


def _read(location: str) -> str:
    try:
        return Path(location).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ItemError(
            f"{location}: expected a STAC Item, found no file that can be read", hint="give a path or URL of item.json"
        ) from error
    except UnicodeDecodeError as error:
        raise ItemError(
            f"{location}: expected a STAC Item (JSON text), found other bytes",
            hint="a raster is described by an Item first: docs/items.md shows a small one",
        ) from error


def _fetch(url: str) -> str:
    from geodl_core.io.remote.http import fetch_text  # noqa: PLC0415  # 0.2 s to import, for remote Items alone

    return fetch_text(url)
