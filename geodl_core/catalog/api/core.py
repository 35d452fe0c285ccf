"""Reading: the landing page, Collections, Items and searches, with the links that lead on."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import attr
from stac_fastapi.types.core import BaseCoreClient
from stac_fastapi.types.requests import get_base_url
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from geodl_core.catalog.answers import Found
from geodl_core.catalog.api.backend import ServedCatalog
from geodl_core.catalog.api.fields import read_fields, selected
from geodl_core.catalog.api.links import (
    GEOJSON,
    JSON,
    collection_url,
    link,
    served_collection,
    served_item,
)
from geodl_core.catalog.api.queries import Search, read_search
from geodl_core.catalog.api.responses import geojson, quoted, read_etags
from geodl_core.catalog.collection_search import CollectionQuery, search_collections


@attr.s(kw_only=True)
class CoreClient(BaseCoreClient):
    """Answers what stac-fastapi routes here; each method runs in a thread of its own."""

    catalog: ServedCatalog = attr.ib()
    more_classes: tuple[str, ...] = attr.ib(default=())
    more_links: tuple[tuple[str, str, str, str], ...] = attr.ib(default=())
    item_links: Callable[[dict[str, Any], str], list[dict[str, Any]]] | None = attr.ib(default=None)

    def conformance_classes(self) -> list[str]:
        """Return the classes of the API, its extensions and what the server adds."""
        return list(dict.fromkeys([*super().conformance_classes(), *self.more_classes]))

    def landing_page(self, **kwargs: Any) -> Any:
        """Answer `GET /`."""
        page = super().landing_page(**kwargs)
        base = get_base_url(kwargs["request"])
        for rel, path, kind, title in self.more_links:
            page["links"].append(link(rel, f"{base}{path}", kind, title=title))
        return page

    def extension_is_enabled(self, extension: str) -> bool:
        """Whether there is an extension of this name; one of a subclass counts."""
        return any(extension in (kind.__name__ for kind in type(one).__mro__) for one in self.extensions)

    def post_search(self, search_request: Any, **kwargs: Any) -> Any:
        """Answer `POST /search`."""
        body = search_request.model_dump(by_alias=True, exclude_unset=True, mode="json")
        asked = {name: getattr(search_request, name) for name in type(search_request).model_fields}
        fields = search_request.fields
        is_given = "fields" in search_request.model_fields_set and fields is not None
        shown = (sorted(fields.include or ()), sorted(fields.exclude or ())) if is_given else None
        return self._page(kwargs["request"], read_search(asked, shown), body)

    def get_search(self, **asked: Any) -> Any:  # type: ignore[override]  # by keyword, whatever extensions add
        """Answer `GET /search`."""
        request = asked.pop("request")
        return self._page(request, read_search(asked, _fields(asked)), None)

    def item_collection(self, collection_id: str, **asked: Any) -> Any:  # type: ignore[override]  # as above
        """Answer `GET /collections/{collection_id}/items`."""
        request = asked.pop("request")
        self._collection(collection_id)
        search = read_search({**asked, "collections": [collection_id]}, _fields(asked))
        return self._page(request, search, None, collection_id)

    def get_item(self, item_id: str, collection_id: str, **kwargs: Any) -> Any:
        """Answer `GET /collections/{collection_id}/items/{item_id}`."""
        request: Request = kwargs["request"]
        found = self.catalog.read_item(collection_id, item_id)
        if found is None:
            raise HTTPException(404, f"item {collection_id}/{item_id}: there is none")
        headers = {"ETag": quoted(found.etag)}
        if found.etag in (read_etags(request.headers.get("if-none-match")) or ()):
            return Response(status_code=304, headers=headers)
        return geojson(self._served(found.content, get_base_url(request)), headers=headers)

    def get_collection(self, collection_id: str, **kwargs: Any) -> Any:
        """Answer `GET /collections/{collection_id}`."""
        request: Request = kwargs["request"]
        found = self._collection(collection_id)
        headers = {"ETag": quoted(found.etag)}
        if found.etag in (read_etags(request.headers.get("if-none-match")) or ()):
            return Response(status_code=304, headers=headers)
        return JSONResponse(served_collection(found.content, get_base_url(request)), headers=headers)

    def all_collections(self, **asked: Any) -> Any:
        """Answer `GET /collections`: a search over Collections."""
        request: Request = asked.pop("request")
        base = get_base_url(request)
        found = search_collections(self.catalog.collections(), CollectionQuery.read(asked))
        include, exclude = _fields(asked) or ([], [])
        shown = [served_collection(one, base) for one in found.collections]
        if include or exclude:
            shown = [selected(one, include, exclude) for one in shown]
        links = [link("self", str(request.url)), link("root", base), link("parent", base)]
        for rel, token in (("next", found.next_token), ("prev", found.prev_token)):
            if token is not None:
                links.append(link(rel, _with_token(request, token)))
        counts = {"numberMatched": found.matched, "numberReturned": len(shown)}
        return JSONResponse({"collections": shown, "links": links, **counts})

    def _served(self, item: dict[str, Any], base: str) -> dict[str, Any]:
        served = served_item(item, base)
        return served if self.item_links is None else {**served, "links": served["links"] + self.item_links(item, base)}

    def _collection(self, collection_id: str) -> Any:
        found = self.catalog.read_collection(collection_id)
        if found is None:
            raise HTTPException(404, f"no collection {collection_id!r}")
        return found

    def _page(
        self, request: Request, search: Search, body: dict[str, Any] | None, collection_id: str | None = None
    ) -> Response:
        base = get_base_url(request)
        found = self.catalog.find(search.query, search.words)
        items = [self._served(item, base) for item in found.items]
        if search.fields is not None:
            items = [selected(item, *search.fields) for item in items]
        page: dict[str, Any] = {"type": "FeatureCollection", "features": items, "numberReturned": len(items)}
        matched = self._matched(search, found)
        if matched is not None:
            page["numberMatched"] = matched
        page["links"] = [link("root", base, JSON), link("self", str(request.url), GEOJSON)]
        if collection_id is not None:
            here = collection_url(base, collection_id)
            page["links"] += [link("parent", here, JSON), link("collection", here, JSON)]
        for rel, token in (("next", found.next_token), ("prev", found.prev_token)):
            if token is not None:
                page["links"].append(_page_link(request, rel, token, body))
        return geojson(page)

    def _matched(self, search: Search, found: Found) -> int | None:
        """Return the number of matches where it costs little, or where one Item a page says that it is what counts."""
        if found.next_token is None and search.query.token is None:
            return len(found.items)
        if search.is_cheap_to_count or search.query.limit == 1:
            return self.catalog.count(search.query, search.words)
        return None


def _fields(asked: Mapping[str, Any]) -> tuple[list[str], list[str]] | None:
    names = asked.get("fields")
    return None if names is None else read_fields(names)


def _page_link(request: Request, rel: str, token: str, body: dict[str, Any] | None) -> dict[str, Any]:
    if body is None:
        return link(rel, _with_token(request, token), GEOJSON, method="GET")
    # The whole body, not a part to be merged: whoever follows it need not know the first request.
    return link(rel, str(request.url), GEOJSON, method="POST", merge=False, body={**body, "token": token})


def _with_token(request: Request, token: str) -> str:
    asked = [(name, value) for name, value in request.query_params.multi_items() if name != "token"]
    return f"{str(request.url).partition('?')[0]}?{urlencode([*asked, ('token', token)])}"
