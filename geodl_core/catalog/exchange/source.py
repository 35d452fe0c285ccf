"""Collections and Items of a catalog as an export takes them: page by page, in an order that their ids fix."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from pydantic_core import to_json

from geodl_core.domain.query import ItemPage, ItemQuery
from geodl_core.errors import InputError

PAGE, REMOTE_PAGE = 1_000, 100
"""Items asked for at a time; public services fail at larger answers (Element84/earth-search#17)."""
STRUCTURE = frozenset({"self", "root", "parent", "collection", "item", "items", "child"})
"""Links that say where a document lies, not what it is."""


_CONTAINERS = frozenset({dict, list})
_ORDER = (
    "type",
    "stac_version",
    "stac_extensions",
    "id",
    "collection",
    "title",
    "description",
    "keywords",
    "license",
    "providers",
    "extent",
    "summaries",
    "geometry",
    "bbox",
    "properties",
    "links",
    "assets",
)


class SourceCatalog(Protocol):
    """What an export needs of a catalog."""

    def collections(self) -> list[dict[str, Any]]:
        """Return all Collections."""
        ...

    def search(self, query: ItemQuery) -> ItemPage:
        """Return one page of the Items that match."""
        ...

    def count(self, query: ItemQuery) -> int:
        """Return how many Items match; CatalogError where that is not known."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """What of a catalog is exported."""

    catalog: SourceCatalog
    query: ItemQuery
    is_sorted: bool = True
    """Whether the catalog can sort by id; else Items come in its own order."""
    is_remote: bool = False
    """Whether Items come with links that the service made for where it stands."""


def chosen_collections(source: Source) -> list[dict[str, Any]]:
    """Return the Collections that are exported, by id, without a service's own links.

    Raises:
        InputError: one that was asked for is not there.
    """
    found = {str(one.get("id")): one for one in source.catalog.collections()}
    missing = [name for name in source.query.collections if name not in found]
    if missing:
        raise InputError(
            f"collection {missing[0]!r}: there is none in the catalog",
            hint=f"there are {', '.join(sorted(found)[:10]) or 'none'}",
        )
    asked = source.query.collections or found
    return [{**found[name], "links": own_links(found[name])} for name in sorted(set(asked))]


def items_of(source: Source, collection_id: str) -> Iterator[dict[str, Any]]:
    """Yield the Items of a Collection that match."""
    query = replace(
        source.query,
        collections=(collection_id,),
        sortby=(("id", True),) if source.is_sorted else (),
        limit=REMOTE_PAGE if source.is_remote else PAGE,
        token=None,
    )
    while True:
        page = source.catalog.search(query)
        for item in page.items:
            yield {**item, "links": moved_links(item)} if source.is_remote else item
        if page.next_token is None:
            return
        query = replace(query, token=page.next_token)


def own_links(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the links that are about a document, not about where it lies."""
    return [link for link in document.get("links") or () if link.get("rel") not in STRUCTURE and not _is_made(link)]


def moved_links(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the links of an Item that is to lie elsewhere: where it came from on the web stays as `canonical`."""
    links = [link for link in item.get("links") or () if isinstance(link, dict)]
    has_canonical = any(link.get("rel") == "canonical" for link in links)
    moved = []
    for link in links:
        is_origin = link.get("rel") == "self" and str(link.get("href")).startswith(("http://", "https://"))
        if is_origin and not has_canonical:
            moved.append({**link, "rel": "canonical"})
            has_canonical = True
        elif link.get("rel") not in STRUCTURE:
            moved.append(link)
    return moved


def _is_made(link: Mapping[str, Any]) -> bool:
    """Whether a service makes such a link for each Collection."""
    rel = str(link.get("rel"))
    return rel in ("aggregate", "aggregations") or rel.startswith("http://www.opengis.net/def/rel/ogc/1.0/")


def compact(document: Mapping[str, Any]) -> bytes:
    """Return a document as one line of JSON whose bytes do not depend on the order in which it was put together."""
    return to_json(ordered(document))


def indented(document: Mapping[str, Any]) -> bytes:
    """Return a document as JSON for people, its bytes fixed likewise."""
    return to_json(ordered(document), indent=2) + b"\n"


def ordered(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with its members in STAC's order, those of its parts by name."""
    first = [name for name in _ORDER if name in document]
    rest = sorted(name for name in document if name not in _ORDER)
    return {name: _sorted([document[name]])[0] for name in (*first, *rest)}


def _sorted(value: Any) -> Any:
    """Return an object or list with the members of its objects by name."""
    if value.__class__ is list:
        return [_sorted(one) if one.__class__ in _CONTAINERS else one for one in value]
    members = sorted(value.items())
    return {key: _sorted(one) if one.__class__ in _CONTAINERS else one for key, one in members}
