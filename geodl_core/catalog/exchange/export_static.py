"""A Collection as part of a static STAC catalog: JSON files with relative links, to be browsed without a server."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from geodl_core.catalog.exchange.source import compact, indented, moved_links, own_links
from geodl_core.domain.naming import safe_name

CATALOG, COLLECTION, ITEMS = "catalog.json", "collection.json", "items"
_JSON, _GEOJSON = "application/json", "application/geo+json"


def write_static(items: Iterable[dict[str, Any]], collection: dict[str, Any], folder: Path) -> int:
    """Write `collection.json` and `items/ID.json` into a folder; return how many Items there were."""
    (folder / ITEMS).mkdir(parents=True)
    links = [_link("root", f"../{CATALOG}"), _link("parent", f"../{CATALOG}"), *own_links(collection)]
    count = 0
    with (folder / COLLECTION).open("wb") as file:
        # Links are written as Items come, one a line: a list of them all would grow with the Collection.
        head = indented({**collection, "links": []})
        before, _, after = head.rpartition(b'"links": []')
        file.write(before + b'"links": [')
        for number, link in enumerate(_chained(links, items, folder)):
            file.write((b",\n    " if number else b"\n    ") + compact(link))
            count += link["rel"] == "item"
        file.write(b"\n  ]" + after)
    return count


def write_root(collections: Iterable[tuple[dict[str, Any], str]], target: Path) -> None:
    """Write the catalog above Collections, each with the name of its folder."""
    children = [_link("child", f"./{name}/{COLLECTION}", title=_title(one)) for one, name in collections]
    document = {
        "type": "Catalog",
        "stac_version": "1.1.0",
        "id": "geodl",
        "title": "geodl",
        "description": "An export of a geodl catalog.",
        "links": [_link("root", f"./{CATALOG}"), *children],
    }
    target.write_bytes(indented(document))


def _chained(links: list[dict[str, Any]], items: Iterable[dict[str, Any]], folder: Path) -> Iterator[dict[str, Any]]:
    yield from links
    for item in items:
        name = _free_name(str(item["id"]), folder / ITEMS)
        above = [_link("root", f"../../{CATALOG}"), _link("parent", f"../{COLLECTION}")]
        above.append(_link("collection", f"../{COLLECTION}"))
        (folder / ITEMS / name).write_bytes(indented({**item, "links": [*above, *moved_links(item)]}))
        yield _link("item", f"./{ITEMS}/{name}", _GEOJSON)


def _free_name(item_id: str, folder: Path) -> str:
    name = f"{safe_name(item_id)}.json"
    # Of two ids that differ by case alone, where the file system does not tell them apart.
    return name if not (folder / name).exists() else f"{safe_name(item_id + '/')}.json"


def _title(collection: dict[str, Any]) -> str:
    return str(collection.get("title") or collection["id"])


def _link(rel: str, href: str, kind: str = _JSON, **more: str) -> dict[str, Any]:
    return {"rel": rel, "href": href, "type": kind, **more}
