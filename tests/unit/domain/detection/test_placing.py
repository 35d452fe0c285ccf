"""Objects in the output CRS, against shapely, PROJ and geodesics; the antimeridian and the poles."""

from dataclasses import replace

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.detection.areas import ELLIPSOID, WIDEST_DEG, areas_m2
from geodl_core.domain.detection.placing import STEP_DEG, place_boxes, place_centres, place_outlines
from geodl_core.domain.grid import WGS84, Grid
from geodl_core.errors import ItemError

UTM = "EPSG:32633"
NORTH_UP = (10.0, 0.0, 500000.0, 0.0, -10.0, 5100000.0)
GRIDS = {
    "north up": NORTH_UP,
    "south up": (10.0, 0.0, 500000.0, 0.0, 10.0, 5000000.0),
    "mirrored": (-10.0, 0.0, 500000.0, 0.0, -10.0, 5100000.0),
    "turned": (8.0, 3.0, 500000.0, 4.0, -9.0, 5100000.0),
    "turned and mirrored": (3.0, 8.0, 500000.0, -9.0, 4.0, 5100000.0),
}
ACROSS = Grid("EPSG:32601", (100.0, 0.0, 320000.0, 0.0, -100.0, 7000000.0), 2000, 600)
"""Its middle column lies near longitude 180."""
FROM_EAST_ACROSS = Grid("EPSG:32601", (-100.0, 0.0, 380000.0, 0.0, -100.0, 7000000.0), 2000, 600)
POLE = Grid("EPSG:3031", (1000.0, 0.0, -500e3, 0.0, -1000.0, 500e3), 1000, 1000)


