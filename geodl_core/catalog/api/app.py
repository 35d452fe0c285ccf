"""The application: a catalog and a few values in, an ASGI application out. Nothing is read from the environment."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import attr
from fastapi import FastAPI
from pydantic_settings import SettingsConfigDict
from stac_fastapi.api.app import StacApi
from stac_fastapi.api.middleware import ProxyHeaderMiddleware
from stac_fastapi.api.models import (
    ItemCollectionUri,
    create_get_request_model,
    create_post_request_model,
    create_request_model,
)
from stac_fastapi.extensions.collection_search import CollectionSearchExtension
from stac_fastapi.extensions.fields import FieldsConformanceClasses, FieldsExtension
from stac_fastapi.extensions.filter import FilterConformanceClasses
from stac_fastapi.extensions.free_text import FreeTextConformanceClasses, FreeTextExtension
from stac_fastapi.extensions.pagination import TokenPaginationExtension
from stac_fastapi.extensions.query import QueryConformanceClasses, QueryExtension
from stac_fastapi.extensions.sort import SortConformanceClasses, SortExtension
from stac_fastapi.types.config import ApiSettings
from stac_fastapi.types.extension import ApiExtension
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geodl_core.catalog.api.aggregation import AggregationClient, CatalogAggregationExtension
from geodl_core.catalog.api.backend import ServedCatalog
from geodl_core.catalog.api.core import CoreClient
from geodl_core.catalog.api.documents import STAC_VERSION
from geodl_core.catalog.api.links import ServedFile, with_file_urls
from geodl_core.catalog.api.middleware import BodyLimit, KnownHosts, RequestLog
from geodl_core.catalog.api.queryables import CatalogFilterExtension, QueryablesClient, SortablesClient
from geodl_core.catalog.api.responses import answer_errors
from geodl_core.catalog.api.transactions import (
    create_collection,
    create_items,
    create_many,
    delete_collection,
    delete_item,
    patch_collection,
    patch_item,
    replace_collection,
    replace_item,
)
from geodl_core.catalog.api.write import Route, WriteExtension
from geodl_core.errors import UnavailableError

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_COLLECTION, _ITEMS = "/collections/{collection_id}", "/collections/{collection_id}/items"
_ITEM, _BULK = "/collections/{collection_id}/items/{item_id}", "/collections/{collection_id}/bulk_items"
ROUTES = (
    Route("POST", "/collections", "Create Collection", create_collection, "Collection"),
    Route("PUT", _COLLECTION, "Replace Collection", replace_collection, "Collection"),
    Route("PATCH", _COLLECTION, "Patch Collection", patch_collection, "Merge Patch or JSON Patch"),
    Route("DELETE", _COLLECTION, "Delete Collection", delete_collection),
    Route("POST", _ITEMS, "Create Items", create_items, "Item or FeatureCollection"),
    Route("PUT", _ITEM, "Replace Item", replace_item, "Item"),
    Route("PATCH", _ITEM, "Patch Item", patch_item, "Merge Patch or JSON Patch"),
    Route("DELETE", _ITEM, "Delete Item", delete_item),
    Route("POST", _BULK, "Create many Items", create_many, "Items by their ids"),
)
_SHOW_ITEMS = (create_items, replace_item, patch_item)
# pystac-client knows the sort extension by its class of version 1.0 alone.
_SORT_1_0 = [f"https://api.stacspec.org/v1.0.0/{place}#sort" for place in ("item-search", "ogcapi-features")]
_CQL2 = [
    FilterConformanceClasses.BASIC_CQL2,
    FilterConformanceClasses.CQL2_TEXT,
    FilterConformanceClasses.CQL2_JSON,
    FilterConformanceClasses.ADVANCED_COMPARISON_OPERATORS,
    FilterConformanceClasses.CASE_INSENSITIVE_COMPARISON,
    FilterConformanceClasses.ACCENT_INSENSITIVE_COMPARISON,
    FilterConformanceClasses.BASIC_SPATIAL_FUNCTIONS,
    FilterConformanceClasses.BASIC_SPATIAL_FUNCTIONS_PLUS,
    FilterConformanceClasses.SPATIAL_FUNCTIONS,
    FilterConformanceClasses.TEMPORAL_FUNCTIONS,
    FilterConformanceClasses.ARRAY_FUNCTIONS,
    FilterConformanceClasses.PROPERTY_PROPERTY,
    FilterConformanceClasses.ARITHMETIC,
]


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """What may differ from one server to the next."""

    title: str = "geodl"
    description: str = "A catalog of geodl: scenes, results and models."
    version: str = "1"
    hosts: frozenset[str] | None = LOOPBACK
    """Names that the server answers to, without ports; None answers to any."""
    cors_origins: tuple[str, ...] = ()
    """Sites whose pages may read and write."""
    trusts_forwarded: bool = False
    """Whether `Forwarded` and `X-Forwarded-*` headers say where the server is: only behind a proxy that sets them."""
    body_bytes: int = 32 * 2**20
    """The largest body with many Items."""
    document_bytes: int = 4 * 2**20
    """The largest body with one document, or with a search."""

    def largest_body(self, path: str) -> int:
        """Return how many bytes a request to a path may have."""
        return self.body_bytes if path.endswith(("/items", "/bulk_items", "/publish")) else self.document_bytes


class HeadAsGet:
    """Answers HEAD as GET without the body (RFC 9110, 9.3.2), which FastAPI's routes leave to others.

    Its scope says `is_head`, for routes whose bodies are large.

    Args:
        app: what is behind.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET", "is_head": True}, receive, without_body)


