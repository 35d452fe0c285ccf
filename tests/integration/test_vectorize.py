"""`geodl vectorize`: from a class map to a file of polygons."""

import json
import tracemalloc
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import rasterio.features
import shapely
from click.testing import CliRunner
from rasterio.transform import from_origin
from scipy import ndimage

from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.cli.vectorize import vectorize as command
from geodl_core.domain.regions.class_map import ClassMap, Selection
from geodl_core.engine.trace_regions import Simplification, Sizing, find_regions, trace_regions
from geodl_core.engine.vectorize import Measure, Wish, vectorize
from geodl_core.errors import InputError, ItemError
from geodl_core.io.vector.run_store import RunStore
from items import write_item
from scenes import write_raster
from servers import FileServer

ALL = Selection(None, frozenset())
CLASSES = [
    {"value": value, "name": name.lower(), "title": name}
    for value, name in enumerate(("Background", "Water", "Forest", "Field"))
]


def class_values(shape, seed=0, share=0.05):
    """Return (h, w) classes 0 to 3 with noise, and nodata 255 in a slanted corner and in a hole."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal(shape), 5)
    values = np.digitize(smooth, np.quantile(smooth, [0.3, 0.6, 0.8])).astype(np.uint8)
    is_noise = rng.random(shape) < share
    values[is_noise] = rng.integers(0, 4, is_noise.sum())
    rows, cols = np.indices(shape)
    values[rows + 3 * cols < shape[0] // 2] = 255
    values[60:63, 70:72] = 255
    return values


@pytest.fixture
def raster(tmp_path):
    return write_raster(tmp_path / "classes.tif", class_values((170, 210))[None], nodata=255)


def run(*arguments):
    result = CliRunner().invoke(command, list(map(str, arguments)))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def read(path):
    return gpd.read_parquet(path) if path.suffix == ".parquet" else gpd.read_file(path)


def in_pixels(frame, raster):
    """Return shapes of a file in the raster's pixels."""
    with rasterio.open(raster) as dataset:
        inverse = ~dataset.transform
    return shapely.transform(frame.geometry.to_numpy(), lambda points: np.column_stack(inverse @ tuple(points.T)))


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".geojson", ".fgb"])
@pytest.mark.parametrize("connectivity", [4, 8])
def test_strips_do_not_matter(tmp_path, raster, suffix, connectivity):
    """The file is the same, byte for byte, whatever the height of the strips."""
    wish = Wish(ALL, Measure(12, is_px=True), connectivity, Measure(1.5, is_px=True))
    contents = set()
    for rows in (1, 7, 64, 169, 5000):
        target = tmp_path / f"found{suffix}"
        vectorize(ClassMap(str(raster), "classes", {}), wish, target, rows)
        contents.add(target.read_bytes())
    assert len(contents) == 1


def test_polygons_are_gdals(tmp_path, raster):
    """Without a sieve each polygon is one that GDAL traces of the whole raster, and none is missing."""
    target = tmp_path / "found.parquet"
    vectorize(ClassMap(str(raster), "classes", {}), Wish(ALL), target, 16)
    found = read(target)
    with rasterio.open(raster) as dataset:
        values = dataset.read(1)
        traced = list(rasterio.features.shapes(values, values != 255, 4, dataset.transform))
    expected = gpd.GeoDataFrame(
        {"class_id": [int(value) for _, value in traced]},
        geometry=shapely.make_valid([shapely.geometry.shape(shape) for shape, _ in traced]),
        crs=found.crs,
    )
    assert len(found) == len(expected)
    for value in range(4):
        mine, other = (each[each.class_id == value].geometry for each in (found, expected))
        assert sorted(mine.area) == pytest.approx(sorted(other.area))
        assert shapely.equals(mine.union_all(), other.union_all())
    assert found.is_valid.all()
    assert found.crs == "EPSG:32633"
    assert not shapely.contains_xy(found.union_all(), _nodata_middles(raster)).any()


