"""Files of features in every format: written, read again, refused."""

import json
import sqlite3
import time
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pyproj
import pytest
import shapely

from geodl_core.domain.classes import ClassEntry
from geodl_core.domain.detection.detections import Detections, no_detections, take
from geodl_core.domain.detection.hilbert import spatial_order
from geodl_core.domain.detection.table import VectorSpec
from geodl_core.domain.grid import WGS84, Grid
from geodl_core.errors import DataError, InputError, StoreError
from geodl_core.io.vector.files import read_features, write_features, write_vector

UTM = "EPSG:32633"
GRID = Grid(UTM, (10.0, 0.0, 500000.0, 0.0, -10.0, 5100000.0), 4000, 4000)
ACROSS = Grid("EPSG:32601", (100.0, 0.0, 320000.0, 0.0, -100.0, 7000000.0), 2000, 600)
CLASSES = tuple(ClassEntry(value, name, (1, 2, 3)) for value, name in ((7, "Bäume"), (2, "boat")))
SPEC = VectorSpec(GRID, CLASSES, "scene", "abc123", "finder", source_datetime="2024-05-01T10:30:00.250Z")
FORMATS = {"geoparquet": ".parquet", "gpkg": ".gpkg", "geojson": ".geojson", "fgb": ".fgb"}
OTHERS = ("gpkg", "geojson", "fgb")


def found(count: int, grid: Grid = GRID) -> Detections:
    rng = np.random.default_rng(3)
    centres, halves = rng.random((count, 2)) * (grid.width, grid.height), rng.random((count, 2)) * 40 + 1
    return Detections(
        np.concatenate([centres - halves, centres + halves], axis=1).astype(np.float32),
        rng.random(count).astype(np.float32),
        rng.choice([2, 7], count).astype(np.int32),
        np.arange(count, dtype=np.int32),
        np.zeros(count, np.uint8),
    )


def table(crs: str | None = UTM) -> gpd.GeoDataFrame:
    shapes = [shapely.box(500000 + 10 * i, 5000000, 500005 + 10 * i, 5000007) for i in range(4)]
    columns = {
        "name": ["a", None, "ü", "d"],
        "score": np.array([0.1, 0.2, 0.3, 1 / 3]),
        "count": np.arange(4, dtype=np.int64) + 2**40,
        "kind": pd.Categorical(["x", "y", "x", "y"]),
    }
    frame = gpd.GeoDataFrame(columns, geometry=shapes, crs=UTM)
    return frame if crs == UTM else frame.set_crs(None, allow_override=True) if crs is None else frame.to_crs(crs)


