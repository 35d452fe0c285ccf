"""A STAC Item read for its bands: which asset holds which band, and what its metadata says of the values."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from geodl_core.errors import ItemError

RASTER_TYPES = ("image/tiff", "image/jp2", "image/vnd.stac.geotiff", "application/x-geotiff", "application/x-netcdf")
DATA_TYPES = ("image/", "application/x-hdf5", "application/x-gdal-raster")
"""Of rasters too, where the asset's role is `data`."""
RASTER_SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".nc", ".img")
MOST = 1e300
PICTURE_ROLES = frozenset({"thumbnail", "overview", "visual"})
SIDE_ROLES = PICTURE_ROLES | {"metadata", "reference"}
"""Assets with these roles are pictures of the scene or beside it, not its measurements."""
PICTURE_KEYS = re.compile(r"(visual|tci|true[-_]?colou?r|preview|rendered_preview|overview|thumbnail)([-_].*)?")
"""Not everybody gives pictures a role: Planetary Computer's `visual` has the role `data`."""
MOST_UM = 100
"""Longer wavelengths are in nanometres, as some Items have them."""


@dataclass(frozen=True, slots=True)
class Band:
    """One band of one asset, as the Item describes it."""

    asset: str
    index: int
    """0-based within the asset."""
    names: tuple[str, ...]
    """All names it answers to, lower case: band name, common name, and the asset's key where the asset has one band."""
    href: str
    media_type: str
    roles: tuple[str, ...]
    scale: float | None
    offset: float | None
    nodata: float | None
    value_range: tuple[float, float] | None
    """Minimum and maximum from the Item's statistics."""
    cell_size: float | None
    checksum: str | None
    band_count: int = 1
    """Bands of the asset that the Item describes."""
    wavelength_um: float | None = None
    """Its centre."""


@dataclass(frozen=True, slots=True)
class Scene:
    """An Item's identity and bands."""

    id: str
    collection: str | None
    bands: tuple[Band, ...]
    properties: Mapping[str, Any]
    assets: Mapping[str, Any] = field(default_factory=dict)
    """As the Item has them."""


def read_scene(item: Mapping[str, Any]) -> Scene:
    """Return the scene that an Item describes (STAC 1.0 `eo:bands` and `raster:bands`, or 1.1 `bands`).

    Args:
        item: the Item's JSON with absolute asset hrefs.

    Raises:
        ItemError: not an Item, or one without assets.
    """
    if item.get("type") != "Feature" or not isinstance(item.get("assets"), Mapping) or not item.get("id"):
        raise ItemError(f"expected a STAC Item (a Feature with id and assets), found type {item.get('type')!r}")
    properties = _object(item.get("properties"))
    bands = tuple(band for key, asset in item["assets"].items() for band in _asset_bands(key, asset, properties))
    collection = item.get("collection")
    return Scene(str(item["id"]), str(collection) if collection else None, bands, properties, item["assets"])


def is_picture(band: Band) -> bool:
    """Say whether an asset shows the scene to people: its values are stretched, not measured."""
    return bool(PICTURE_ROLES & set(band.roles)) or PICTURE_KEYS.fullmatch(band.asset.lower()) is not None


def is_jpeg2000(band: Band) -> bool:
    """Say whether an asset is JPEG 2000."""
    return "jp2" in band.media_type or band.href.split("?", maxsplit=1)[0].lower().endswith(".jp2")


def _asset_bands(key: str, asset: Any, properties: Mapping[str, Any]) -> Iterator[Band]:
    """Yield the bands of an asset that is a raster; what is not as STAC has it says nothing."""
    asset = _object(asset)
    href = str(asset.get("href") or "")
    media_type = str(asset.get("type") or "").lower()
    roles = asset.get("roles")
    if not href or not _is_raster(href, media_type, roles):
        return
    described = _described_bands(asset)
    for index, fields in enumerate(described):
        names = [fields.get("name"), fields.get("eo:common_name"), fields.get("common_name")]
        if len(described) == 1:
            names.append(key)
        statistics = _object(fields.get("statistics"))
        low, high = _finite(statistics.get("minimum")), _finite(statistics.get("maximum"))
        yield Band(
            asset=key,
            index=index,
            names=tuple(dict.fromkeys(str(name).lower() for name in names if name)),
            href=href,
            media_type=media_type,
            roles=tuple(map(str, roles)) if isinstance(roles, list) else (),
            scale=_first(fields, "raster:scale", "scale"),
            offset=_first(fields, "raster:offset", "offset"),
            nodata=_number(fields.get("nodata")),
            value_range=None if low is None or high is None else (low, high),
            cell_size=_first({**properties, **fields}, "raster:spatial_resolution", "spatial_resolution", "gsd"),
            checksum=str(asset["file:checksum"]) if asset.get("file:checksum") else None,
            band_count=len(described),
            wavelength_um=_wavelength(_first(fields, "eo:center_wavelength", "center_wavelength")),
        )


def _is_raster(href: str, media_type: str, roles: Any) -> bool:
    if not media_type:
        return re.split("[?#]", href, maxsplit=1)[0].lower().endswith(RASTER_SUFFIXES)
    is_data = isinstance(roles, list) and "data" in roles
    return media_type.startswith(RASTER_TYPES) or (is_data and media_type.startswith(DATA_TYPES))


def _described_bands(asset: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one dict a band, the asset's own fields below the band's; one where nothing is said of bands."""
    listed = [asset.get(key) for key in ("bands", "eo:bands", "raster:bands")]
    lists = [[_object(entry) for entry in entries] if isinstance(entries, list) else [] for entries in listed]
    count = max(1, *map(len, lists))
    shared = {key: value for key, value in asset.items() if key not in ("bands", "eo:bands", "raster:bands")}
    # The asset's `name`, `title` and the like are not the band's.
    shared.pop("name", None)
    padded = [entries + [{}] * (count - len(entries)) for entries in lists]
    return [{**shared, **raster, **eo, **band} for band, eo, raster in zip(*padded, strict=True)]


def _wavelength(value: float | None) -> float | None:
    if value is None or value <= 0:
        return None
    return value / 1000 if value > MOST_UM else value


def _object(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _first(fields: Mapping[str, Any], *keys: str) -> float | None:
    numbers = (_finite(fields.get(key)) for key in keys)
    return next((number for number in numbers if number is not None), None)


def _finite(value: Any) -> float | None:
    """Return a number that is one; not a truth value, text, infinity or more than a float holds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > MOST:
        return None
    return float(value) if math.isfinite(value) else None


def _number(value: Any) -> float | None:
    """Return a nodata value; STAC writes NaN and infinities as text."""
    if isinstance(value, str):
        return {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}.get(value.lower())
    return _finite(value)
