"""Borders lose or gain points on both sides alike."""

from collections import Counter

import numpy as np
import pytest
import shapely
from scipy import ndimage

from geodl_core.domain.regions.borders import densified, simplified
from geodl_core.domain.regions.corners import find_corners
from geodl_core.domain.regions.rings import outlines


def regions_of(shape, seed, share=0.02):
    """Return a map of numbered regions, smooth with some noise."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal(shape), 3)
    values = np.digitize(smooth, np.quantile(smooth, [0.3, 0.6, 0.8]))
    values[rng.random(shape) < share] = 5
    numbers, count = np.zeros(shape, np.int64), 0
    for value in np.unique(values):
        found, more = ndimage.label(values == value)
        numbers[found > 0] = found[found > 0] + count
        count += more
    return numbers


def traced(numbers, is_bevelled=True):
    none = np.zeros(numbers.shape[1], np.int64)
    parts = [find_corners(none, numbers, 0), find_corners(numbers[-1], none[None], len(numbers))]
    return outlines(parts, is_bevelled)[0]


@pytest.mark.parametrize("tolerance", [0.5, 1.5, 4.0, 20.0])
@pytest.mark.parametrize("stretch", [(1.0, 1.0), (1.0, 1.7)])
def test_neighbours_stay_without_gaps_and_overlaps(tolerance, stretch):
    """However much is simplified, outlines cover the map once, and its frame keeps every point."""
    numbers = regions_of((90, 110), 1)
    shapes = traced(numbers)
    simple = simplified(shapes, tolerance, stretch)
    assert shapely.coverage_is_valid(simple)
    assert shapely.is_valid(simple).all()
    assert shapely.area(simple).sum() == numbers.size
    assert shapely.equals(shapely.coverage_union_all(simple), shapely.box(0, 0, 110, 90))
    assert shapely.get_num_coordinates(simple).sum() < shapely.get_num_coordinates(traced(numbers, False)).sum()
    points = shapely.get_coordinates(simple)
    np.testing.assert_array_equal(points * 2, np.rint(points * 2))


def test_bevelled_outlines_cover_the_map_once():
    """With bends cut off, outlines are valid and still cover the map once, even of single pixels."""
    numbers = regions_of((70, 60), 2, share=0.4)
    shapes = traced(numbers)
    assert shapely.coverage_is_valid(shapes)
    assert shapely.is_valid(shapes).all()
    assert shapely.area(shapes).sum() == numbers.size
    moved = shapely.hausdorff_distance(shapes, traced(numbers, False))
    assert 0 < moved.max() <= 0.5


@pytest.mark.parametrize("steps", [(1, 1), (1, 3), (2, 1)])
def test_a_slanting_border_becomes_straight_in_its_middle(steps):
    """A border of regular steps is one straight side once simplified, and each side keeps its area."""
    rows, cols = np.indices((60, 60))
    numbers = 1 + (rows * steps[1] < cols * steps[0]).astype(np.int64)
    shapes = traced(numbers)
    simple = simplified(shapes, 1.5)
    assert shapely.get_num_coordinates(simple).max() <= 8
    np.testing.assert_allclose(shapely.area(simple), np.bincount(numbers.ravel())[1:], rtol=0.01)
    if steps == (1, 1):
        assert shapely.get_num_coordinates(shapely.simplify(shapes, 0)).max() <= 8


def test_nothing_is_simplified_without_a_tolerance():
    """A tolerance of 0 gives the outlines themselves."""
    shapes = traced(regions_of((20, 20), 3), False)
    assert simplified(shapes, 0.0) is shapes


def test_densified_sides_are_short_and_shared():
    """No side is longer than asked for; shapes are as they were, and neighbours have the same points still."""
    shapes = simplified(traced(regions_of((200, 300), 4)), 6.0)
    dense = densified(shapes, 7)
    steps = [np.abs(np.diff(shapely.get_coordinates(ring), axis=0)) for ring in shapely.get_rings(dense)]
    assert max(step.max() for step in steps) <= 7 + 1e-9
    assert shapely.hausdorff_distance(dense, shapes).max() < 1e-9
    assert shapely.coverage_is_valid(dense)
    sides = Counter(tuple(sorted(map(tuple, pair))) for ring in shapely.get_rings(dense) for pair in _pairs(ring))
    assert len(sides) > 1000
    assert all(count == (1 if _on_frame(side, 300, 200) else 2) for side, count in sides.items())


def _pairs(ring):
    points = shapely.get_coordinates(ring)
    return np.stack([points[:-1], points[1:]], axis=1)


def _on_frame(pair, width, height):
    (ax, ay), (bx, by) = pair
    return ax == bx in {0, width} or ay == by in {0, height}


def test_no_shapes():
    """Where there is nothing, nothing comes of it."""
    none = traced(np.zeros((4, 5), np.int64))
    assert len(none) == len(densified(none)) == len(simplified(none, 2.0)) == 0
