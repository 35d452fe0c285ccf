"""Areas of interest on grids, against shapely, PROJ and GDAL."""

from dataclasses import replace

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize

from geodl_core.domain.area.area import Area, read_area
from geodl_core.domain.area.area_grid import area_mask, area_on_grid, cells_meeting
from geodl_core.domain.grid import WGS84, Grid
from geodl_core.domain.pixels.chip import Mask
from geodl_core.domain.window import Window
from geodl_core.errors import ItemError

UTM = Grid("EPSG:32632", (20.0, 0.0, 600000.0, 0.0, -20.0, 5400000.0), 600, 750)
GRIDS = {
    "utm": UTM,
    "degrees": Grid("EPSG:4326", (0.0004, 0.0, 10.3, 0.0, -0.0002, 48.8), 600, 750),
    "rotated": Grid("EPSG:32632", (16.0, 6.0, 603000.0, 8.0, -18.0, 5395000.0), 600, 500),
    "mercator": Grid("EPSG:3857", (40.0, 0.0, 1150000.0, 0.0, -40.0, 6220000.0), 500, 500),
    "upside down": Grid("EPSG:32632", (20.0, 0.0, 600000.0, 0.0, 20.0, 5388000.0), 600, 750),
}
# One polygon with a hole and one beside it, oblique and curved at will.
TWO = (
    '{"type": "MultiPolygon", "coordinates": ['
    "[[[10.37, 48.65], [10.47, 48.66], [10.51, 48.75], [10.42, 48.735], [10.37, 48.65]],"
    " [[10.43, 48.69], [10.45, 48.71], [10.46, 48.69], [10.43, 48.69]]],"
    "[[[10.49, 48.66], [10.55, 48.655], [10.53, 48.7], [10.49, 48.66]]]]}"
)
FIJI = Grid("EPSG:32601", (120.0, 0.0, 130000.0, 0.0, -120.0, -1790000.0), 915, 915)


def whole(grid: Grid) -> Window:
    return Window(0, 0, grid.height, grid.width)


