"""Items of files of JSON: a line each, the features of one document, or one Item."""

import gzip
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from geodl_core.catalog.api.documents import read_json
from geodl_core.catalog.exchange.entries import MOST_ITEM_BYTES, Entry, located_item, problem
from geodl_core.errors import DataError, GeodlError, InputError, ItemError

LINES = (".ndjson", ".jsonl", ".geojsonl", ".ndgeojson")
_STEP = 2**20


def read_lines(path: Path) -> Iterator[Entry]:
    """Yield the Items of a file with one a line, gzipped where its name ends with .gz; blank lines are passed over."""
    try:
        with path.open("rb") as stored:
            yield from _lines(path, gzip.GzipFile(fileobj=stored) if path.suffix.lower() == ".gz" else stored)
    except (OSError, EOFError, zlib.error) as err:
        said = getattr(err, "strerror", None) or err
        yield problem(str(path), DataError(f"expected lines that can be read, found: {said}"))


def _lines(path: Path, file: gzip.GzipFile | BufferedReader) -> Iterator[Entry]:
    number = 0
    while line := file.readline(MOST_ITEM_BYTES + 1):
        number += 1
        place = f"{path}: line {number}"
        if len(line) > MOST_ITEM_BYTES and not line.endswith(b"\n"):
            while (rest := file.readline(_STEP)) and not rest.endswith(b"\n"):
                pass
            yield problem(place, _too_large(None))
        elif line.strip():
            yield _entry(place, line)


def _entry(place: str, line: bytes) -> Entry:
    try:
        document = read_json(line.strip(b"\x1e\r\n\t "))  # some put a record separator first (RFC 8142)
        return document_entry(place, document)
    except GeodlError as err:
        return problem(place, err)


def document_entry(place: str, document: Any) -> Entry:
    """Return an Item or a Collection as an entry.

    Raises:
        ItemError: it is neither.
    """
    kind = document.get("type") if isinstance(document, dict) else None
    if kind == "Feature":
        return Entry(place, item=document)
    if kind == "Collection":
        return Entry(place, collection=document)
    raise ItemError(f"{place}: expected a STAC Item or Collection, found {str(kind or document)[:40]}")


def document_entries(path: Path, document: Any) -> Iterator[Entry]:
    """Yield what one JSON document holds: an Item, a Collection, or the Items of a FeatureCollection or list.

    Raises:
        InputError: it is something else.
    """
    kind = document.get("type") if isinstance(document, dict) else None
    if kind == "Feature":
        if (size := len(to_json(document))) > MOST_ITEM_BYTES:
            yield problem(str(path), _too_large(size))
        else:
            yield Entry(str(path), item=located_item(document, path))
    elif kind == "Collection":
        yield Entry(str(path), collection=document)
    elif kind == "FeatureCollection" or isinstance(document, list):
        features = document if isinstance(document, list) else document.get("features")
        if not isinstance(features, list):
            raise InputError(f"{path}: features: expected a list of Items, found {str(features)[:40]}")
        for number, feature in enumerate(features):
            yield _feature(f"{path}: feature {number + 1}", feature)
    else:
        raise InputError(f"{path}: expected STAC Items, found {kind or type(document).__name__}")


def _feature(place: str, feature: Any) -> Entry:
    try:
        if (size := len(to_json(feature))) > MOST_ITEM_BYTES:
            raise _too_large(size)
        return document_entry(place, feature)
    except GeodlError as err:
        return problem(place, err)


def _too_large(size: int | None) -> ItemError:
    found = "more" if size is None else f"{size:,}"
    return ItemError(f"expected an Item of {MOST_ITEM_BYTES:,} bytes at most, found {found}")
