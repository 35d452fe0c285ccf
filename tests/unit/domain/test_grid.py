"""Grids: the arithmetic between pixels and places, against PROJ and rasterio."""

from dataclasses import replace

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod
from rasterio.transform import array_bounds
from rasterio.warp import transform_bounds

from geodl_core.domain.grid import (
    Grid,
    cell_area_m2,
    cell_size,
    integer_ratio,
    is_same_crs,
    is_same_space,
    map_to_pixel,
    outline_wgs84,
    pixel_to_map,
    shortest_side_m,
)
from geodl_core.errors import ItemError

UTM = "EPSG:32632"
FINE = Grid(UTM, (10.0, 0.0, 600000.0, 0.0, -10.0, 5400000.0), 120, 180)
LOCAL = 'LOCAL_CS["somewhere",UNIT["metre",1]]'
ROTATED = Grid(UTM, (8.0, 3.0, 500000.0, 4.0, -9.0, 5400000.0), 200, 300)

steps = st.floats(0.001, 100).flatmap(lambda step: st.sampled_from([step, -step]))


def coarser(ratio: float, shift: tuple[float, float] = (0, 0), **fields: object) -> Grid:
    a, _, c, _, e, f = FINE.transform
    transform = (a * ratio, 0.0, c + shift[0] * a, 0.0, e * ratio, f + shift[1] * e)
    shape = {"height": -(-FINE.height // max(round(ratio), 1)), "width": -(-FINE.width // max(round(ratio), 1))}
    return replace(FINE, transform=transform, **{**shape, **fields})


@given(steps, steps, st.floats(-0.4, 0.4), st.floats(-0.4, 0.4), st.floats(-1e6, 1e6), st.floats(-1e4, 1e4))
def test_pixel_to_map_and_back(
    a: float, e: float, skew_x: float, skew_y: float, corner: float, position: float
) -> None:
    """Pixel → map → pixel returns, also on sheared grids."""
    grid = Grid(UTM, (a, a * skew_x, corner, e * skew_y, e, -corner), 10, 10)
    x, y = pixel_to_map(grid, position, -position / 3)
    row, col = map_to_pixel(grid, x, y)
    tolerance = 1e-9 * max(1, abs(position), abs(corner) / min(abs(a), abs(e)))
    assert (row, col) == pytest.approx((position, -position / 3), abs=tolerance)


def test_pixel_to_map_takes_rows_first() -> None:
    """Rows go down along y and columns right along x."""
    assert pixel_to_map(FINE, 2, 3) == (600030.0, 5399980.0)
    assert map_to_pixel(FINE, 600030.0, 5399980.0) == (2, 3)


def test_cell_size_of_a_rotated_grid() -> None:
    """The sides of a rotated pixel are measured along the pixel."""
    angle = np.radians(30)
    cos, sin = np.cos(angle), np.sin(angle)
    grid = Grid(UTM, (10 * cos, 20 * sin, 0.0, 10 * sin, -20 * cos, 0.0), 5, 5)
    assert cell_size(grid) == pytest.approx((10, 20))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"crs": ""}, "no CRS"),
        ({"height": 0}, "empty"),
        ({"width": 0}, "empty"),
        ({"transform": (0.0, 0.0, 0.0, 0.0, -1.0, 0.0)}, "inverted"),
        ({"transform": (1.0, 0.0, float("nan"), 0.0, -1.0, 0.0)}, "inverted"),
    ],
)
def test_grids_that_cannot_be(changes: dict[str, object], said: str) -> None:
    """A grid without CRS, pixels or an invertible transform is an ItemError that says which."""
    with pytest.raises(ItemError, match=said):
        replace(FINE, **changes)


@pytest.mark.parametrize(
    "grid",
    [
        FINE,
        replace(FINE, height=10980, width=10980),
        ROTATED,
        Grid("EPSG:4326", (0.0001, 0.0, 11.0, 0.0, -0.0001, 48.0), 400, 300),
        Grid("EPSG:3857", (10.0, 0.0, 1_200_000.0, 0.0, -10.0, 6_100_000.0), 256, 256),
        Grid("EPSG:3035", (100.0, 0.0, 4_300_000.0, 0.0, -100.0, 2_900_000.0), 700, 900),
        Grid(UTM, (10.0, 0.0, 600000.0, 0.0, 10.0, 5400000.0), 50, 70),
    ],
    ids=["utm", "utm tile", "rotated", "degrees", "mercator", "laea", "bottom-up"],
)
def test_outline_against_transform_bounds(grid: Grid) -> None:
    """The outline is a valid, counter-clockwise ring whose bounds are those that GDAL finds."""
    outline = outline_wgs84(grid)
    assert outline["type"] == "Polygon"
    shape = shapely.geometry.shape(outline)
    assert shape.is_valid
    assert shape.exterior.is_ccw
    assert outline["coordinates"][0][0] == outline["coordinates"][0][-1]
    if grid is ROTATED:
        to_wgs84 = pyproj.Transformer.from_crs(grid.crs, "OGC:CRS84", always_xy=True)
        corners = [(0, 0), (0, grid.width), (grid.height, 0), (grid.height, grid.width)]
        for row, col in corners:
            corner = shapely.Point(to_wgs84.transform(*pixel_to_map(grid, row, col)))
            assert shape.exterior.distance(corner) < 2e-6
        return
    bounds = transform_bounds(grid.crs, "OGC:CRS84", *array_bounds(grid.height, grid.width, grid.affine))
    assert shape.bounds == pytest.approx(
        (min(bounds[0::2]), min(bounds[1::2]), max(bounds[0::2]), max(bounds[1::2])), abs=1e-4
    )


