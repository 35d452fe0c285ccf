"""The routes of the transaction extensions: a request's body is read whole, then handled in a thread."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import attr
from fastapi import APIRouter, FastAPI
from stac_fastapi.extensions.transaction.transaction import TransactionConformanceClasses
from stac_fastapi.types.extension import ApiExtension
from stac_fastapi.types.requests import get_base_url
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from geodl_core.catalog.api.backend import ServedCatalog


@dataclass(frozen=True, slots=True)
class Write:
    """A request to write."""

    catalog: ServedCatalog
    base: str
    """Address of the landing page, with a slash at the end."""
    path: Mapping[str, str]
    """Ids in the address by their names."""
    headers: Mapping[str, str]
    body: bytes
    document_bytes: int
    """The largest document that is taken."""

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def check_document_size(self) -> None:
        """Return if the body may be one document.

        Raises:
            HTTPException: it is too large.
        """
        if len(self.body) > self.document_bytes:
            raise HTTPException(
                413, f"body: expected a document of {self.document_bytes:,} bytes at most, found {len(self.body):,}"
            )


Handler = Callable[[Write], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """Where a handler answers."""

    method: str
    path: str
    name: str
    handler: Handler
    body: str | None = None
    """Title of the document in the body, for the OpenAPI description."""


@attr.s(kw_only=True)
class WriteExtension(ApiExtension):
    """The transaction extensions for Items and Collections, and bulk Items."""

    catalog: ServedCatalog = attr.ib()
    routes: tuple[Route, ...] = attr.ib()
    document_bytes: int = attr.ib()
    conformance_classes: list[str] = attr.ib(
        factory=lambda: [
            TransactionConformanceClasses.ITEMS.value,
            TransactionConformanceClasses.COLLECTIONS.value,
        ]
    )

    def register(self, app: FastAPI) -> None:
        """Add the routes to an application."""
        router = APIRouter(prefix=app.state.router_prefix)
        for route in self.routes:
            router.add_api_route(
                route.path,
                self._endpoint(route),
                methods=[route.method],
                name=route.name,
                openapi_extra=_description(route),
            )
        app.include_router(router, tags=["Transaction Extension"])

    def _endpoint(self, route: Route) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            body = await request.body() if route.body else b""
            write = Write(
                catalog=self.catalog,
                base=get_base_url(request),
                path=request.path_params,
                headers=request.headers,
                body=body,
                document_bytes=self.document_bytes,
            )
            if route.body:
                _check_type(write.content_type)
            return await run_in_threadpool(route.handler, write)

        return endpoint


def _check_type(content_type: str) -> None:
    """Return if a body says that it is JSON; so a page of another site cannot send one without leave."""
    if content_type != "application/json" and not (
        content_type.startswith("application/") and content_type.endswith("+json")
    ):
        raise HTTPException(415, f"Content-Type: expected application/json, found {content_type[:40]!r}")


def path_parameters(path: str) -> dict[str, Any]:
    """Return the OpenAPI description of the ids in an address, for routes whose functions do not name them."""
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    listed = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    return {"parameters": listed} if listed else {}


def _description(route: Route) -> dict[str, Any]:
    described = path_parameters(route.path)
    if route.body:
        schema = {"type": "object", "title": route.body}
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return described
