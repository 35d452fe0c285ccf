"""GeoParquet files of detections, against geopandas, pyarrow, PROJ and the rules of version 1.1."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import pytest
import shapely

from geodl_core.domain.classes import ClassEntry
from geodl_core.domain.detection.detections import Detections, no_detections, take
from geodl_core.domain.detection.hilbert import spatial_order
from geodl_core.domain.detection.placing import STEP_DEG
from geodl_core.domain.detection.table import VectorSpec
from geodl_core.domain.grid import WGS84, Grid
from geodl_core.errors import InputError, ItemError
from geodl_core.io.vector.geoparquet import rows_per_group, write_geoparquet

UTM = "EPSG:32633"
GRID = Grid(UTM, (10.0, 0.0, 500000.0, 0.0, -10.0, 5100000.0), 4000, 4000)
ACROSS = Grid("EPSG:32601", (100.0, 0.0, 320000.0, 0.0, -100.0, 7000000.0), 2000, 600)
CLASSES = tuple(ClassEntry(value, name, (1, 2, 3)) for value, name in ((7, "tree"), (2, "boat")))
SPEC = VectorSpec(
    GRID, CLASSES, "scene", "abc123", "finder", version="1.2", source_datetime="2024-05-01T12:30:00+02:00"
)
SIDES = ("xmin", "ymin", "xmax", "ymax")


def found(count: int, grid: Grid = GRID, size: float = 40.0) -> Detections:
    rng = np.random.default_rng(3)
    centres, halves = rng.random((count, 2)) * (grid.width, grid.height), rng.random((count, 2)) * size + 1
    return Detections(
        np.concatenate([centres - halves, centres + halves], axis=1).astype(np.float32),
        rng.random(count).astype(np.float32),
        rng.choice([2, 7, 9], count).astype(np.int32),
        rng.integers(0, 99, count).astype(np.int32),
        np.zeros(count, np.uint8),
    )


def ellipses(detections: Detections) -> Detections:
    """The same objects with outlines that have a hole."""
    x0, y0, x1, y1 = detections.boxes.astype(float).T
    disc, hole = shapely.Point(0, 0).buffer(0.5, 16), shapely.Point(0, 0).buffer(0.2, 4)
    shapes = [
        shapely.transform(disc - hole, lambda p, w=w, h=h, x=x, y=y: p * (w, h) + (x, y))
        for x, y, w, h in zip((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, strict=True)
    ]
    return replace(detections, outlines=np.array(shapes, object))


def geo_of(path) -> dict:
    return json.loads(pq.read_metadata(path).metadata[b"geo"])


def expected_shapes(detections: Detections, spec: VectorSpec) -> np.ndarray:
    """In the file's order, by shapely and PROJ."""
    some = take(detections, spatial_order(detections, spec.grid))
    shapes = shapely.box(*some.boxes.astype(float).T) if some.outlines is None else some.outlines
    transformer = pyproj.Transformer.from_crs(spec.grid.crs, spec.crs, always_xy=True)
    return shapely.transform(
        shapes, lambda points: np.column_stack(transformer.transform(*(spec.grid.affine * tuple(points.T))))
    )


@pytest.mark.parametrize("crs", [WGS84, UTM, "EPSG:3857"])
@pytest.mark.parametrize("shape", [lambda each: each, ellipses], ids=["boxes", "outlines"])
def test_geopandas_reads_what_was_written(tmp_path, crs, shape):
    """Every column comes back as it went in, geometries where PROJ puts them, in the CRS asked for."""
    detections, spec = shape(found(300)), replace(SPEC, crs=crs)
    facts = write_geoparquet(tmp_path / "found.parquet", detections, spec)
    frame = gpd.read_parquet(tmp_path / "found.parquet")
    some = take(detections, spatial_order(detections, GRID))
    assert frame.crs == pyproj.CRS(crs)
    shapes, expected = np.array(frame.geometry), expected_shapes(detections, spec)
    tolerance = STEP_DEG if crs == WGS84 else 1e-6
    assert shapely.equals_exact(shapely.normalize(shapes), shapely.normalize(expected), tolerance).all()
    for name, values in (("class_id", some.class_ids), ("score", some.scores), ("tile", some.tiles)):
        assert frame[name].dtype == values.dtype
        np.testing.assert_array_equal(frame[name], values)
    np.testing.assert_array_equal(frame[[f"box_px_{side}" for side in SIDES]], some.boxes)
    names = {2: "boat", 7: "tree", 9: "9"}
    assert frame.class_name.tolist() == [names[value] for value in some.class_ids.tolist()]
    constant = {"source_id": "scene", "job_id": "abc123", "model": "finder", "model_version": "1.2"}
    assert all((frame[name] == value).all() for name, value in constant.items())
    assert (frame.datetime == datetime(2024, 5, 1, 10, 30, tzinfo=UTC)).all()
    assert facts.rows == 300
    assert facts.geometry_types == ("Polygon",)
    assert dict(facts.counts) == {value: int((some.class_ids == value).sum()) for value in (2, 7, 9)}
    assert facts.bbox == pytest.approx(tuple(frame.total_bounds), abs=0)


