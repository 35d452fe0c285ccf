"""Which properties can be filtered and sorted by, as JSON schemas."""

from typing import Any

import attr
from stac_fastapi.extensions.filter import FilterExtension
from stac_fastapi.extensions.filter.client import BaseFiltersClient
from stac_fastapi.extensions.sort import BaseSortablesClient
from stac_fastapi.types.requests import get_base_url
from starlette.exceptions import HTTPException
from starlette.requests import Request

from geodl_core.catalog.api.backend import ServedCatalog
from geodl_core.catalog.api.links import collection_url
from geodl_core.catalog.api.queries import FilterBody, FilterParameters

_TIME = {"type": "string", "format": "date-time"}
QUERYABLES: dict[str, dict[str, Any]] = {
    "id": {"title": "Item id", "type": "string"},
    "collection": {"title": "Collection id", "type": "string"},
    "geometry": {"title": "Geometry", "$ref": "https://geojson.org/schema/Geometry.json"},
    "datetime": {"title": "Acquisition time", **_TIME},
    "start_datetime": {"title": "First acquisition time", **_TIME},
    "end_datetime": {"title": "Last acquisition time", **_TIME},
    "created": {"title": "Creation time of the metadata", **_TIME},
    "updated": {"title": "Last change of the metadata", **_TIME},
    "platform": {"title": "Platform", "type": "string"},
    "constellation": {"title": "Constellation", "type": "string"},
    "gsd": {"title": "Ground sample distance in metres", "type": "number"},
    "eo:cloud_cover": {"title": "Cloud cover in per cent", "type": "number", "minimum": 0, "maximum": 100},
    "grid:code": {"title": "Cell of a grid of scenes", "type": "string"},
    "proj:code": {"title": "CRS", "type": "string"},
    "processing:datetime": {"title": "Processing time", **_TIME},
    "version": {"title": "Version", "type": "string"},
    "deprecated": {"title": "Whether a newer version exists", "type": "boolean"},
    "geodl:model": {"title": "Model that made a result", "type": "string"},
    "geodl:job_id": {"title": "Job that made a result", "type": "string"},
    "geodl:detections": {"title": "Objects found", "type": "integer"},
}
"""Well-known names; any other property of an Item can be named, too."""
_COLLECTION_SORTABLES = {
    name: {"title": title, "type": "string"}
    for name, title in (("id", "Collection id"), ("title", "Title"), ("license", "Licence"))
}


@attr.s(kw_only=True)
class QueryablesClient(BaseFiltersClient):
    """Answers `/queryables`."""

    catalog: ServedCatalog = attr.ib()

    def get_queryables(self, collection_id: str | None = None, **kwargs: Any) -> dict[str, Any]:
        """Return the queryables of all Collections, or of one."""
        return _schema(self.catalog, kwargs["request"], "queryables", collection_id)


@attr.s(kw_only=True)
class SortablesClient(BaseSortablesClient):
    """Answers `/sortables`."""

    catalog: ServedCatalog = attr.ib()

    def get_sortables(self, request: Request | None = None, **_: Any) -> dict[str, Any]:
        """Return what Items can be sorted by."""
        return _schema(self.catalog, request, "sortables", None)

    def get_collection_sortables(self, collection_id: str, request: Request | None = None, **_: Any) -> dict[str, Any]:
        """Return what the Items of a Collection can be sorted by."""
        return _schema(self.catalog, request, "sortables", collection_id)

    def get_collections_sortables(self, request: Request | None = None, **_: Any) -> dict[str, Any]:
        """Return what Collections can be sorted by."""
        schema = _schema(self.catalog, request, "collections-sortables", None)
        return {**schema, "properties": _COLLECTION_SORTABLES, "additionalProperties": False}


class CatalogFilterExtension(FilterExtension):
    """The filter extension, whose POST body takes CQL2 text too, as clients send it."""

    GET = FilterParameters
    POST = FilterBody


def _schema(catalog: ServedCatalog, request: Request | None, kind: str, collection_id: str | None) -> dict[str, Any]:
    assert request is not None
    base = get_base_url(request)
    if collection_id is not None and catalog.read_collection(collection_id) is None:
        raise HTTPException(404, f"no collection {collection_id!r}")
    here = f"{base}{kind}" if collection_id is None else f"{collection_url(base, collection_id)}/{kind}"
    known = {name: entry for name, entry in QUERYABLES.items() if kind == "queryables" or name != "geometry"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": here,
        "type": "object",
        "title": kind.capitalize(),
        "properties": known,
        "additionalProperties": True,
    }
