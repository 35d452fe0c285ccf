"""What is read from the files of an import: Collections, Items, and what cannot be read, each with its place."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin

from geodl_core.catalog.api.documents import read_json
from geodl_core.errors import DataError, GeodlError, InputError, ItemError

MOST_ITEM_BYTES = 4 * 2**20
"""Of one Item or line, as the API takes them."""
MOST_FILE_BYTES = 256 * 2**20
"""Of a file that is one JSON document: it is read whole."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A document of an import, or why there is none."""

    place: str
    """File and line or row, for messages."""
    item: dict[str, Any] | None = None
    collection: dict[str, Any] | None = None
    problem: GeodlError | None = None
    """Set where neither is."""


def problem(place: str, err: GeodlError) -> Entry:
    """Return the entry of what cannot be read; its message names the place once."""
    text = err.message.removeprefix("body: ")
    kind = type(err) if isinstance(err, InputError | DataError) else ItemError
    return Entry(place, problem=kind(text if text.startswith(place) else f"{place}: {text}", err.hint))


def read_document(path: Path, most_bytes: int = MOST_FILE_BYTES) -> Any:
    """Return the JSON of a file.

    Raises:
        InputError: it is missing, larger than that, or cannot be read.
        ItemError: it is no JSON.
    """
    try:
        size = path.stat().st_size
        if size > most_bytes:
            raise InputError(
                f"{path}: expected {most_bytes:,} bytes at most, found {size:,}",
                hint="files with a line an Item (.ndjson) are read whatever their size",
            )
        return read_json(path.read_bytes())
    except OSError as err:
        raise InputError(f"{path}: expected a file that can be read, found: {err.strerror}") from err


def located_item(item: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return an Item of a file of its own with hrefs that do not depend on where that lies.

    A relative href leads to the file beside the Item, or where there is none to where the Item says that it came from;
    one that leads to neither stays.
    """
    links = item.get("links")
    origin = next(
        (str(one.get("href")) for one in _objects(links) if one.get("rel") in ("self", "canonical") and _is_web(one)),
        None,
    )
    assets = item.get("assets")
    located = dict(item)
    if isinstance(links, list):
        located["links"] = [_located(one, path, origin) for one in links]
    if isinstance(assets, Mapping):
        located["assets"] = {key: _located(one, path, origin) for key, one in assets.items()}
    return located


def _located(one: Any, path: Path, origin: str | None) -> Any:
    href = one.get("href") if isinstance(one, Mapping) else None
    if not isinstance(href, str) or not href or "://" in href or href.startswith(("/", "data:", "#")):
        return one
    beside = (path.absolute().parent / unquote(href)).resolve()
    is_there = len(href) < 1_024 and "\0" not in unquote(href) and beside.exists()
    if not is_there and origin is None:
        return one
    return {**one, "href": str(beside) if is_there else urljoin(str(origin), href)}


def _is_web(link: Mapping[str, Any]) -> bool:
    return str(link.get("href")).startswith(("http://", "https://"))


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
