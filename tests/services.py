"""Services that give pixels over real HTTP, for tests: an ArcGIS image service, a WMS and map tiles of one raster."""

import json
import math
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import numpy as np
import rasterio
from rasterio.io import MemoryFile
from rasterio.transform import from_bounds
from rasterio.vrt import WarpedVRT

MERCATOR_M = 20037508.342789244


class PixelServer:
    """Serves a raster as `/rest/services/NAME/ImageServer`, `/wms` and `/{z}/{x}/{y}.png`. A context manager.

    Args:
        raster: what is served.
        band_names: told by the image service; None: it does not tell.
    """

    def __init__(self, raster: Path, band_names: tuple[str, ...] | None = None) -> None:
        self.raster, self.band_names = raster, band_names
        self.requests: list[str] = []
        self.is_refusing = False
        """Pixels, by 503."""
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._http.pixels = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def url(self, path: str) -> str:
        """Return the address of a path."""
        return f"http://127.0.0.1:{self._http.server_port}{path}"

    def info(self) -> dict[str, Any]:
        """Return what the image service says of itself."""
        with rasterio.open(self.raster) as dataset:
            left, bottom, right, top = dataset.bounds
            return {
                "name": "folder/field",
                "extent": {
                    "xmin": left,
                    "ymin": bottom,
                    "xmax": right,
                    "ymax": top,
                    "spatialReference": {"wkid": 32633, "latestWkid": 32633},
                },
                "pixelSizeX": dataset.res[0],
                "pixelSizeY": dataset.res[1],
                "bandCount": dataset.count,
                "pixelType": {"uint8": "U8", "uint16": "U16"}[dataset.dtypes[0]],
                "noDataValue": dataset.nodata,
                "timeInfo": {"timeExtent": [1588291200000, 1590969600000]},
            }


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        pixels: PixelServer = self.server.pixels  # type: ignore[attr-defined]
        pixels.requests.append(self.path)
        url = urlsplit(self.path)
        asked = {key.lower(): values[0] for key, values in parse_qs(url.query).items()}
        if url.path.endswith("/ImageServer"):
            return self._answer(json.dumps(pixels.info()).encode())
        if url.path.endswith("/keyProperties"):
            names = pixels.band_names
            if names is None:
                return self._answer(b"", 404)
            return self._answer(json.dumps({"BandProperties": [{"BandName": name} for name in names]}).encode())
        if pixels.is_refusing:
            return self._answer(b"", 503)
        if url.path.endswith("/exportImage") or url.path == "/wms":
            sides = asked["size"].split(",") if "size" in asked else [asked["width"], asked["height"]]
            box = tuple(map(float, asked["bbox"].split(",")))
            driver = "GTiff" if asked["format"] in ("tiff", "image/tiff") else "PNG"
            crs = f"EPSG:{asked['imagesr']}" if "imagesr" in asked else asked.get("crs", asked.get("srs"))
            return self._answer(_picture(pixels.raster, box, (int(sides[1]), int(sides[0])), driver, crs))
        z, x, y = (int(part) for part in url.path.removesuffix(".png").strip("/").split("/"))
        side = 2 * MERCATOR_M / (1 << z)
        west, north = x * side - MERCATOR_M, MERCATOR_M - y * side
        box = (west, north - side, west + side, north)
        return self._answer(_picture(pixels.raster, box, (256, 256), "PNG", "EPSG:3857"))

    def _answer(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _picture(raster: Path, box: tuple[float, ...], shape: tuple[int, int], driver: str, crs: str | None) -> bytes:
    """Return the pixels of a box of a raster, 0 outside; a PNG has an alpha band."""
    with rasterio.open(raster) as source:
        place = {"transform": from_bounds(*box, shape[1], shape[0]), "height": shape[0], "width": shape[1]}
        with WarpedVRT(source, crs=crs, add_alpha=driver == "PNG", **place) as view:
            values = view.read()
    with MemoryFile() as file:
        profile = {"driver": driver, "count": len(values), "dtype": values.dtype}
        with file.open(height=shape[0], width=shape[1], **profile) as target:
            target.write(values)
        return bytes(file.read())


def tile_of(lon: float, lat: float, zoom: int) -> tuple[int, int]:
    """Return x and y of the map tile of a place."""
    sine = math.sin(math.radians(lat))
    x = (lon + 180) / 360
    y = 0.5 - np.log((1 + sine) / (1 - sine)) / (4 * np.pi)
    return int(x * (1 << zoom)), int(y * (1 << zoom))
