"""A static STAC catalog, followed from document to document by its links, inside its folder alone."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from geodl_core.catalog.exchange.entries import (
    MOST_ITEM_BYTES,
    Entry,
    located_item,
    problem,
    read_document,
)
from geodl_core.catalog.exchange.source import STRUCTURE
from geodl_core.errors import GeodlError, InputError, ItemError

DEEPEST = 50
"""Catalogs below one another."""
MOST_DOCUMENTS = 5_000_000


def read_static(root: Path) -> Iterator[Entry]:
    """Yield the Collections and Items below a catalog, each once, Collections first.

    Links that lead out of the catalog's folder or to the network are problems, not followed.
    """
    folder, seen = root.resolve().parent, {root.resolve()}
    # A stack of what is still to be read, not recursion: catalogs may hold one another.
    waiting = [iter([(root.resolve(), "child")])]
    while waiting:
        following = next(waiting[-1], None)
        if following is None:
            waiting.pop()
            continue
        path, rel = following
        entry, document = _read(path, rel)
        if entry is not None:
            yield entry
        if document is None:
            continue
        if len(waiting) > DEEPEST:
            yield problem(str(path), InputError(f"expected {DEEPEST} levels of catalogs at most, found more"))
            continue
        below = []
        for link in _links(document):
            try:
                target = _target(link, path, document, folder)
            except GeodlError as err:
                yield problem(str(path), err)
                continue
            if target not in seen:
                _count(seen, target)
                below.append((target, str(link["rel"])))
        waiting.append(iter(below))


def _read(path: Path, rel: str) -> tuple[Entry | None, dict[str, Any] | None]:
    """Return the entry of a document, and the document itself where others may hang below it."""
    try:
        document = read_document(path, MOST_ITEM_BYTES if rel == "item" else MOST_ITEM_BYTES * 64)
        kind = document.get("type") if isinstance(document, dict) else None
        if rel == "item" and kind == "Feature":
            return Entry(str(path), item=_own(located_item(document, path))), None
        if rel == "child" and kind == "Collection":
            kept = [one for one in _objects(document) if one.get("rel") not in STRUCTURE]
            return Entry(str(path), collection={**document, "links": kept}), document
        if rel == "child" and (kind == "Catalog" or (kind is None and isinstance(document, dict))):
            return None, document
        expected = "a STAC Item" if rel == "item" else "a STAC Catalog or Collection"
        raise ItemError(f"expected {expected}, found {str(kind)[:40]}")
    except GeodlError as err:
        return problem(str(path), err), None


def _own(item: dict[str, Any]) -> dict[str, Any]:
    """Return an Item without the links of the catalog that it lay in; one on the web stays as its origin."""
    if not isinstance(item.get("links"), list):
        return item
    kept = [one for one in item["links"] if not isinstance(one, Mapping) or one.get("rel") not in STRUCTURE]
    origins = [
        {**one, "rel": "canonical"}
        for one in _objects(item)
        if one.get("rel") == "self" and str(one.get("href")).startswith(("http://", "https://"))
    ]
    has_canonical = any(isinstance(one, Mapping) and one.get("rel") == "canonical" for one in kept)
    return {**item, "links": kept if has_canonical else [*origins[:1], *kept]}


def _links(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for one in _objects(document) if one.get("rel") in ("child", "item")]


def _target(link: Mapping[str, Any], path: Path, document: Mapping[str, Any], folder: Path) -> Path:
    """Return the file that a link leads to.

    Raises:
        InputError: none inside the folder.
    """
    href = link.get("href")
    if not isinstance(href, str) or "\0" in href or len(href) > 4_096:
        raise InputError(f"link {link.get('rel')}: expected an href, found {str(href)[:40]!r}")
    relative = _relative(href, document)
    try:
        # Some encode their links, pystac takes them as they are.
        plain = path.parent / relative
        target = (plain if plain.exists() else path.parent / unquote(relative)).resolve()
    except (OSError, RuntimeError) as err:
        said = getattr(err, "strerror", None) or "a loop of links of the file system"
        raise InputError(f"link to {href[:80]}: expected a file, found: {said}") from err
    if not target.is_relative_to(folder):
        raise InputError(f"link to {href[:80]}: expected a file inside {folder}, found another place")
    return target


def _relative(href: str, document: Mapping[str, Any]) -> str:
    """Return an href from where a document lies; one that is absolute is measured from where the document was."""
    if "://" not in href:
        return urlsplit(href).path
    own = next((str(one.get("href")) for one in _objects(document) if one.get("rel") == "self"), "")
    base = urljoin(own, ".")
    if "://" not in own or not href.startswith(base):
        raise InputError(f"link to {urlsplit(href).netloc[:60]}: expected a file of the catalog, found the network")
    return urlsplit(href.removeprefix(base)).path


def _objects(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    links = document.get("links")
    return [one for one in links if isinstance(one, dict)] if isinstance(links, list) else []


def _count(seen: set[Path], target: Path) -> None:
    seen.add(target)
    if len(seen) > MOST_DOCUMENTS:
        raise InputError(f"{target}: expected {MOST_DOCUMENTS:,} documents at most, found more")
