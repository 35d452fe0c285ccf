"""Which raster a tile is cut from: an asset of an Item in the catalog, opened under the rules for its href."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

import rasterio
from fastapi import Path as PathParameter
from rasterio._err import CPLE_BaseError  # what GDAL raises where rasterio gives it no class of its own
from rasterio.errors import RasterioError
from rio_tiler.errors import InvalidDatatypeWarning, NoOverviewWarning, RioTilerError, TileOutsideBounds
from rio_tiler.io import Reader
from starlette.exceptions import HTTPException

from geodl_core.domain.place.href import hide_secrets, split_notes
from geodl_core.domain.scene.item_hrefs import reachable_item
from geodl_core.errors import DataError, ItemError, StoreError
from geodl_core.io.remote.access import proxy_options, way
from geodl_core.io.remote.egress import EgressProxy
from geodl_core.io.remote.signing import openable
from geodl_core.io.scene.raster import OPTIONS, gdal_options, open_remote
from geodl_core.io.stac import item_href, parse_item
from geodl_core.service.services import Services

# What a server has to say of its rasters' form it would say of each tile anew.
for _kind in (NoOverviewWarning, InvalidDatatypeWarning):
    warnings.filterwarnings("ignore", category=_kind)

RASTER_TYPES = ("image/tiff", "image/vnd.stac.geotiff", "image/jp2", "image/png", "image/jpeg")
MOST_PIXELS = 1 << 26
"""Of a raster without overviews: each small picture of it would read all of them."""
Colours = dict[int, tuple[int, int, int, int]]


@dataclass(frozen=True, slots=True)
class TileSource:
    """A raster to cut tiles from."""

    href: str
    """Path or URL, with notes on how it is opened."""
    asset: str
    is_local: bool
    colours: tuple[tuple[int, tuple[int, int, int, int]], ...] = ()
    """Value → red, green, blue, alpha, of a classification."""
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """GDAL's, of the way to servers elsewhere."""


def find_source(services: Services, proxy: EgressProxy | None) -> Callable[..., TileSource]:
    """Return FastAPI's dependency from an address to its raster; nothing else names one.

    Args:
        services: catalog, and the folders whose files Items may name.
        proxy: by which rasters elsewhere are read, where strangers may publish; None asks for them as `geodl run` does.
    """
    options = tuple(proxy_options(proxy).items()) if proxy else ()

    def source(
        collection_id: Annotated[str, PathParameter(description="Id of the Collection")],
        item_id: Annotated[str, PathParameter(description="Id of the Item")],
        asset: Annotated[str, PathParameter(description="Key of the asset")],
    ) -> TileSource:
        found = tile_source(services, read_item(services, collection_id, item_id), asset)
        return found if found.is_local else replace(found, options=options)

    return source


def read_item(services: Services, collection_id: str, item_id: str) -> dict[str, Any]:
    """Return an Item of the catalog.

    Raises:
        HTTPException: there is none.
    """
    found = services.catalog.read_item(collection_id, item_id)
    if found is None:
        raise HTTPException(404, f"item {collection_id}/{item_id}: there is none")
    return found.content


def tile_source(services: Services, item: Mapping[str, Any], key: str) -> TileSource:
    """Return the raster of an asset.

    Raises:
        HTTPException: there is no such asset.
        ItemError: it is no raster, or its href is neither a file in one of the folders nor a URL that may be read.
    """
    asset = (item.get("assets") or {}).get(key)
    if not isinstance(asset, dict) or not isinstance(asset.get("href"), str):
        raise HTTPException(404, f"asset {key}: there is none")
    if not str(asset.get("type", "image/tiff")).startswith(RASTER_TYPES):
        raise ItemError(f"asset {key}: expected a raster, found {str(asset['type'])[:80]}")
    lone = {**item, "assets": {key: asset}}
    parsed = parse_item(lone, item_href(lone) or f"./{item.get('id')}.json")
    plain = split_notes(parsed["assets"][key]["href"])[0]
    colours = class_colours(asset)
    if "://" not in plain.removeprefix("file://"):
        path = unquote(plain.removeprefix("file://")) if plain.startswith("file://") else plain
        return TileSource(_local(services, path, key), key, is_local=True, colours=colours)
    reached = reachable_item(parsed, way().access, is_local=False)
    return TileSource(reached["assets"][key]["href"], key, is_local=False, colours=colours)