def by_tile(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    return frame.sort_values("tile").reset_index(drop=True)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("geometry", ["polygon", "point"])
@pytest.mark.parametrize("crs", [WGS84, UTM])
def test_detections_come_back_from_every_format(tmp_path, kind, geometry, crs):
    """Geometries, classes, scores, boxes and times are those that were written, in the CRS that the facts tell."""
    detections, spec = found(300), replace(SPEC, geometry=geometry, crs=crs)
    path = tmp_path / f"found{FORMATS[kind]}"
    facts = write_vector(path, detections, spec, kind)
    frame = by_tile(read_features(path))
    assert facts.crs == (WGS84 if kind == "geojson" else crs)
    assert pyproj.CRS(frame.crs).equals(pyproj.CRS(facts.crs if facts.crs != WGS84 else frame.crs))
    assert pyproj.CRS(frame.crs).is_geographic == (facts.crs == WGS84)
    assert [column.name for column in facts.columns if column.name not in frame.columns] == (
        ["bbox"] if kind == "geoparquet" else []
    )
    # Text of numbers has eight digits, of degrees seven decimals.
    tolerance = 1e-7 if kind == "geojson" else 0
    np.testing.assert_array_equal(frame.class_id, detections.class_ids)
    np.testing.assert_allclose(frame.score, detections.scores, rtol=tolerance)
    boxes = frame[[f"box_px_{side}" for side in ("xmin", "ymin", "xmax", "ymax")]]
    np.testing.assert_allclose(boxes, detections.boxes, rtol=tolerance)
    names = {2: "boat", 7: "Bäume"}
    assert frame.class_name.tolist() == [names[value] for value in detections.class_ids.tolist()]
    assert (frame.datetime == pd.Timestamp("2024-05-01T10:30:00.250Z")).all()
    assert frame.model_version.isna().all()
    x0, y0, x1, y1 = detections.boxes.astype(float).T
    shapes = shapely.box(x0, y0, x1, y1) if geometry == "polygon" else shapely.points((x0 + x1) / 2, (y0 + y1) / 2)
    transformer = pyproj.Transformer.from_crs(UTM, facts.crs, always_xy=True)
    expected = shapely.transform(
        shapes, lambda points: np.column_stack(transformer.transform(*(GRID.affine * tuple(points.T))))
    )
    near = shapely.hausdorff_distance(np.array(frame.geometry), expected)
    assert (near <= (1e-7 if kind == "geojson" else 1e-9)).all()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("grid", [GRID, ACROSS], ids=["here", "across the antimeridian"])
def test_two_writes_give_the_same_bytes(tmp_path, kind, grid):
    """Whatever the path, the order of the rows, and the time."""
    detections, spec = found(200, grid), replace(SPEC, grid=grid)
    mixed = take(detections, np.random.default_rng(0).permutation(200))
    one, two = tmp_path / f"one{FORMATS[kind]}", tmp_path / "deeper" / f"two{FORMATS[kind]}"
    write_vector(one, detections, spec, kind)
    time.sleep(0.01)  # GeoPackage says the millisecond
    write_vector(two, mixed, spec, kind)
    assert one.read_bytes() == two.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deeper", one.name]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("geometry", ["polygon", "point"])
def test_no_detections_give_a_file_that_can_be_read(tmp_path, kind, geometry):
    """It has no rows and, but for GeoJSON which knows none without, the columns of others."""
    path = tmp_path / f"none{FORMATS[kind]}"
    facts = write_vector(path, no_detections(), replace(SPEC, geometry=geometry), kind)
    frame = read_features(path)
    assert len(frame) == facts.rows == 0
    assert kind == "geojson" or {"class_id", "score", "tile", "model"} <= set(frame.columns)


@pytest.mark.parametrize("kind", OTHERS)
def test_cut_objects_are_of_one_type_with_the_others(tmp_path, kind):
    """Layers of one type hold multipolygons alone; GeoJSON keeps each feature's own."""
    path = tmp_path / f"found{FORMATS[kind]}"
    facts = write_vector(path, found(300, ACROSS), replace(SPEC, grid=ACROSS), kind)
    write_vector(tmp_path / "found.parquet", found(300, ACROSS), replace(SPEC, grid=ACROSS), "geoparquet")
    frame, expected = (by_tile(read_features(each)) for each in (path, tmp_path / "found.parquet"))
    types = ("MultiPolygon", "Polygon") if kind == "geojson" else ("MultiPolygon",)
    assert facts.geometry_types == types
    assert tuple(sorted(set(frame.geom_type))) == types
    assert len(set(expected.geom_type)) == 2
    assert (shapely.hausdorff_distance(np.array(frame.geometry), np.array(expected.geometry)) < 2e-7).all()


def test_geojson_keeps_to_rfc_7946(tmp_path):
    """No CRS is named, exteriors run counter-clockwise, coordinates have seven decimals at most."""
    write_vector(tmp_path / "found.geojson", found(50), replace(SPEC, crs="EPSG:3857"), "geojson")
    document = json.loads((tmp_path / "found.geojson").read_text())
    assert "crs" not in document
    rings = [shapely.LinearRing(feature["geometry"]["coordinates"][0]) for feature in document["features"]]
    assert shapely.is_ccw(rings).all()
    points = shapely.get_coordinates(rings)
    np.testing.assert_array_equal(points, points.round(7))
    assert ((np.abs(points) <= (180, 90)) & (points > 0)).all()


def test_geopackages_are_sound(tmp_path):
    """SQLite finds no fault, the layer's CRS is EPSG:4326, its type is the objects'."""
    write_vector(tmp_path / "found.gpkg", found(50), SPEC, "gpkg")
    with sqlite3.connect(tmp_path / "found.gpkg") as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("SELECT table_name, srs_id FROM gpkg_contents").fetchall() == [("detections", 4326)]
        assert database.execute("SELECT geometry_type_name FROM gpkg_geometry_columns").fetchall() == [("POLYGON",)]
    database.close()


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".geojson", ".json", ".fgb"])
@pytest.mark.parametrize("crs", [UTM, WGS84, None])
def test_tables_come_back_from_every_format(tmp_path, suffix, crs):
    """Values, geometries and CRS are kept; GeoJSON is in longitude and latitude where the table has a CRS."""
    frame, path = table(crs), tmp_path / f"table{suffix}"
    write_features(frame, path)
    read = read_features(path).sort_values("score").reset_index(drop=True)
    assert read.name.isna().tolist() == [False, True, False, False]
    assert read.name.dropna().tolist() == ["a", "ü", "d"]
    assert read["count"].tolist() == frame["count"].tolist()
    assert read.kind.tolist() == frame.kind.tolist()
    np.testing.assert_allclose(read.score, frame.score, rtol=1e-15)
    expected = frame.to_crs(WGS84) if "json" in suffix and crs is not None else frame
    tolerance = 1e-7 if "json" in suffix else 1e-9
    near = shapely.hausdorff_distance(np.array(read.geometry), np.array(expected.geometry))
    assert (near <= tolerance).all()
    if crs == UTM and "json" not in suffix:
        assert read.crs == pyproj.CRS(UTM)


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".geojson", ".fgb"])
def test_two_writes_of_a_table_give_the_same_bytes(tmp_path, suffix):
    """Whatever the path and the time."""
    write_features(table(), tmp_path / f"one{suffix}")
    time.sleep(0.01)
    write_features(table(), tmp_path / f"two{suffix}")
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


