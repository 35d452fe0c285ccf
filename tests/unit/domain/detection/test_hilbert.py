"""The order of detections in a file, against the curve's own properties and brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.detection.detections import Detections, take
from geodl_core.domain.detection.hilbert import BITS, hilbert_index, spatial_order
from geodl_core.domain.grid import Grid

GRID = Grid("EPSG:32633", (10.0, 0.0, 500000.0, 0.0, -10.0, 5100000.0), 400, 700)


def quadrant(bits: int, x: int, y: int) -> int:
    """The curve by its definition: four smaller ones, the first and last of them reflected in a diagonal."""
    if bits == 0:
        return 0
    half = 1 << (bits - 1)
    right, up = x >= half, y >= half
    x, y = x % half, y % half
    if not up:
        x, y = (half - 1 - y, half - 1 - x) if right else (y, x)
    place = (1 if not right else 2) if up else (3 if right else 0)
    return place * half * half + quadrant(bits - 1, x, y)


def found(count: int, seed: int = 0, spread: float = 1.0) -> Detections:
    rng = np.random.default_rng(seed)
    centres = rng.random((count, 2)) * (GRID.width, GRID.height) * spread
    sizes = rng.random((count, 2)) * 5 + 1
    return Detections(
        np.concatenate([centres - sizes, centres + sizes], axis=1).astype(np.float32),
        rng.random(count).astype(np.float32),
        rng.integers(1, 4, count).astype(np.int32),
        rng.integers(0, 9, count).astype(np.int32),
        np.zeros(count, np.uint8),
    )


@pytest.mark.parametrize("bits", [1, 2, 3, 6])
def test_the_curve_visits_every_cell_once_and_moves_to_a_neighbour(bits):
    """Each cell has an index of its own, and successive indices are cells that share a side."""
    x, y = (axis.ravel().astype(np.uint32) for axis in np.meshgrid(*[np.arange(1 << bits)] * 2))
    index = hilbert_index(x, y, bits)
    assert sorted(index.tolist()) == list(range(4**bits))
    along = np.argsort(index)
    steps = np.abs(np.diff(x[along].astype(int))) + np.abs(np.diff(y[along].astype(int)))
    assert (steps == 1).all()
    assert (x[along][-1], y[along][-1]) == ((1 << bits) - 1, 0)


@given(st.lists(st.tuples(*[st.integers(0, (1 << 20) - 1)] * 2), max_size=20), st.sampled_from([16, 20]))
def test_indices_are_those_of_the_definition(cells, bits):
    """The loop over bits gives what the curve's recursive definition gives."""
    x, y = np.array([*cells, (0, 0)], np.uint32).T & ((1 << bits) - 1)
    expected = [quadrant(bits, int(a), int(b)) for a, b in zip(x, y, strict=True)]
    assert hilbert_index(x, y, bits).tolist() == expected


def test_the_order_follows_the_curve_through_the_centres():
    """Rows are sorted by the index of their centre's cell on a square that holds the grid."""
    detections = found(3000)
    x0, y0, x1, y1 = detections.boxes.astype(float).T
    side = ((1 << BITS) - 1) / GRID.width
    cells = np.clip(np.array([(x0 + x1) / 2, (y0 + y1) / 2]) * side, 0, (1 << BITS) - 1).astype(np.uint32)
    index = hilbert_index(*cells)
    assert (np.diff(index[spatial_order(detections, GRID)].astype(np.int64)) >= 0).all()


@pytest.mark.parametrize("spread", [1.0, 1e-4])
def test_the_order_does_not_depend_on_the_order_before(spread):
    """The same detections in another order come out alike, also where many share a cell."""
    detections = found(2000, spread=spread)
    mixed = take(detections, np.random.default_rng(1).permutation(2000))
    one, other = (take(each, spatial_order(each, GRID)) for each in (detections, mixed))
    for field in ("boxes", "scores", "class_ids", "tiles"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


def test_objects_of_one_place_follow_by_class_and_falling_score():
    """Where centres share a cell, class comes first, then the better score, then tile and box."""
    boxes = np.array([[10, 10, 20, 20], [9, 9, 21, 21], [10, 10, 20, 20], [8, 8, 22, 22], [10, 10, 20, 20]], np.float32)
    scores = np.array([0.5, 0.9, 0.9, 0.9, 0.5], np.float32)
    classes, tiles = np.array([2, 1, 1, 1, 2], np.int32), np.array([4, 3, 3, 3, 1], np.int32)
    detections = Detections(boxes, scores, classes, tiles, np.zeros(5, np.uint8))
    assert spatial_order(detections, GRID).tolist() == [3, 1, 2, 4, 0]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_rows_are_all_kept(count):
    """None, one and two rows come out whole."""
    assert sorted(spatial_order(found(count), GRID).tolist()) == list(range(count))


def test_centres_beyond_the_grid_are_kept_at_its_edge():
    """Objects that lie outside the square have the index of its nearest cell."""
    detections = Detections(
        np.array([[-50, -50, -40, -40], [9000, -9, 9010, -5]], np.float32),
        *(np.zeros(2, kind) for kind in (np.float32, np.int32, np.int32, np.uint8)),
    )
    assert spatial_order(detections, GRID).tolist() == [0, 1]
