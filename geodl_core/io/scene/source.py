"""What a user names as the scene of a run: a STAC Item, a raster, or a service that gives pixels."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from geodl_core.domain.area.area import Area
from geodl_core.domain.place.href import VARIABLE, hide_secrets, is_inline
from geodl_core.domain.scene.item import RASTER_SUFFIXES
from geodl_core.domain.scene.make_item import ItemWords, item_id_of, make_item
from geodl_core.errors import InputError, ItemError
from geodl_core.io.scene.describe import OTHER_TYPE, describe_rasters
from geodl_core.io.scene.raster import REMOTE
from geodl_core.io.services.services import cut_service, is_service, open_service
from geodl_core.io.stac import read_item

ITEM_SUFFIXES = (".json", ".geojson")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
"""Rasters where a world file or GDAL's side file says where they lie."""
SUFFIXES = (
    *RASTER_SUFFIXES,
    *(".jp2", ".j2k", ".hdf5", ".h5", ".grib2", ".grb2", ".grib", ".grb", ".asc", ".bil", ".dt2", ".hgt", ".ntf"),
    *(".mrf", ".gpkg", ".mbtiles"),
)
WORLD_SUFFIXES = (".wld", ".pgw", ".pngw", ".jgw", ".jpgw", ".wpw")
MULTIHASH_SHA256 = "1220"
DRIVER_NAME = re.compile(r"\w{2,}:(?!//)")
"""How GDAL is told which of its drivers to ask."""


def read_source(location: str, area: Area | None = None, is_typed: bool = True) -> dict[str, Any]:
    """Return the Item that a user names.

    Args:
        location: path or URL of an Item or a raster; or, where it is typed, a service.
        area: of interest; only this part of a service is asked for.
        is_typed: whether a user wrote it. What comes from documents may name files, not services.

    Raises:
        ItemError: neither Item nor raster, or a service that is not typed.
        StoreError: a server does not answer.
    """
    is_odd = is_inline(location) or location.startswith("/vsi")
    is_odd = is_odd or (DRIVER_NAME.match(location) is not None and not Path(location).exists())
    if is_service(location) or _is_described_service(location) or (is_odd and not is_typed):
        if not is_typed:
            raise ItemError(
                f"{hide_secrets(location)}: expected an Item or a raster, found a service",
                hint="what documents name is not asked for pixels; give the service on the command line of geodl run",
            )
        return _service_item(location, area)
    if VARIABLE.fullmatch(location) or (is_raster_name(location) and not Path(location).is_dir()):
        return raster_item(location)
    path = Path(location)
    if path.is_dir():
        raise InputError(
            f"{location}: expected one Item or raster, found a folder", hint="geodl run takes one folder by itself"
        )
    if location.startswith(REMOTE) or not path.is_file() or _is_text_object(path):
        return read_item(location)
    try:
        return raster_item(location)
    except ItemError as error:
        raise ItemError(
            f"{location}: expected a STAC Item (JSON text) or a raster, found neither: {error.message}", error.hint
        ) from error


def is_raster_name(location: str) -> bool:
    """Say whether a path or URL names a raster file."""
    return location.split("?", maxsplit=1)[0].lower().endswith((*SUFFIXES, *PICTURE_SUFFIXES))


def rasters_of(folder: Path) -> list[Path]:
    """Return the rasters that lie in a folder, by name; pictures only where they have a place.

    Raises:
        ItemError: there are none.
    """
    found = []
    for path in sorted(folder.iterdir()):
        suffix = path.suffix.lower()
        is_picture = suffix in PICTURE_SUFFIXES and any(path.with_suffix(world).exists() for world in WORLD_SUFFIXES)
        if path.is_file() and not path.name.startswith(".") and (suffix in SUFFIXES or is_picture):
            found.append(path)
    if not found:
        raise ItemError(f"{folder}: expected a folder of rasters, found none in it", hint="folders below are not read")
    return found


def raster_item(location: str) -> dict[str, Any]:
    """Return the Item of a raster: its id and its asset have the name of the file, or of the variable in it.

    Raises:
        ItemError: not there, not a raster, or without CRS.
        StoreError: a remote raster that does not open.
    """
    href = absolute_href(location)
    name = stem_of(location)
    key = location.rpartition(":")[2] if VARIABLE.fullmatch(location) else name
    item = make_item(describe_rasters(href, key), ItemWords(item_id_of(name)))
    return _with_self(item, href)


def absolute_href(location: str) -> str:
    """Return where a raster lies, from anywhere."""
    match = VARIABLE.fullmatch(location)
    if match and not match["file"].startswith("/vsi"):
        return location.replace(match["file"], str(Path(match["file"]).absolute()), 1)
    return location if match or "://" in location or location.startswith("/vsi") else str(Path(location).absolute())


def stem_of(location: str) -> str:
    """Return the name of a raster's file without its suffix."""
    match = VARIABLE.fullmatch(location)
    place = hide_secrets(match["file"] if match else location).rstrip("/")
    return Path(place).stem or "raster"


def _service_item(location: str, area: Area | None) -> dict[str, Any]:
    path = Path(location)
    is_file = _is_described_service(location)
    text = path.read_text(encoding="utf-8-sig") if is_file else location
    service = open_service(text)
    name = item_id_of(path.stem if is_file else service.name)
    virtual = cut_service(service, area)
    (asset,) = describe_rasters(virtual, name)
    # A service does not tell its version: what is asked for stands for it.
    checksum = MULTIHASH_SHA256 + hashlib.sha256(virtual.encode()).hexdigest()
    asset = replace(asset, media_type=OTHER_TYPE, times=service.times, times_origin="the service", checksum=checksum)
    item = make_item((asset,), ItemWords(name))
    return item if text.lstrip().startswith("<") and not is_file else _with_self(item, absolute_href(location))


def _is_described_service(location: str) -> bool:
    """Say whether a local file holds the description of a service, as GDAL writes it."""
    path = Path(location)
    if not location.lower().endswith(".xml") or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(256).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<GDAL_WM")


def _is_text_object(path: Path) -> bool:
    """Say whether a file holds JSON, by its name or its first letter."""
    if path.suffix.lower() in ITEM_SUFFIXES:
        return True
    with path.open("rb") as file:
        return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"["))


def _with_self(item: dict[str, Any], href: str) -> dict[str, Any]:
    """Return an Item that says what it was made of, so that a result names its source."""
    kind = next(iter(item["assets"].values()))["type"]
    return {**item, "links": [*item["links"], {"rel": "self", "href": href, "type": kind}]}
