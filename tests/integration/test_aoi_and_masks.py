"""Areas of interest and masks: where nothing is computed, and that nothing else changes."""

import json

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.transform import from_origin
from rasterio.warp import calculate_default_transform, reproject, transform

from commands import geodl_here
from items import write_item
from networks import conv_network, write_emd
from runs import raster
from scenes import ORIGIN, smooth, write_raster

SHAPE = (300, 410)
JOB = ("scene.json", "-m", "net.emd", "--band", "0=image:1", "--band", "1=image:2")
NEAR_DEGREES = 3e-6
"""A few hundredths of a pixel: which side of an edge such a centre lies on is a matter of rounding."""


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """A folder with a scene, a model and an Item that has masks too; commands run there."""
    monkeypatch.setenv("GEODL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    pixels = np.stack([smooth(SHAPE, 1), smooth(SHAPE, 2)])
    rows, cols = np.indices(SHAPE)
    pixels[:, rows + cols < 100] = 0
    classes = np.random.default_rng(3).integers(0, 11, (10, 13))
    fine = np.kron(classes, np.ones((32, 32), "uint8")).astype("uint8")
    assets = {
        "image": {"href": write_raster(tmp_path / "scene.tif", pixels, nodata=0)},
        "scl": {"href": write_raster(tmp_path / "scl.tif", fine[None, : SHAPE[0], : SHAPE[1]])},
        "scl20": {"href": write_raster(tmp_path / "scl20.tif", fine[None, : SHAPE[0] : 2, : SHAPE[1] : 2], cell=20.0)},
        "scl_degrees": {"href": write_degrees(tmp_path / "degrees.tif", fine[: SHAPE[0], : SHAPE[1]])},
    }
    conv_network(tmp_path / "net.onnx")
    write_emd(tmp_path)
    write_item(tmp_path, assets)
    return tmp_path


def write_degrees(path, classes):
    """Write classes on the scene's grid as a raster of longitude and latitude, which covers a part of the scene."""
    source, target = CRS.from_epsg(32633), CRS.from_epsg(4326)
    height, width = classes.shape
    left, top = ORIGIN
    bounds = (left + 300, top - height * 10, left + width * 10, top - 200)
    place, columns, rows = calculate_default_transform(source, target, width, height, *bounds)
    warped = np.zeros((rows, columns), "uint8")
    reproject(
        classes, warped, src_transform=from_origin(*ORIGIN, 10, 10), src_crs=source, dst_transform=place,
        dst_crs=target, resampling=Resampling.nearest,
    )  # fmt: skip
    return write_raster(path, warped[None], crs=target, transform=place)


def run(*options, out="out"):
    """Run the model with options; return what is printed and the class map."""
    result = geodl_here("run", *JOB, "-o", out, "--arg", "tile_size=64", "--json", *options)
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    with rasterio.open(document["assets"]["classification"]) as dataset:
        return document, dataset.read(1)


def planned(*options):
    """Return what `geodl plan` prints."""
    result = geodl_here("plan", *JOB, "--arg", "tile_size=64", "--dry-run", "--json", *options)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def refused(*options):
    """Return the message with which a run is refused, as a fault of the input."""
    result = geodl_here("run", *JOB, "-o", "refused", *options)
    assert result.returncode == 2, (result.returncode, result.stderr)
    assert result.stderr.count("\n") <= 2
    return result.stderr


def centres():
    """Return longitude and latitude of all pixels' centres."""
    rows, cols = np.indices(SHAPE)
    left, top = ORIGIN
    x, y = left + 10 * (cols.ravel() + 0.5), top - 10 * (rows.ravel() + 0.5)
    lon, lat = transform("EPSG:32633", "EPSG:4326", x, y)
    return np.array(lon).reshape(SHAPE), np.array(lat).reshape(SHAPE)


def at(row, col):
    """Return longitude and latitude of a position in pixels."""
    left, top = ORIGIN
    (lon,), (lat,) = transform("EPSG:32633", "EPSG:4326", [left + 10 * col], [top - 10 * row])
    return lon, lat


def polygon(*corners):
    """Return a ring of (row, col) corners in degrees."""
    ring = [at(*corner) for corner in corners]
    return [*ring, ring[0]]


def rectangle(top, left, bottom, right):
    return polygon((top, left), (top, right), (bottom, right), (bottom, left))


AREAS = {
    "one": {"type": "Polygon", "coordinates": [polygon((71.3, 60.7), (75.1, 200.4), (180.2, 140.9))]},
    "hole": {
        "type": "Feature",
        "properties": {"name": "with a hole"},
        "geometry": {
            "type": "Polygon",
            "coordinates": [rectangle(60.2, 40.3, 250.6, 300.8), rectangle(100.7, 90.4, 200.3, 240.9)[::-1]],
        },
    },
    "two": {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
            for ring in (rectangle(20.3, 30.4, 80.8, 120.6), rectangle(199.2, 300.4, 500.3, 900.7))
        ],
    },
    "partly outside": {"type": "Polygon", "coordinates": [rectangle(-500.3, 350.2, 70.6, 2000.1)]},
}