@pytest.mark.parametrize("kind", FORMATS)
def test_what_was_read_of_detections_can_be_written(tmp_path, kind):
    """A table of detections, read from GeoParquet and given a column, is written in every format."""
    write_vector(tmp_path / "found.parquet", found(20), replace(SPEC, with_area=True), "geoparquet")
    frame = read_features(tmp_path / "found.parquet")
    path = tmp_path / f"more{FORMATS[kind]}"
    write_features(frame.assign(damage=np.arange(20)), path)
    assert sorted(read_features(path).damage.tolist()) == list(range(20))


def test_geoparquet_of_tables_has_bounds_to_filter_by(tmp_path):
    """A filter by place gives what geopandas finds in memory; a table's own column `bbox` is kept."""
    write_features(table(), tmp_path / "table.parquet")
    box = (500000, 5000000, 500012, 5000009)
    assert len(gpd.read_parquet(tmp_path / "table.parquet", bbox=box)) == 2
    write_features(table().assign(bbox=[1, 2, 3, 4]), tmp_path / "own.parquet")
    assert read_features(tmp_path / "own.parquet")["bbox"].tolist() == [1, 2, 3, 4]


def test_shapefiles_are_read(tmp_path):
    """With their CRS, through the file that ends in .shp, whatever its case."""
    pyogrio.write_dataframe(table()[["score", "geometry"]], tmp_path / "table.shp", driver="ESRI Shapefile")
    frame = read_features(tmp_path / "table.shp")
    assert frame.crs == pyproj.CRS(UTM)
    np.testing.assert_allclose(frame.score, table().score)
    assert shapely.equals(np.array(frame.geometry), np.array(table().geometry)).all()


def test_several_layers_are_named_and_refused(tmp_path):
    """The error names the layers with geometries; tables without are passed over."""
    path = tmp_path / "two.gpkg"
    pyogrio.write_dataframe(table(), path, layer="boats")
    pyogrio.write_dataframe(pd.DataFrame({"a": [1]}), path, layer="notes", append=True)
    assert len(read_features(path)) == 4
    pyogrio.write_dataframe(table(), path, layer="trees", append=True)
    with pytest.raises(InputError, match="expected one layer with geometries, found 2: boats, trees"):
        read_features(path)


