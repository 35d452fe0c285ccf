"""Which pixels a result has: masks by the names of their classes and bits, and the footprint of what is left."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio.features
import shapely
from rasterio.warp import transform_geom

from commands import geodl_here
from items import write_item
from networks import conv_network, write_emd
from scenes import ORIGIN, smooth, write_raster

SHAPE = (1300, 1410)
ROWS, COLS = np.indices(SHAPE)
BANDS = ("--band", "0=image:1", "--band", "1=image:2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a scene of a slanted nodata corner, with Landsat's and Sentinel-2's masks, and a model."""
    folder = tmp_path_factory.mktemp("validity")
    pixels = np.stack([smooth(SHAPE, 1), smooth(SHAPE, 2)])
    pixels[:, ROWS + 2 * COLS < 700] = 0
    classes = np.kron(np.random.default_rng(3).integers(0, 12, (11, 12)), np.ones((128, 128), "uint8"))
    scl = classes[: SHAPE[0], : SHAPE[1]].astype("uint8")
    # Clear land is bit 6 and low confidences, 21824 in all; cloud, shadow and snow are bits of their own.
    qa = np.full(SHAPE, 21824, "uint16")
    qa[scl == 9] = 1 << 3 | 3 << 8
    qa[scl == 3] = 1 << 4 | 3 << 10
    qa[scl == 11] = 1 << 5 | 3 << 12
    field = {"name": "cloudy", "offset": 3, "length": 1, "classes": [{"value": 1, "name": "cloudy"}]}
    quality = write_raster(folder / "qa.tif", qa[None], nodata=21824)
    coarse = write_raster(folder / "qa20.tif", qa[None, ::2, ::2], cell=20.0)
    assets = {
        "image": {"href": write_raster(folder / "scene.tif", pixels, nodata=0)},
        "scl": {"href": write_raster(folder / "scl.tif", scl[None], nodata=0)},
        "qa_pixel": {"href": quality},
        "described": {"href": quality, "classification:bitfields": [field]},
        "qa20": {"href": coarse, "classification:bitfields": [field]},
    }
    write_item(folder, assets)
    conv_network(folder / "net.onnx")
    write_emd(folder)
    return folder, (pixels != 0).all(0), scl


def run(folder, *options, out):
    result = geodl_here(
        "run", str(folder / "scene.json"), "-m", str(folder / "net.emd"), *BANDS,
        "-o", str(folder / out), "--json", *options,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    with rasterio.open(document["assets"]["classification"]) as dataset:
        return dataset.read(1) != dataset.nodata, document


@pytest.fixture(autouse=True)
def _cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GEODL_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("mask", "classes"),
    [
        ("qa_pixel:cloud,cloud_shadow", (9, 3)),
        ("qa_pixel=cloud_confidence.high,snow", (9, 11)),
        ("scl:cloud_high_probability,no_data", (9, 0)),
        ("scl=3,snow", (3, 11)),
        ("described:cloudy", (9,)),
        ("qa20:cloudy", (9,)),
        ("qa_pixel=21824", (0, 1, 2, 4, 5, 6, 7, 8, 10)),
    ],
)
def test_masks_by_name(folder, mask, classes):
    """Names leave out the classes and bits that they mean, a mask's nodata value too; the rest keeps its class."""
    place, valid, scl = folder
    found, document = run(place, "--mask", mask, out="named")
    np.testing.assert_array_equal(found, valid & ~np.isin(scl, classes))
    again = geodl_here("rerun", document["item"])
    assert again.returncode == 0, again.stderr


def test_names_are_part_of_the_job(folder):
    """Other bits are another job; the same by another name are the same."""
    place, _, _ = folder
    jobs = []
    for number, names in enumerate(("cloud", "cloud_shadow", "cloud,cloud")):
        _, document = run(place, "--mask", f"qa_pixel:{names}", out=f"job{number}")
        jobs.append(json.loads(Path(document["item"]).read_text())["properties"]["geodl:job_id"])
    assert jobs[0] == jobs[2] != jobs[1]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ("qa_pixel:hail", "hail is unknown: there are fill, dilated_cloud"),
        ("scl:", "ASSET:NAME"),
        ("scl", "ASSET:NAME"),
    ],
)
def test_refused_names(folder, mask, message):
    """A name that a mask lacks is refused with those that it has."""
    place, _, _ = folder
    result = geodl_here("run", str(place / "scene.json"), "-m", str(place / "net.emd"), *BANDS, "--mask", mask)
    assert result.returncode == 2
    assert message in result.stderr


def test_footprint_is_that_of_the_valid_pixels(folder):
    """The output Item's geometry holds every pixel of the result, and but a few pixels' width more."""
    place, _, _ = folder
    found, document = run(place, "--mask", "scl=9", out="print")
    item = json.loads(Path(document["item"]).read_text())
    shape = shapely.geometry.shape(transform_geom("OGC:CRS84", "EPSG:32633", item["geometry"]))
    polygons = rasterio.features.shapes(
        found.astype("uint8"), mask=found, transform=rasterio.transform.from_origin(*ORIGIN, 10, 10)
    )
    exact = shapely.union_all([shapely.geometry.shape(polygon) for polygon, _ in polygons])
    assert exact.difference(shape.buffer(1)).area < 100
    # The first overview of at most 1024 pixels is the second half: 20 m, and three of its pixels.
    assert shape.difference(exact.buffer(60, join_style="mitre")).area < 100
    west, south, east, north = item["bbox"]
    np.testing.assert_allclose(shapely.geometry.shape(item["geometry"]).bounds, (west, south, east, north))
    holes = sum(len(part.interiors) for part in shapely.get_parts(shapely.geometry.shape(item["geometry"])))
    assert holes > 0


def test_footprint_of_everything_and_of_nothing(folder):
    """A result without nodata, and one of nothing else, have the grid's outline."""
    place, _, _ = folder
    raster = write_raster(place / "full.tif", np.stack([smooth((100, 120), 1), smooth((100, 120), 2)]))
    empty = write_raster(place / "empty.tif", np.zeros((2, 100, 120), "uint16"), nodata=0)
    shapes = []
    for name, path in (("full", raster), ("empty", empty)):
        write_item(place, {"image": {"href": path}}, item_id=name)
        result = geodl_here(
            "run", str(place / f"{name}.json"), "-m", str(place / "net.emd"), "-o", str(place / "two"), "--json"
        )
        assert result.returncode == 0, result.stderr
        shapes.append(json.loads(Path(json.loads(result.stdout)["item"]).read_text())["geometry"])
    assert shapes[0] == shapes[1]
    with rasterio.open(raster) as dataset:
        box = shapely.box(*dataset.bounds)
    found = shapely.geometry.shape(transform_geom("OGC:CRS84", "EPSG:32633", shapes[0]))
    assert found.symmetric_difference(box).area < 1e-4 * box.area