def test_outline_of_a_straight_grid_is_a_rectangle() -> None:
    """Points that straight sides do not need are left out."""
    outline = outline_wgs84(Grid("EPSG:4326", (0.25, 0.0, 10.0, 0.0, -0.25, 50.0), 4, 8))
    assert len(outline["coordinates"][0]) == 5
    assert set(map(tuple, outline["coordinates"][0])) == {(10.0, 50.0), (12.0, 50.0), (12.0, 49.0), (10.0, 49.0)}


@pytest.mark.parametrize("crs", [LOCAL, "IAU_2015:30100"], ids=["local", "moon"])
def test_outline_outside_the_earth(crs: str) -> None:
    """An outline without a place on Earth is an ItemError, not an exception of PROJ."""
    with pytest.raises(ItemError):
        outline_wgs84(Grid(crs, (0.01, 0.0, 0.0, 0.0, -0.01, 0.0), 10, 10))


def test_outline_beyond_the_projection() -> None:
    """A corner that the projection cannot place is an ItemError."""
    with pytest.raises(ItemError, match="no place on Earth"):
        outline_wgs84(Grid("EPSG:3035", (1e7, 0.0, 0.0, 0.0, -1e7, 0.0), 10, 10))


def test_outline_across_the_antimeridian() -> None:
    """A scene across the antimeridian does not become one that spans the globe."""
    grid = Grid("EPSG:32601", (60.0, 0.0, 300000.0, 0.0, -60.0, 7200000.0), 1830, 1830)
    shape = shapely.geometry.shape(outline_wgs84(grid))
    width = (
        shape.bounds[2] - shape.bounds[0]
        if shape.geom_type == "Polygon"
        else sum(part.bounds[2] - part.bounds[0] for part in shape.geoms)
    )
    assert width < 5


@pytest.mark.parametrize(
    "grid",
    [
        FINE,
        replace(FINE, height=10980, width=10980),
        ROTATED,
        Grid("EPSG:4326", (0.0001, 0.0, 11.0, 0.0, -0.0001, 61.0), 401, 300),
        Grid("EPSG:2263", (10.0, 0.0, 980000.0, 0.0, -10.0, 200000.0), 100, 100),
    ],
    ids=["utm", "utm tile", "rotated", "degrees", "feet"],
)
def test_cell_area_against_geod(grid: Grid) -> None:
    """The middle pixel's area is that of its four corners on the ellipsoid, in square metres."""
    crs = pyproj.CRS(grid.crs)
    to_lonlat = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    row, col = grid.height / 2 - 0.5, grid.width / 2 - 0.5
    corners = [(row, col), (row, col + 1), (row + 1, col + 1), (row + 1, col)]
    lons, lats = zip(*(to_lonlat.transform(*pixel_to_map(grid, *corner)) for corner in corners), strict=True)
    geod = Geod(ellps="GRS80" if grid.crs == "EPSG:2263" else "WGS84")
    area = cell_area_m2(grid)
    assert area == pytest.approx(abs(geod.polygon_area_perimeter(lons, lats)[0]), rel=1e-6)


def test_cell_area_in_square_metres() -> None:
    """A 10 m UTM pixel on the central meridian has 100 m² over the squared scale factor."""
    grid = Grid(UTM, (10.0, 0.0, 499000.0, 0.0, -10.0, 5400000.0), 200, 200)
    assert cell_area_m2(grid) == pytest.approx(100 / 0.9996**2, rel=1e-5)


MOON = pytest.param("IAU_2015:30100", id="moon")


@pytest.mark.parametrize("crs", [pytest.param(LOCAL, id="local"), MOON])
def test_cell_area_outside_the_earth(crs: str) -> None:
    """A grid without a place on Earth has no area."""
    assert cell_area_m2(Grid(crs, (0.01, 0.0, 0.0, 0.0, -0.01, 0.0), 10, 10)) is None