def test_the_facts_name_the_columns_and_groups_of_the_file(tmp_path):
    """Columns and their types are those that pyarrow finds, the count of row groups too."""
    facts = write_geoparquet(tmp_path / "found.parquet", found(5000), replace(SPEC, with_area=True))
    schema = pq.read_schema(tmp_path / "found.parquet")
    types = {
        field.name: field.type.value_type if pa.types.is_dictionary(field.type) else field.type for field in schema
    }
    types["bbox"] = "struct<xmin: float, ymin: float, xmax: float, ymax: float>"
    assert {column.name: column.type for column in facts.columns} == {name: str(kind) for name, kind in types.items()}
    assert [column.name for column in facts.columns] == schema.names
    assert facts.row_groups == pq.read_metadata(tmp_path / "found.parquet").num_row_groups == 3
    assert all(column.description for column in facts.columns)


@pytest.mark.parametrize("crs", [WGS84, UTM, "EPSG:4258"])
@pytest.mark.parametrize("geometry", ["polygon", "point"])
def test_the_metadata_keep_the_rules_of_geoparquet(tmp_path, crs, geometry):
    """Required keys and their values, CRS as PROJJSON, covering by float columns that are there for every row."""
    spec = replace(SPEC, crs=crs, geometry=geometry)
    facts = write_geoparquet(tmp_path / "found.parquet", found(50), spec)
    geo = geo_of(tmp_path / "found.parquet")
    assert (geo["version"], geo["primary_column"], list(geo["columns"])) == ("1.1.0", "geometry", ["geometry"])
    column = geo["columns"]["geometry"]
    assert set(column) <= {"encoding", "geometry_types", "crs", "edges", "orientation", "bbox", "covering"}
    assert column["encoding"] == "WKB"
    assert column["geometry_types"] == [geometry.title()]
    assert column["edges"] == "planar"
    assert column.get("orientation") == ("counterclockwise" if geometry == "polygon" else None)
    assert tuple(column["bbox"]) == facts.bbox
    if crs == WGS84:
        assert "crs" not in column
    else:
        assert column["crs"]["$schema"].startswith("https://proj.org/schemas/")
        assert pyproj.CRS.from_json_dict(column["crs"]) == pyproj.CRS(crs)
    assert column["covering"] == {"bbox": {side: ["bbox", side] for side in SIDES}}
    parquet = pq.ParquetFile(tmp_path / "found.parquet").schema
    leaves = {parquet.column(index).path: parquet.column(index) for index in range(len(parquet))}
    assert leaves["geometry"].physical_type == "BYTE_ARRAY"
    covering = [leaves[f"bbox.{side}"] for side in SIDES]
    assert {leaf.physical_type for leaf in covering} == {"FLOAT"}
    # The bounds' repetition must be the geometry's: both required.
    assert {leaf.max_definition_level for leaf in (*covering, leaves["geometry"])} == {0}
    assert {leaf.max_repetition_level for leaf in leaves.values()} == {0}


@pytest.mark.parametrize("crs", [WGS84, UTM])
def test_the_bounds_of_rows_hold_their_geometries(tmp_path, crs):
    """Rounded to 32 bits they never fall short, and exceed the exact ones by one step of such numbers at most."""
    write_geoparquet(tmp_path / "found.parquet", found(2000), replace(SPEC, crs=crs))
    table = pq.read_table(tmp_path / "found.parquet")
    exact = shapely.bounds(shapely.from_wkb(table["geometry"].to_numpy())).T
    bounds = [table["bbox"].combine_chunks().field(side).to_numpy() for side in SIDES]
    for side, (rounded, wanted) in enumerate(zip(bounds, exact, strict=True)):
        outside = wanted - rounded if side < 2 else rounded - wanted
        assert (outside >= 0).all()
        assert (outside <= np.spacing(rounded)).all()