def centres(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    cols, rows = np.meshgrid(np.arange(grid.width) + 0.5, np.arange(grid.height) + 0.5)
    return cols, rows


def inside_in_degrees(shape: shapely.Geometry, grid: Grid) -> tuple[Mask, Mask]:
    """Return which pixels' centres lie in a shape in degrees, and which lie too near its sides to tell."""
    to_degrees = pyproj.Transformer.from_crs(grid.crs, WGS84, always_xy=True)

    def contains(cols: np.ndarray, rows: np.ndarray) -> Mask:
        lon, lat = to_degrees.transform(*(grid.affine @ (cols, rows)))
        shapely.prepare(shape)
        return shapely.contains_xy(shape, lon, lat) | shapely.contains_xy(shape, lon - 360, lat)

    cols, rows = centres(grid)
    inside = contains(cols, rows)
    near = [contains(cols + x, rows + y) != inside for x, y in ((-0.1, 0), (0.1, 0), (0, -0.1), (0, 0.1))]
    return inside, np.logical_or.reduce(near)


@pytest.mark.parametrize("name", GRIDS)
def test_pixels_are_those_whose_centres_lie_inside(name: str) -> None:
    """A pixel is inside where its centre lies in the polygon in degrees, a tenth of a pixel from its sides apart."""
    grid, area = GRIDS[name], read_area(TWO)
    found = area_mask(area_on_grid(area, grid), whole(grid))
    expected, unsure = inside_in_degrees(shapely.from_geojson(TWO), grid)
    assert 0.05 < expected.mean() < 0.95
    assert (found == expected)[~unsure].all()


@pytest.mark.parametrize(
    "grid",
    [
        FIJI,
        Grid("EPSG:4326", (0.002, 0.0, 178.5, 0.0, -0.002, -16.0), 750, 1250),
        Grid("EPSG:4326", (0.002, 0.0, -181.5, 0.0, -0.002, -16.0), 750, 1250),
        Grid("EPSG:3857", (300.0, 0.0, 19900000.0, 0.0, -300.0, -1750000.0), 750, 1000),
    ],
    ids=["utm", "degrees over 180", "degrees under -180", "mercator"],
)
def test_across_the_antimeridian(grid: Grid) -> None:
    """An area given as halves beside the antimeridian is one on a grid that crosses it, without a seam."""
    shape = area_on_grid(read_area("179.1,-17.4,-179.6,-16.3"), grid)
    assert shape.geom_type == "Polygon"
    found = area_mask(shape, whole(grid))
    lon, lat = pyproj.Transformer.from_crs(grid.crs, WGS84, always_xy=True).transform(*(grid.affine @ centres(grid)))
    lon = lon % 360
    expected = (lon > 179.1) & (lon < 180.4) & (lat > -17.4) & (lat < -16.3)
    margin = 0.2 * max(abs(lon[0, 1] - lon[0, 0]), abs(lat[1, 0] - lat[0, 0]))
    unsure = np.minimum.reduce([abs(lon - 179.1), abs(lon - 180.4), abs(lat + 17.4), abs(lat + 16.3)]) < margin
    assert expected.any()
    assert (found == expected)[~unsure].all()


@pytest.mark.parametrize(("crs", "sign"), [("EPSG:3413", 1), ("EPSG:3031", -1)])
def test_around_a_pole(crs: str, sign: int) -> None:
    """An area around a pole holds the pole and has no seam along any meridian."""
    grid = Grid(crs, (5000.0, 0.0, -1002500.0, 0.0, -5000.0, 1002500.0), 401, 401)
    south, north = sorted([sign * 85, sign * 90])
    shape = area_on_grid(read_area(f"-180,{south},180,{north}"), grid)
    _, lat = pyproj.Transformer.from_crs(crs, WGS84, always_xy=True).transform(*(grid.affine @ centres(grid)))
    assert len(shapely.get_rings(shape)) == 1
    found = area_mask(shape, whole(grid))
    assert (found == (abs(lat) > 85))[abs(abs(lat) - 85) > 0.02].all()


def test_sides_follow_the_projection() -> None:
    """A side that is straight in degrees is followed to a tenth of a pixel where the projection bends it."""
    grid = Grid("EPSG:32632", (10.0, 0.0, 600000.0, 0.0, -10.0, 5400000.0), 10980, 10980)
    shape = area_on_grid(read_area("9,48.2,14,48.5"), grid)
    lon = np.linspace(10.5, 11.5, 1001)
    points = pyproj.Transformer.from_crs(WGS84, grid.crs, always_xy=True).transform(lon, np.full_like(lon, 48.5))
    cols, rows = ~grid.affine @ points
    gap = shapely.distance(shape.boundary, shapely.points(cols, rows))
    assert gap.max() < 0.1
    straight = shapely.linestrings([[cols[0], rows[0]], [cols[-1], rows[-1]]])
    assert shapely.distance(straight, shapely.points(cols, rows)).max() > 10


def test_the_whole_earth_is_the_whole_grid() -> None:
    """Huge areas are cut to the grid before they are drawn: every pixel is inside, with few points."""
    for grid in (UTM, FIJI, *GRIDS.values(), Grid("EPSG:4326", (0.5, 0.0, -180.0, 0.0, -0.5, 90.0), 360, 720)):
        shape = area_on_grid(read_area("-180,-90,180,90"), grid)
        assert area_mask(shape, whole(grid)).all()
        assert shapely.get_num_coordinates(shape) < 100


@pytest.mark.parametrize("box", ["20,48,21,49", "10.3,-48.8,10.6,-48.6", "-170,48,-169,49"])
def test_an_area_elsewhere(box: str) -> None:
    """An area that does not meet the scene is an ItemError that says where both lie."""
    with pytest.raises(ItemError, match="does not meet the scene") as caught:
        area_on_grid(read_area(box), UTM)
    assert box.replace(",", ", ") in caught.value.message
    assert "10.357, 48.634, 10.564, 48.745" in caught.value.message


def test_an_area_that_only_touches() -> None:
    """An area beside the grid, which shares but a side with it, does not meet it."""
    grid = Grid("EPSG:4326", (0.01, 0.0, 10.0, 0.0, -0.01, 50.0), 100, 100)
    with pytest.raises(ItemError, match="does not meet"):
        area_on_grid(read_area("9,49,10,50"), grid)


def test_a_grid_without_place() -> None:
    """A grid whose CRS has no place on Earth is an ItemError."""
    grid = Grid('LOCAL_CS["somewhere",UNIT["metre",1]]', UTM.transform, 10, 10)
    with pytest.raises(ItemError, match="no place on Earth"):
        area_on_grid(read_area("1,2,3,4"), grid)


@st.composite
def shapes(draw: st.DrawFn) -> shapely.Geometry:
    """Valid shapes about a 60 × 60 grid, many with sides along and through pixels' centres."""
    coordinate = st.one_of(
        st.integers(-10, 130).map(lambda n: n / 2), st.floats(-5, 65).map(lambda x: round(x, 6)), st.just(30 + 1 / 3)
    )
    rings = st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=9)
    drawn = [shapely.make_valid(shapely.Polygon(ring)) for ring in draw(st.lists(rings, min_size=1, max_size=3))]
    parts = [part for part in shapely.get_parts(shapely.union_all(drawn)) if part.geom_type == "Polygon"]
    return shapely.MultiPolygon(parts)


ends = st.tuples(st.integers(-10, 70), st.integers(-10, 70)).map(sorted)
windows = st.tuples(ends, ends).map(lambda sides: Window(sides[0][0], sides[1][0], sides[0][1], sides[1][1]))