def shape_of(area):
    """Return the shapely geometry of a GeoJSON document."""
    geometries = [feature["geometry"] for feature in area.get("features", [])] or [area.get("geometry", area)]
    return shapely.union_all([shapely.from_geojson(json.dumps(geometry)) for geometry in geometries])


def assert_only_there(found, whole, shape):
    lon, lat = centres()
    is_clear = shapely.distance(shapely.boundary(shape), shapely.points(lon, lat)) > NEAR_DEGREES
    inside = shapely.contains_xy(shape, lon, lat)
    assert 0 < inside.sum() < inside.size
    assert (found[is_clear & ~inside] == 255).all()
    assert np.array_equal(found[is_clear & inside], whole[is_clear & inside])
    assert (found[is_clear & inside] != 255).any()


@pytest.mark.parametrize("name", AREAS)
def test_area_of_a_file(scene, name):
    """Pixels whose centre lies outside a GeoJSON file's polygons are nodata; all others are as without it."""
    (scene / "area.geojson").write_text(json.dumps(AREAS[name]))
    plain, whole = run()
    document, found = run("--aoi", "area.geojson")
    assert document["id"] != plain["id"]
    assert_only_there(found, whole, shape_of(AREAS[name]))
    live = planned("--aoi", "area.geojson")
    assert live["job_id"][:8] in document["id"]
    assert live["live"] < planned()["live"]


def test_area_of_degrees(scene):
    """A box in degrees is an area; the same box as a file is the same job."""
    (west, north), (east, south) = at(60.3, 100.6), at(222.2, 333.3)
    _, whole = run()
    text = f"{west:.9f},{south:.9f},{east:.9f},{north:.9f}"
    document, found = run("--aoi", text)
    box = shapely.box(*map(float, text.split(",")))
    assert_only_there(found, whole, box)
    (scene / "box.json").write_text(shapely.to_geojson(box))
    again, _ = run("--aoi", "box.json")
    assert (again["id"], again["status"]) == (document["id"], "present")
    assert run("--aoi", (scene / "box.json").read_text())[0]["id"] == document["id"]


def test_area_skips_tiles(scene):
    """Tiles that no polygon touches are not inferred: as many are live as the grid's cells meet the area."""
    (scene / "area.geojson").write_text(json.dumps(AREAS["two"]))
    live = planned("--aoi", "area.geojson")
    core = 48
    cells = [(row, col) for row in range(0, SHAPE[0], core) for col in range(0, SHAPE[1], core)]
    boxes = [(20.3, 30.4, 80.8, 120.6), (199.2, 300.4, 500.3, 900.7)]
    met = [
        (row, col)
        for row, col in cells
        if any(row < b and row + core > t and col < r and col + core > left for t, left, b, r in boxes)
    ]
    # The corner of nodata may spare further ones, not those two cells inward.
    assert live["tiles"] == len(cells)
    assert len(met) - 3 <= live["live"] <= len(met)
    assert "skipped" in geodl_here("plan", *JOB, "--aoi", "area.geojson", "--dry-run").stdout


