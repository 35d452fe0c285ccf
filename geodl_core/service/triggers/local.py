"""What lies on this machine and is to be published: Items, envelopes, and rasters, which become Items."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from geodl_core.domain.place.href import WEB, hide_secrets
from geodl_core.domain.scene.make_item import ItemWords, item_id_of, make_item
from geodl_core.errors import ItemError
from geodl_core.io.remote.http import fetch_text
from geodl_core.io.scene.describe import describe_rasters, with_checksum
from geodl_core.io.scene.source import absolute_href, is_raster_name, stem_of
from geodl_core.io.stac import parse_item

MOST_BYTES = 32 << 20
"""Of a document."""
LINES = (".ndjson", ".jsonl", ".geojsonl")
"""Suffixes of files with an Item a line."""
LINES_AT_ONCE = 100


def read_publications(location: str) -> Iterator[tuple[str, Any]]:
    """Yield the documents that a path or URL names: one as `read_publication` does, or the lines of a file.

    Args:
        location: of an Item, an envelope, a raster, or a file with an Item or envelope a line (.ndjson, .jsonl).

    Yields:
        What is to be added to the location's name in errors, and the document. Lines come together as lists; one that
        is no JSON stays text, which is refused where it is published.

    Raises:
        ItemError: nothing of these.
        StoreError: a server does not answer.
    """
    if not location.split("?", maxsplit=1)[0].lower().endswith(LINES):
        yield "", read_publication(location)
        return
    found: list[Any] = []
    first = last = 0
    for number, line in enumerate(_lines(location), start=1):
        if not line.strip():
            continue
        first, last = (number if not found else first), number
        found.append(_of_line(line))
        if len(found) == LINES_AT_ONCE:
            yield f" lines {first}-{last}", found
            found = []
    if found:
        yield f" lines {first}-{last}", found


def read_publication(location: str) -> Any:
    """Return the document that a path or URL names: an Item with absolute hrefs, or an envelope as it is.

    A raster becomes an Item as `geodl item make` makes it, with the file's checksum: its content says which it is.

    Args:
        location: of an Item, an envelope or a raster, as a user of this machine wrote it.

    Raises:
        ItemError: nothing of these.
        StoreError: a server does not answer.
    """
    if is_raster_name(location):
        return _of_raster(location)
    document = _read_json(location)
    if isinstance(document, dict) and document.get("type") == "Feature":
        return parse_item(document, location)
    return document


def _lines(location: str) -> Iterator[str]:
    if location.startswith(WEB):
        yield from fetch_text(location).splitlines()
        return
    try:
        with Path(location).open(encoding="utf-8-sig") as file:
            yield from file
    except (OSError, ValueError) as error:
        shown = hide_secrets(location)
        raise ItemError(f"{shown}: expected a file with an Item a line, found none that can be read") from error


def _of_line(line: str) -> Any:
    try:
        return json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return line


def _of_raster(location: str) -> dict[str, Any]:
    href, name = absolute_href(location), stem_of(location)
    assets = [replace(asset, checksum=with_checksum(asset)) for asset in describe_rasters(href, name)]
    return make_item(assets, ItemWords(item_id_of(name)))


def _read_json(location: str) -> Any:
    shown = hide_secrets(location)
    try:
        if location.startswith(WEB):
            text = fetch_text(location)
        else:
            path = Path(location)
            if path.stat().st_size > MOST_BYTES:
                raise ItemError(f"{shown}: expected at most {MOST_BYTES >> 20} MB, found more")
            text = path.read_bytes().decode("utf-8-sig")
        return json.loads(text, parse_constant=_no_number)
    except OSError as error:
        raise ItemError(f"{shown}: expected a STAC Item, found no file that can be read") from error
    except (ValueError, RecursionError) as error:
        raise ItemError(f"{shown}: expected a STAC Item as JSON, found something else") from error


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no JSON number")
