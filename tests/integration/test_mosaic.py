"""Several Items as one scene: the same as if they were one, whatever they are cut into and however it is computed."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform, reproject

from commands import geodl_here
from items import write_item
from networks import conv_network, write_emd
from runs import data_files
from scenes import ORIGIN, smooth, write_raster

SHAPE = (330, 520)
MODEL = ("-m", "net.emd", "--arg", "tile_size=96")
ROWS, COLS = np.indices(SHAPE)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder with a model, in which commands run."""
    monkeypatch.setenv("GEODL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    conv_network(tmp_path / "net.onnx")
    write_emd(tmp_path)
    return tmp_path


def big(seeds=(1, 2)):
    return np.stack([smooth(SHAPE, seed) for seed in seeds])


def cut(folder, pixels, name, window, **fields):
    """Write rows and columns of a big scene as an Item; return its path."""
    top, left, bottom, right = window
    values = pixels[:, top:bottom, left:right]
    place = from_origin(ORIGIN[0] + 10 * left, ORIGIN[1] - 10 * top, 10, 10)
    path = write_raster(folder / f"{name}.tif", values, nodata=0, transform=place)
    return write(
        folder, name, {"image": {"href": path, **fields.pop("asset", {})}, **fields.pop("assets", {})}, **fields
    )


def write(folder, name, assets, **properties):
    item = write_item(folder, assets, item_id=name)
    document = json.loads(item.read_text())
    document["properties"].update(properties)
    document["links"].append({"rel": "self", "href": str(item)})
    item.write_text(json.dumps(document))
    return item.name


def run(*words, code=0):
    """Run a command; return what it prints as JSON."""
    result = geodl_here("run", *words, *MODEL, "--json")
    assert result.returncode == code, result.stderr
    return json.loads(result.stdout) if result.stdout else result.stderr


def class_map(document):
    with rasterio.open(document["assets"]["classification"]) as dataset:
        return dataset.read(1), dataset.transform


def item_of(document):
    return json.loads(Path(document["item"]).read_text())


def test_pieces_equal_the_whole(folder):
    """Overlapping Items cut from one scene, one with a slanted nodata corner, give its class map where one is valid."""
    pixels = big()
    west, middle, east = pixels.copy(), pixels.copy(), pixels.copy()
    west[:, ROWS + COLS > 400] = 0
    names = [
        cut(folder, west, "west", (0, 0, 330, 300)),
        cut(folder, middle, "middle", (37, 211, 301, 403)),
        cut(folder, east, "east", (10, 350, 330, 520)),
    ]
    whole = pixels.copy()
    covered = np.zeros(SHAPE, bool)
    covered[:, :300] = (ROWS + COLS <= 400)[:, :300]
    covered[37:301, 211:403] = True
    covered[10:, 350:] = True
    whole[:, ~covered] = 0
    cut(folder, whole, "whole", (0, 0, *SHAPE))
    expected, place = class_map(run("whole.json", "-o", "one"))
    found, found_place = class_map(run(*names, "--mosaic", "first", "-o", "two"))
    assert found_place == place
    np.testing.assert_array_equal(found, expected)
    assert (found == 255).sum() == (~covered).sum()


@pytest.mark.parametrize("pad", ["reflect", "constant", "edge"])
def test_pads(folder, pad):
    """What lies beyond a mosaic is padded as beyond a scene; an Item alone under a second one changes nothing."""
    pixels = big()
    pixels[:, ROWS + COLS < 90] = 0
    for name, window in (("a", (0, 0, 330, 261)), ("b", (0, 200, 330, 520)), ("whole", (0, 0, *SHAPE))):
        cut(folder, pixels, name, window)
    expected, _ = class_map(run("whole.json", "--pad", pad, "-o", "one"))
    found, _ = class_map(run("b.json", "a.json", "--mosaic", "first", "--pad", pad, "-o", "two"))
    np.testing.assert_array_equal(found, expected)


def test_order(folder):
    """Where several are valid the first in order wins: as given, or the least cloudy."""
    one, other = big((1, 2)), big((3, 4))
    cut(folder, one, "a", (0, 0, *SHAPE), **{"eo:cloud_cover": 40})
    cut(folder, other, "b", (0, 0, *SHAPE), **{"eo:cloud_cover": 3})
    alone = {name: class_map(run(f"{name}.json", "-o", name))[0] for name in "ab"}
    assert (alone["a"] != alone["b"]).mean() > 0.2
    for how, first in (
        (("a.json", "b.json", "--mosaic", "first"), "a"),
        (("a.json", "b.json", "--mosaic", "cloud"), "b"),
    ):
        document = run(*how, "-o", how[-1])
        np.testing.assert_array_equal(class_map(document)[0], alone[first])
        assert document["id"].startswith(f"{first}_mosaic_net_")
    jobs = {
        item_of(run("a.json", "b.json", "--mosaic", how, "-o", how))["properties"]["geodl:job_id"]
        for how in ("first", "cloud")
    }
    assert len(jobs) == 2


def test_validity_is_of_an_item(folder):
    """All channels of a pixel come from one Item: one that lacks a band there does not give the others."""
    one, other = big((1, 2)), big((3, 4))
    one[1, 100:200, 150:300] = 0
    cut(folder, one, "a", (0, 0, *SHAPE))
    cut(folder, other, "b", (0, 0, *SHAPE))
    mixed = one.copy()
    mixed[:, 100:200, 150:300] = other[:, 100:200, 150:300]
    cut(folder, mixed, "mixed", (0, 0, *SHAPE))
    expected, _ = class_map(run("mixed.json", "-o", "one"))
    np.testing.assert_array_equal(class_map(run("a.json", "b.json", "--mosaic", "first", "-o", "two"))[0], expected)


def test_masked_pixels_come_from_the_next(folder):
    """A pixel that a mask leaves out is taken of the next Item; masked in all, it is nodata and keeps its context."""
    one, other = big((1, 2)), big((3, 4))
    cloud = np.zeros(SHAPE, "uint8")
    cloud[50:150, 60:260] = 9
    both = np.zeros(SHAPE, "uint8")
    both[50:90, 200:300] = 3
    for name, pixels, mask in (("a", one, cloud), ("b", other, both)):
        scl = {"scl": {"href": write_raster(folder / f"scl_{name}.tif", mask[None])}}
        cut(folder, pixels, name, (0, 0, *SHAPE), assets=scl)
    mixed = np.where(cloud == 9, other, one)
    mixed = np.where((cloud == 9) & (both == 3), one, mixed)
    nothing = {
        "scl": {"href": write_raster(folder / "scl_mixed.tif", ((cloud == 9) & (both == 3)).astype("uint8")[None])}
    }
    cut(folder, mixed, "mixed", (0, 0, *SHAPE), assets=nothing)
    bands = ("--band", "0=image:1", "--band", "1=image:2")
    expected, _ = class_map(run("mixed.json", *bands, "--mask", "scl=1", "-o", "one"))
    names = "scl:cloud_high_probability,cloud_shadows"
    found, _ = class_map(run("a.json", "b.json", *bands, "--mosaic", "first", "--mask", names, "-o", "two"))
    np.testing.assert_array_equal(found, expected)
    assert (found == 255).sum() == 40 * 60


def test_offsets_of_each_item(folder):
    """Items of other scales and offsets are unscaled each by its own before the network."""
    write_emd(folder, NormalizationStats=None)
    pixels = big()
    shifted = pixels.copy()
    shifted += 1000
    scale = {"raster:scale": 0.5}
    cut(folder, pixels, "old", (0, 0, 330, 300), asset={**scale, "raster:offset": 0.0})
    cut(folder, shifted, "new", (0, 200, 330, 520), asset={**scale, "raster:offset": -500.0})
    cut(folder, pixels, "whole", (0, 0, *SHAPE), asset={**scale, "raster:offset": 0.0})
    how = ("--radiometry", "reflectance")
    expected, _ = class_map(run("whole.json", *how, "-o", "one"))
    document = run("old.json", "new.json", "--mosaic", "first", *how, "-o", "two")
    found, _ = class_map(document)
    assert (found == expected).mean() > 0.9999
    assert len(item_of(document)["properties"]["geodl:radiometry"]["items"]) == 2


def write_zone(folder, pixels, name, window, zone):
    """Write a part of a scene as an Item in another UTM zone, by the nearest pixel."""
    top, left, bottom, right = window
    source, target = CRS.from_epsg(32633), CRS.from_epsg(zone)
    place = from_origin(ORIGIN[0] + 10 * left, ORIGIN[1] - 10 * top, 10, 10)
    bounds = (place.c, place.f - 10 * (bottom - top), place.c + 10 * (right - left), place.f)
    there, width, height = calculate_default_transform(
        source, target, right - left, bottom - top, *bounds, resolution=10
    )
    warped = np.zeros((len(pixels), height, width), pixels.dtype)
    reproject(
        np.ascontiguousarray(pixels[:, top:bottom, left:right]), warped, src_transform=place, src_crs=source,
        src_nodata=0, dst_nodata=0, dst_transform=there, dst_crs=target, resampling=Resampling.nearest,
    )  # fmt: skip
    path = write_raster(folder / f"{name}.tif", warped, nodata=0, crs=target, transform=there)
    return write(folder, name, {"image": {"href": path}})


def test_other_zones(folder):
    """Items of other UTM zones are warped to the first one's grid, beyond its extent too, on its pixel lines."""
    pixels = big()
    a = cut(folder, pixels, "a", (0, 0, 330, 200))
    b = write_zone(folder, pixels, "b", (20, 150, 310, 420), 32632)
    c = write_zone(folder, pixels, "c", (40, 380, 330, 520), 32634)
    document = run(a, b, c, "--mosaic", "first", "-o", "out")
    found, place = class_map(document)
    assert item_of(document)["properties"]["proj:code"] == "EPSG:32633"
    row, col = round((ORIGIN[1] - place.f) / 10), round((place.c - ORIGIN[0]) / 10)
    assert (place.c - ORIGIN[0]) % 10 == (ORIGIN[1] - place.f) % 10 == 0
    mosaic = np.zeros((2, *found.shape), "float32")
    for name in "abc":
        with rasterio.open(folder / f"{name}.tif") as dataset, WarpedVRT(
            dataset, crs="EPSG:32633", transform=place, height=found.shape[0], width=found.shape[1],
            resampling=Resampling.bilinear, tolerance=1e-6, nodata=0, src_nodata=0, dtype="float32",
        ) as view:  # fmt: skip
            values = view.read()
        take = (mosaic == 0).any(0) & (values != 0).all(0)
        mosaic[:, take] = values[:, take]
    raster = write_raster(folder / "mosaic.tif", mosaic, nodata=0, transform=place)
    write(folder, "mosaic", {"image": {"href": raster}})
    expected, _ = class_map(run("mosaic.json", "-o", "oracle"))
    assert (found != expected).mean() < 0.01
    # West of the first Item's border nothing is warped, nor beyond the reach of what is.
    only = np.s_[max(-row, 0) + 12 : -row + 318, max(-col, 0) + 12 : -col + 140]
    np.testing.assert_array_equal(found[only], expected[only])
    assert (found != 255).mean() > 0.8


@pytest.fixture
def pair(folder):
    """Two Items of one orbit, a slanted nodata corner in the first."""
    pixels = big()
    west = pixels.copy()
    west[:, ROWS + COLS > 380] = 0
    cut(folder, west, "west", (0, 0, 300, 300), datetime="2020-08-31T10:00:05Z", platform="one")
    cut(folder, pixels, "east", (11, 240, 330, 520), datetime="2020-08-31T10:00:00Z", platform="one")
    return ("west.json", "east.json", "--mosaic", "first")


def test_same_bytes_however_computed(folder, pair):
    """Any number of shards and threads, and the stages apart, give the same bytes."""
    first = run(*pair, "-o", "one", "--shards", "1", "--threads", "1")
    content = data_files(Path(first["folder"]))
    for shards, threads in ((3, 2), (17, 1)):
        other = run(*pair, "-o", f"out{shards}", "--shards", str(shards), "--threads", str(threads))
        assert other["id"] == first["id"]
        assert data_files(Path(other["folder"])) == content
    for words in (
        ("plan", *pair, *MODEL, "--to", "apart", "--shards", "2"),
        ("shard", "apart", "0", "2"),
        ("shard", "apart", "1", "2"),
        ("merge", "apart"),
    ):
        result = geodl_here(*words)
        assert result.returncode == 0, result.stderr
    assert data_files(folder / "apart") == content
    result = geodl_here("register", "apart", "--catalog", "apart.db", "--json")
    assert result.returncode == 0, result.stderr
    item, original = json.loads(result.stdout), item_of(first)
    assert item["geometry"] == original["geometry"]
    assert [link for link in item["links"] if link["rel"] == "derived_from"][:2] == [
        link for link in original["links"] if link["rel"] == "derived_from"
    ][:2]


def test_item_and_rerun(folder, pair):
    """The Item names every source and the span of time, its footprint is the pixels', and rerun gives it again."""
    document = run(*pair, "-o", "out")
    item = item_of(document)
    sources = [link["href"] for link in item["links"] if link["rel"] == "derived_from"]
    assert [Path(href).name for href in sources[:2]] == ["west.json", "east.json"]
    properties = item["properties"]
    assert properties["datetime"] is None
    assert (properties["start_datetime"], properties["end_datetime"]) == (
        "2020-08-31T10:00:00Z",
        "2020-08-31T10:00:05Z",
    )
    assert properties["platform"] == "one"
    assert properties["geodl:source"] == "scenes/east,scenes/west"
    assert len(item["geometry"]["coordinates"][0]) > 6
    result = geodl_here("rerun", document["item"])
    assert result.returncode == 0, result.stderr
    moved = geodl_here("rerun", document["item"], "--item", "west.json")
    assert (moved.returncode, "found that of a mosaic of 2" in moved.stderr) == (2, True)
    assert run(*pair, "-o", "out")["status"] == "present"


def test_another_file_is_another_job(folder, pair):
    """The job follows every Item's content and their order."""
    jobs = [item_of(run(*pair, "-o", "a"))["properties"]["geodl:job_id"]]
    jobs.append(item_of(run("east.json", "west.json", *pair[2:], "-o", "b"))["properties"]["geodl:job_id"])
    cut(folder, big((8, 9)), "east", (11, 240, 330, 520))
    jobs.append(item_of(run(*pair, "-o", "c"))["properties"]["geodl:job_id"])
    assert len(set(jobs)) == 3


def test_one_by_one(folder, pair):
    """Without --mosaic each Item is run by itself; one that fails does not stop the others, and is told at the end."""
    result = geodl_here("run", "west.json", "missing.json", "east.json", *MODEL, "-o", "out")
    assert result.returncode == 2
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["computed", "failed", "computed"]
    assert "1 of 3 Items failed: missing.json" in result.stderr
    document = run("west.json", "east.json", "-o", "out")
    assert [found["status"] for found in document["results"]] == ["present", "present"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("west.json", "west.json", "--mosaic", "first"), "west twice"),
        (("west.json", "far.json", "--mosaic", "first"), "far apart"),
    ],
)
def test_refused(folder, pair, words, message):
    """The same Item twice, and Items far apart, are refused."""
    place = from_origin(ORIGIN[0] + 200_000, ORIGIN[1], 10, 10)
    path = write_raster(folder / "far.tif", big(), nodata=0, transform=place)
    write(folder, "far", {"image": {"href": path}})
    assert message in run(*words, "-o", "out", code=2)


def test_folder_as_a_mosaic(folder):
    """With --mosaic the rasters of a folder are one scene."""
    pixels = big()
    (folder / "pieces").mkdir()
    cut(folder / "pieces", pixels, "a", (0, 0, 330, 300))
    cut(folder / "pieces", pixels, "b", (0, 250, 330, 520))
    cut(folder, pixels, "whole", (0, 0, *SHAPE))
    expected, _ = class_map(run("whole.json", "-o", "one"))
    np.testing.assert_array_equal(class_map(run("pieces", "--mosaic", "first", "-o", "two"))[0], expected)


def test_plan_takes_one_item_or_a_mosaic(folder, pair):
    """`geodl plan` of several Items needs --mosaic."""
    result = geodl_here("plan", *pair[:2], *MODEL, "--dry-run")
    assert result.returncode == 2
    assert "--mosaic" in result.stderr
