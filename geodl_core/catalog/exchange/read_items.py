"""What an import's source holds, whatever its format: a file, a folder of files, or a static catalog."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geodl_core.catalog.exchange.destination import MARK
from geodl_core.catalog.exchange.entries import Entry, problem, read_document
from geodl_core.catalog.exchange.read_lines import LINES, document_entries, read_lines
from geodl_core.errors import GeodlError, InputError

PARQUET = (".parquet", ".geoparquet")
JSON = (".json", ".geojson")
ROOTS = ("catalog.json", "collection.json")


def read_items(source: Path) -> Iterator[Entry]:
    """Yield the Collections, Items and problems of a source; a Collection comes before its Items.

    Raises:
        InputError: there is nothing at `source` that could be read.
    """
    if source.is_dir():
        root = next((source / name for name in ROOTS if (source / name).is_file()), None)
        yield from read_static_catalog(root) if root else _folder(source)
    elif source.is_file():
        yield from _file(source)
    else:
        raise InputError(f"{source}: expected a file or folder with STAC Items, found none")


def read_static_catalog(root: Path) -> Iterator[Entry]:
    """Yield what a static catalog holds."""
    from geodl_core.catalog.exchange.read_static import read_static  # noqa: PLC0415  # for this format alone

    return read_static(root)


def _folder(folder: Path) -> Iterator[Entry]:
    """Yield the entries of all files of a folder, those with JSON first: Collections lie in them."""
    paths = sorted(path for path in folder.iterdir() if path.is_file() and path.name != MARK)
    known = [path for path in paths if _kind(path) is not None]
    if not known:
        raise InputError(
            f"{folder}: expected a catalog.json, or files {', '.join((*PARQUET, *LINES, *JSON))}, found none"
        )
    known.sort(key=lambda path: _kind(path) not in JSON)
    for path in known:
        try:
            yield from _entries(path)
        except GeodlError as err:
            yield problem(str(path), err)


def _file(path: Path) -> Iterator[Entry]:
    kind = _kind(path)
    if kind is None:
        raise InputError(f"{path}: expected a file {', '.join((*PARQUET, *LINES, *JSON))}, found another kind")
    if kind in JSON:
        document = read_document(path)
        return read_static_catalog(path) if _is_catalog(document) else document_entries(path, document)
    return _entries(path)


def _entries(path: Path) -> Iterator[Entry]:
    kind = _kind(path)
    if kind in PARQUET:
        from geodl_core.catalog.exchange.read_parquet import read_parquet  # noqa: PLC0415  # 1 s, for this format alone

        yield from read_parquet(path)
    elif kind in LINES:
        yield from read_lines(path)
    else:
        yield from document_entries(path, read_document(path))


def _is_catalog(document: Any) -> bool:
    """Whether a document is the root of a static catalog; a Collection without links below it stands alone."""
    kind = document.get("type") if isinstance(document, dict) else None
    links = document.get("links") if kind in ("Catalog", "Collection") else None
    leads_on = isinstance(links, list) and any(
        isinstance(one, dict) and one.get("rel") in ("child", "item") for one in links
    )
    return kind == "Catalog" or leads_on


def _kind(path: Path) -> str | None:
    """Return the suffix by which a file is read, without that of gzip."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    suffix = "".join(suffixes[-1:])
    if suffix == ".gz":
        return suffixes[0] if suffixes[0] in LINES else None
    return suffix if suffix in (*PARQUET, *LINES, *JSON) else None