def test_a_filter_by_place_reads_few_row_groups(tmp_path):
    """Of 100,000 points a box of a hundredth of the area touches a tenth of the row groups at most, and finds all."""
    path = tmp_path / "found.parquet"
    write_geoparquet(path, found(100_000), replace(SPEC, geometry="point", crs=UTM))
    metadata = pq.read_metadata(path)
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    names = [groups[0].column(index).path_in_schema for index in range(metadata.num_columns)]
    spans = np.array(
        [
            [
                getattr(group.column(names.index(f"bbox.{side}")).statistics, "min" if side.endswith("min") else "max")
                for side in SIDES
            ]
            for group in groups
        ]
    )
    shares = []
    for col, row in np.ndindex(10, 10):
        west, north = 500000 + 4000 * col, 5100000 - 4000 * row
        box = (west, north - 4000, west + 4000, north)
        touched = (spans[:, 0] <= box[2]) & (spans[:, 2] >= box[0]) & (spans[:, 1] <= box[3]) & (spans[:, 3] >= box[1])
        shares.append(touched.mean())
    assert len(groups) == 49
    assert np.mean(shares) <= 0.08
    assert np.quantile(shares, 0.9) <= 0.1
    inside = gpd.read_parquet(path, bbox=box)
    everything = gpd.read_parquet(path)
    assert len(inside) == everything.intersects(shapely.box(*box)).sum() > 0


@pytest.mark.parametrize(
    "change",
    [{}, {"geometry": "point"}, {"arcgis_fields": True}, {"with_area": True}, {"crs": UTM}, {"source_datetime": None}],
)
def test_the_same_detections_give_the_same_bytes(tmp_path, change):
    """Whatever the path and the order of the rows."""
    detections, spec = found(3000), replace(SPEC, **change)
    mixed = take(detections, np.random.default_rng(0).permutation(3000))
    write_geoparquet(tmp_path / "one.parquet", detections, spec)
    write_geoparquet(tmp_path / "deeper" / "two.parquet", mixed, spec)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "deeper" / "two.parquet").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deeper", "one.parquet"]


@pytest.mark.parametrize("change", [{}, {"geometry": "point", "crs": UTM}, {"with_area": True, "arcgis_fields": True}])
def test_no_detections_give_a_valid_file(tmp_path, change):
    """It has the columns of others, no rows, and no types of geometries."""
    spec = replace(SPEC, **change)
    facts = write_geoparquet(tmp_path / "none.parquet", no_detections(), spec)
    write_geoparquet(tmp_path / "some.parquet", found(5), spec)
    frame = gpd.read_parquet(tmp_path / "none.parquet")
    assert len(frame) == 0
    assert frame.crs == pyproj.CRS(spec.crs)
    schemas = [pq.read_schema(tmp_path / f"{name}.parquet").remove_metadata() for name in ("none", "some")]
    assert schemas[0] == schemas[1]
    column = geo_of(tmp_path / "none.parquet")["columns"]["geometry"]
    assert column["geometry_types"] == []
    assert "bbox" not in column
    assert (facts.rows, facts.geometry_types, facts.bbox, dict(facts.counts)) == (0, (), None, {})


def test_objects_across_the_antimeridian_are_multipolygons(tmp_path):
    """They are valid and cut, their bounds go all around, those of the file are west > east (RFC 7946)."""
    detections = found(500, ACROSS)
    facts = write_geoparquet(tmp_path / "found.parquet", detections, replace(SPEC, grid=ACROSS))
    assert facts.geometry_types == ("MultiPolygon", "Polygon")
    assert geo_of(tmp_path / "found.parquet")["columns"]["geometry"]["geometry_types"] == ["MultiPolygon", "Polygon"]
    table = pq.read_table(tmp_path / "found.parquet")
    shapes = shapely.from_wkb(table["geometry"].to_numpy())
    assert shapely.is_valid(shapes).all()
    crossing = shapely.get_type_id(shapes) == shapely.GeometryType.MULTIPOLYGON
    bounds = table["bbox"].combine_chunks()
    assert set(bounds.field("xmin").to_numpy()[crossing]) == {-180}
    assert set(bounds.field("xmax").to_numpy()[crossing]) == {180}
    lon = np.mod(shapely.get_coordinates(shapes)[:, 0], 360)
    west, _, east, _ = facts.bbox
    assert west > east
    assert (west, east + 360) == pytest.approx((lon.min(), lon.max()), abs=1e-9)


