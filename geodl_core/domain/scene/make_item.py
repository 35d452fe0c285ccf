"""A STAC Item made from rasters: what their headers say, as STAC 1.1 has it."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import shapely

from geodl_core.domain.grid import Grid, bbox_wgs84, cell_area_m2, outline_wgs84
from geodl_core.domain.scene.band_names import COMMON_NAMES
from geodl_core.errors import ItemError

STAC_VERSION = "1.1.0"
EXTENSION = "https://stac-extensions.github.io/{}/schema.json"
ALWAYS = ("1900-01-01T00:00:00Z", "9999-12-31T23:59:59Z")
"""Start and end of an Item whose time nothing tells: STAC wants one, and a guess would be found by searches."""
EO_NAMES = frozenset(
    (
        *("pan", "coastal", "blue", "green", "green05", "yellow", "red", "rededge", "rededge071", "rededge075"),
        *("rededge078", "nir", "nir08", "nir09", "cirrus", "swir16", "swir22", "lwir", "lwir11", "lwir12"),
    )
)
"""Common names of the EO extension, version 2."""
COLORS = {name: name for name in ("pan", "coastal", "blue", "green", "yellow", "red", "rededge", "nir", "alpha")}
"""Colour interpretations that name a band."""
EDGE_DEG = 1e-6


@dataclass(frozen=True, slots=True)
class RasterBand:
    """What a raster says of one of its bands."""

    dtype: str
    nodata: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    description: str | None = None
    color: str | None = None
    """Colour interpretation, by GDAL's name in lower case."""
    unit: str | None = None
    statistics: Mapping[str, float] = field(default_factory=dict)
    """By STAC's names, where the file stores them."""


@dataclass(frozen=True, slots=True)
class RasterAsset:
    """A raster that becomes an asset."""

    key: str
    href: str
    media_type: str
    grid: Grid
    bands: tuple[RasterBand, ...]
    sampling: str = "area"
    times: tuple[str, ...] = ()
    """None where nothing tells, an instant, or start and end; RFC 3339."""
    times_origin: str = "nothing"
    """What told the time."""
    size_bytes: int | None = None
    checksum: str | None = None
    """Multihash."""


@dataclass(frozen=True, slots=True)
class ItemWords:
    """What a user says of an Item; None leaves it to the rasters."""

    id: str
    times: tuple[str, ...] = ()
    """As in `RasterAsset`."""
    collection: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    scale: float | None = None
    """Of all bands."""
    offset: float | None = None


def make_item(assets: Sequence[RasterAsset], words: ItemWords) -> dict[str, Any]:
    """Return the Item of some rasters.

    Raises:
        ItemError: none, two with one key, or rasters that do not lie at one place.
    """
    if not assets:
        raise ItemError("expected rasters to make an Item of, found none")
    keys = [asset.key for asset in assets]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ItemError(f"two rasters would be the asset {twice}", hint="name them with --asset KEY=PATH")
    geometry = _footprint(assets)
    entries = {asset.key: _asset(asset, words) for asset in assets}
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": list(_extensions(entries)),
        "id": words.id,
        "geometry": geometry,
        "bbox": list(bbox_wgs84(geometry)),
        "properties": {**_times(times_of(assets, words)), **words.properties},
        "links": [],
        "assets": entries,
    }
    if words.collection:
        item["collection"] = words.collection
        item["links"].append({"rel": "collection", "href": "./collection.json", "type": "application/json"})
    return item


def times_of(assets: Sequence[RasterAsset], words: ItemWords) -> tuple[str, ...]:
    """Return the Item's instant, or start and end: the user's, else from the first to the last of the rasters'."""
    if words.times:
        return words.times
    known = sorted({time for asset in assets for time in asset.times})
    return (known[0],) if len(known) == 1 else (known[0], known[-1]) if known else ALWAYS


def differing(assets: Sequence[RasterAsset]) -> tuple[str, ...]:
    """Return the keys of the rasters whose footprint is not that of the first, by more than a cell."""
    first = shapely.geometry.shape(outline_wgs84(assets[0].grid))
    cell = math.sqrt(first.area / (assets[0].grid.height * assets[0].grid.width))
    found = []
    for asset in assets[1:]:
        other = shapely.geometry.shape(outline_wgs84(asset.grid))
        if shapely.hausdorff_distance(first, other) > 2 * max(
            cell, math.sqrt(other.area / (asset.grid.height * asset.grid.width))
        ):
            found.append(asset.key)
    return tuple(found)


def item_id_of(name: str) -> str:
    """Return an id made of a file's name or a service's: letters, digits and `._-` of it."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "raster"


def common_name(*texts: str | None) -> str | None:
    """Return STAC's common name that the first of some names means, None where none does."""
    for text in texts:
        plain = re.sub(r"[\s-]+", "", (text or "").lower())
        if plain in EO_NAMES:
            return plain
        for known in (plain, plain.replace("_", "")):
            if known in COMMON_NAMES:
                return COMMON_NAMES[known][0]
    return None


