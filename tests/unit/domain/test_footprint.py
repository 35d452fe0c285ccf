"""Footprints: they hold every valid pixel, little more, and are cut at the antimeridian."""

import numpy as np
import pyproj
import pytest
import rasterio.features
import shapely

from geodl_core.domain.grid import Grid, bbox_wgs84, outline_wgs84
from geodl_core.domain.scene.footprint import HOLE_SHARE, MOST_VERTICES, coarsened, footprint_wgs84

UTM = Grid("EPSG:32633", (10.0, 0.0, 300000.0, 0.0, -10.0, 5300040.0), 400, 500)
ACROSS = Grid("EPSG:32601", (100.0, 0.0, 345000.0, 0.0, -100.0, 7500000.0), 400, 500)
ROWS, COLS = np.indices(UTM.shape)


def in_pixels(document, grid):
    """Return a footprint as (col, row) on its grid."""
    transformer = pyproj.Transformer.from_crs("OGC:CRS84", grid.crs, always_xy=True)

    def back(points):
        x, y = transformer.transform(points[:, 0], points[:, 1])
        col, row = ~grid.affine @ (np.asarray(x), np.asarray(y))
        return np.column_stack([col, row])

    return shapely.transform(shapely.geometry.shape(document), back)


def oracle(mask):
    """Return GDAL's polygons of a mask."""
    found = rasterio.features.shapes(mask.astype("uint8"), mask=mask, connectivity=4)
    return shapely.union_all([shapely.geometry.shape(shape) for shape, _ in found])


def speckle():
    return np.random.default_rng(0).random(UTM.shape) > 0.7