@dataclass(frozen=True, slots=True)
class Additions:
    """What a server adds to the STAC API."""

    conformance: tuple[str, ...] = ()
    """Classes that the additions conform to."""
    links: tuple[tuple[str, str, str, str], ...] = ()
    """Of the landing page: relation, path without a slash before it, media type, title."""
    item_links: Callable[[dict[str, Any], str], list[dict[str, Any]]] | None = None
    """Item, address of the landing page with a slash at the end → further links of the Item as it is served."""
    served_file: ServedFile | None = None
    """Which hrefs of Items are files that the server hands out, at `…/items/{id}/assets/{key}/file/{name}`."""
    guards: tuple[Middleware, ...] = ()
    """What stands between the check of names and the check of sizes; each is put before those that come earlier."""
    checks: tuple[Callable[[], None], ...] = ()
    """Of readiness, beside the catalog's: raise UnavailableError where something is not there now."""


@attr.s(kw_only=True)
class _Client(CoreClient):
    served_file: ServedFile | None = attr.ib(default=None)

    def _served(self, item: dict[str, Any], base: str) -> dict[str, Any]:
        return super()._served(item if self.served_file is None else with_file_urls(item, base, self.served_file), base)


class _Settings(ApiSettings):
    model_config = SettingsConfigDict(env_file=None, extra="ignore")


def create_app(
    catalog: ServedCatalog, options: ApiOptions | None = None, additions: Additions | None = None
) -> FastAPI:
    """Return the STAC API over a catalog.

    Args:
        catalog: stays the caller's, to be closed after the application.
        options: by default those of a server on the loopback.
        additions: of the server that it is part of; routes are added to the application afterwards.
    """
    asked, added = options or ApiOptions(), additions or Additions()
    extensions, searched = _extensions(catalog, asked, added.served_file), _search_extensions(catalog)
    collections = _collection_search()
    everything = [*searched, collections, *extensions]
    api = StacApi(
        settings=_settings(asked),
        title=asked.title,
        description=asked.description,
        api_version=asked.version,
        stac_version=STAC_VERSION,
        client=_Client(
            catalog=catalog,
            landing_page_id="geodl",
            more_classes=added.conformance,
            more_links=added.links,
            item_links=added.item_links,
            served_file=added.served_file,
        ),
        extensions=everything,
        exceptions={},
        search_get_request_model=create_get_request_model(searched),
        search_post_request_model=create_post_request_model(searched),
        items_get_request_model=_items_model(searched),
        collections_get_request_model=collections.GET,
        middlewares=_middlewares(asked, added.guards),
        health_check=lambda: {"status": "UP"},
    )
    answer_errors(api.app)
    _add_probes(api.app, (catalog.check, *added.checks))
    return api.app


def _settings(options: ApiOptions) -> ApiSettings:
    # Each value is given: what is left out would be looked for in the environment.
    return _Settings(
        stac_fastapi_title=options.title,
        stac_fastapi_description=options.description,
        stac_fastapi_version=options.version,
        stac_fastapi_landing_id="geodl",
        enable_response_models=False,
        enable_direct_response=False,
        openapi_url="/api",
        docs_url="/api.html",
        root_path="",
    )