def random_boxes(count: int, grid: Grid, size: float = 30.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres, halves = rng.random((count, 2)) * (grid.width, grid.height), size ** rng.random((count, 2))
    return np.concatenate([centres - halves, centres + halves], axis=1).astype(np.float32)


def as_shapes(boxes: np.ndarray) -> np.ndarray:
    return np.atleast_1d(shapely.box(*boxes.astype(float).T))


def oracle(boxes: np.ndarray, grid: Grid, crs: str) -> np.ndarray:
    """The boxes by shapely and PROJ, point by point."""
    transformer = pyproj.Transformer.from_crs(grid.crs, crs, always_xy=True)

    def placed(points: np.ndarray) -> np.ndarray:
        there = [grid.affine * (x, y) for x, y in points]
        return np.array([transformer.transform(x, y) for x, y in there])

    return shapely.transform(as_shapes(boxes), placed)


@pytest.mark.parametrize("transform", GRIDS.values(), ids=GRIDS.keys())
@pytest.mark.parametrize("crs", [UTM, WGS84, "EPSG:3857", "EPSG:4326"])
def test_boxes_lie_where_proj_puts_their_corners(transform, crs):
    """On any grid and in any CRS the corners are PROJ's, exteriors are counter-clockwise, bounds hold them."""
    grid = Grid(UTM, transform, 2000, 2000)
    boxes = random_boxes(200, grid)
    placed = place_boxes(boxes, grid, crs)
    rings = np.moveaxis(placed.corners, (0, 1, 2), (2, 1, 0))
    shapes, expected = shapely.polygons(rings), oracle(boxes, grid, crs)
    tolerance = STEP_DEG if crs in (WGS84, "EPSG:4326") else 1e-6
    assert shapely.equals_exact(shapely.normalize(shapes), shapely.normalize(expected), tolerance).all()
    assert shapely.is_ccw(shapely.get_exterior_ring(shapes)).all()
    np.testing.assert_array_equal(placed.bounds.T, shapely.bounds(shapes))
    assert len(placed.rows) == 0


@given(st.tuples(*[st.floats(-20, 20).filter(lambda value: abs(value) > 1e-2)] * 2), st.floats(0, 6.3))
def test_boxes_of_any_grid_run_counter_clockwise(steps, turn):
    """However a grid is scaled, mirrored and turned, exteriors run counter-clockwise and keep their area."""
    cosine, sine = np.cos(turn), np.sin(turn)
    grid = Grid(UTM, (steps[0] * cosine, -steps[1] * sine, 5e5, steps[0] * sine, steps[1] * cosine, 5e6), 100, 100)
    boxes = np.array([[3, 4, 9, 12]], np.float32)
    ring = shapely.Polygon(place_boxes(boxes, grid, UTM).corners[:, :, 0].T)
    assert ring.exterior.is_ccw
    assert ring.area == pytest.approx(48 * abs(steps[0] * steps[1]), rel=1e-4)


def test_boxes_without_an_area_leave_the_others_counter_clockwise():
    """One that is a line is kept as it is, among others that had to be turned round."""
    boxes = np.array([[3, 4, 9, 12], [3, 4, 9, 4], [20, 20, 30, 21]], np.float32)
    placed = place_boxes(boxes, Grid(UTM, NORTH_UP, 100, 100), UTM)
    shapes = shapely.polygons(np.moveaxis(placed.corners, (0, 1, 2), (2, 1, 0)))
    assert shapely.is_ccw(shapely.get_exterior_ring(shapes))[[0, 2]].all()
    assert shapes[1].bounds == (500030.0, 5099960.0, 500090.0, 5099960.0)


@pytest.mark.parametrize("crs", [UTM, WGS84])
def test_outlines_of_boxes_lie_where_boxes_lie(crs):
    """Rectangles given as outlines come out as boxes do."""
    grid = Grid(UTM, NORTH_UP, 2000, 2000)
    boxes = random_boxes(100, grid)
    placed, outlined = place_boxes(boxes, grid, crs), place_outlines(as_shapes(boxes), grid, crs)
    assert outlined.corners is None
    shapes = shapely.polygons(np.moveaxis(placed.corners, (0, 1, 2), (2, 1, 0)))
    assert shapely.equals_exact(shapely.normalize(shapes), shapely.normalize(outlined.shapes)).all()
    np.testing.assert_array_equal(placed.bounds, outlined.bounds)


def test_outlines_keep_holes_and_parts():
    """Holes and parts are kept, exteriors counter-clockwise and holes clockwise."""
    grid = Grid(UTM, NORTH_UP, 2000, 2000)
    ring = shapely.box(0, 0, 40, 40).difference(shapely.box(10, 10, 20, 20))
    two = shapely.MultiPolygon([ring, shapely.box(50, 50, 60, 60)])
    placed = place_outlines(np.array([ring, two], object), grid, UTM)
    assert [shape.geom_type for shape in placed.shapes] == ["Polygon", "MultiPolygon"]
    assert shapely.area(placed.shapes).tolist() == [150000.0, 160000.0]
    holed = placed.shapes[0]
    assert holed.exterior.is_ccw
    assert not holed.interiors[0].is_ccw


def test_simplified_outlines_keep_their_holes_and_boxes_their_corners():
    """Points go, holes stay, no point of the outline moves further than the tolerance, boxes are left alone."""
    grid = Grid(UTM, (1.0, 0.0, 5e5, 0.0, -1.0, 5e6), 500, 500)
    blob = shapely.Point(200, 200).buffer(100, 64).difference(shapely.Point(200, 200).buffer(1.5, 64))
    small = shapely.Polygon([(0, 0), (2, 1), (1, 3), (-1, 2)])
    outlines = np.array([blob, small], object)
    whole, simple = (place_outlines(outlines, grid, UTM, tolerance).shapes for tolerance in (0.0, 2.0))
    assert shapely.get_num_coordinates(simple[0]) < shapely.get_num_coordinates(whole[0]) / 4
    assert shapely.get_num_interior_rings(simple[0]) == 1
    assert shapely.hausdorff_distance(simple[0].exterior, whole[0].exterior) <= 2.0
    assert simple[1] == whole[1]


@pytest.mark.parametrize("as_outlines", [False, True])
@pytest.mark.parametrize("grid", [ACROSS, FROM_EAST_ACROSS], ids=["from the west", "from the east"])
def test_objects_across_the_antimeridian_are_cut_there(as_outlines, grid):
    """Both halves lie within -180 … 180, their areas are the whole's, and all others lie on one side."""
    boxes = random_boxes(500, grid, size=80)
    placed = place_outlines(as_shapes(boxes), grid, WGS84) if as_outlines else place_boxes(boxes, grid, WGS84)
    west, _, east, _ = placed.bounds
    crossing = np.flatnonzero(west > east)
    assert len(crossing) > 5
    shapes = dict(zip(placed.rows.tolist(), placed.shapes, strict=True))
    jumping = oracle(boxes, grid, WGS84)
    for row in crossing.tolist():
        cut = shapes[row]
        assert cut.geom_type == "MultiPolygon"
        assert cut.is_valid
        assert cut.bounds[0] == -180
        assert cut.bounds[2] == 180
        lon, lat = shapely.get_coordinates(jumping[row]).T
        whole = shapely.Polygon(np.column_stack([np.mod(lon, 360), lat]))
        assert cut.area == pytest.approx(whole.area, rel=1e-6)
        assert (west[row], east[row] + 360) == pytest.approx((whole.bounds[0], whole.bounds[2]), abs=1e-9)
    others = np.setdiff1d(np.arange(len(boxes)), crossing)
    assert (east[others] - west[others] < 5).all()
    assert (west[others] < 0).any()
    assert (west[others] > 0).any()


def test_grids_from_0_to_360_are_brought_home():
    """Longitudes beyond 180 are those of the western half, and only what crosses is cut."""
    grid = Grid("EPSG:4326", (0.01, 0.0, 170.0, 0.0, -0.01, 10.0), 100, 2000)
    boxes = np.array([[100, 10, 110, 20], [990, 10, 1010, 20], [1500, 10, 1510, 20]], np.float32)
    expected = [(171.0, 171.1), (179.9, -179.9), (-175.0, -174.9)]
    for placed in (place_boxes(boxes, grid, WGS84), place_outlines(as_shapes(boxes), grid, WGS84)):
        np.testing.assert_allclose(placed.bounds[[0, 2]].T, expected, atol=1e-9)
        crossing = dict(zip(placed.rows.tolist(), placed.shapes, strict=True))[1]
        np.testing.assert_allclose(shapely.bounds(crossing.geoms).tolist()[0][1::2], (9.8, 9.9), atol=1e-9)
    centres = place_centres(boxes, grid, WGS84)
    np.testing.assert_allclose(centres.bounds[0], [171.05, 180.0, -174.95], atol=1e-9)


@pytest.mark.parametrize("transform", [POLE.transform, (0.0, 1000.0, -500e3, 1000.0, 0.0, -500e3)])
@pytest.mark.parametrize("around", [(490, 495, 505, 510), (495, 495, 505, 505)])
def test_a_box_around_a_pole_holds_it(around, transform):
    """It becomes a valid polygon from side to side of the map, down to the pole, wherever its corners start."""
    boxes, grid = np.array([around, [700, 700, 710, 710]], np.float32), replace(POLE, transform=transform)
    for placed in (place_boxes(boxes, grid, WGS84), place_outlines(as_shapes(boxes), grid, WGS84)):
        shape = dict(zip(placed.rows.tolist(), placed.shapes, strict=True))[0]
        assert shape.is_valid
        assert placed.bounds[:3, 0].tolist() == [-180, -90, 180]
        assert all(shape.covers(shapely.Point(lon, -89.99)) for lon in range(-180, 181, 15))
        assert placed.bounds[2, 1] - placed.bounds[0, 1] < 5


def test_centres_are_those_of_the_boxes():
    """The points are PROJ's of the middle of the pixels' box."""
    grid = Grid(UTM, GRIDS["turned"], 2000, 2000)
    boxes = random_boxes(50, grid)
    x0, y0, x1, y1 = boxes.astype(float).T
    expected = pyproj.Transformer.from_crs(UTM, WGS84, always_xy=True).transform(
        *(grid.affine * ((x0 + x1) / 2, (y0 + y1) / 2))
    )
    placed = place_centres(boxes, grid, WGS84)
    np.testing.assert_allclose(placed.corners[:, 0], expected, atol=STEP_DEG)
    np.testing.assert_array_equal(placed.bounds, np.concatenate([placed.corners[:, 0]] * 2))


def test_objects_without_a_place_are_refused():
    """An object off the Earth's disc has no longitude; the error names the CRS."""
    disc = Grid("+proj=geos +h=35785831 +lon_0=0 +sweep=y +ellps=WGS84", (3000.0, 0, -6e6, 0, -3000.0, 6e6), 4000, 4000)
    place_boxes(np.array([[2000, 2000, 2010, 2010]], np.float32), disc, WGS84)
    with pytest.raises(ItemError, match="no place in OGC:CRS84"):
        place_boxes(np.array([[2, 2, 9, 9]], np.float32), disc, WGS84)


@pytest.mark.parametrize("latitude", [0.0, 45.0, -70.0, 84.0])
@pytest.mark.parametrize("as_outlines", [False, True])
def test_areas_are_those_of_geodesic_polygons(latitude, as_outlines):
    """For each object, small and wide, the area is what geodesics give, to a millionth or a tenth of a square metre."""
    utm = pyproj.CRS.from_epsg(32633 if latitude >= 0 else 32733)
    y = pyproj.Transformer.from_crs(WGS84, utm, always_xy=True).transform(15, latitude)[1]
    grid = Grid(f"EPSG:{utm.to_epsg()}", (10.0, 0.0, 450000.0, 0.0, -10.0, y + 50000), 10000, 10000)
    boxes = random_boxes(100, grid, size=600)
    placed = place_outlines(as_shapes(boxes), grid, WGS84) if as_outlines else place_boxes(boxes, grid, WGS84)
    west, _, east, _ = placed.bounds
    is_wide = east - west > WIDEST_DEG
    assert is_wide.any()
    assert not is_wide.all()
    expected = [
        abs(ELLIPSOID.geometry_area_perimeter(shape)[0]) for shape in shapely.normalize(oracle(boxes, grid, WGS84))
    ]
    np.testing.assert_allclose(areas_m2(placed), expected, rtol=1e-6, atol=0.1)


def test_areas_leave_holes_out_and_cuts_whole():
    """A hole is no area; an object across the antimeridian has that of both halves; a box around a pole its own."""
    grid = Grid(UTM, NORTH_UP, 2000, 2000)
    square, hole = shapely.box(0, 0, 40, 40), shapely.box(10, 10, 20, 20)
    whole, without, part = areas_m2(place_outlines(np.array([square, square - hole, hole], object), grid, WGS84))
    assert whole - without == pytest.approx(part, rel=1e-9)
    boxes = random_boxes(500, ACROSS, size=80)
    placed, outlined = place_boxes(boxes, ACROSS, WGS84), place_outlines(as_shapes(boxes), ACROSS, WGS84)
    assert len(placed.rows) > 0
    rings = (np.array(shape.exterior.coords).T for shape in oracle(boxes, ACROSS, WGS84))
    expected = [abs(ELLIPSOID.polygon_area_perimeter(*ring)[0]) for ring in rings]
    np.testing.assert_allclose(areas_m2(placed), expected, rtol=1e-6, atol=0.1)
    np.testing.assert_allclose(areas_m2(outlined), expected, rtol=1e-3)  # cut where sides are straight on the map
    around = areas_m2(place_boxes(np.array([[490, 495, 505, 510]], np.float32), POLE, WGS84))
    scale = pyproj.Proj("EPSG:3031").get_factors(0, -89.99).areal_scale
    assert around[0] == pytest.approx(225e6 / scale, rel=1e-3)


def test_points_have_no_area():
    """A centre's area is 0."""
    grid = Grid(UTM, NORTH_UP, 2000, 2000)
    assert areas_m2(place_centres(random_boxes(3, grid), grid, WGS84)).tolist() == [0, 0, 0]
