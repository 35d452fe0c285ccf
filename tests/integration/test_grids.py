"""Scenes of any CRS and cell size, and results on any grid, from the command line."""

import json
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from commands import geodl_here
from geodl_core.domain.grid import Grid, outline_wgs84
from items import write_item
from networks import CLASSES, conv_network, run_whole, write_emd
from runs import data_files, raster, run_item
from scenes import ORIGIN, smooth, write_raster

SHAPE = (220, 300)
VALUES = np.array([entry["Value"] for entry in CLASSES], "uint8")
TEN = Affine(10, 0, ORIGIN[0], 0, -10, ORIGIN[1])
PLACES = {
    "degrees": ("EPSG:4326", Affine(1e-4, 0, 10.2, 0, -1e-4, 48.3)),
    "degrees beyond 180": ("EPSG:4326", Affine(1e-3, 0, 179.85, 0, -1e-3, -16.2)),
    "UTM across the antimeridian": ("EPSG:32601", Affine(100, 0, 165000, 0, -100, 1090000)),
    "Pacific Mercator": ("EPSG:3832", Affine(100, 0, 3330000, 0, -100, -1900000)),
    "rotated": ("EPSG:32633", Affine(10, 0, ORIGIN[0], 0, -10, ORIGIN[1]) @ Affine.rotation(25)),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a model; commands run there."""
    monkeypatch.setenv("GEODL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    conv_network(tmp_path / "net.onnx")
    write_emd(tmp_path)
    return tmp_path


def scene(folder, crs: str = "EPSG:32633", transform: Affine = TEN, shape=SHAPE) -> np.ndarray:
    pixels = np.stack([smooth(shape, 1), smooth(shape, 2)])
    pixels[:, 60:90, 70:120] = 0
    write_item(
        folder, {"image": {"href": write_raster(folder / "scene.tif", pixels, nodata=0, crs=crs, transform=transform)}}
    )
    return pixels


def run(*options: object) -> dict[str, Any]:
    found = geodl_here("run", "scene.json", "-m", "net.emd", "--json", *options)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def assert_lies_in(item: dict[str, Any], outline: dict[str, Any], share: float) -> None:
    """Check an Item's geometry: inside an outline but for a pixel or so, and the share of it that is valid."""
    found, whole = shapely.geometry.shape(item["geometry"]), shapely.geometry.shape(outline)
    assert shapely.is_valid(found)
    assert found.difference(whole).area < 0.03 * whole.area
    assert found.area / whole.area == pytest.approx(share, abs=0.03)


def result_of(said: dict[str, Any], folder) -> tuple[dict[str, Any], Any, np.ndarray]:
    (path,) = folder.rglob("classification.tif")
    with rasterio.open(path) as dataset:
        (item,) = (json.loads(item.read_text()) for item in path.parent.glob("scene_net_*.json"))
        return item, (dataset.crs, dataset.transform, dataset.shape), dataset.read(1)


@pytest.mark.parametrize("name", PLACES)
def test_scenes_anywhere(folder, name):
    """A scene of longitudes and latitudes, one across the antimeridian or a rotated one runs on its own grid."""
    crs, transform = PLACES[name]
    pixels = scene(folder, crs, transform)
    item, (found_crs, found_transform, shape), classes = result_of(run(), folder)
    assert (found_crs, shape) == (rasterio.CRS.from_string(crs), SHAPE)
    np.testing.assert_allclose(found_transform[:6], transform[:6])
    valid = (pixels != 0).all(0)
    assert np.array_equal(classes[valid], VALUES[run_whole(folder / "net.onnx", pixels)][valid])
    assert (classes[~valid] == 255).all()
    outline = outline_wgs84(Grid(crs, tuple(transform)[:6], *SHAPE))
    assert_lies_in(item, outline, valid.mean())
    is_across = name not in ("degrees", "rotated")
    assert (item["geometry"]["type"] == "MultiPolygon") == is_across
    assert (item["bbox"][0] > item["bbox"][2]) == is_across


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("crs", ["EPSG:3832", "EPSG:4326", "EPSG:6933"])
def test_scenes_brought_elsewhere(folder, name, crs):
    """Each of these scenes comes whole to another CRS, if that is not torn there: as many valid pixels, one place."""
    own, transform = PLACES[name]
    pixels = scene(folder, own, transform)
    found = geodl_here("run", "scene.json", "-m", "net.emd", "--json", "--crs", crs)
    if found.returncode:
        assert crs == "EPSG:6933"
        assert "one piece" in found.stderr
        assert name not in ("degrees", "rotated")
        return
    item, (found_crs, _, _), classes = result_of(json.loads(found.stdout), folder)
    assert found_crs.to_epsg() == int(crs[5:])
    valid = (pixels != 0).all(0)
    assert_lies_in(item, outline_wgs84(Grid(own, tuple(transform)[:6], *SHAPE)), valid.mean())
    # Cells are about as large as the scene's, and its borders jagged.
    assert (classes != 255).sum() == pytest.approx(valid.sum(), rel=0.03)


def test_a_cell_size(folder):
    """--cell-size 20 on a scene of 10 m: the network sees means of 2 × 2 pixels, and the result has 20 m."""
    pixels = scene(folder)
    item, (_, transform, shape), classes = result_of(run("--cell-size", 20), folder)
    assert shape == (110, 150)
    assert transform == Affine(20, 0, ORIGIN[0], 0, -20, ORIGIN[1])
    blocks = pixels.reshape(2, 110, 2, 150, 2).astype(float).swapaxes(2, 3)
    means = blocks.mean((3, 4)).astype("float32")
    valid = (means != 0).all(0)
    expected = VALUES[run_whole(folder / "net.onnx", means)]
    assert np.mean(classes[valid] == expected[valid]) > 0.999
    assert (classes[~valid] == 255).all()
    assert item["properties"]["geodl:arguments"]["cell_size"] == "20"


def test_a_crs(folder):
    """--crs EPSG:3857: the network sees what GDAL's warper shows it, and the plan says why."""
    scene(folder)
    _, (crs, transform, shape), classes = result_of(run("--crs", "EPSG:3857"), folder)
    assert crs.to_epsg() == 3857
    assert transform.a == pytest.approx(10 / np.cos(np.radians(47.8)), rel=0.01)
    options = {"crs": crs, "transform": transform, "height": shape[0], "width": shape[1], "XSCALE": 1, "YSCALE": 1}
    with (
        rasterio.open(folder / "scene.tif") as source,
        WarpedVRT(source, **options, resampling=Resampling.bilinear, tolerance=1e-9, dtype="float32") as view,
    ):
        seen, valid = view.read(), view.read_masks(1) > 0
    expected = VALUES[run_whole(folder / "net.onnx", seen)]
    both = valid & (classes != 255)
    assert both.sum() > 0.98 * valid.sum()
    # GDAL's edges of nodata are half a pixel further out, and the network sees them.
    assert np.mean(classes[both] == expected[both]) > 0.95
    lines = geodl_here("plan", "scene.json", "-m", "net.emd", "--crs", "EPSG:3857", "--dry-run").stdout
    assert "grid: its CRS EPSG:3857 was asked for" in lines


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:3035"])
def test_snap(folder, crs):
    """A result snapped to a raster has its pixel lines, and is computed again from its Item alone."""
    scene(folder)
    lines = {"EPSG:32633": Affine(25, 0, 299_990, 0, -25, 5_300_060), "EPSG:3035": Affine(12, 0, 7, 0, -12, 5)}[crs]
    write_raster(folder / "other.tif", np.zeros((1, 20, 20), "uint8"), crs=crs, transform=lines)
    item, (found_crs, transform, _), _ = result_of(run("--snap", "other.tif"), folder)
    assert found_crs == rasterio.CRS.from_string(crs)
    assert (transform.a, transform.e) == (lines.a, lines.e)
    corner = np.array(~lines @ (transform.c, transform.f))
    np.testing.assert_allclose(corner, np.round(corner), atol=1e-9)
    again = geodl_here("rerun", next(folder.rglob("scene_net_*.json")))
    assert again.returncode == 0, again.stdout + again.stderr
    assert item["properties"]["geodl:arguments"]["snap"] == str(folder / "other.tif")
    refused = geodl_here("run", "scene.json", "-m", "net.emd", "--snap", "other.tif", "--crs", "EPSG:3857")
    assert refused.returncode == 2
    assert "snap" in refused.stderr


@pytest.mark.parametrize(
    "more", [{"crs": "EPSG:3857"}, {"cell_size": "23"}, {"crs": "EPSG:4326", "resampling": "cubic"}, {"cell_size": "7"}]
)
def test_shards_of_a_warped_scene(folder, more):
    """1 and 7 shards of a scene that is brought to another grid give the same bytes; the resampling is in the id."""
    pixels = np.stack([smooth((700, 900), 1), smooth((700, 900), 2)])
    pixels[:, 300:400, 100:500] = 0
    coarse = smooth((350, 450), 3)[None]
    assets = {
        "red": {"href": write_raster(folder / "a.tif", pixels[:1], nodata=0)},
        "swir16": {"href": write_raster(folder / "b.tif", coarse, cell=20.0)},
    }
    item = write_item(folder, assets)
    write_emd(folder, ExtractBands=["Red", "ShortWaveInfrared"])
    one = run_item(folder, item, "one", shards=1, tile_size_px=160, **more)
    seven = run_item(folder, item, "seven", shards=7, tile_size_px=160, **more)
    assert data_files(one.folder) == data_files(seven.folder)
    assert len(np.unique(raster(one))) > 2
    assert one.item["id"] == seven.item["id"]
    other = run_item(folder, item, "other", tile_size_px=160, **{**more, "resampling": "nearest"})
    assert other.item["id"] != one.item["id"]


def test_a_model_of_another_cell_size(folder):
    """A model that was trained at 30 m sees 30 m, and the plan says so; --cell-size stands above it."""
    scene(folder)
    cell = {"x": 30.0, "y": 30.0, "spatialReference": {"wkid": 32633, "latestWkid": 32633}}
    write_emd(folder, MinCellSize=cell, MaxCellSize=cell)
    lines = geodl_here("plan", "scene.json", "-m", "net.emd", "--dry-run").stdout
    assert "grid: cells of 30 m over the finest band's extent, as the model was trained with cells of 30 m" in lines
    _, (_, transform, _), _ = result_of(run(), folder)
    assert transform.a == 30
    lines = geodl_here("plan", "scene.json", "-m", "net.emd", "--dry-run", "--cell-size", 10).stdout
    assert "of 10, EPSG:32633" in lines


def test_bands_that_do_not_meet(folder):
    """Bands of two places are refused, naming the asset."""
    assets = {
        "red": {"href": write_raster(folder / "a.tif", smooth(SHAPE, 1)[None])},
        "swir16": {
            "href": write_raster(folder / "b.tif", smooth(SHAPE, 2)[None], transform=TEN @ Affine.translation(900, 0))
        },
    }
    write_item(folder, assets)
    write_emd(folder, ExtractBands=["Red", "ShortWaveInfrared"])
    found = geodl_here("run", "scene.json", "-m", "net.emd")
    assert found.returncode == 2
    assert "asset swir16: its raster does not meet the grid" in found.stderr
