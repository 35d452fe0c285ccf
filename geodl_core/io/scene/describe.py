"""What a raster's header tells of it, for an Item made on the fly."""

import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rasterio.errors import NotGeoreferencedWarning

from geodl_core.domain.place.href import file_of, hide_secrets
from geodl_core.domain.scene.make_item import RasterAsset, RasterBand
from geodl_core.errors import ItemError
from geodl_core.io.scene.raster import grid_of, is_remote, opened
from geodl_core.io.store import multihash

TIME_TAGS = (
    ("IMAGERY", "ACQUISITIONDATETIME"),
    (None, "ACQUISITIONDATETIME"),
    (None, "ACQUISITION_DATETIME"),
    (None, "NC_GLOBAL#time_coverage_start"),
    (None, "EXIF_DateTimeOriginal"),
    (None, "TIFFTAG_DATETIME"),
)
"""(domain, key) of GDAL's metadata, the time of taking before that of writing."""
TIME_FORMATS = ("%Y:%m:%d %H:%M:%S", "%Y:%m:%d")
GEOTIFF = "image/tiff; application=geotiff"
MEDIA_TYPES = {
    "GTiff": GEOTIFF,
    "JP2OpenJPEG": "image/jp2",
    "netCDF": "application/x-netcdf",
    "HDF5": "application/x-hdf5",
    "HDF5Image": "application/x-hdf5",
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WEBP": "image/webp",
}
"""By GDAL's driver."""
OTHER_TYPE = "application/x-gdal-raster"
STATISTICS = {"MINIMUM": "minimum", "MAXIMUM": "maximum", "MEAN": "mean", "STDDEV": "stddev"}
SERVICES = ("WMS", "WMTS", "WCS")
"""Drivers that ask other servers for pixels."""


def describe_rasters(href: str, key: str) -> tuple[RasterAsset, ...]:
    """Return what a raster tells of itself; one asset for each variable of a NetCDF file that has several.

    Args:
        href: absolute path, URL, or what else GDAL opens.
        key: of the asset; variables have their own names.

    Raises:
        ItemError: not there, not a raster, without CRS or bands.
        StoreError: a remote raster that does not open.
    """
    with _unreferenced_allowed(), opened(href, key) as dataset:
        if is_remote(href) and dataset.driver in SERVICES:
            raise ItemError(
                f"{hide_secrets(href)}: expected a raster, found the description of a service",
                hint="save it, look at it, and give the local .xml file",
            )
        if dataset.count:
            return (_described(dataset, href, key),)
        variables, driver = tuple(dataset.subdatasets), dataset.driver
    found = tuple(_variables(variables)) if driver in ("netCDF", "HDF5") else ()
    if not found:
        held = ", ".join(variables[:6]) or "no bands"
        raise ItemError(f"{hide_secrets(href)}: expected a raster with bands and CRS, found {held}")
    return found


def with_checksum(asset: RasterAsset) -> str | None:
    """Return the SHA-256 multihash of an asset's file, None where it is not local."""
    path = Path(file_of(asset.href))
    return multihash(path) if path.is_file() else None


def time_of(text: str) -> str | None:
    """Return a time of metadata in RFC 3339, None where it is not understood; without a zone it is taken as UTC."""
    text = text.strip().strip("\0")
    moment = None
    for form in TIME_FORMATS:
        try:
            moment = datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    if moment is None:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _variables(names: tuple[str, ...]) -> Iterator[RasterAsset]:
    """Yield the variables that are rasters with a place; bounds and the like have none."""
    for name in names:
        key = name.rpartition(":")[2].strip("/").replace("/", "_")
        try:
            with _unreferenced_allowed(), opened(name, key) as dataset:
                yield _described(dataset, name, key)
        except ItemError:
            continue


def _described(dataset: Any, href: str, key: str) -> RasterAsset:
    tags = dataset.tags()
    times, origin = _times(dataset, tags, href)
    media_type = MEDIA_TYPES.get(dataset.driver, OTHER_TYPE)
    if dataset.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG":
        media_type += "; profile=cloud-optimized"
    path = Path(file_of(href)) if not is_remote(href) else None
    return RasterAsset(
        key=key,
        href=href,
        media_type=media_type,
        grid=grid_of(dataset, key),
        bands=tuple(_band(dataset, number) for number in dataset.indexes),
        sampling="point" if tags.get("AREA_OR_POINT", "").lower() == "point" else "area",
        times=times,
        times_origin=origin,
        size_bytes=path.stat().st_size if path is not None and path.is_file() else None,
    )


def _band(dataset: Any, number: int) -> RasterBand:
    at = number - 1
    tags = dataset.tags(number)
    stored = {name: _number(tags.get(f"STATISTICS_{key}")) for key, name in STATISTICS.items()}
    try:
        color = dataset.colorinterp[at].name
    except ValueError:  # of a newer GDAL than rasterio knows
        color = None
    return RasterBand(
        dtype=dataset.dtypes[at],
        nodata=dataset.nodatavals[at],
        scale=float(dataset.scales[at]),
        offset=float(dataset.offsets[at]),
        description=(dataset.descriptions[at] or "").strip() or None,
        color=color,
        unit=dataset.units[at] or None,
        statistics={name: value for name, value in stored.items() if value is not None},
    )


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _times(dataset: Any, tags: Mapping[str, str], href: str) -> tuple[tuple[str, ...], str]:
    """Return the raster's time and what told it: its metadata, else when its file was changed."""
    for domain, key in TIME_TAGS:
        found = time_of((dataset.tags(ns=domain) if domain else tags).get(key, ""))
        if found:
            return (found,), key.rpartition("#")[2]
    path = Path(file_of(href))
    if not is_remote(href) and path.is_file():
        moment = datetime.fromtimestamp(int(path.stat().st_mtime), UTC)
        return (moment.isoformat().replace("+00:00", "Z"),), "the file's modification time"
    if href.startswith(("http://", "https://")):
        from geodl_core.io.remote.http import modified_at  # noqa: PLC0415  # 0.2 s to import, for remote rasters alone

        modified = modified_at(href)
        if modified:
            return (modified,), "the server's Last-Modified"
    return (), "nothing"


def _unreferenced_allowed() -> Any:
    """Return a context without warnings of missing georeference: that is an error, where the grid is made."""
    return warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning)