@pytest.mark.parametrize(
    ("area", "word"),
    [
        ("10,20,11,21", "scene"),
        ("13.0,47.8,12.9,47.9,1", "degrees"),
        ("12.9,47.8,12.3,47.9", "scene"),
        ("nowhere.geojson", "nowhere.geojson"),
        ('{"type": "Point", "coordinates": [12, 47]}', "Polygon"),
        ("scene.tif", "scene.tif"),
    ],
)
def test_areas_that_do_not_serve(scene, area, word):
    """An area beside the scene, or no area at all, is refused in a line that names it; nothing is written."""
    assert word in refused("--aoi", area)
    assert not (scene / "refused").exists() or not list((scene / "refused").rglob("*.tif"))


@pytest.mark.parametrize(
    ("asset", "values"), [("scl", {3, 8}), ("scl", {0}), ("scl20", {3, 8, 9}), ("scl_degrees", {1, 2, 3, 4})]
)
def test_masks(scene, asset, values):
    """Masked pixels are nodata and all others as without the mask, on the scene's grid, a coarser or another one."""
    plain, whole = run()
    document, found = run("--mask", f"{asset}={','.join(map(str, sorted(values)))}")
    assert document["id"] != plain["id"]
    is_masked, is_clear = masked_pixels(scene / "scene.json", asset, values)
    assert 0.02 < is_masked.mean() < 0.9
    assert (found[is_masked & is_clear] == 255).all()
    assert np.array_equal(found[~is_masked & is_clear], whole[~is_masked & is_clear])


def masked_pixels(item, asset, values):
    """Return which pixels a mask covers, by the class at their centre, and where that is no matter of rounding."""
    href = json.loads(item.read_text())["assets"][asset]["href"]
    with rasterio.open(href) as dataset:
        classes = dataset.read(1)
        rows, cols = np.indices(SHAPE)
        left, top = ORIGIN
        x, y = left + 10 * (cols.ravel() + 0.5), top - 10 * (rows.ravel() + 0.5)
        x, y = transform("EPSG:32633", dataset.crs, x, y)
        col, row = ~dataset.transform * (np.array(x), np.array(y))
        height, width = classes.shape
    is_clear = (np.abs(col - np.rint(col)) > 0.02) & (np.abs(row - np.rint(row)) > 0.02)
    col, row = (np.floor(position + 1e-9).astype(int) for position in (col, row))
    inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    found = classes[row.clip(0, height - 1), col.clip(0, width - 1)]
    is_masked = inside & np.isin(found, list(values))
    is_same_grid = asset in ("scl", "scl20")
    return is_masked.reshape(SHAPE), (is_clear | is_same_grid).reshape(SHAPE)


def test_masks_and_area_together(scene):
    """Two masks and an area leave only what none of them takes away; order and repetition do not matter."""
    (scene / "area.geojson").write_text(json.dumps(AREAS["hole"]))
    options = ("--mask", "scl=3,8", "--mask", "scl20=5,1,1", "--aoi", "area.geojson")
    _, whole = run()
    document, found = run(*options)
    lon, lat = centres()
    shape = shape_of(AREAS["hole"])
    is_clear = shapely.distance(shapely.boundary(shape), shapely.points(lon, lat)) > NEAR_DEGREES
    kept = shapely.contains_xy(shape, lon, lat)
    for asset, values in (("scl", {3, 8}), ("scl20", {1, 5})):
        kept &= ~masked_pixels(scene / "scene.json", asset, values)[0]
    assert np.array_equal(found[is_clear], np.where(kept, whole, 255)[is_clear])
    again, _ = run("--aoi", "area.geojson", "--mask", "scl=8,3,3", "--mask", "scl20=1,5")
    assert (again["status"], again["id"]) == ("present", document["id"])


def test_masks_skip_tiles(scene):
    """Tiles that a mask covers wholly are not inferred."""
    classes = np.full((1, *SHAPE), 4, "uint8")
    classes[0, :, 200:] = 3
    write_raster(scene / "scl.tif", classes)
    plain, masked = planned(), planned("--mask", "scl=3")
    assert masked["live"] < 0.75 * plain["live"]
    _, found = run("--mask", "scl=3")
    assert (found[:, 200:] == 255).all()
    assert (found[150:, :200] != 255).all()