def class_colours(asset: Mapping[str, Any]) -> tuple[tuple[int, tuple[int, int, int, int]], ...]:
    """Return the colours of an asset's classes (STAC's classification extension), none where it has none."""
    found: list[tuple[int, tuple[int, int, int, int]]] = []
    for one in classes_of(asset):
        try:
            red, green, blue = bytes.fromhex(str(one.get("color_hint", "")))
            found.append((int(one["value"]), (red, green, blue, 255)))
        except (ValueError, KeyError, TypeError):
            continue
    return tuple(found)


def classes_of(asset: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the classes of an asset or of its first band."""
    bands = asset.get("bands")
    holders = [asset, *(bands[:1] if isinstance(bands, list) else ())]
    found: Any = next((one["classification:classes"] for one in holders if one.get("classification:classes")), [])
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


@contextmanager
def open_tiles(source: TileSource, **options: Any) -> Iterator[Reader]:
    """Open a raster for TiTiler, as it opens readers.

    Raises:
        HTTPException: what is asked for lies outside of it, or makes no sense.
        ItemError: it cannot be opened, or is too large to be shown.
        DataError: it cannot be decoded.
        StoreError: it cannot be read now.
    """
    try:
        with _dataset(source) as dataset:
            if not dataset.overviews(1) and dataset.width * dataset.height > MOST_PIXELS:
                raise ItemError(
                    f"asset {source.asset}: expected overviews in a raster of {dataset.width} × {dataset.height} pixels"
                )
            with Reader(None, dataset=dataset, colormap=dict(source.colours) or None, **options) as reader:
                yield reader
    except TileOutsideBounds as error:
        raise HTTPException(404, f"asset {source.asset}: {error}") from error
    except (RioTilerError, ValueError) as error:
        raise HTTPException(400, f"asset {source.asset}: {error}") from error
    except (RasterioError, CPLE_BaseError) as error:
        kind = DataError if source.is_local else StoreError
        raise kind(f"asset {source.asset}: cannot be read") from error


@contextmanager
def _dataset(source: TileSource) -> Iterator[Any]:
    """Open a raster in one of the formats that can name no other file.

    Raises:
        ItemError: a file is no such raster.
        StoreError: a raster elsewhere does not open; why is not asked for, since that would go another way.
    """
    href, asset = source.href, source.asset
    options = OPTIONS | {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"} if source.is_local else gdal_options(href)
    with rasterio.Env(**options, **dict(source.options)):
        try:
            dataset = open_remote(href if source.is_local else openable(href, asset))
        except (RasterioError, CPLE_BaseError) as error:
            if source.is_local:
                raise ItemError(f"asset {asset}: expected a GeoTIFF, JPEG 2000, PNG or JPEG file") from error
            raise StoreError(f"asset {asset}: {hide_secrets(href)} cannot be opened as a raster now") from error
        with dataset:
            yield dataset


def _local(services: Services, path: str, asset: str) -> str:
    """Return the path of a file that Items may name, links followed.

    Raises:
        ItemError: it may not be named, or is not there; which of both is not said.
    """
    found = Path(path).resolve()
    if found.is_file() and any(found.is_relative_to(root.resolve()) for root in services.local_roots):
        return str(found)
    raise ItemError(
        f"asset {asset}: expected a file in a folder that Items may name, found none",
        hint="geodl serve --allow-folder names such folders",
    )