def band_names(asset: RasterAsset) -> list[str]:
    """Return a name for each band: its description, its colour, the key of an asset of one, or `b` and its number."""
    names: list[str] = []
    for number, band in enumerate(asset.bands, start=1):
        alone = asset.key if len(asset.bands) == 1 else f"b{number}"
        name = band.description or COLORS.get(band.color or "") or alone
        names.append(f"{name}_{number}" if name in names else name)
    return names


def _footprint(assets: Sequence[RasterAsset]) -> dict[str, Any]:
    """Return what the rasters cover together: the outline that holds all others, else their union."""
    outlines = sorted((outline_wgs84(asset.grid) for asset in assets), key=_area, reverse=True)
    shapes = [shapely.geometry.shape(outline) for outline in outlines]
    if all(shapely.covers(shapely.buffer(shapes[0], EDGE_DEG), shape) for shape in shapes[1:]):
        return outlines[0]
    union = shapely.union_all(shapes)
    if len(shapely.get_parts(union)) > max(len(shapely.get_parts(shape)) for shape in shapes):
        places = "; ".join(f"{asset.key} {_place(asset)}" for asset in assets)
        raise ItemError(
            f"an Item is of one place, but these rasters lie apart: {places}",
            hint="make an Item of each, or give geodl run their folder",
        )
    union = shapely.orient_polygons(shapely.transform(union, lambda points: points.round(9)))
    document: dict[str, Any] = _lists(shapely.geometry.mapping(union))
    return document


def _lists(value: Any) -> Any:
    """Return GeoJSON with lists, as JSON has them, for tuples."""
    if isinstance(value, Mapping):
        return {key: _lists(entry) for key, entry in value.items()}
    return [_lists(entry) for entry in value] if isinstance(value, list | tuple) else value


def _area(outline: Mapping[str, Any]) -> float:
    return float(shapely.geometry.shape(outline).area)


def _place(asset: RasterAsset) -> str:
    return ",".join(f"{edge:.4f}" for edge in bbox_wgs84(outline_wgs84(asset.grid)))


def _times(times: tuple[str, ...]) -> dict[str, Any]:
    if len(times) == 1:
        return {"datetime": times[0]}
    return {"datetime": None, "start_datetime": times[0], "end_datetime": times[1]}


def _asset(asset: RasterAsset, words: ItemWords) -> dict[str, Any]:
    grid = asset.grid
    entry: dict[str, Any] = {"href": asset.href, "type": asset.media_type, "roles": ["data"]}
    entry |= {"proj:code": grid.crs} if ":" in grid.crs[:12] else {"proj:code": None, "proj:wkt2": grid.crs}
    entry |= {"proj:shape": list(grid.shape), "proj:transform": list(grid.transform)}
    entry["raster:sampling"] = asset.sampling
    area = cell_area_m2(grid)
    if area:
        entry["raster:spatial_resolution"] = round(math.sqrt(area), 4)
    if asset.size_bytes is not None:
        entry["file:size"] = asset.size_bytes
    if asset.checksum:
        entry["file:checksum"] = asset.checksum
    names = band_names(asset)
    alone = asset.key if len(names) == 1 else None
    entry["bands"] = [_band(band, name, (words, alone)) for band, name in zip(asset.bands, names, strict=True)]
    return entry


def _band(band: RasterBand, name: str, said: tuple[ItemWords, str | None]) -> dict[str, Any]:
    words, alone = said
    entry: dict[str, Any] = {"name": name, "data_type": _data_type(band.dtype)}
    common = common_name(band.description, COLORS.get(band.color or ""), alone)
    if common:
        entry["eo:common_name"] = common
    if band.nodata is not None:
        entry["nodata"] = band.nodata if math.isfinite(band.nodata) else str(band.nodata)
    if band.unit:
        entry["unit"] = band.unit
    if band.statistics:
        entry["statistics"] = dict(band.statistics)
    scale = band.scale if words.scale is None else words.scale
    offset = band.offset if words.offset is None else words.offset
    if (scale, offset) != (1.0, 0.0) or words.scale is not None or words.offset is not None:
        entry |= {"raster:scale": scale, "raster:offset": offset}
    return entry


def _data_type(dtype: str) -> str:
    """Return STAC's name of a NumPy type."""
    names = {"complex_int16": "cint16", "complex64": "cfloat32", "complex128": "cfloat64"}
    return names.get(dtype, dtype)


def _extensions(entries: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    assets = entries.values()
    if any("eo:common_name" in band for asset in assets for band in asset["bands"]):
        yield EXTENSION.format("eo/v2.0.0")
    if any(key.startswith("file:") for asset in assets for key in asset):
        yield EXTENSION.format("file/v2.1.0")
    yield EXTENSION.format("projection/v2.0.0")
    yield EXTENSION.format("raster/v2.0.0")
