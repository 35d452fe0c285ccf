"""Items that strangers published, as far as their files may be read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geodl_core.domain.place.href import require_public, split_notes
from geodl_core.domain.scene.item import read_scene
from geodl_core.domain.scene.item_hrefs import reachable_item
from geodl_core.errors import ItemError
from geodl_core.io.remote.access import way
from geodl_core.io.stac import item_href, parse_item


def allowed_item(item: Mapping[str, Any], local_roots: tuple[Path, ...]) -> dict[str, Any]:
    """Return an Item of unknown origin as STAC 1.1, by whose hrefs its assets are read under the access in force.

    An Item that names no address of its own has none: a result tells it by Collection and id alone then.

    Raises:
        ItemError: no Item that can be read, or a raster that lies neither in these folders nor at a public URL.
    """
    require_placed(item)
    named = item_href(dict(item))
    parsed = parse_item(dict(item), named or f"./{item.get('id')}.json")
    if named is None:
        parsed["links"] = [link for link in parsed["links"] if link.get("rel") != "self"]
    access = way().access
    prepared = reachable_item(parsed, access, is_local=not access.is_service)
    for asset, href in {band.asset: band.href for band in read_scene(prepared).bands}.items():
        plain = split_notes(href)[0].removeprefix("file://")
        if "://" in plain or not plain.startswith("/"):
            require_public(href, asset)
        elif not any(Path(plain).resolve().is_relative_to(root.resolve()) for root in local_roots):
            raise ItemError(
                f"asset {asset}: expected a public URL, or a file in a folder that Items may name; found another file",
                hint="--allow-folder names such folders",
            )
    return prepared


def require_placed(item: Mapping[str, Any]) -> None:
    """Make sure that hrefs of assets lead somewhere: a relative one starts from the Item's own address.

    Raises:
        ItemError: one is relative, and the Item names no address.
    """
    if "://" in (item_href(dict(item)) or ""):
        return
    assets = item.get("assets")
    for key, asset in assets.items() if isinstance(assets, Mapping) else ():
        href = str(asset.get("href")) if isinstance(asset, Mapping) else ""
        # A scheme may also be a driver's prefix; who opens it says what is wrong with that.
        if href and ":" not in href and not href.startswith("/"):
            raise ItemError(
                f"asset {key}: expected an absolute href, found {href[:80]!r}, and no address of the Item's own",
                hint="publish it with absolute hrefs, or with a self link; geodl publish makes them absolute",
            )
