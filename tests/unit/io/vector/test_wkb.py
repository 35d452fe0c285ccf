"""Well-known binary made without shapely, against shapely."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.detection.placing import Placed, place_boxes, place_centres, place_outlines
from geodl_core.domain.grid import WGS84, Grid
from geodl_core.io.vector.arrays import blobs, coded, numbers
from geodl_core.io.vector.wkb import corner_records, to_wkb

UTM = "EPSG:32633"
GRID = Grid(UTM, (10.0, 0.0, 500000.0, 0.0, -10.0, 5100000.0), 2000, 2000)
TURNED = Grid(UTM, (8.0, 3.0, 500000.0, 4.0, -9.0, 5100000.0), 2000, 2000)
ACROSS = Grid("EPSG:32601", (100.0, 0.0, 320000.0, 0.0, -100.0, 7000000.0), 2000, 600)

numbers_of_a_map = st.floats(-1e7, 1e7)


def boxes_on(grid: Grid, count: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    centres, halves = rng.random((count, 2)) * (grid.width, grid.height), rng.random((count, 2)) * 40 + 1
    return np.concatenate([centres - halves, centres + halves], axis=1).astype(np.float32)


def decoded(placed: Placed) -> np.ndarray:
    return shapely.from_wkb(to_wkb(placed)[0].to_numpy(zero_copy_only=False))


@given(st.lists(st.tuples(*[st.tuples(numbers_of_a_map, numbers_of_a_map)] * 4), min_size=1, max_size=5))
def test_records_of_four_corners_are_shapelys_bytes(rings):
    """Any four corners give, to the last byte, what shapely writes of the polygon."""
    corners = np.array(rings).transpose(2, 1, 0)
    closed = np.array([(*ring, ring[0]) for ring in rings])
    expected = shapely.to_wkb(shapely.polygons(closed), byte_order=1)
    assert [record.tobytes() for record in corner_records(corners)] == expected.tolist()


@given(st.lists(st.tuples(numbers_of_a_map, numbers_of_a_map), min_size=1, max_size=5))
def test_records_of_one_corner_are_shapelys_bytes(points):
    """Any point gives, to the last byte, what shapely writes of it."""
    expected = shapely.to_wkb(shapely.points(np.array(points)), byte_order=1)
    assert [record.tobytes() for record in corner_records(np.array(points).T[:, None])] == expected.tolist()


def test_boxes_in_the_grids_own_crs_are_shapelys_boxes():
    """On a north-up grid the polygons equal `shapely.box` of the map coordinates."""
    boxes = boxes_on(GRID, 500)
    x0, y0, x1, y1 = boxes.astype(float).T
    expected = shapely.box(10 * x0 + 500000, 5100000 - 10 * y1, 10 * x1 + 500000, 5100000 - 10 * y0)
    placed = place_boxes(boxes, GRID, UTM)
    shapes = decoded(placed)
    assert shapely.equals_exact(shapely.normalize(shapes), shapely.normalize(expected)).all()
    assert shapely.is_ccw(shapely.get_exterior_ring(shapes)).all()
    assert to_wkb(placed)[1] == {"Polygon"}


def test_boxes_of_a_turned_grid_keep_their_four_corners():
    """They are no upright boxes on the map, but the turned ones."""
    boxes = boxes_on(TURNED, 50)
    upright = shapely.box(*boxes.astype(float).T)
    expected = shapely.transform(upright, lambda points: np.column_stack(TURNED.affine * tuple(points.T)))
    shapes = decoded(place_boxes(boxes, TURNED, UTM))
    assert shapely.equals_exact(shapely.normalize(shapes), shapely.normalize(expected), 1e-9).all()


def test_boxes_across_the_antimeridian_stand_in_their_rows():
    """Only they are multipolygons, each in the row of its box, all others are as without them."""
    boxes = boxes_on(ACROSS, 300)
    placed = place_boxes(boxes, ACROSS, WGS84)
    shapes = decoded(placed)
    assert 0 < len(placed.rows) < 300
    assert to_wkb(placed)[1] == {"Polygon", "MultiPolygon"}
    is_multiple = shapely.get_type_id(shapes) == shapely.GeometryType.MULTIPOLYGON
    np.testing.assert_array_equal(np.flatnonzero(is_multiple), placed.rows)
    assert shapely.equals_exact(shapes[placed.rows], placed.shapes).all()
    rest = np.setdiff1d(np.arange(300), placed.rows)
    alone = decoded(place_boxes(boxes[rest], ACROSS, WGS84))
    assert shapely.equals_exact(shapes[rest], alone).all()
    bounds = shapely.bounds(shapes)
    assert (bounds[:, 0] >= -180).all()
    assert (bounds[:, 2] <= 180).all()


def test_outlines_and_centres_come_back():
    """Outlines with holes, and points, are read by shapely as they were placed."""
    boxes = boxes_on(GRID, 20)
    whole = shapely.box(*boxes.astype(float).T)
    holed = shapely.difference(whole, shapely.buffer(shapely.centroid(whole), 0.5))
    outlined = place_outlines(holed, GRID, WGS84)
    assert (shapely.get_num_interior_rings(decoded(outlined)) == 1).all()
    assert shapely.equals_exact(decoded(outlined), outlined.shapes).all()
    assert to_wkb(outlined)[1] == {"Polygon"}
    centres = place_centres(boxes, GRID, WGS84)
    points = decoded(centres)
    np.testing.assert_array_equal(shapely.get_coordinates(points).T, centres.corners[:, 0])
    assert to_wkb(centres)[1] == {"Point"}


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int32, np.int64])
def test_arrays_hold_what_they_were_made_of(kind):
    """Numbers come back, from memory that is not contiguous too, and none of them is null."""
    values = np.arange(24, dtype=kind).reshape(6, 4)[:, 2]
    made = numbers(values)
    made.validate(full=True)
    assert made.null_count == 0
    np.testing.assert_array_equal(made.to_numpy(), values)


@given(st.lists(st.text(max_size=5), min_size=1, max_size=6, unique=True), st.data())
def test_texts_come_back(words, data):
    """Byte strings and coded texts are those that went in."""
    encoded = [word.encode() for word in words]
    assert blobs(encoded).to_pylist() == encoded
    codes = np.array(data.draw(st.lists(st.integers(0, len(words) - 1), max_size=8)), np.int32)
    made = coded(codes, words)
    made.validate(full=True)
    assert made.to_pylist() == [words[code] for code in codes]
