"""Items made of what rasters say."""

from dataclasses import replace

import pyproj
import pytest

from geodl_core.domain.grid import Grid
from geodl_core.domain.scene.make_item import (
    ALWAYS,
    ItemWords,
    RasterAsset,
    RasterBand,
    band_names,
    common_name,
    differing,
    item_id_of,
    make_item,
    times_of,
)
from geodl_core.errors import ItemError
from schemas import require_valid

GRID = Grid("EPSG:32633", (10.0, 0.0, 300000.0, 0.0, -10.0, 5300040.0), 200, 300)
WORDS = ItemWords("field")
NOON = "2026-05-14T12:00:00Z"


def asset(key="red", grid=GRID, times=(NOON,), **band):
    bands = (RasterBand("uint16", **band),)
    return RasterAsset(key, f"./{key}.tif", "image/tiff; application=geotiff", grid, bands, times=times)


def moved(columns):
    return replace(GRID, transform=(10.0, 0.0, 300000.0 + 10 * columns, 0.0, -10.0, 5300040.0))


@pytest.mark.shared
@pytest.mark.parametrize("collection", [None, "fields"])
def test_items_are_valid(shared, collection):
    """An Item of several rasters, with everything that can be said, follows STAC 1.1 and its extensions."""
    words = ItemWords("field", (), collection, {"platform": "drone"}, 0.0001, -0.1)
    full = replace(
        asset("nir", statistics={"minimum": 1.0, "maximum": 9.0}, unit="1", nodata=float("nan")),
        size_bytes=9,
        checksum="1220" + "0" * 64,
    )
    item = make_item([asset(nodata=0.0), full], words)
    applied = require_valid(item, shared)
    assert {uri.split("/")[3] for uri in applied if "stac-extensions" in uri} == {"eo", "file", "projection", "raster"}
    assert item.get("collection") == collection
    assert item["assets"]["nir"]["bands"][0]["nodata"] == "nan"
    assert (
        item["assets"]["red"]["bands"][0] | {"raster:scale": 0.0001, "raster:offset": -0.1, "nodata": 0.0}
        == (item["assets"]["red"]["bands"][0])
    )


@pytest.mark.shared
def test_a_crs_without_code_is_written_as_text(shared):
    """A CRS that no authority knows stands as WKT2, with `proj:code` null."""
    wkt = pyproj.CRS.from_proj4("+proj=laea +lat_0=50 +lon_0=11.5 +ellps=GRS80").to_wkt()
    grid = replace(GRID, crs=wkt, transform=(10.0, 0.0, 0.0, 0.0, -10.0, 0.0))
    item = make_item([asset(grid=grid)], WORDS)
    assert item["assets"]["red"]["proj:code"] is None
    assert item["assets"]["red"]["proj:wkt2"] == wkt
    require_valid(item, shared)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("NIR",), "nir"),
        (("Near Infrared",), "nir"),
        (("NearInfrared",), "nir"),
        (("Red Edge",), "rededge"),
        (("swir16",), "swir16"),
        (("elevation", "blue"), "blue"),
        (("Band 1", None), None),
        ((None,), None),
    ],
)
def test_common_names(texts, expected):
    """What people call bands becomes STAC's common name, and other words become none."""
    assert common_name(*texts) == expected


def test_bands_have_names_of_their_own():
    """Description, colour, key and number name a band, in this order, and no two bands of a raster are alike."""
    bands = (
        RasterBand("uint8", description="Red", color="gray"),
        RasterBand("uint8", color="green"),
        RasterBand("uint8", color="undefined"),
        RasterBand("uint8", description="Red"),
    )
    assert band_names(replace(asset(), bands=bands)) == ["Red", "green", "b3", "Red_4"]
    assert band_names(asset("B04")) == ["B04"]


def test_time_is_the_users_else_the_rasters_else_always():
    """No clock is asked: one time, a span of several, or all times where nothing tells."""
    later = "2026-05-15T12:00:00Z"
    assert times_of([asset()], replace(WORDS, times=(later,))) == (later,)
    assert times_of([asset(), asset("nir")], WORDS) == (NOON,)
    assert times_of([asset(times=(later,)), asset("nir")], WORDS) == (NOON, later)
    assert times_of([asset(times=())], WORDS) == ALWAYS
    assert make_item([asset(times=())], WORDS)["properties"] == {
        "datetime": None,
        "start_datetime": ALWAYS[0],
        "end_datetime": ALWAYS[1],
    }


def test_footprint_is_what_all_rasters_cover():
    """The outline that holds all others, else their union; those that differ are named."""
    whole, half, beside = asset(), asset("half", replace(GRID, width=150)), asset("next", moved(200))
    assert make_item([half, whole], WORDS)["bbox"] == make_item([whole], WORDS)["bbox"]
    joined = make_item([whole, beside], WORDS)
    assert joined["geometry"]["type"] == "Polygon"
    assert joined["bbox"][2] > make_item([whole], WORDS)["bbox"][2]
    assert differing([whole, half, asset("same"), beside]) == ("half", "next")
    coarse = replace(GRID, transform=(60.0, 0.0, 300000.0, 0.0, -60.0, 5300040.0), height=34, width=50)
    assert differing([whole, asset("coarse", coarse)]) == ()


def test_rasters_apart_are_refused():
    """An Item is of one place: rasters that do not touch are refused, by name."""
    with pytest.raises(ItemError, match=r"lie apart: red .*; far "):
        make_item([asset(), asset("far", moved(5000))], WORDS)


def test_two_rasters_of_one_key_are_refused():
    """Two rasters cannot be one asset."""
    with pytest.raises(ItemError, match="two rasters would be the asset red"):
        make_item([asset(), asset()], WORDS)


@pytest.mark.parametrize(
    ("name", "expected"), [("B04", "B04"), ("my field (2)", "my-field-2"), ("a/../b", "a-..-b"), ("--", "raster")]
)
def test_ids_are_plain(name, expected):
    """An id holds letters, digits and `._-` alone."""
    assert item_id_of(name) == expected