def test_bounds_are_narrow_where_nothing_is_cut_at_the_antimeridian(tmp_path):
    """Objects on both sides of it give bounds with west > east; objects on both sides of Greenwich do not."""
    grid = Grid("EPSG:4326", (0.01, 0.0, 179.0, 0.0, -0.01, 10.0), 100, 200)
    boxes = np.array([[10, 10, 20, 20], [150, 10, 160, 20]], np.float32)
    detections = replace(take(found(2), np.arange(2)), boxes=boxes)
    facts = write_geoparquet(tmp_path / "found.parquet", detections, replace(SPEC, grid=grid))
    assert facts.bbox == pytest.approx((179.1, 9.8, -179.4, 9.9), abs=1e-9)
    greenwich = replace(grid, transform=(0.01, 0.0, -1.0, 0.0, -0.01, 10.0))
    facts = write_geoparquet(tmp_path / "found.parquet", detections, replace(SPEC, grid=greenwich))
    assert facts.bbox == pytest.approx((-0.9, 9.8, 0.6, 9.9), abs=1e-9)


def test_arcgis_names_are_those_of_its_tools(tmp_path):
    """Class, Confidence of 0 to 100 and Classvalue stand in place of ours."""
    detections = found(100)
    write_geoparquet(tmp_path / "found.parquet", detections, replace(SPEC, arcgis_fields=True))
    frame = gpd.read_parquet(tmp_path / "found.parquet")
    some = take(detections, spatial_order(detections, GRID))
    assert not {"class_id", "class_name", "score"} & set(frame.columns)
    np.testing.assert_allclose(frame.Confidence, some.scores.astype(float) * 100, atol=1e-5)
    assert frame.Confidence.dtype == np.float64
    np.testing.assert_array_equal(frame.Classvalue, some.class_ids)
    assert set(frame.Class) == {"boat", "tree", "9"}


@pytest.mark.parametrize("change", [{}, {"crs": UTM}, {"geometry": "point"}])
@pytest.mark.parametrize("shape", [lambda each: each, ellipses], ids=["boxes", "outlines"])
def test_areas_are_those_of_geodesics(tmp_path, change, shape):
    """Whatever the CRS and geometry written, the area is the outline's on the ellipsoid."""
    detections, spec = shape(found(100)), replace(SPEC, with_area=True, **change)
    write_geoparquet(tmp_path / "found.parquet", detections, spec)
    geod = pyproj.Geod(ellps="WGS84")
    shapes = shapely.orient_polygons(expected_shapes(detections, replace(SPEC, crs=WGS84)))
    expected = [geod.geometry_area_perimeter(shape)[0] for shape in shapes]
    frame = gpd.read_parquet(tmp_path / "found.parquet")
    np.testing.assert_allclose(frame.area_m2, expected, rtol=1e-6, atol=0.1)


def test_classes_of_one_name_and_sources_without_a_time(tmp_path):
    """Two ids may share a name; time and version may be missing."""
    classes = tuple(ClassEntry(value, "tree", (0, 0, 0)) for value in (2, 7))
    spec = replace(SPEC, classes=classes, version=None, source_datetime=None)
    write_geoparquet(tmp_path / "found.parquet", found(50), spec)
    frame = gpd.read_parquet(tmp_path / "found.parquet")
    assert set(frame.class_name) == {"tree", "9"}
    assert frame.datetime.isna().all()
    assert frame.model_version.isna().all()


@pytest.mark.parametrize(("rows", "expected"), [(0, 2048), (100_000, 2048), (1_000_000, 16384), (10**7, 65536)])
def test_row_groups_grow_with_the_file(rows, expected):
    """About 64 groups hold all rows, none of fewer than 2,048 or more than 65,536."""
    assert rows_per_group(rows) == expected


def test_a_failed_write_leaves_what_was_there(tmp_path):
    """Where objects have no place in the CRS the file of before stays, and nothing else."""
    path = tmp_path / "found.parquet"
    path.write_bytes(b"before")
    disc = Grid("+proj=geos +h=35785831 +lon_0=0 +sweep=y +ellps=WGS84", (3000.0, 0, -6e6, 0, -3000.0, 6e6), 4000, 4000)
    with pytest.raises(ItemError, match="no place"):
        write_geoparquet(path, found(10, disc), replace(SPEC, grid=disc))
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"crs": "EPSG:0"}, "output CRS: expected one that PROJ knows"),
        ({"crs": "EPSG:4978"}, "geographic or projected"),
        ({"source_datetime": "yesterday"}, "source datetime: expected RFC 3339"),
        ({"simplify_px": -1.0}, "0 pixels or more"),
        ({"simplify_px": float("nan")}, "0 pixels or more"),
    ],
)
def test_a_spec_that_cannot_be_is_refused(change, words):
    """The error says what was expected."""
    with pytest.raises(InputError, match=words):
        replace(SPEC, **change)
