"""Items and Collections from outside: read as JSON, checked as far as a catalog and its readers rely on it."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from geodl_core.catalog.api.geometry import check_geometry
from geodl_core.errors import ItemError

DEEPEST = 100
"""Levels of nesting; STAC documents have about ten."""
STAC_VERSION = "1.1.0"
_BOM = b"\xef\xbb\xbf"
_CONTAINERS = frozenset({dict, list})
Id = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[^/\x00-\x1f]+$")]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Link(_Part):
    href: Annotated[str, Field(min_length=1)]
    rel: Annotated[str, Field(min_length=1)]
    type: str | None = None
    title: str | None = None


class _Asset(_Part):
    href: Annotated[str, Field(min_length=1)]
    type: str | None = None
    title: str | None = None
    roles: list[str] | None = None


class ItemBody(_Part):
    """A STAC Item (stac-spec 1.1.0, item-spec)."""

    type: Literal["Feature"]
    stac_version: str = STAC_VERSION
    stac_extensions: list[str] = []
    id: Id
    collection: str | None = None
    geometry: dict[str, Any] | None
    bbox: list[float] | None = Field(default=None, min_length=4, max_length=6)
    properties: dict[str, Any]
    links: list[_Link] = []
    assets: dict[str, _Asset] = {}


class _Spatial(_Part):
    bbox: list[Annotated[list[float], Field(min_length=4, max_length=6)]] = Field(min_length=1)


class _Temporal(_Part):
    interval: list[Annotated[list[str | None], Field(min_length=2, max_length=2)]] = Field(min_length=1)


class _Extent(_Part):
    spatial: _Spatial
    temporal: _Temporal


class CollectionBody(_Part):
    """A STAC Collection (stac-spec 1.1.0, collection-spec)."""

    type: Literal["Collection"]
    stac_version: str = STAC_VERSION
    stac_extensions: list[str] = []
    id: Id
    title: str | None = None
    description: Annotated[str, Field(min_length=1)]
    keywords: list[str] | None = None
    license: Annotated[str, Field(min_length=1)]
    extent: _Extent
    links: list[_Link] = []
    assets: dict[str, _Asset] | None = None


def read_json(content: bytes) -> Any:
    """Return the JSON of a body.

    Raises:
        ItemError: it is none, nests too deeply, or holds what is no text or no number.
    """
    try:
        content.decode()
        # Half the standard library's time, and stricter: neither NaN, half surrogates nor depths without end.
        document = from_json(content.removeprefix(_BOM), allow_inf_nan=False)
    except UnicodeError as err:
        raise ItemError("body: expected UTF-8, found bytes that are no text") from err
    except ValueError as err:
        raise ItemError(f"body: expected JSON, found text that is none ({err})") from err
    _check_depth(document)
    return document


def checked_item(document: Any, collection_id: str) -> dict[str, Any]:
    """Return an Item with its collection, links and assets filled in where they are missing.

    Raises:
        ItemError: it is none, or one of another Collection.
    """
    _check(ItemBody, "item", document)
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        **document,
        "links": document.get("links") or [],
        "assets": document.get("assets") or {},
    }
    name = f"item {item['id']!r}"
    if item.get("collection") not in (None, collection_id):
        raise ItemError(f"{name}: expected collection {collection_id!r}, found {item['collection']!r}")
    item["collection"] = collection_id
    if item["geometry"] is not None:
        check_geometry(name, item["geometry"])
    if item.get("bbox") is not None and len(item["bbox"]) == 5:
        raise ItemError(f"{name}: expected a bbox of 4 or 6 numbers, found 5")
    return item


def checked_collection(document: Any) -> dict[str, Any]:
    """Return a Collection with its links filled in where they are missing.

    Raises:
        ItemError: it is none.
    """
    _check(CollectionBody, "collection", document)
    return {"stac_version": STAC_VERSION, **document, "links": document.get("links") or []}


def _check(model: type[BaseModel], kind: str, document: Any) -> None:
    if not isinstance(document, Mapping):
        raise ItemError(f"{kind}: expected a JSON object, found {str(document)[:40]}")
    try:
        model.model_validate(document)
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        place = ".".join(str(part)[:60] for part in first["loc"])
        name = f"{kind} {str(document.get('id'))[:60]!r}"
        raise ItemError(f"{name}: {place}: {first['msg'][:120]}") from err


def _check_depth(document: Any) -> None:
    level: list[Any] = [document] if document.__class__ in _CONTAINERS else []
    for _ in range(DEEPEST):
        level = [
            child
            for one in level
            for child in (one.values() if one.__class__ is dict else one)
            if child.__class__ in _CONTAINERS
        ]
        if not level:
            return
    raise ItemError(f"body: expected at most {DEEPEST} levels of nesting, found more")
