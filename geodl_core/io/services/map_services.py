"""Services as GDAL's WMS driver has them described: map tiles and WMS."""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit
from xml.sax.saxutils import escape

from geodl_core.domain.place.href import hide_secrets
from geodl_core.errors import ItemError

BLOCK_PX = 512
TILE_PX = 256
MERCATOR_M = 20037508.342789244
MATRIX_WORDS = {"layer": "Layer", "style": "Style", "tilematrixset": "TileMatrixSet", "zoom_level": "ZoomLevel"}
"""Of a WMTS → elements of GDAL's description."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service, and what it tells beyond its pixels."""

    name: str
    gdal: str
    """What GDAL opens: a description, or a name such as `WMTS:…`."""
    band_names: tuple[str, ...] = ()
    nodata: float | None = None
    times: tuple[str, ...] = ()
    has_alpha: bool = True
    """Whether a second or fourth band may be alpha, as GDAL takes it to be."""


def description(service: str, window: str, bands: tuple[int, str], more: str) -> str:
    """Return what GDAL's WMS driver reads: service, extent, (count, type) of the bands, and the elements between."""
    return (
        f"<GDAL_WMS>{service}<DataWindow>{window}</DataWindow>{more}<BandsCount>{bands[0]}</BandsCount>"
        f"<DataType>{bands[1]}</DataType><OverviewCount>0</OverviewCount><MaxConnections>4</MaxConnections>"
        "<Timeout>60</Timeout><ZeroBlockHttpCodes>204,404</ZeroBlockHttpCodes></GDAL_WMS>"
    )


def extent(box: tuple[float, float, float, float], width: int, height: int) -> str:
    """Return where a service's pixels lie, by west, south, east, north and size."""
    west, south, east, north = box
    return (
        f"<UpperLeftX>{west!r}</UpperLeftX><UpperLeftY>{north!r}</UpperLeftY><LowerRightX>{east!r}</LowerRightX>"
        f"<LowerRightY>{south!r}</LowerRightY><SizeX>{width}</SizeX><SizeY>{height}</SizeY>"
    )


def blocks(crs: str, size: int) -> str:
    """Return a service's CRS and in which blocks it is asked for pixels."""
    return f"<Projection>{escape(crs)}</Projection><BlockSizeX>{size}</BlockSizeX><BlockSizeY>{size}</BlockSizeY>"


def tile_service(location: str) -> Service:
    """Return the service of map tiles, whose address has `{z:ZOOM}`, `{x}` and `{y}`."""
    match = re.search(r"\{z:(\d+)\}", location, re.IGNORECASE)
    if not match or not 0 <= int(match[1]) <= 22:
        raise ItemError(
            f"{hide_secrets(location)}: expected the zoom of the tiles, found none of 0 to 22",
            hint="write it into the address: {z:17} has pixels of 1.2 m at the equator, each zoom more halves them",
        )
    if not all(part in location.lower() for part in ("{x}", "{y}")):
        raise ItemError(f"{hide_secrets(location)}: expected {{x}} and {{y}} in the address of map tiles")
    zoom = int(match[1])
    url = re.sub(r"\{([xy])\}", lambda found: f"${{{found[1].lower()}}}", location, flags=re.IGNORECASE)
    url = url.replace(match[0], "${z}")
    side = TILE_PX << zoom
    box = (-MERCATOR_M, -MERCATOR_M, MERCATOR_M, MERCATOR_M)
    window = extent(box, side, side) + f"<TileLevel>{zoom}</TileLevel><YOrigin>top</YOrigin>"
    text = f'<Service name="TMS"><ServerUrl>{escape(url)}</ServerUrl></Service>'
    name = f"{urlsplit(location).hostname}-z{zoom}"
    return Service(name, description(text, window, (4, "Byte"), blocks("EPSG:3857", TILE_PX)))


def map_service(location: str) -> Service:
    """Return the WMS layers of a GetMap request: its box is the scene, its size gives the size of pixels."""
    address, _, query = location.partition("?")
    said = {key.lower(): value for key, value in parse_qsl(query, keep_blank_values=True)}
    crs = said.pop("crs", said.pop("srs", ""))
    try:
        box = tuple(float(edge) for edge in said.pop("bbox", "").split(","))
        width, height = int(said.pop("width", "")), int(said.pop("height", ""))
        west, south, east, north = box
    except ValueError:
        west = south = east = north = 0.0
        width = height = 0
    if not (said.get("layers") and crs and west < east and south < north and width > 0 and height > 0):
        raise ItemError(
            f"{hide_secrets(location)}: expected a whole GetMap request, found one without "
            "LAYERS, CRS (or SRS), BBOX, WIDTH or HEIGHT",
            hint="BBOX with WIDTH and HEIGHT say where, and how large a pixel is",
        )
    version, layers = said.pop("version", "1.3.0"), said.pop("layers")
    image, styles = said.pop("format", "image/png"), said.pop("styles", "")
    is_clear = said.pop("transparent", "").upper() == "TRUE"
    is_swapped = version.startswith("1.3") and crs.upper() == "EPSG:4326"
    if is_swapped:
        west, south, east, north = south, west, north, east
    rest = urlencode({key: value for key, value in said.items() if key not in ("service", "request")})
    crs_tag = "CRS" if version.startswith("1.3") else "SRS"
    text = (
        f'<Service name="WMS"><Version>{escape(version)}</Version><ServerUrl>{escape(f"{address}?{rest}")}</ServerUrl>'
        f"<Layers>{escape(layers)}</Layers><Styles>{escape(styles)}</Styles><ImageFormat>{escape(image)}</ImageFormat>"
        f"<{crs_tag}>{escape(crs)}</{crs_tag}>"
        f"<BBoxOrder>{'yxYX' if is_swapped else 'xyXY'}</BBoxOrder><Transparent>{str(is_clear).upper()}</Transparent>"
        "</Service>"
    )
    window = extent((west, south, east, north), width, height)
    return Service(layers, description(text, window, (4 if is_clear else 3, "Byte"), blocks(crs, BLOCK_PX)))


def matrix_service(location: str) -> Service:
    """Return the WMTS layer of `WMTS:URL,layer=NAME`, with `tilematrixset`, `style` and `zoom_level` where said.

    GDAL opens such names itself, but keeps what it was given on disk for other runs.
    """
    url, *words = location.partition(":")[2].split(",")
    said = dict(word.partition("=")[::2] for word in words)
    unknown = set(said) - set(MATRIX_WORDS)
    if unknown or not said.get("layer"):
        found = f"found {', '.join(sorted(unknown))}" if unknown else "found no layer"
        raise ItemError(f"WMTS {hide_secrets(url)}: expected layer and {', '.join(MATRIX_WORDS)}, {found}")
    elements = "".join(f"<{MATRIX_WORDS[word]}>{escape(value)}</{MATRIX_WORDS[word]}>" for word, value in said.items())
    text = (
        f"<GDAL_WMTS><GetCapabilitiesUrl>{escape(url)}</GetCapabilitiesUrl>{elements}<BandsCount>4</BandsCount>"
        "<DataType>Byte</DataType><Timeout>60</Timeout><ZeroBlockHttpCodes>204,404</ZeroBlockHttpCodes></GDAL_WMTS>"
    )
    return Service(said["layer"], text)
