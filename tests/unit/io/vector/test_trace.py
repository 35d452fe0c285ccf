"""Outlines of masks are smooth, lie where the scores say, and are valid whatever the scores."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geodl_core.io.vector.trace import trace_masks


def disc(size, radius, hole=0.0):
    """Return scores that fall through one half at a radius, of a box of side 1; and rise again at a hole's."""
    centres = (np.arange(size) + 0.5) / size - 0.5
    distance = np.hypot(*np.meshgrid(centres, centres))
    return np.minimum(0.5 + (radius - distance), 0.5 + (distance - hole)).clip(0, 1).astype(np.float32)


def test_a_disc_is_round():
    """A 28 × 28 mask over a box of 200 pixels gives a circle to a tenth of a pixel, not stairs of seven."""
    (shape,) = trace_masks([disc(28, 0.4)], np.array([[1000, 2000, 1200, 2200]], np.float32))
    circle = shapely.Point(1100, 2100).buffer(80, quad_segs=200)
    assert shapely.hausdorff_distance(shape, circle, densify=0.05) < 0.2
    assert shape.area == pytest.approx(circle.area, rel=2e-3)
    assert shape.exterior.is_ccw


def test_holes_are_kept():
    """What lies below one half within the object is a hole."""
    (shape,) = trace_masks([disc(56, 0.4, 0.2)], np.array([[0, 0, 100, 100]], np.float32))
    assert len(shape.interiors) == 1
    assert shape.area == pytest.approx(np.pi * (40**2 - 20**2), rel=5e-3)


def test_box_shape_and_cells_may_differ():
    """A mask of few rows and many columns is drawn over its box, whatever its sides."""
    mask = np.zeros((2, 10), np.float32)
    mask[:, :5] = 1
    (shape,) = trace_masks([mask], np.array([[10, 20, 60, 24]], np.float32))
    assert shapely.equals(shape, shapely.box(10, 20, 35, 24))
    assert len(shape.exterior.coords) == 5


def test_full_and_empty_masks():
    """A mask that is inside everywhere gives the box; one that is nowhere above one half an empty polygon."""
    boxes = np.array([[1, 2, 11, 22], [0, 0, 5, 5], [0, 0, 5, 5], [3, 3, 3, 9]], np.float32)
    masks = [np.ones((7, 5)), np.zeros((4, 4)), np.full((4, 4), 0.5), np.ones((4, 4))]
    full, *others = trace_masks([mask.astype(np.float32) for mask in masks], boxes)
    assert shapely.equals(full, shapely.box(1, 2, 11, 22))
    assert all(shape.is_empty and shape.geom_type == "Polygon" for shape in others)
    assert trace_masks([], np.zeros((0, 4), np.float32)).shape == (0,)


def test_parts_become_a_multipolygon():
    """Two blobs of one mask are one shape of two parts."""
    mask = np.zeros((9, 9), np.float32)
    mask[1:3, 1:3] = mask[6:8, 5:8] = 1
    (shape,) = trace_masks([mask], np.array([[0, 0, 9, 9]], np.float32))
    assert shape.geom_type == "MultiPolygon"
    assert len(shape.geoms) == 2


levels = st.sampled_from([0.0, 0.25, 0.5, 0.5, 0.75, 1.0, float("nan")])


@settings(deadline=None, max_examples=300)
@given(
    rows=st.integers(1, 6),
    cols=st.integers(1, 6),
    data=st.data(),
)
def test_any_mask_gives_a_valid_shape_with_the_centres_that_are_inside(rows, cols, data):
    """Whatever the scores, the shape is valid, lies in its box, and holds the centres above one half, none below."""
    drawn = data.draw(st.lists(levels, min_size=rows * cols, max_size=rows * cols))
    mask = np.array(drawn, np.float32).reshape(rows, cols)
    box = shapely.box(5, 7, 5 + 3 * cols, 7 + 2 * rows)
    (shape,) = trace_masks([mask], np.array([box.bounds], np.float32))
    assert shape.is_valid
    assert shape.geom_type in ("Polygon", "MultiPolygon")
    assert shape.is_empty or box.buffer(1e-9).contains(shape)
    x, y = np.meshgrid(5 + 3 * (np.arange(cols) + 0.5), 7 + 2 * (np.arange(rows) + 0.5))
    inside = shapely.contains_xy(shape, x, y)
    decided = mask != 0.5  # on the outline itself
    np.testing.assert_array_equal(inside[decided], (mask > 0.5)[decided])


def test_other_numbers_are_refused():
    """As many masks as boxes are expected."""
    with pytest.raises(ValueError, match="zip"):
        trace_masks([np.ones((2, 2), np.float32)], np.zeros((2, 4), np.float32))