def _search_extensions(catalog: ServedCatalog) -> list[ApiExtension]:
    """Return what item search understands; the Items of a Collection can be searched the same way."""
    sort_classes = [
        SortConformanceClasses.ITEM_SEARCH_SORT,
        SortConformanceClasses.ITEM_SEARCH_SORTABLES,
        SortConformanceClasses.FEATURES_SORT,
        SortConformanceClasses.FEATURES_SORTABLES,
        SortConformanceClasses.COLLECTION_SEARCH_SORTABLES,
    ]
    return [
        CatalogFilterExtension(
            client=QueryablesClient(catalog=catalog),
            conformance_classes=[
                FilterConformanceClasses.FILTER,
                FilterConformanceClasses.SEARCH,
                FilterConformanceClasses.ITEMS,
                *_CQL2,
            ],
        ),
        QueryExtension(conformance_classes=[QueryConformanceClasses.SEARCH, QueryConformanceClasses.ITEMS]),
        SortExtension(client=SortablesClient(catalog=catalog), conformance_classes=[*sort_classes, *_SORT_1_0]),
        FieldsExtension(conformance_classes=[FieldsConformanceClasses.SEARCH, FieldsConformanceClasses.ITEMS]),
        FreeTextExtension(conformance_classes=[FreeTextConformanceClasses.SEARCH, FreeTextConformanceClasses.ITEMS]),
        TokenPaginationExtension(),
    ]


def _collection_search() -> CollectionSearchExtension:
    return CollectionSearchExtension.from_extensions(
        [
            FreeTextExtension(conformance_classes=[FreeTextConformanceClasses.COLLECTIONS]),
            SortExtension(conformance_classes=[SortConformanceClasses.COLLECTION_SEARCH_SORT]),
            FieldsExtension(conformance_classes=[FieldsConformanceClasses.COLLECTIONS]),
            TokenPaginationExtension(),
        ]
    )


def _extensions(catalog: ServedCatalog, options: ApiOptions, served_file: ServedFile | None) -> list[ApiExtension]:
    def of_server(route: Route) -> Route:
        handler: Any = route.handler
        is_about = handler in _SHOW_ITEMS
        return replace(route, handler=partial(handler, served_file=served_file)) if is_about else route

    routes = tuple(map(of_server, ROUTES))
    return [
        CatalogAggregationExtension(client=AggregationClient(catalog=catalog)),
        WriteExtension(catalog=catalog, routes=routes, document_bytes=options.document_bytes),
    ]


def _items_model(extensions: list[ApiExtension]) -> Any:
    return create_request_model("ItemsRequest", ItemCollectionUri, extensions, request_type="GET")


def _middlewares(options: ApiOptions, guards: tuple[Middleware, ...]) -> list[Middleware]:
    """Return what stands before the routes; each is put before those that come earlier in the list."""
    found = [Middleware(HeadAsGet), Middleware(BodyLimit, largest=options.largest_body), *guards]
    if options.cors_origins:
        methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        headers = ["Content-Type", "If-Match", "If-None-Match", "Authorization", "Range"]
        shown = ["ETag", "Location", "Retry-After", "WWW-Authenticate", "Content-Range", "Accept-Ranges"]
        found.append(
            Middleware(
                CORSMiddleware,
                allow_origins=list(options.cors_origins),
                allow_methods=methods,
                allow_headers=headers,
                expose_headers=shown,
                max_age=600,
            )
        )
    if options.hosts is not None:
        found.append(Middleware(KnownHosts, hosts=options.hosts))
    if options.trusts_forwarded:
        found.append(Middleware(ProxyHeaderMiddleware))
    return [*found, Middleware(RequestLog)]


def _add_probes(app: FastAPI, checks: tuple[Callable[[], None], ...]) -> None:
    async def alive() -> Response:  # not in a thread: those may all wait for their turn to write
        """Say that the process answers."""
        return JSONResponse({"status": "ok"})

    def ready() -> Response:
        """Say whether requests can be answered now."""
        try:
            for check in checks:
                check()
        except UnavailableError as err:
            return JSONResponse({"status": "unavailable", "description": err.message}, status_code=503)
        return JSONResponse({"status": "ready"})

    app.add_api_route("/healthz", alive, methods=["GET"], tags=["Liveliness/Readiness"])
    app.add_api_route("/readyz", ready, methods=["GET"], tags=["Liveliness/Readiness"])
