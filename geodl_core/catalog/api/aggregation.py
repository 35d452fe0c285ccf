"""The aggregation extension: numbers and histograms over searches."""

from typing import Any

import attr
from fastapi import APIRouter, FastAPI
from pydantic import Field
from stac_fastapi.api.models import CollectionUri, EmptyRequest
from stac_fastapi.api.routes import create_async_endpoint
from stac_fastapi.extensions.aggregation import AggregationExtension
from stac_fastapi.extensions.aggregation.client import BaseAggregationClient
from stac_fastapi.extensions.aggregation.request import (
    AggregationExtensionGetRequest,
    AggregationExtensionPostRequest,
)
from stac_fastapi.extensions.free_text.request import FreeTextExtensionGetRequest, FreeTextExtensionPostRequest
from stac_fastapi.extensions.query.request import QueryExtensionGetRequest, QueryExtensionPostRequest
from stac_fastapi.types.requests import get_base_url
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from geodl_core.catalog.answers import Aggregate
from geodl_core.catalog.api.backend import ServedCatalog
from geodl_core.catalog.api.links import collection_url, link
from geodl_core.catalog.api.queries import FilterBody, FilterParameters, read_search
from geodl_core.catalog.api.write import path_parameters

KEY_TYPES = {
    "total_count": "integer",
    "datetime_min": "datetime",
    "datetime_max": "datetime",
    "datetime_frequency": "datetime",
    "collection_frequency": "string",
    "cloud_cover_frequency": "numeric",
    "platform_frequency": "string",
    "grid_code_frequency": "string",
    "model_frequency": "string",
}
"""Aggregation → the type of its value, or of the keys of its bars."""


@attr.s
class AggregateParameters(
    AggregationExtensionGetRequest, FilterParameters, QueryExtensionGetRequest, FreeTextExtensionGetRequest
):
    """A search without pages, and what to say about it."""

    datetime_frequency_interval: str | None = attr.ib(default=None)


class AggregateBody(
    AggregationExtensionPostRequest, FilterBody, QueryExtensionPostRequest, FreeTextExtensionPostRequest
):
    """A search without pages, and what to say about it."""

    datetime_frequency_interval: str | None = Field(None, description="Width of a bar: year, month or day.")


class CatalogAggregationExtension(AggregationExtension):
    """The aggregation extension over searches with filter, query and words."""

    GET = AggregateParameters
    POST = AggregateBody

    def register(self, app: FastAPI) -> None:
        """Add the routes to an application, each method under a name of its own."""
        router = APIRouter(prefix=app.state.router_prefix)
        for above, request in (("", EmptyRequest), ("/collections/{collection_id}", CollectionUri)):
            known = create_async_endpoint(self.client.get_aggregations, request)
            for method, asked in (("GET", self.GET), ("POST", self.POST)):
                name = f"{method.title()}{' Collection' if above else ''}"
                router.add_api_route(f"{above}/aggregations", known, methods=[method], name=f"{name} Aggregations")
                counted = create_async_endpoint(self.client.aggregate, asked)
                router.add_api_route(
                    f"{above}/aggregate",
                    counted,
                    methods=[method],
                    name=f"{name} Aggregate",
                    openapi_extra=path_parameters(above),
                )
        app.include_router(router, tags=["Aggregation Extension"])


@attr.s(kw_only=True)
class AggregationClient(BaseAggregationClient):
    """Answers `/aggregations` and `/aggregate`, of all Items or of a Collection's."""

    catalog: ServedCatalog = attr.ib()

    def get_aggregations(self, collection_id: str | None = None, **kwargs: Any) -> Any:
        """Return what can be asked for."""
        known = [{"name": name, "data_type": _data_type(name)} for name in KEY_TYPES]
        return self._answer(kwargs["request"], "aggregations", collection_id, known)

    def aggregate(self, collection_id: Any = None, **asked: Any) -> Any:
        """Return numbers and histograms over the Items that match.

        Args:
            collection_id: of a POST request its body, which stac-fastapi hands over in the first place.
            asked: of a GET request the parameters.
        """
        request: Request = asked.pop("request")
        if isinstance(collection_id, AggregateBody):
            asked = {name: getattr(collection_id, name) for name in AggregateBody.model_fields}
        only = request.path_params.get("collection_id")
        if only is not None:
            asked["collections"] = [only]
        search = read_search({**asked, "limit": None})
        names = asked.get("aggregations") or ["total_count"]
        interval = asked.get("datetime_frequency_interval") or "month"
        found = self.catalog.aggregate(search.query, search.words, names, interval)
        return self._answer(request, "aggregate", only, [_shown(one) for one in found])

    def _answer(self, request: Request, kind: str, only: str | None, aggregations: list[dict[str, Any]]) -> Response:
        if only is not None and self.catalog.read_collection(only) is None:
            raise HTTPException(404, f"no collection {only!r}")
        base = get_base_url(request)
        here = f"{base}{kind}" if only is None else f"{collection_url(base, only)}/{kind}"
        links = [link("root", base), link("self", here)]
        return JSONResponse({"type": "AggregationCollection", "aggregations": aggregations, "links": links})


def _shown(aggregate: Aggregate) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": aggregate.name, "data_type": _data_type(aggregate.name)}
    if aggregate.buckets is None:
        return {**shown, "value": aggregate.value}
    buckets = []
    for one in aggregate.buckets:
        bucket: dict[str, Any] = {"key": one.key, "data_type": KEY_TYPES[aggregate.name], "frequency": one.count}
        if one.low is not None:
            bucket |= {"from": one.low, "to": one.high}
        buckets.append(bucket)
    return {**shown, "buckets": buckets, "overflow": aggregate.overflow}


def _data_type(name: str) -> str:
    return "frequency_distribution" if name.endswith("_frequency") else KEY_TYPES[name]
