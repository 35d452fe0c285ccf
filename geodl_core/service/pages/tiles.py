"""Map tiles of rasters in the catalog, through TiTiler; and a page that shows them."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any
from urllib.parse import quote

from attrs import define
from fastapi import APIRouter, Depends, Query
from morecantile import tms
from morecantile.defaults import TileMatrixSets
from rio_tiler.colormap import cmap
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from titiler.core.dependencies import BidxParams, ColorMapParams
from titiler.core.factory import TilerFactory

from geodl_core.catalog.api.links import item_url, link
from geodl_core.io.remote.egress import EgressProxy
from geodl_core.service.pages.map_page import map_page
from geodl_core.service.pages.tile_source import classes_of, find_source, open_tiles, read_item, tile_source
from geodl_core.service.services import Services

PREFIX = "/collections/{collection_id}/items/{item_id}/assets/{asset}"
GRIDS = ("WebMercatorQuad", "WGS1984Quad")
"""Tile matrix sets (OGC Two Dimensional Tile Matrix Set) that are offered."""
MOST = {"tilesize": 1_024, "max_size": 2_048, "width": 2_048, "height": 2_048, "buffer": 32.0, "padding": 32}
"""Sizes that may be asked for, in pixels: a picture is made in memory."""
MOST_BANDS = 4
COG = "profile=cloud-optimized"


@define(kw_only=True)
class AssetTiler(TilerFactory):  # TiTiler's routes are made by subclasses of its factories
    """Those of TiTiler's routes that are of use here, with addresses that hold for any id."""

    def register_routes(self) -> None:
        """Make the routes."""
        for make in (self.info, self.tile, self.tilejson, self.point, self.preview):
            make()  # type: ignore[no-untyped-call]

    def url_for(self, request: Request, name: str, **path_params: Any) -> str:
        """Return the address of a route for the same asset; braces, which stand for numbers, are left."""
        if name == "tile":
            path = PREFIX + "/tiles/{tileMatrixSetId}/{z}/{x}/{y}" + (".{format}" if "format" in path_params else "")
        else:
            path = next(str(getattr(one, "path", "")) for one in self.router.routes if getattr(one, "name", "") == name)
        ids = {key: quote(str(value), safe="") for key, value in request.path_params.items()}
        for key, value in {**ids, **path_params}.items():
            path = path.replace(f"{{{key}}}", str(value))
        return str(request.base_url).rstrip("/") + path


def tiles_router(services: Services, proxy: EgressProxy | None = None) -> APIRouter:
    """Return the routes `…/items/{item_id}/assets/{asset}/…`: info, tiles, TileJSON, point, preview and map.

    A raster is named by Collection, Item and asset, and by nothing else: there is no parameter for a URL.

    Args:
        services: as `find_source`.
        proxy: as `find_source`.
    """
    sets = TileMatrixSets({name: tms.get(name) for name in GRIDS})
    tiler = AssetTiler(
        router=APIRouter(prefix=PREFIX, tags=["Tiles"], dependencies=[Depends(_check_sizes)]),
        reader=open_tiles,  # type: ignore[arg-type]  # it is opened as a reader is
        path_dependency=find_source(services, proxy),
        layer_dependency=BidxParams,
        process_dependency=_no_processing,
        colormap_dependency=_colours,
        supported_tms=sets,
        add_viewer=False,
        add_part=False,
        name="tiles",
    )
    router: APIRouter = tiler.router

    @router.get("/map", response_class=Response, responses={200: {"content": {"text/html": {}}}})
    def show_map(collection_id: str, item_id: str, asset: str) -> Response:
        """Show an asset on a page of its own, with the colours and names of its classes."""
        item = read_item(services, collection_id, item_id)
        tile_source(services, item, asset)
        return map_page(item, asset, classes_of(item["assets"][asset]))

    return router


def tile_links(item: Mapping[str, Any], base: str) -> list[dict[str, Any]]:
    """Return links to the tiles of an Item's first classification (STAC's web-map-links extension), else none."""
    assets = item.get("assets")
    for key, asset in assets.items() if isinstance(assets, dict) else ():
        is_classes = isinstance(asset, dict) and "classification" in (asset.get("roles") or ())
        if is_classes and COG in str(asset.get("type")):
            here = f"{item_url(base, str(item['collection']), str(item['id']))}/assets/{quote(key, safe='')}"
            size = {"title": str(asset.get("title", key))}
            return [
                link("xyz", f"{here}/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png", "image/png", **size),
                link("tilejson", f"{here}/WebMercatorQuad/tilejson.json", **size),
                link("preview", f"{here}/map", "text/html", **size),
            ]
    return []


def _no_processing() -> None:
    return None


def _colours(
    colormap_name: Annotated[str | None, Query(description="Name of a colour map, as `viridis`")] = None,
    colormap: Annotated[str | None, Query(description="Colours as JSON")] = None,
) -> Any:
    """Return the colours that are asked for.

    Raises:
        HTTPException: there are none of that name; those with a like one are told, as there are some 200.
    """
    names = sorted(cmap.list())
    if colormap_name is not None and colormap_name not in names:
        close = get_close_matches(colormap_name.lower(), names, n=3) or ["viridis", "terrain", "greys"]
        raise HTTPException(400, f"colormap_name: there is no {colormap_name[:60]}; there are {', '.join(close)} …")
    return ColorMapParams(colormap_name, colormap)


def _check_sizes(request: Request) -> None:
    """Return if a picture of the size that is asked for may be made.

    Raises:
        HTTPException: it may not.
    """
    asked = {**request.query_params, **request.path_params}
    for name, most in MOST.items():
        try:
            value = float(asked.get(name, 1))
        except ValueError:
            continue  # its own check complains
        if not 0 <= value <= most:
            raise HTTPException(400, f"{name}: expected at most {most:g} pixels, found {asked[name]}")
    if len(request.query_params.getlist("bidx")) > MOST_BANDS:
        raise HTTPException(400, f"bidx: expected {MOST_BANDS} bands at most")