def _nodata_middles(raster):
    with rasterio.open(raster) as dataset:
        rows, cols = np.nonzero(dataset.read(1) == 255)
        return np.column_stack(dataset.transform @ (cols + 0.5, rows + 0.5))


def test_simplified_neighbours_leave_no_gaps(tmp_path):
    """Sieved and simplified, the polygons of a map without nodata cover its extent exactly, once."""
    values = class_values((150, 160), 3)
    values[values == 255] = 1
    raster = write_raster(tmp_path / "full.tif", values[None])
    target = tmp_path / "found.parquet"
    run(raster, "--min-area", "1500", "--simplify", "18", "-o", target)
    found = read(target)
    assert shapely.coverage_is_valid(found.geometry.to_numpy())
    assert found.area.sum() == 150 * 160 * 100
    with rasterio.open(raster) as dataset:
        assert shapely.equals(shapely.coverage_union_all(found.geometry.to_numpy()), shapely.box(*dataset.bounds))
    raw = tmp_path / "raw.parquet"
    run(raster, "--min-area", "1500", "-o", raw)
    assert len(read(raw)) == len(found)
    assert found.get_coordinates().shape[0] < 0.5 * read(raw).get_coordinates().shape[0]


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:4326", "EPSG:3035"])
def test_neighbours_in_another_crs_share_their_points(tmp_path, raster, crs):
    """In another CRS too, polygons are a coverage, and lie where the raster lies."""
    target = tmp_path / "found.fgb"
    run(raster, "--min-area", "20px", "--simplify", "1.5px", "--crs", crs, "-o", target)
    found = read(target)
    assert found.crs == crs
    assert found.is_valid.all()
    assert shapely.coverage_is_valid(found.geometry.to_numpy())
    here = tmp_path / "here.fgb"
    run(raster, "--min-area", "20px", "--simplify", "1.5px", "-o", here)
    back = found.to_crs("EPSG:32633").geometry
    distances = sorted(shapely.hausdorff_distance(back.to_numpy(), _by_place(read(here), found)))
    assert distances[-1] < 0.05


def _by_place(here, found):
    """Return the shapes of `here` in the order that `found` has them."""
    keys = {(row.class_id, round(row.area_m2, 3)): row.geometry for row in here.itertuples()}
    return np.array([keys[row.class_id, round(row.area_m2, 3)] for row in found.itertuples()])


def test_areas_are_geodesic(tmp_path, raster):
    """`area_m2` is the area on the ellipsoid: that in PROJ's equal-area projection, of sides cut short."""
    target = tmp_path / "found.parquet"
    run(raster, "--min-area", "20px", "-o", target)
    found = read(target)
    expected = found.segmentize(50).to_crs("+proj=laea +lat_0=47.8 +lon_0=12.3 +ellps=WGS84").area
    np.testing.assert_allclose(found.area_m2, expected, rtol=1e-5)
    assert not np.allclose(found.area_m2, found.area, rtol=1e-4)


