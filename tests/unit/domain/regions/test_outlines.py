"""Outlines are those that GDAL traces, valid, and shared by neighbours."""

import numpy as np
import pytest
import rasterio.features
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from geodl_core.domain.regions.corners import find_corners
from geodl_core.domain.regions.rings import outlines


def labelled(values):
    """Return 4-connected regions numbered from 1 in the order of first pixels."""
    labels, count = np.zeros(values.shape, np.int64), 0
    for value in np.unique(values):
        found, more = ndimage.label(values == value)
        labels[found > 0] = found[found > 0] + count
        count += more
    _, first, numbers = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(count, np.int64)
    rank[np.argsort(first)] = np.arange(count)
    return rank[numbers].reshape(values.shape) + 1


def traced(numbers, strip_rows):
    above, parts = np.zeros(numbers.shape[1], np.int64), []
    for top in range(0, len(numbers), strip_rows):
        strip = numbers[top : top + strip_rows]
        parts.append(find_corners(above, strip, top))
        above = strip[-1]
    parts.append(find_corners(above, np.zeros((1, numbers.shape[1]), np.int64), len(numbers)))
    return outlines(parts)


def by_gdal(numbers):
    """Return region → polygon as GDAL traces the whole raster."""
    found = rasterio.features.shapes(numbers.astype(np.int32), mask=numbers > 0, connectivity=4)
    return {int(value): shapely.geometry.shape(shape) for shape, value in found}


def plain(shapes):
    """Return shapes without points on straight sides, in one way of many to write them."""
    return shapely.normalize(shapely.simplify(shapes, 0))


maps = st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 4), st.integers(0, 2**32 - 1))


@settings(deadline=None, max_examples=300)
@given(drawn=maps, strip_rows=st.integers(1, 12))
def test_outlines_are_gdals(drawn, strip_rows):
    """On any small map, in any strips, each region's polygon is valid and equals GDAL's of the whole raster."""
    height, width, classes, seed = drawn
    values = np.random.default_rng(seed).integers(0, classes, (height, width))
    numbers = labelled(values)
    numbers[numbers == 2] = 0
    shapes, order = traced(numbers, strip_rows)
    expected = by_gdal(numbers)
    assert order.tolist() == sorted(expected)
    assert shapely.is_valid(shapes).all()
    sizes = np.bincount(numbers.ravel())
    np.testing.assert_array_equal(shapely.area(shapes), sizes[order])
    for number, shape in zip(order.tolist(), shapes, strict=True):
        assert shapely.equals(shape, shapely.make_valid(expected[number]))


@pytest.mark.parametrize("strip_rows", [1, 17, 64, 1000])
def test_neighbours_share_their_points(strip_rows):
    """Outlines of a map are a coverage: no gaps, no overlaps, the same points on both sides of a border."""
    rng = np.random.default_rng(1)
    values = np.digitize(ndimage.gaussian_filter(rng.standard_normal((150, 140)), 2), [-0.1, 0, 0.1])
    values[rng.random(values.shape) < 0.1] = 4
    numbers = labelled(values)
    shapes, _ = traced(numbers, strip_rows)
    assert shapely.coverage_is_valid(shapes)
    assert shapely.coverage_union_all(shapes).area == numbers.size
    whole, _ = traced(numbers, 1000)
    assert shapely.to_wkb(shapes).tolist() == shapely.to_wkb(whole).tolist()


def test_normalised_outlines_equal_gdals_where_nothing_touches_at_corners():
    """Where no region meets itself at a corner, polygons equal GDAL's point by point once both are normalised."""
    rng = np.random.default_rng(2)
    blocks = rng.integers(0, 6, (12, 15))
    values = np.kron(blocks, np.ones((5, 7), int))
    values[2::5, 3::7] = 9
    numbers = labelled(values)
    shapes, order = traced(numbers, 8)
    expected = by_gdal(numbers)
    same = [
        shapely.equals_exact(a, b)
        for a, b in zip(plain(shapes), plain(np.array([expected[n] for n in order.tolist()])), strict=True)
        if shapely.is_valid(b)
    ]
    assert len(same) > 200
    assert all(same)


def test_a_hole_that_touches_its_outline_stays_a_hole():
    """A region that meets itself at a corner alone is one valid polygon around what lies between."""
    numbers = np.array([[1, 1, 1, 3], [1, 2, 1, 3], [1, 1, 3, 3], [3, 3, 3, 1]])
    numbers[3, 3] = 4
    shapes, order = traced(numbers, 2)
    assert order.tolist() == [1, 2, 3, 4]
    assert shapely.is_valid(shapes).all()
    assert shapely.get_num_interior_rings(shapes).tolist() == [1, 0, 0, 0]