@settings(deadline=None)
@given(shapes(), windows)
def test_a_pixel_does_not_depend_on_its_window(shape: shapely.Geometry, window: Window) -> None:
    """A window's mask is the cut of a larger one's, also where sides run through pixels' centres."""
    larger = Window(-10, -10, 70, 70)
    expected = area_mask(shape, larger)[window.top + 10 : window.bottom + 10, window.left + 10 : window.right + 10]
    assert (area_mask(shape, window) == expected).all()


@settings(deadline=None, max_examples=50)
@given(shapes())
def test_pixels_agree_with_shapely(shape: shapely.Geometry) -> None:
    """A centre inside is a pixel inside, one outside is outside; only those on a side may be either."""
    grid = replace(UTM, height=60, width=60)
    cols, rows = centres(grid)
    sides = shapely.boundary(shape)
    shapely.prepare([shape, sides])
    far = ~shapely.dwithin(sides, shapely.points(cols, rows), 1e-9)
    assert (area_mask(shape, whole(grid)) == shapely.contains_xy(shape, cols, rows))[far].all()


def test_neighbouring_areas_share_no_pixel() -> None:
    """Where two areas share a side, each centre on it lies in exactly one of them."""
    points = [(0.5, 0.5), (20.5, 40.5), (60.5, 50.5), (30.5, 0.5)]
    first, second = shapely.Polygon(points[:3]), shapely.Polygon([points[0], points[2], points[3]])
    window = Window(0, 0, 60, 60)
    both = area_mask(first, window).astype(int) + area_mask(second, window)
    assert both.max() == 1
    assert (both == area_mask(shapely.union(first, second), window)).all()


def test_sides_through_centres_do_not_depend_on_the_window() -> None:
    """What GDAL's rasterize cannot promise: sides that pass through centres, but for rounding, give one answer."""
    rng = np.random.default_rng(0)
    differs = 0
    for _ in range(40):
        slope, centre = rng.integers(1, 40, 2), rng.integers(0, 900, 2) + 0.5
        start, end = centre - slope * rng.random(), centre + slope * (rng.integers(5, 20) + rng.random())
        shape = shapely.Polygon([start, end, (start[0], end[1])])
        large = Window(0, 0, 1800, 1800)
        left, top = np.maximum(centre.astype(int) - rng.integers(1, 90, 2), 0)
        window = Window(int(top), int(left), int(top) + 150, int(left) + 150)
        cut = np.s_[window.top : window.bottom, window.left : window.right]
        assert (area_mask(shape, window) == area_mask(shape, large)[cut]).all()
        gdal = (
            rasterize([shape], large.shape)[cut],
            rasterize([shapely.affinity.translate(shape, -left, -top)], (150, 150)),
        )
        differs += int((gdal[0] != gdal[1]).any())
    assert differs > 0


@pytest.mark.parametrize("core_px", [(7, 11), (64, 64), (1, 1), (5000, 5000)])
@settings(deadline=None, max_examples=25)
@given(shape=shapes())
def test_tiles_that_meet_the_area(core_px: tuple[int, int], shape: shapely.Geometry) -> None:
    """A tile meets the area exactly if its core, cut to the grid, intersects it; so none with pixels is left out."""
    grid = replace(UTM, height=50, width=60)
    height, width = core_px
    tops, lefts = np.meshgrid(np.arange(0, 50, height), np.arange(0, 60, width), indexing="ij")
    cores = shapely.box(lefts, tops, np.minimum(lefts + width, 60), np.minimum(tops + height, 50))
    found = cells_meeting(shape, grid, core_px)
    assert (found == shapely.intersects(shape, cores)).all()
    rows, cols = np.nonzero(area_mask(shape, whole(grid)))
    assert found[rows // height, cols // width].all()


@pytest.mark.timeout(30)
def test_many_tiles_are_quick() -> None:
    """Hundreds of thousands of tiles are told in about a second (30 allowed on a busy machine)."""
    grid = replace(UTM, height=10980, width=10980)
    area: Area = read_area("10.4,47.9,11.2,48.6")
    found = cells_meeting(area_on_grid(area, grid), grid, (14, 14))
    assert found.size > 600_000
    assert 0 < found.sum() < found.size


def test_a_disc_of_the_earth() -> None:
    """On a geostationary disc, whose corners lie in space, a small area is drawn and too large a one is refused."""
    crs = "+proj=geos +h=35785831 +lon_0=0 +sweep=y"
    grid = Grid(crs, (3000.0, 0.0, -5568000.0, 0.0, -3000.0, 5568000.0), 3712, 3712)
    found = area_mask(area_on_grid(read_area("-3,-3,3,3"), grid), whole(grid))
    rows, cols = np.nonzero(found)
    assert (rows.mean() + 0.5, cols.mean() + 0.5) == pytest.approx((1856, 1856), abs=1)
    with pytest.raises(ItemError, match="cannot be drawn"):
        area_on_grid(read_area("-180,-90,180,90"), grid)
