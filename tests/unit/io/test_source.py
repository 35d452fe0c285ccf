"""What may stand for a scene on a command line."""

import json
import os
import shutil

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.enums import ColorInterp

from geodl_core.domain.scene.item import read_scene
from geodl_core.errors import InputError, ItemError
from geodl_core.io.scene.describe import describe_rasters, time_of
from geodl_core.io.scene.source import rasters_of, read_source
from geodl_core.io.services.map_services import map_service, matrix_service, tile_service
from geodl_core.io.services.services import is_service, open_service
from scenes import smooth, write_raster
from schemas import require_valid

PIXELS = np.stack([smooth((60, 50), seed) for seed in range(4)])


@pytest.fixture
def raster(tmp_path):
    path = write_raster(tmp_path / "field.tif", PIXELS, nodata=0)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(TIFFTAG_DATETIME="2026:05:14 10:30:00")
        dataset.descriptions = ("Red", "Green", None, None)
        dataset.colorinterp = [ColorInterp.gray, ColorInterp.undefined, ColorInterp.blue, ColorInterp.nir]
        dataset.scales, dataset.offsets = (0.0001,) * 4, (-0.1,) * 4
        dataset.update_tags(1, STATISTICS_MINIMUM="1", STATISTICS_MAXIMUM="4000")
    return path


def bands(item):
    return next(iter(item["assets"].values()))["bands"]


@pytest.mark.shared
def test_a_raster_becomes_an_item(raster, shared):
    """Name, time, bands, scale, offset, nodata and statistics of a file stand in its Item, which is valid."""
    item = read_source(str(raster))
    require_valid(item, shared)
    assert (item["id"], list(item["assets"])) == ("field", ["field"])
    assert item["properties"] == {"datetime": "2026-05-14T10:30:00Z"}
    assert [band.get("eo:common_name") for band in bands(item)] == ["red", "green", "blue", "nir"]
    assert bands(item)[0]["statistics"] == {"minimum": 1.0, "maximum": 4000.0}
    scene = read_scene(item)
    assert {(band.scale, band.offset, band.nodata) for band in scene.bands} == {(0.0001, -0.1, 0.0)}
    assert scene.bands[3].names == ("nir",)


def test_an_item_of_a_raster_is_the_same_each_time(raster, monkeypatch):
    """No clock and no order of anything plays a part; a relative path says the same as an absolute one."""
    monkeypatch.chdir(raster.parent)
    assert read_source("field.tif") == read_source(str(raster))


def test_time_of_a_file_without_one(tmp_path):
    """A file that tells no time has that of its last change."""
    path = write_raster(tmp_path / "a.tif", PIXELS[:1])
    os.utime(path, (1_600_000_000, 1_600_000_000))
    assert read_source(str(path))["properties"]["datetime"] == "2020-09-13T12:26:40Z"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026:05:14 10:30:00", "2026-05-14T10:30:00Z"),
        ("2026-05-14T10:30:00+02:00", "2026-05-14T08:30:00Z"),
        ("2026-05-14", "2026-05-14T00:00:00Z"),
        ("yesterday", None),
        ("", None),
        ("0000:00:00 00:00:00", None),
    ],
)
def test_times_of_metadata(text, expected):
    """TIFF's and ISO's times are understood, others are none."""
    assert time_of(text) == expected


@pytest.mark.parametrize(("driver", "name"), [("ENVI", "scene.dat"), ("ENVI", "scene"), ("HFA", "scene.img")])
def test_any_file_that_gdal_opens(tmp_path, driver, name):
    """A raster needs no known suffix, only bytes that GDAL understands."""
    path = tmp_path / name
    profile = {"count": 1, "height": 60, "width": 50, "dtype": "uint16", "crs": "EPSG:32633"}
    with rasterio.open(path, "w", driver=driver, transform=(10, 0, 3e5, 0, -10, 5e6), **profile) as dataset:
        dataset.write(PIXELS[:1])
    item = read_source(str(path))
    assert item["id"] == "scene"
    assert len(read_scene(item).bands) == 1


def test_a_json_without_suffix_is_an_item(tmp_path, raster):
    """JSON text is an Item, whatever its file's name."""
    path = tmp_path / "item"
    path.write_text(json.dumps(read_source(str(raster))))
    assert read_source(str(path))["id"] == "field"


@pytest.mark.parametrize("name", ["notes.txt", "broken.tif"])
def test_other_files_are_refused(tmp_path, name):
    """A file that is neither Item nor raster is named."""
    (tmp_path / name).write_text("notes")
    with pytest.raises(ItemError, match=name):
        read_source(str(tmp_path / name))


def test_a_raster_without_crs_is_refused(tmp_path):
    """A raster that says not where it lies is refused with a way out."""
    path = write_raster(tmp_path / "a.tif", PIXELS[:1], crs=None)
    with pytest.raises(ItemError, match="the raster has no CRS") as caught:
        read_source(str(path))
    assert "gdal_edit" in caught.value.hint