@pytest.mark.parametrize("ratio", [1, 2, 3, 6])
def test_integer_ratio_of_aligned_grids(ratio: int) -> None:
    """Grids of 10, 20, 30 and 60 m that start at one corner have their quotient as ratio."""
    assert integer_ratio(FINE, coarser(ratio)) == ratio
    odd = replace(FINE, height=121, width=179)
    whole = coarser(ratio, height=-(-121 // ratio), width=-(-179 // ratio))
    assert integer_ratio(odd, whole) == ratio


@pytest.mark.parametrize(
    "coarse",
    [
        coarser(2, (0.5, 0)),
        coarser(2, (0, 0.5)),
        coarser(2, (-1, 0)),
        coarser(6, (0, 2)),
        coarser(2.5),
        coarser(1.5),
        coarser(0.5, height=240, width=360),
        coarser(2, crs="EPSG:32633"),
        coarser(2, height=61),
        coarser(2, width=89),
        replace(coarser(2), transform=(20.0, 0.0, 600000.0, 0.0, -30.0, 5400000.0), height=40),
        replace(coarser(2), transform=(20.0, 0.1, 600000.0, 0.0, -20.0, 5400000.0)),
        replace(coarser(2), transform=(20.0, 0.0, 600000.0, 0.0, 20.0, 5400000.0)),
    ],
)
def test_integer_ratio_of_grids_whose_lines_differ(coarse: Grid) -> None:
    """Shifted, non-integer, finer, differently projected or differently large grids have no ratio."""
    assert integer_ratio(FINE, coarse) is None


def test_integer_ratio_drifts_nowhere() -> None:
    """Grids whose lines lie a few pixels apart at the far corner do not coincide."""
    fine = replace(FINE, height=10980, width=10980)
    coarse = Grid(UTM, (20.009, 0.0, 600000.0, 0.0, -20.009, 5400000.0), 5490, 5490)
    assert integer_ratio(fine, coarse) is None


@given(st.floats(-0.0008, 0.0008), st.floats(-0.0008, 0.0008))
def test_is_same_space_forgives_a_thousandth(dx: float, dy: float) -> None:
    """Grids that differ by less than a thousandth of a pixel are the same space."""
    a, b, c, d, e, f = FINE.transform
    assert is_same_space(FINE, replace(FINE, transform=(a, b, c + dx * a, d, e, f + dy * e)))


@pytest.mark.parametrize(
    "other",
    [
        replace(FINE, transform=(10.0, 0.0, 600000.1, 0.0, -10.0, 5400000.0)),
        replace(FINE, transform=(10.0, 0.0, 600000.0, 0.0, -10.001, 5400000.0)),
        replace(FINE, height=121),
        replace(FINE, crs="EPSG:32633"),
    ],
)
def test_is_same_space_tells_grids_apart(other: Grid) -> None:
    """Grids of another corner, cell, shape or CRS are another space."""
    assert not is_same_space(FINE, other)
    assert not is_same_space(other, FINE)


def test_is_same_space_to_a_thousandth_on_a_whole_tile() -> None:
    """The tolerance of a thousandth of a pixel holds at the far corner of a large grid too."""
    grid = replace(FINE, height=10980, width=10980)
    drifting = replace(grid, transform=(10.0 * (1 + 5e-6), 0.0, 600000.0, 0.0, -10.0, 5400000.0))
    assert not is_same_space(grid, drifting)


def test_is_same_space_sees_rows_and_columns_swapped() -> None:
    """A grid whose rows run along another's columns is another space, though two corners agree."""
    square = replace(FINE, height=50, width=50)
    swapped = replace(square, transform=(0.0, 10.0, 600000.0, -10.0, 0.0, 5400000.0))
    assert not is_same_space(square, swapped)


def test_is_same_crs_by_meaning() -> None:
    """A code and its WKT mean the same CRS, axis order apart."""
    assert is_same_crs("EPSG:32632", pyproj.CRS("EPSG:32632").to_wkt())
    assert is_same_crs("EPSG:4326", "OGC:CRS84")
    assert not is_same_crs("EPSG:32632", "EPSG:32633")


def test_the_shorter_side_of_a_pixel() -> None:
    """In degrees far north a pixel is narrower than high; on a projected grid both are about the cell size."""
    north = Grid("EPSG:4326", (0.0001, 0, 20.0, 0, -0.0001, 65.0), 100, 100)
    geod = pyproj.Geod(ellps="WGS84")
    wide = geod.line_length([20.005, 20.0051], [64.995, 64.995])
    assert shortest_side_m(north) == pytest.approx(wide, rel=1e-3)
    assert shortest_side_m(Grid("EPSG:32633", (10, 0, 5e5, 0, -10, 5e6), 100, 100)) == pytest.approx(10, rel=1e-3)
