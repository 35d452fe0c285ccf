"""ArcGIS image services: what they say of themselves, and how GDAL asks them for pixels."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode
from xml.sax.saxutils import escape

from geodl_core.domain.place.href import hide_secrets
from geodl_core.errors import ItemError
from geodl_core.io.services.map_services import BLOCK_PX, Service, blocks, description, extent

PIXEL_TYPES = {"U8": "Byte", "U16": "UInt16", "S16": "Int16", "U32": "UInt32", "S32": "Int32", "F32": "Float32"} | {
    "F64": "Float64",
    "S8": "Int8",
    **dict.fromkeys(("U1", "U2", "U4"), "Byte"),
}
"""ArcGIS → GDAL."""


def image_service(location: str) -> Service:
    """Return an ArcGIS image service; what its address asks for beyond (`?renderingRule=…`) is asked for each block.

    Pixels are those of the service's own grid, not resampled.

    Raises:
        ItemError: it is none, or wants a token.
        StoreError: the server does not answer.
    """
    address, _, query = location.partition("?")
    address = address.rstrip("/")
    said = dict(parse_qsl(query))
    info = _json(f"{address}?{urlencode({**said, 'f': 'json'})}")
    try:
        place = info.get("fullExtent") or info["extent"]
        reference = place["spatialReference"]
        code = reference.get("latestWkid") or reference.get("wkid")
        cell = float(info["pixelSizeX"]), float(info["pixelSizeY"])
        left, bottom, right, top = (float(place[edge]) for edge in ("xmin", "ymin", "xmax", "ymax"))
        width, height = round((right - left) / cell[0]), round((top - bottom) / cell[1])
        bands = int(info["bandCount"]), PIXEL_TYPES[info["pixelType"]]
    except (KeyError, TypeError, ValueError, ZeroDivisionError, AttributeError) as error:
        raise ItemError(
            f"{hide_secrets(location)}: expected an ArcGIS image service, found an answer without {error}",
            hint="a service that wants a token takes it as ?token=…",
        ) from error
    crs = f"EPSG:{code}" if code and code < 32768 else f"ESRI:{code}" if code else str(reference.get("wkt") or "")
    ask = urlencode({"interpolation": "RSP_NearestNeighbor", **said})
    text = (
        f'<Service name="AGS"><ServerUrl>{escape(f"{address}/exportImage?{ask}")}</ServerUrl>'
        f"<SRS>{code or ''}</SRS><ImageFormat>tiff</ImageFormat></Service>"
    )
    window = extent((left, top - height * cell[1], left + width * cell[0], top), width, height)
    return Service(
        name=str(info.get("name") or address.split("/")[-2]).split("/")[-1],
        gdal=description(text, window, bands, blocks(crs, BLOCK_PX)),
        band_names=_band_names(address, said),
        nodata=_nodata(info),
        times=_times(info),
        has_alpha=False,
    )


def _nodata(info: Mapping[str, Any]) -> float | None:
    value = info.get("noDataValue")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _times(info: Mapping[str, Any]) -> tuple[str, ...]:
    told = info.get("timeInfo")
    span = told.get("timeExtent") if isinstance(told, Mapping) else None
    if not isinstance(span, list) or not all(isinstance(moment, int | float) for moment in span):
        return ()
    moments = (datetime.fromtimestamp(moment / 1000, UTC) for moment in span)
    return tuple(moment.isoformat(timespec="seconds").replace("+00:00", "Z") for moment in moments)


def _band_names(address: str, said: Mapping[str, str]) -> tuple[str, ...]:
    try:
        found = _json(f"{address}/keyProperties?{urlencode({**said, 'f': 'json'})}").get("BandProperties")
    except ItemError:
        return ()
    bands = found if isinstance(found, list) else []
    return tuple(str(band["BandName"]) for band in bands if isinstance(band, Mapping) and band.get("BandName"))


def _json(url: str) -> dict[str, Any]:
    from geodl_core.io.remote.http import fetch_text  # noqa: PLC0415  # 0.2 s to import, for services alone

    try:
        document = json.loads(fetch_text(url))
    except (ValueError, RecursionError) as error:
        raise ItemError(f"{hide_secrets(url)}: expected an ArcGIS image service, found no JSON") from error
    if not isinstance(document, dict) or "error" in document:
        said = document["error"].get("message") if isinstance(document, dict) else None
        raise ItemError(f"{hide_secrets(url)}: expected an ArcGIS image service, the server says {said}")
    return document
