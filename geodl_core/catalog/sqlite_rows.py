"""STAC Items as rows of an embedded catalog: all work that needs no lock is done here."""

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from geodl_core.catalog.footprint import Box, search_boxes
from geodl_core.catalog.sqlite_schema import content_etag
from geodl_core.catalog.times import instant_us
from geodl_core.domain.area.plane import is_wrapping, plane_geometry
from geodl_core.errors import ItemError

LEVEL = 3
"""Of compression: a twentieth larger than at 6, in half the time."""
# A document that holds itself runs into the interpreter's limit: to look for it in each costs an eighth of the time.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False)


@dataclass(frozen=True, slots=True)
class ItemRow:
    """An Item ready to be stored."""

    collection_id: str
    item_id: str
    t0: int
    """First microsecond; `datetime`, or start_datetime where that is null."""
    t1: int
    """Last microsecond."""
    geom: bytes | None
    """WKB, cut at the antimeridian."""
    boxes: tuple[Box, ...]
    """None without a geometry, two for an Item that crosses the antimeridian."""
    etag: str
    props: str
    content: bytes


def strict_json(value: Mapping[str, Any]) -> bytes:
    """Return a document as JSON.

    Raises:
        ValueError, TypeError: it holds what JSON does not know.
        RecursionError: it holds itself.
    """
    return _ENCODER.encode(value).encode()


def parsed_json(value: Mapping[str, Any]) -> bytes:
    """Return a document that came from JSON as JSON, in a third of the time; assumes that it holds JSON's types alone.

    Raises:
        ValueError: it holds a number without end, or half of a surrogate pair.
    """
    text = to_json(value, inf_nan_mode="constants")
    # A word in a text, or a number that JSON does not know: the other one can tell.
    return strict_json(value) if b"NaN" in text or b"Infinity" in text else text


def item_row(item: Mapping[str, Any], encode: Callable[[Mapping[str, Any]], bytes] = strict_json) -> ItemRow:
    """Return the row of an Item.

    Args:
        item: a STAC Item.
        encode: `strict_json` or `parsed_json`.

    Raises:
        ItemError: it lacks an id, a collection or a time, or its geometry cannot be read.
    """
    item_id, collection_id = item.get("id"), item.get("collection")
    if not isinstance(item_id, str) or not item_id:
        raise ItemError(f"item: expected an id, found {item_id!r}")
    if not isinstance(collection_id, str) or not collection_id:
        raise ItemError(f"item {item_id}: expected the id of its collection, found {collection_id!r}")
    name = f"item {collection_id}/{item_id}"
    properties = item.get("properties")
    if not isinstance(properties, Mapping):
        raise ItemError(f"{name}: expected properties, found {str(properties)[:40]}")
    t0, t1 = _times(name, properties)
    geom, boxes = _footprint(name, item)
    try:
        content, props = encode(item), encode(properties).decode()
    except (ValueError, TypeError, RecursionError) as err:
        raise ItemError(f"{name}: expected JSON, found a value that is none ({err})") from err
    etag = content_etag(content)
    return ItemRow(collection_id, item_id, t0, t1, geom, boxes, etag, props, zlib.compress(content, LEVEL))


def read_content(content: bytes) -> dict[str, Any]:
    """Return the Item of a `content` column."""
    item: dict[str, Any] = json.loads(zlib.decompress(content))
    return item


def _times(name: str, properties: Mapping[str, Any]) -> tuple[int, int]:
    moment = properties.get("datetime")
    first = moment if moment is not None else properties.get("start_datetime")
    last = moment if moment is not None else properties.get("end_datetime")
    if not isinstance(first, str) or not isinstance(last, str):
        raise ItemError(f"{name}: expected datetime, or start_datetime and end_datetime, found neither")
    try:
        t0, t1 = instant_us(first), instant_us(last)
    except (ValueError, OverflowError) as err:
        raise ItemError(f"{name}: expected RFC 3339 times, found {first[:40]!r}, {last[:40]!r}") from err
    if t0 > t1:
        raise ItemError(f"{name}: end_datetime {last} lies before start_datetime {first}")
    return t0, t1


def _footprint(name: str, item: Mapping[str, Any]) -> tuple[bytes | None, tuple[Box, ...]]:
    if item.get("geometry") is None:
        return None, ()
    try:
        geometry = plane_geometry(item["geometry"], wraps=is_wrapping(item.get("bbox")))
    except ValueError as err:
        raise ItemError(f"{name}: {err}") from err
    return geometry.wkb, tuple(search_boxes(geometry))
