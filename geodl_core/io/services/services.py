"""Services that give pixels on demand, as rasters: ArcGIS image services, WMS, map tiles.

GDAL's WMS driver asks for the pixels. What it opens is a description in XML; a virtual raster around it cuts out the
area of interest, on the service's own blocks, and says which bands are alpha and what nodata is.
"""

import math
import re
from typing import Any
from xml.sax.saxutils import escape

from geodl_core.domain.area.area import Area
from geodl_core.domain.area.area_grid import area_on_grid
from geodl_core.domain.grid import Grid
from geodl_core.domain.place.href import hide_secrets
from geodl_core.domain.window import Window
from geodl_core.errors import ItemError
from geodl_core.io.scene.raster import grid_of, opened
from geodl_core.io.services.image_service import image_service
from geodl_core.io.services.map_services import Service, map_service, matrix_service, tile_service

IMAGE_SERVICE = re.compile(r"https?://.+/ImageServer/?(\?.*)?", re.IGNORECASE)
TILES = re.compile(r"https?://.*\{z(:\d+)?\}.*", re.IGNORECASE)
GET_MAP = re.compile(r"https?://[^?]*\?(.*&)?request=getmap(&.*)?", re.IGNORECASE)
CAPABILITIES = re.compile(r"https?://.*(service=wmt?s|request=getcapabilities|WMTSCapabilities\.xml).*", re.IGNORECASE)
MATRIX = re.compile(r"WMTS:https?://.+", re.IGNORECASE)
MOST_PIXELS = 1 << 30
TYPE_NAMES = {
    "uint8": "Byte",
    "int8": "Int8",
    "uint16": "UInt16",
    "int16": "Int16",
    "uint32": "UInt32",
    "int32": "Int32",
    "float32": "Float32",
    "float64": "Float64",
}
"""NumPy → GDAL."""


def is_service(location: str) -> bool:
    """Say whether what a user typed means a service."""
    patterns = (IMAGE_SERVICE, TILES, GET_MAP, CAPABILITIES, MATRIX)
    return any(pattern.fullmatch(location) for pattern in patterns) or location.lstrip().startswith("<GDAL_WM")


def open_service(location: str) -> Service:
    """Return the service that a user typed.

    Raises:
        ItemError: it is not said fully enough, or the server refuses.
        StoreError: the server does not answer.
    """
    if IMAGE_SERVICE.fullmatch(location):
        return image_service(location)
    if TILES.fullmatch(location):
        return tile_service(location)
    if GET_MAP.fullmatch(location):
        return map_service(location)
    if CAPABILITIES.fullmatch(location):
        raise ItemError(
            f"{hide_secrets(location)}: expected a layer of the service",
            hint="give a whole GetMap URL with LAYERS, CRS, BBOX, WIDTH and HEIGHT, or WMTS:URL,layer=NAME",
        )
    if MATRIX.fullmatch(location):
        return matrix_service(location)
    return Service("service", location)


def cut_service(service: Service, area: Area | None) -> str:
    """Return a virtual raster of a service, as GDAL reads it: the area of interest, or all of it.

    Raises:
        ItemError: more than can be meant, without an area; the area does not meet the service.
        StoreError: the service does not open.
    """
    with opened(service.gdal, service.name) as dataset:
        grid = grid_of(dataset, service.name)
        window = Window(0, 0, grid.height, grid.width)
        if area is not None:
            window = _window(area, grid, dataset.block_shapes[0])
        if window.height * window.width > MOST_PIXELS:
            raise ItemError(
                f"{service.name}: the service has {window.width} × {window.height} pixels, more than can be asked for",
                hint="say where with --aoi WEST,SOUTH,EAST,NORTH",
            )
        return _virtual(service, dataset, grid, window)


def _window(area: Area, grid: Grid, block_px: tuple[int, int]) -> Window:
    """Return the service's blocks that hold an area."""
    west, north, east, south = area_on_grid(area, grid).bounds
    height, width = block_px
    top, left = max(0, math.floor(north / height) * height), max(0, math.floor(west / width) * width)
    bottom = min(grid.height, math.ceil(south / height) * height)
    return Window(top, left, bottom, min(grid.width, math.ceil(east / width) * width))


def _virtual(service: Service, dataset: Any, grid: Grid, window: Window) -> str:
    a, b, c, d, e, f = grid.transform
    x, y = a * window.left + b * window.top + c, d * window.left + e * window.top + f
    height, width = dataset.block_shapes[0]
    inside = f'xSize="{window.width}" ySize="{window.height}"'
    bands = []
    for number in dataset.indexes:
        color = dataset.colorinterp[number - 1].name
        names = service.band_names if len(service.band_names) == dataset.count else ()
        said = f"<Description>{escape(names[number - 1])}</Description>" if names else ""
        said += f"<NoDataValue>{service.nodata!r}</NoDataValue>" if service.nodata is not None else ""
        said += f"<ColorInterp>{color.capitalize()}</ColorInterp>" if service.has_alpha else ""
        bands.append(
            f'<VRTRasterBand dataType="{TYPE_NAMES[dataset.dtypes[number - 1]]}" band="{number}" '
            f'blockXSize="{width}" blockYSize="{height}">{said}<SimpleSource>'
            f'<SourceFilename relativeToVRT="0">{escape(service.gdal)}</SourceFilename>'
            f"<SourceBand>{number}</SourceBand>"
            f'<SrcRect xOff="{window.left}" yOff="{window.top}" {inside}/><DstRect xOff="0" yOff="0" {inside}/>'
            "</SimpleSource></VRTRasterBand>"
        )
    return (
        f'<VRTDataset rasterXSize="{window.width}" rasterYSize="{window.height}"><SRS>{escape(grid.crs)}</SRS>'
        f"<GeoTransform>{x!r},{a!r},{b!r},{y!r},{d!r},{e!r}</GeoTransform>{''.join(bands)}</VRTDataset>"
    )