def test_a_result_names_its_classes_and_origin(tmp_path):
    """Of a result's Item, of its raster, and out of a catalog: names, ids and chosen classes are the same."""
    folder = tmp_path / "geodl-net" / "scene_net_0123abcd"
    folder.mkdir(parents=True)
    raster = write_raster(folder / "classification.tif", class_values((120, 140))[None], nodata=255)
    path = write_item(folder, {"classification": {"href": raster}}, folder.name, "geodl-net")
    item = json.loads(path.read_text())
    item["assets"]["classification"]["classification:classes"] = CLASSES
    item["properties"] |= {"geodl:source": "s2/scene", "geodl:job_id": "0123abcd45", "geodl:model": "net"}
    path.write_text(json.dumps(item))
    with SqliteCatalog(tmp_path / "catalog.db") as catalog:
        catalog.put_collection({"id": "geodl-net"})
        catalog.put_items([item])
    options = ("--min-area", "1000", "--class", "water", "--class", "3", "--without", "Field", "--force")
    contents = set()
    for number, source in enumerate((path, raster, f"catalog:geodl-net/{folder.name}")):
        target = tmp_path / f"{number}.parquet"
        result = run(source, *options, "-o", target, "--catalog", tmp_path / "catalog.db")
        assert "Water" in result.output
        contents.add(target.read_bytes())
    assert len(contents) == 1
    found = read(target)
    assert set(found.class_name) == {"Water"}
    assert set(found.class_id) == {1}
    (origin,) = found[["item_id", "source_id", "job_id", "model"]].drop_duplicates().itertuples(index=False)
    assert tuple(origin) == (folder.name, "s2/scene", "0123abcd45", "net")
    run(raster, "--json")
    assert (folder / "classification.parquet").is_file()


def test_a_raster_elsewhere_gives_the_same(tmp_path, raster):
    """Over HTTP the polygons are the same, and hardly more than the raster's bytes are fetched."""
    run(raster, "--min-area", "20px", "-o", tmp_path / "here.parquet")
    with FileServer(tmp_path) as server:
        run(server.url(raster.name), "--min-area", "20px", "-o", tmp_path / "there.parquet")
        fetched = sum(request.sent_bytes for request in server.requests if request.path.endswith(raster.name))
    assert (tmp_path / "there.parquet").read_bytes() == (tmp_path / "here.parquet").read_bytes()
    assert fetched < 1.5 * raster.stat().st_size


def test_names_beside_a_raster_are_used(tmp_path, raster):
    """Without an Item, class names come from the attribute table that GDAL keeps beside the raster."""
    rows = "".join(f"<Row><F>{value}</F><F>Kind {value}</F></Row>" for value in range(4))
    fields = "".join(f"<FieldDefn><Name>{name}</Name></FieldDefn>" for name in ("Value", "Class"))
    table = f"<GDALRasterAttributeTable>{fields}{rows}</GDALRasterAttributeTable>"
    Path(f"{raster}.aux.xml").write_text(f"<PAMDataset><PAMRasterBand band='1'>{table}</PAMRasterBand></PAMDataset>")
    result = run(raster, "--class", "kind 2", "--json", "-o", tmp_path / "k.gpkg")
    (entry,) = json.loads(result.output)["classes"]
    assert entry["name"] == "Kind 2"
    found = read(tmp_path / "k.gpkg")
    assert len(found) == entry["polygons"]
    assert found.area_m2.sum() == pytest.approx(entry["area_m2"])
    assert "job_id" not in found


def test_regions_that_hold_at_corners_are_one_feature(tmp_path):
    """With connectivity 8, polygons that touch at corners are one valid multipolygon."""
    values = np.zeros((12, 12), np.uint8)
    values[[2, 3, 4], [2, 3, 4]] = 1
    raster = write_raster(tmp_path / "c.tif", values[None])
    run(raster, "--connectivity", "8", "-o", tmp_path / "8.parquet")
    run(raster, "--class", "1", "-o", tmp_path / "4.parquet")
    by_corners = read(tmp_path / "8.parquet").set_index("class_id").geometry[1]
    assert (by_corners.geom_type, len(by_corners.geoms)) == ("MultiPolygon", 3)
    assert by_corners.is_valid
    assert len(read(tmp_path / "4.parquet")) == 3


def test_square_metres_hold_where_pixels_differ(tmp_path):
    """On a geographic grid the same pixels are a large region near the equator and a small one near the pole."""
    values = np.zeros((1600, 40), np.uint8)
    for row in (5, 1590):
        values[row : row + 4, 10:14] = 1
    transform = from_origin(10, 80, 0.05, 0.05)
    raster = write_raster(tmp_path / "g.tif", values[None], crs="EPSG:4326", transform=transform)
    pixel_m2 = (0.05 * 111_320) ** 2
    run(raster, "--min-area", 8 * pixel_m2, "--class", "1", "-o", tmp_path / "g.parquet")
    found = read(tmp_path / "g.parquet")
    assert len(found) == 1
    assert found.total_bounds[3] < 2
    assert found.area_m2[0] == pytest.approx(16 * pixel_m2, rel=0.01)