def test_a_folder_is_not_one_scene(tmp_path):
    """Where one Item is wanted, a folder is refused."""
    with pytest.raises(InputError, match="found a folder"):
        read_source(str(tmp_path))


def test_rasters_of_a_folder(tmp_path, raster):
    """Rasters by name; no side files, no pictures without a place, nothing below."""
    for name in (
        "z.vrt",
        "b.TIF",
        "b.TIF.ovr",
        "b.TIF.aux.xml",
        "preview.png",
        "map.png",
        "map.pgw",
        "item.json",
        ".x.tif",
    ):
        (tmp_path / name).write_text("")
    (tmp_path / "below").mkdir()
    shutil.copy(raster, tmp_path / "below" / "c.tif")
    assert [path.name for path in rasters_of(tmp_path)] == ["b.TIF", "field.tif", "map.png", "z.vrt"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ItemError, match="found none in it"):
        rasters_of(tmp_path / "empty")


def test_variables_of_a_netcdf_become_assets(tmp_path, raster):
    """A NetCDF file of several variables is an Item of as many assets."""
    path = tmp_path / "a.nc"
    rasterio.shutil.copy(raster, path, driver="netCDF")
    item = read_source(str(path))
    assert list(item["assets"]) == ["Band1", "Band2", "Band3", "Band4"]
    assert len(read_scene(item).bands) == 4
    one = read_source(f'NETCDF:"{path}":Band2')
    assert [band["name"] for band in bands(one)] == ["Band2"]
    assert one["id"] == "a"


@pytest.mark.parametrize(
    "location",
    [
        "https://x/arcgis/rest/services/a/ImageServer",
        "https://x/arcgis/rest/services/a/ImageServer/?token=1",
        "https://x/{z:17}/{x}/{y}.png",
        "https://x/{z}/{x}/{y}.png",
        "https://x/wms?service=WMS&request=GetMap&layers=a",
        "https://x/wms?SERVICE=WMS",
        "WMTS:https://x/c.xml,layer=a",
        "<GDAL_WMS></GDAL_WMS>",
    ],
)
def test_services_are_known_and_must_be_typed(location):
    """What a user types may be a service; what a document names may not."""
    assert is_service(location)
    with pytest.raises(ItemError, match="found a service"):
        read_source(location, is_typed=False)


@pytest.mark.parametrize(
    "location", ["item.json", "https://x/item.json", "https://x/a.tif?sig=1", "a.tif", "s3://b/a.tif"]
)
def test_files_are_no_services(location):
    """Files of any place are no services."""
    assert not is_service(location)


def test_a_description_of_a_service_must_be_typed_too(tmp_path):
    """A local description is a service."""
    path = tmp_path / "wms.xml"
    path.write_text("<GDAL_WMS></GDAL_WMS>")
    with pytest.raises(ItemError, match="found a service"):
        read_source(str(path), is_typed=False)


@pytest.mark.parametrize(
    ("make", "location", "message"),
    [
        (tile_service, "https://x/{z}/{x}/{y}.png", "expected the zoom"),
        (tile_service, "https://x/{z:40}/{x}/{y}.png", "expected the zoom"),
        (tile_service, "https://x/{z:4}/{x}.png", "expected {x} and {y}"),
        (map_service, "https://x/wms?request=GetMap&layers=a", "expected a whole GetMap request"),
        (map_service, "https://x/wms?request=GetMap&layers=a&crs=EPSG:4326&bbox=1,2,1,3&width=5&height=5", "whole"),
        (matrix_service, "WMTS:https://x/caps.xml", "found no layer"),
        (matrix_service, "WMTS:https://x/caps.xml,layer=a,tile=b", "found tile"),
        (open_service, "https://x/wms?service=WMS&request=GetCapabilities", "expected a layer"),
    ],
)
def test_services_must_be_said_fully(make, location, message):
    """What a service needs and does not have is named, with the way out."""
    with pytest.raises(ItemError, match=message) as caught:
        make(location)
    assert caught.value.hint or "found" in message or "{x}" in message


def test_bands_of_services_are_escaped():
    """What an address holds stays text within a description."""
    service = tile_service("https://x/{z:3}/{x}/{y}.png?a=1&b=<c>")
    assert "a=1&amp;b=&lt;c&gt;" in service.gdal


def test_a_file_tells_its_size_and_type(raster):
    """Size, media type and sampling stand in an asset's description."""
    (asset,) = describe_rasters(str(raster), "field")
    assert asset.size_bytes == raster.stat().st_size
    assert (asset.media_type, asset.sampling) == ("image/tiff; application=geotiff", "area")
    assert asset.times_origin == "TIFFTAG_DATETIME"