@pytest.mark.parametrize("has_overviews", [False, True])
def test_small_gaps_are_found(scene, has_overviews):
    """A gap of nine pixels in a mask that covers all else is classified, also where overviews hide it."""
    _, whole = run()
    classes = np.full((1, *SHAPE), 3, "uint8")
    classes[0, 150:159, 211:220] = 4
    path = write_raster(scene / "scl.tif", classes)
    if has_overviews:
        with rasterio.open(path, "r+") as dataset:
            dataset.build_overviews([2, 4, 8, 16, 32], Resampling.nearest)
    _document, found = run("--mask", "scl=3")
    expected = np.where(classes[0] == 4, whole, 255)
    assert np.array_equal(found, expected)
    assert planned("--mask", "scl=3")["live"] < 10


def test_another_mask_is_another_job(scene):
    """Other values and other content of the mask's file give another job; another asset of the same pixels does too."""
    first = planned("--mask", "scl=3,8")["job_id"]
    assert planned("--mask", "scl=3")["job_id"] != first
    assert planned("--mask", "scl20=3,8")["job_id"] != first
    assert planned("--mask", "scl=8,3")["job_id"] == first
    write_raster(scene / "scl.tif", np.zeros((1, *SHAPE), "uint8"))
    assert planned("--mask", "scl=3,8")["job_id"] != first


def test_bands_of_one_asset(scene):
    """Bands that an Item does not tell apart, each said to lie in the same asset, are not silently the same band."""
    _, whole = run()
    words = ("scene.json", "-m", "net.emd", "--band", "0=image", "--band", "1=image")
    result = geodl_here("run", *words, "-o", "again", "--arg", "tile_size=64", "--json")
    if result.returncode == 0:
        with rasterio.open(json.loads(result.stdout)["assets"]["classification"]) as dataset:
            assert np.array_equal(dataset.read(1), whole)
    else:
        assert "image" in result.stderr
        assert result.returncode == 2


def test_masks_are_no_bands(scene):
    """An asset that is named as a mask does not make the choice of bands ambiguous."""
    for asset in ("scl20", "scl_degrees"):
        document = json.loads((scene / "scene.json").read_text())
        del document["assets"][asset]
        (scene / "scene.json").write_text(json.dumps(document))
    result = geodl_here("plan", "scene.json", "-m", "net.emd", "--mask", "scl=3", "--dry-run")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ("cloud=3", ("cloud", "image", "scl", "scl20", "scl_degrees")),
        ("scl=clouds", ("clouds",)),
        ("scl=", ("scl=",)),
        ("scl", ("scl",)),
        ("scl=3.5", ("3.5",)),
    ],
)
def test_masks_that_do_not_serve(scene, mask, words):
    """An asset that the Item lacks is refused with those that it has; values that are no whole numbers are too."""
    message = refused("--mask", mask)
    for word in words:
        assert word in message


def test_everything_masked(scene):
    """A mask that covers the whole scene gives a class map of nodata."""
    write_raster(scene / "scl.tif", np.full((1, *SHAPE), 9, "uint8"))
    _, found = run("--mask", "scl=9")
    assert (found == 255).all()
    assert planned("--mask", "scl=9")["live"] == 0


def test_half_of_a_scene_without_data(scene):
    """Tiles of nodata alone are skipped: half as many as without, and nothing else changes."""
    _, whole = run()
    before = planned()
    with rasterio.open(scene / "scene.tif", "r+") as dataset:
        pixels = dataset.read()
        pixels[:, :, 210:] = 0
        dataset.write(pixels)
    after = planned()
    assert after["live"] <= 0.6 * before["live"]
    assert after["pixels"] < before["pixels"]
    _, found = run()
    assert (found[:, 210:] == 255).all()
    # The network sees 0 where there is no data, four pixels far.
    assert np.array_equal(found[:, :206], whole[:, :206])


def test_probabilities_are_left_out_too(scene):
    """Outside the area, and under the mask, the raster of scores is nodata as the class map is."""
    (scene / "area.geojson").write_text(json.dumps(AREAS["hole"]))
    options = ("--aoi", "area.geojson", "--mask", "scl=3,8", "--arg", "return_probability_raster=float32")
    _document, found = run(*options)
    (folder,) = {path.parent for path in (scene / "out").rglob("probabilities.tif")}
    scores = raster(folder, "probabilities.tif")
    assert np.array_equal(np.isnan(scores).all(0), found == 255)
    assert np.array_equal(np.isnan(scores).any(0), found == 255)