def test_polygons_are_cut_at_the_antimeridian(tmp_path):
    """In longitude and latitude nothing reaches around the Earth, and areas are those of whole polygons."""
    values = np.ones((60, 400), np.uint8)
    values[20:40, 20:150] = 2
    raster = write_raster(
        tmp_path / "a.tif", values[None], crs="EPSG:32601", transform=from_origin(100_000, 100_000, 1000, 1000)
    )
    run(raster, "-o", tmp_path / "a.geojson")
    run(raster, "-o", tmp_path / "a.parquet")
    found, whole = read(tmp_path / "a.geojson"), read(tmp_path / "a.parquet")
    assert shapely.get_num_geometries(found.geometry).tolist() == [2, 2]
    west, _, east, _ = found.total_bounds
    assert (west, east) == (-180, 180)
    assert all(part.bounds[2] - part.bounds[0] < 4 for part in found.geometry.explode())
    np.testing.assert_allclose(found.area_m2, whole.area_m2, rtol=1e-6)


def test_memory_does_not_grow_with_rows(tmp_path):
    """Ten times the rows of a map with as many regions take no more memory: strips are let go."""

    def peak(strips):
        sizing = Sizing(np.ones(strips * 64, np.int64), 10)
        one = np.zeros((64, 3000), np.uint8)
        one[:, 1500:] = 1
        valid = np.ones(one.shape, bool)
        with RunStore(tmp_path) as store:
            tracemalloc.start()
            found = find_regions(((one, valid) for _ in range(strips)), sizing, store)
            shapes, _ = trace_regions(found, np.array([True, True]), Simplification(1.0), store)
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert shapely.area(shapes).tolist() == [strips * 64 * 1500] * 2
        return most

    peak(2)
    assert peak(100) < 1.05 * peak(10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--min-area", "many"], "--min-area many: expected a number such as 500"),
        (["--simplify", "-3px"], "--simplify -3px"),
        (["--class", "forest"], "class forest: no class is called so"),
        (["-o", "found.shp"], r"found \.shp"),
        (["--crs", "EPSG:1"], "--crs: expected one that PROJ knows"),
        (["-o", "x.geojson", "--crs", "EPSG:3857"], "GeoJSON holds longitude and latitude alone"),
    ],
)
def test_bad_wishes_are_refused(tmp_path, monkeypatch, raster, arguments, message):
    """What cannot be done is said before the work, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        run(raster, *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["classes.tif"]


def test_rasters_that_are_no_class_maps_are_refused(tmp_path, raster):
    """Measurements, several bands, and a file that exists are refused."""
    scores = write_raster(tmp_path / "scores.tif", np.zeros((1, 130, 130), np.float32))
    with pytest.raises(ItemError, match="one band of whole numbers, found 1 of float32"):
        run(scores)
    two = write_raster(tmp_path / "two.tif", np.zeros((2, 130, 130), np.uint8))
    with pytest.raises(ItemError, match="found 2 of uint8"):
        run(two)
    run(raster)
    with pytest.raises(InputError, match="exists"):
        run(raster)
    run(raster, "--force")


def test_nothing_found_is_an_empty_file(tmp_path, raster):
    """A class that the map does not have gives a file without features, with all columns."""
    run(raster, "--class", "9", "--simplify", "2px", "-o", tmp_path / "none.parquet")
    found = read(tmp_path / "none.parquet")
    assert len(found) == 0
    assert list(found.columns)[:3] == ["class_id", "class_name", "area_m2"]