MASKS = {
    "slanted": ROWS + COLS > 130,
    "both slanted": (ROWS + COLS > 130) & (ROWS - COLS < 300),
    "hole": np.hypot(ROWS - 200, COLS - 250) > 60,
    "island": np.hypot(ROWS - 200, COLS - 250) < 80,
    "two islands": (np.hypot(ROWS - 100, COLS - 100) < 40) | (np.hypot(ROWS - 300, COLS - 400) < 60),
    "one pixel": (ROWS == 17) & (COLS == 33),
    "speckle": speckle(),
    "speckled edge": (ROWS + COLS > 300) | ((ROWS + COLS > 200) & speckle()),
    "stripes": (COLS // 3) % 2 == 0,
    "comb": ((COLS // 20) % 2 == 0) | (ROWS < 50),
}


@pytest.mark.parametrize("name", MASKS)
def test_holds_all_valid_pixels_and_little_more(name):
    """Every valid pixel lies inside; shapes without speckle grow by three pixels at most; vertices are few."""
    mask = MASKS[name]
    document = footprint_wgs84(mask, 1, UTM)
    found = in_pixels(document, UTM)
    exact = oracle(mask)
    assert found.is_valid
    # A straight side in degrees is not quite straight on the grid: a few metres at most.
    assert exact.difference(found.buffer(0.1)).is_empty
    assert shapely.get_num_coordinates(found) <= 2 * MOST_VERTICES
    if name not in ("speckle", "speckled edge", "stripes", "comb"):
        allowed = shapely.union_all([exact.buffer(3, join_style="mitre"), *filled(exact)])
        assert found.difference(allowed).area < 1
    assert found.within(shapely.box(0, 0, UTM.width, UTM.height).buffer(0.1))


def filled(shape):
    """Return the holes that a footprint may fill."""
    rings = [ring for part in shapely.get_parts(shape) for ring in part.interiors]
    return [hole for hole in map(shapely.Polygon, rings) if hole.area < 2 * HOLE_SHARE * UTM.height * UTM.width]


def test_holes_stay_and_small_ones_go():
    """A hole of a hundredth of the scene is a hole of the footprint; one of a few pixels is filled."""
    mask = np.hypot(ROWS - 200, COLS - 250) > 60
    mask[30:35, 30:35] = False
    document = footprint_wgs84(mask, 1, UTM)
    assert document["type"] == "Polygon"
    assert len(document["coordinates"]) == 2
    hole = shapely.Polygon(in_pixels(document, UTM).interiors[0])
    assert hole.distance(shapely.Point(250, 200)) == 0
    assert 55**2 * np.pi < hole.area < 60**2 * np.pi


@pytest.mark.parametrize("state", [True, False])
@pytest.mark.parametrize("grid", [UTM, ACROSS])
def test_all_and_none_give_the_outline(grid, state):
    """Where every pixel or none is valid the footprint is the grid's outline."""
    assert footprint_wgs84(np.full(grid.shape, state), 1, grid) == outline_wgs84(grid)


def test_coarse_mask():
    """A mask of an overview, whose last pixels reach beyond the grid, stands for pixels of the grid."""
    mask = MASKS["slanted"]
    coarse, factor = mask, 1
    for _ in range(3):
        padded = np.pad(coarse, [(0, side % 2) for side in coarse.shape])
        coarse = padded.reshape(padded.shape[0] // 2, 2, -1, 2).any(axis=(1, 3))
        factor *= 2
    found = in_pixels(footprint_wgs84(coarse, factor, UTM), UTM)
    assert oracle(mask).difference(found.buffer(0.1)).is_empty
    assert found.area < mask.sum() + 3 * 8 * 200


def test_coarsening_keeps_every_valid_pixel():
    """A mask of too many runs is halved until it has few; no valid pixel is lost, at odd sizes too."""
    mask = np.random.default_rng(1).random((401, 503)) > 0.9
    coarse, factor = coarsened(mask, 4)
    assert factor > 4
    again = np.kron(coarse, np.ones((factor // 4, factor // 4), bool))[:401, :503]
    assert again[mask].all()


@pytest.mark.parametrize("turn", [0, 3])
def test_antimeridian(turn):
    """A footprint across the antimeridian is cut there; its box says so by west > east; nothing valid is lost."""
    mask = ROWS + COLS > 130
    mask[:, turn * 100 : turn * 120] = False
    document = footprint_wgs84(mask, 1, ACROSS)
    assert document["type"] == "MultiPolygon"
    longitudes = shapely.get_coordinates(shapely.geometry.shape(document))[:, 0]
    assert np.abs(longitudes).max() == 180
    west, _, east, _ = bbox_wgs84(document)
    assert west > 170
    assert east < -170
    found = in_pixels(document, ACROSS).buffer(0.5)
    assert oracle(mask).difference(found).area < 2


def test_one_side_of_the_antimeridian():
    """A footprint that lies on one side is not cut, whatever its grid does."""
    mask = np.zeros(ACROSS.shape, bool)
    mask[100:300, 400:] = True
    document = footprint_wgs84(mask, 1, ACROSS)
    west, _, east, _ = bbox_wgs84(document)
    assert document["type"] == "Polygon"
    assert -180 < west < east < -170


def test_islands_on_both_sides_of_the_antimeridian():
    """Parts that nowhere touch the antimeridian still get the narrow box that crosses it."""
    mask = np.zeros(ACROSS.shape, bool)
    mask[:50, :10] = mask[:50, -20:] = True
    west, _, east, _ = bbox_wgs84(footprint_wgs84(mask, 1, ACROSS))
    assert 170 < west < 180
    assert -180 < east < -170


def test_islands_far_from_the_antimeridian():
    """Parts within one half of the Earth get the box around them."""
    west, _, east, _ = bbox_wgs84(footprint_wgs84(MASKS["two islands"], 1, UTM))
    assert 12 < west < east < 13


def test_whole_earth():
    """On a grid of the whole Earth both ends of a row are told apart."""
    grid = Grid("EPSG:4326", (0.72, 0.0, -180.0, 0.0, -0.45, 90.0), 400, 500)
    mask = np.ones(grid.shape, bool)
    mask[300:] = False
    document = footprint_wgs84(mask, 1, grid)
    assert document["type"] == "Polygon"
    west, south, east, north = bbox_wgs84(document)
    assert (west, east, north) == (-180, 180, 90)
    assert south == pytest.approx(90 - 0.45 * 301, abs=0.46)