def test_files_without_geometries_are_refused(tmp_path):
    """Plain Parquet and a GeoPackage of tables alone are input errors."""
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "plain.parquet")
    with pytest.raises(InputError, match=r"plain\.parquet: expected GeoParquet with geometries"):
        read_features(tmp_path / "plain.parquet")
    pyogrio.write_dataframe(pd.DataFrame({"a": [1]}), tmp_path / "plain.gpkg", layer="notes")
    with pytest.raises(InputError, match="found none"):
        read_features(tmp_path / "plain.gpkg")


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".geojson", ".fgb", ".shp"])
def test_damaged_files_are_data_errors(tmp_path, suffix):
    """What is not of its suffix's format, or is cut off, names the file."""
    path = tmp_path / f"odd{suffix}"
    path.write_bytes(b"nothing of the kind" * 20)
    with pytest.raises(DataError, match=rf"odd\{suffix}: cannot be read"):
        read_features(path)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 0.99])
def test_files_that_were_cut_off_are_data_errors(tmp_path, kind, share):
    """No part of the features is taken for the whole, wherever the file ends."""
    path = tmp_path / f"found{FORMATS[kind]}"
    write_vector(path, found(2000), SPEC, kind)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DataError, match=rf"found\{path.suffix}: cannot be read"):
        read_features(path)


def test_what_cannot_be_read_says_what_was_expected(tmp_path):
    """No file, a folder, another format."""
    with pytest.raises(InputError, match="expected a file of features, found none"):
        read_features(tmp_path / "none.gpkg")
    with pytest.raises(InputError, match="found a folder"):
        read_features(tmp_path)
    (tmp_path / "words.txt").write_text("x")
    with pytest.raises(InputError, match=r"expected GeoParquet, GeoPackage.* found \.txt"):
        read_features(tmp_path / "words.txt")


def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path):
    """Another suffix, a column that the format does not know, a folder that is a file."""
    with pytest.raises(InputError, match=r"expected one of \.parquet.* found \.shp"):
        write_features(table(), tmp_path / "table.shp")
    with pytest.raises(InputError, match=r"the table cannot be written as \.gpkg"):
        write_features(table().assign(odd=pd.to_timedelta([1, 2, 3, 4], unit="s")), tmp_path / "table.gpkg")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError):
        write_vector(tmp_path / "file" / "found.gpkg", found(3), SPEC, "gpkg")


def test_rows_follow_the_curve_in_formats_that_keep_their_order(tmp_path):
    """GeoPackage and GeoJSON list objects as GeoParquet does."""
    detections = found(100)
    order = spatial_order(detections, GRID).tolist()
    for kind in ("geoparquet", "gpkg", "geojson"):
        path = tmp_path / f"found{FORMATS[kind]}"
        write_vector(path, detections, SPEC, kind)
        assert read_features(path).tile.tolist() == order


@pytest.mark.parametrize("suffix", [".fgb", ".gpkg", ".geojson", ".parquet"])
def test_features_that_are_nowhere(tmp_path, suffix):
    """A row without a geometry is written and read like the others, in every format."""
    frame = gpd.GeoDataFrame({"number": [1, 2]}, geometry=[shapely.box(1, 2, 3, 4), None], crs="EPSG:4326")
    path = tmp_path / f"some{suffix}"
    write_features(frame, path)
    found = read_features(path)
    assert found["number"].tolist() == [1, 2]
    assert shapely.equals(found.geometry.iloc[0], shapely.box(1, 2, 3, 4))
    assert found.geometry.iloc[1] is None


def test_a_layer_has_the_name_that_it_is_given(tmp_path):
    """GeoPackage names its layer as asked, and detections else."""
    frame = gpd.GeoDataFrame({"number": [1]}, geometry=[shapely.box(1, 2, 3, 4)], crs="EPSG:4326")
    write_features(frame, tmp_path / "some.gpkg", layer="classes")
    write_features(frame, tmp_path / "other.gpkg")
    assert pyogrio.list_layers(tmp_path / "some.gpkg")[0, 0] == "classes"
    assert pyogrio.list_layers(tmp_path / "other.gpkg")[0, 0] == "detections"
