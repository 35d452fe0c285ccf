"""A STAC Item read for its bands: which asset holds which band, and what its metadata says of the values."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from geodl_core.errors import ItemError

RASTER_TYPES = ("image/tiff", "image/jp2", "image/vnd.stac.geotiff", "application/x-geotiff", "application/x-netcdf")
RASTER_SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".nc", ".img")
MOST = 1e300
SIDE_ROLES = frozenset({"thumbnail", "overview", "metadata", "visual", "reference"})
"""Assets with these roles are pictures of the scene or beside it, not its measurements."""

COMMON_NAMES = {
    "red": ("red",),
    "green": ("green",),
    "blue": ("blue",),
    "infrared": ("nir", "nir08"),
    "nearinfrared": ("nir", "nir08"),
    "nearinfrared_1": ("nir", "nir08"),
    "nearinfrared_2": ("nir08",),
    "coastalblue": ("coastal",),
    "yellow": ("yellow",),
    "rededge": ("rededge",),
    "shortwaveinfrared": ("swir16",),
    "midinfrared": ("swir16",),
    "midinfrared_1": ("swir16",),
    "midinfrared_2": ("swir22",),
    "thermal": ("lwir", "lwir11"),
    "thermal_1": ("lwir11",),
    "thermal_2": ("lwir12",),
    "panchromatic": ("pan",),
}
"""Esri's WellKnownBandNames in lower case → STAC common names, the first that a scene has."""


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


@dataclass(frozen=True, slots=True)
class Scene:
    """An Item's identity and bands."""

    id: str
    collection: str | None
    bands: tuple[Band, ...]
    properties: Mapping[str, Any]


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
    return Scene(str(item["id"]), str(collection) if collection else None, bands, properties)


def choose_bands(scene: Scene, wanted: Sequence[int | str], mapping: Mapping[str, str]) -> tuple[Band, ...]:
    """Return the scene's bands that a model wants, in its order.

    Args:
        scene: where to look.
        wanted: 0-based indices into the one multi-band asset, or band names.
        mapping: the user's own choice, wanted band → asset key, band name, or `asset:index` (1-based as in GDAL).

    Raises:
        ItemError: a band is missing or ambiguous; says which there are.
    """
    unknown = set(mapping) - {str(band) for band in wanted}
    if unknown:
        asked, known = ", ".join(sorted(unknown)), ", ".join(map(str, wanted))
        raise ItemError(f"--band names {asked}, but the model wants {known}")
    chosen: list[Band] = []
    problems: list[ItemError] = []
    for band in wanted:
        try:
            chosen.append(_choose_band(scene, band, mapping.get(str(band))))
        except ItemError as error:
            problems.append(error)
    if problems:
        raise ItemError("; ".join(dict.fromkeys(problem.message for problem in problems)), problems[0].hint)
    return tuple(chosen)


def _choose_band(scene: Scene, wanted: int | str, mapped: str | None) -> Band:
    if mapped is not None:
        return _mapped_band(scene, wanted, mapped)
    if isinstance(wanted, int) or wanted.isdecimal():
        return _band_by_index(scene, int(wanted))
    return _band_by_name(scene, wanted)


def _mapped_band(scene: Scene, wanted: int | str, mapped: str) -> Band:
    asset, colon, number = mapped.rpartition(":")
    if colon and number.isdecimal() and int(number) > 0:
        of_asset = [band for band in scene.bands if band.asset == asset]
        described = [band for band in of_asset if band.index == int(number) - 1]
        if described:
            return described[0]
        if of_asset:
            return _undescribed(of_asset, int(number) - 1)
    exact = [band for band in scene.bands if band.asset == mapped]
    if len(exact) == 1:
        return exact[0]
    try:
        return _band_by_name(scene, mapped)
    except ItemError as error:
        several = sum(band.asset == mapped for band in scene.bands) > 1
        hint = f"say which of its bands, such as --band {wanted}={mapped}:1" if several else None
        raise ItemError(f"--band {wanted}={mapped}: {error.message}", hint) from error


def _band_by_index(scene: Scene, index: int) -> Band:
    data = [band for band in scene.bands if not SIDE_ROLES & set(band.roles)]
    assets = list(dict.fromkeys(band.asset for band in data))
    several = [asset for asset in assets if sum(band.asset == asset for band in data) > 1]
    candidates = assets if len(assets) == 1 else several
    if len(candidates) != 1:
        raise ItemError(
            f"Item {scene.id}: the model wants band {index} by number, "
            f"but the Item has {len(assets)} raster assets: {', '.join(assets) or 'none'}",
            hint=f"say which is meant, for instance --band {index}={assets[0] if assets else 'ASSET'}",
        )
    of_asset = [band for band in data if band.asset == candidates[0]]
    if index < len(of_asset):
        return of_asset[index]
    if len(of_asset) > 1:
        raise ItemError(
            f"Item {scene.id}: the model wants band {index} (0-based), "
            f"but asset {candidates[0]} has {len(of_asset)} bands"
        )
    return of_asset[0] if index == 0 else _undescribed(of_asset, index)


def _undescribed(of_asset: Sequence[Band], index: int) -> Band:
    """Return a band of which the Item says nothing; opening the file will tell whether it is there.

    What an Item says of an asset without listing its bands holds for all of them.
    """
    if len(of_asset) == 1:
        return replace(of_asset[0], index=index, names=())
    return replace(of_asset[0], index=index, names=(), scale=None, offset=None, nodata=None, value_range=None)


def _band_by_name(scene: Scene, name: str) -> Band:
    asked = (name.lower(), *COMMON_NAMES.get(name.lower().replace(" ", ""), ()))
    candidates = ([band for band in scene.bands if one in band.names] for one in asked)
    found = next(filter(None, candidates), [])
    found = [band for band in found if not SIDE_ROLES & set(band.roles)] or found
    # A picture made of bands names them too; an asset that holds one band alone is that band.
    found = [band for band in found if band.band_count == 1] or found
    # The same band may lie there as COG and as JPEG 2000, and at several cell sizes.
    found = [band for band in found if "jp2" not in band.media_type] or found
    finest = min((band.cell_size for band in found if band.cell_size), default=None)
    found = [band for band in found if band.cell_size in (None, finest)]
    if not found:
        there = ", ".join(dict.fromkeys(_label(band) for band in scene.bands)) or "no raster bands"
        raise ItemError(
            f"Item {scene.id} has no band {name}: it has {there}",
            hint=f"if one of these is meant, say --band {name}=ASSET" if scene.bands else None,
        )
    if len({(band.asset, band.index) for band in found}) > 1:
        there = ", ".join(_label(band) for band in found)
        raise ItemError(
            f"Item {scene.id}: band {name} is ambiguous: {there}", hint=f"choose one with --band {name}=ASSET"
        )
    return found[0]


def _label(band: Band) -> str:
    names = "/".join(name for name in band.names if name != band.asset.lower())
    return f"{band.asset} ({names})" if names else band.asset


def _asset_bands(key: str, asset: Any, properties: Mapping[str, Any]) -> Iterator[Band]:
    """Yield the bands of an asset that is a raster; what is not as STAC has it says nothing."""
    asset = _object(asset)
    href = str(asset.get("href") or "")
    media_type = str(asset.get("type") or "").lower()
    path = href.split("?", maxsplit=1)[0].lower()
    if not href or (not media_type.startswith(RASTER_TYPES) and (media_type or not path.endswith(RASTER_SUFFIXES))):
        return
    described = _described_bands(asset)
    roles = asset.get("roles")
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
        )


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
