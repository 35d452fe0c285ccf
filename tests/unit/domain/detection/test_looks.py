"""Looks at turned and scaled tiles: what they find is brought back, and merged."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.detection.decoder import Found, take_found
from geodl_core.domain.detection.looks import join_found, merge_looks, seen_back, turned_back
from geodl_core.domain.pixels.augment import AS_IT_IS, DIHEDRAL, turn


def found_of(boxes, scores, labels=None, **more):
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    labels = np.zeros(len(boxes), np.int64) if labels is None else np.asarray(labels, np.int64)
    return Found(boxes, np.asarray(scores, np.float32), labels, **more)


@pytest.mark.parametrize("way", DIHEDRAL)
@pytest.mark.parametrize("shape", [(5, 5), (4, 7), (9, 3)])
def test_points_are_turned_back_as_pixels_are(way, shape):
    """The middle of every pixel of a turned picture comes back to the middle of the pixel that it was."""
    numbers = np.arange(shape[0] * shape[1]).reshape(shape)
    turned = turn(numbers, way)
    rows, cols = np.indices(turned.shape)
    points = np.stack([cols + 0.5, rows + 0.5], axis=-1).astype(np.float32)
    back = turned_back(points, way, shape)
    col, row = np.floor(back).astype(int).reshape(-1, 2).T
    assert (numbers[row, col] == turned.ravel()).all()
    np.testing.assert_array_equal(back - np.floor(back), np.full_like(back, 0.5))


@pytest.mark.parametrize("way", DIHEDRAL)
def test_boxes_corners_and_masks_are_turned_back(way):
    """What a look finds of a drawn object is the object, with its mask the right way round."""
    shape = (40, 60)
    picture = np.zeros(shape, np.float32)
    # A shape that looks like none of its turns.
    picture[8:20, 10:40] = np.arange(12 * 30).reshape(12, 30) + 1
    turned = turn(picture, way)
    rows, cols = np.nonzero(turned)
    box = [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]
    mask = turned[rows.min() : rows.max() + 1, cols.min() : cols.max() + 1]
    corners = np.asarray([[[box[0], box[1]], [box[2], box[1]], [box[2], box[3]], [box[0], box[3]]]], np.float32)
    back = seen_back(found_of(box, [0.5], corners=corners, masks=(mask,)), way, shape, (1.0, 1.0))
    assert back.boxes.tolist() == [[10, 8, 40, 20]]
    assert back.boxes.dtype == np.float32
    np.testing.assert_array_equal(back.masks[0], picture[8:20, 10:40])
    assert sorted(map(tuple, back.corners[0].tolist())) == [(10, 8), (10, 20), (40, 8), (40, 20)]
    # They go round the object still.
    assert {tuple(side) for side in np.abs(np.diff(back.corners[0], axis=0)).tolist()} == {(30, 0), (0, 12)}


@pytest.mark.parametrize("way", DIHEDRAL)
def test_looks_at_another_size(way):
    """A look at half the size, on a canvas that it does not fill, comes back at the tile's size."""
    canvas = np.zeros((48, 64), np.float32)
    canvas[4:10, 6:21] = 1
    rows, cols = np.nonzero(turn(canvas, way))
    box = [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]
    back = seen_back(found_of(box, [0.5]), way, (48, 64), (2.0, 3.0))
    np.testing.assert_allclose(back.boxes, [[12, 12, 42, 30]])


def test_nothing_comes_back_as_nothing():
    """Looks that find nothing merge to nothing."""
    nothing = found_of([], [])
    for way in DIHEDRAL:
        assert len(seen_back(nothing, way, (4, 5), (1.0, 1.0)).boxes) == 0
    merged = merge_looks([nothing] * 8, 0.3)
    assert merged.boxes.shape == (0, 4)
    assert merged.scores.dtype == np.float32


def test_scores_are_means_over_all_looks():
    """An object has the best copy's place, and the mean of its scores; a look that does not see it counts as 0."""
    looks = [
        found_of([[0, 0, 10, 10], [50, 50, 60, 60]], [0.6, 0.9]),
        found_of([[1, 0, 11, 10]], [0.8]),
        found_of([[0, 1, 10, 11], [51, 50, 61, 60]], [0.7, 0.3]),
        found_of([[0, 0, 10, 11]], [0.5]),
    ]
    merged = merge_looks(looks, 0.25)
    assert merged.boxes.tolist() == [[50, 50, 60, 60], [1, 0, 11, 10]]
    np.testing.assert_allclose(merged.scores, [1.2 / 4, 2.6 / 4], rtol=1e-6)
    assert merge_looks(looks, 0.31).boxes.tolist() == [[1, 0, 11, 10]]
    # A score that equals the threshold is not above it.
    assert len(merge_looks([found_of([0, 0, 5, 5], [0.5])] * 2, 0.5).boxes) == 0


def test_classes_are_kept_apart():
    """Objects of two classes in one place stay two."""
    looks = [found_of([[0, 0, 10, 10]] * 2, [0.6, 0.7], [1, 2]), found_of([[0, 0, 10, 10]], [0.8], [1])]
    merged = merge_looks(looks, 0.1)
    assert dict(zip(merged.labels.tolist(), merged.scores.tolist(), strict=True)) == pytest.approx({1: 0.7, 2: 0.35})


def test_what_one_look_tells_apart_stays_apart():
    """Two objects that each look sees side by side are two, although their boxes overlap by more than half."""
    pair = [[0, 0, 30, 30], [8, 0, 38, 30]]
    looks = [found_of(pair, [0.9, 0.8]), found_of(np.add(pair, 1), [0.85, 0.88])]
    merged = merge_looks(looks, 0.3)
    assert merged.boxes.tolist() == [pair[0], [9, 1, 39, 31]]
    np.testing.assert_allclose(merged.scores, [0.875, 0.84], rtol=1e-6)


def by_brute_force(looks, threshold):
    """Merge object by object, as the docstring says."""
    left = [
        (number, box.astype(float), float(score), int(label))
        for number, look in enumerate(looks)
        for box, score, label in zip(look.boxes, look.scores, look.labels, strict=True)
    ]
    left.sort(key=lambda row: (-row[2], *row[1]))
    merged = []
    while left:
        first = left.pop(0)
        total = first[2]
        for number in range(len(looks)):
            rivals = [
                (overlap(first[1], row[1]), -place)
                for place, row in enumerate(left)
                if row[0] == number != first[0] and row[3] == first[3] and overlap(first[1], row[1]) > 0.5
            ]
            if rivals:
                total += left.pop(-max(rivals)[1])[2]
        if np.float32(total / len(looks)) > threshold:
            merged.append((tuple(first[1]), first[3], total / len(looks)))
    return merged


def overlap(box, other):
    low, high = np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])
    shared = np.prod(np.maximum(high - low, 0))
    return shared / (np.prod(box[2:] - box[:2]) + np.prod(other[2:] - other[:2]) - shared)


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(0, 12))
def test_merging_as_brute_force_does(seed, count, most):
    """Merged objects, and their scores, are those of a search through all that is left, object by object."""
    random = np.random.default_rng(seed)
    looks = []
    for _ in range(count):
        corners = random.integers(0, 12, (random.integers(0, most + 1), 2))
        boxes = np.concatenate([corners, corners + random.integers(3, 12, corners.shape)], axis=1)
        looks.append(found_of(boxes, random.random(len(boxes)), random.integers(0, 2, len(boxes))))
    merged = merge_looks(looks, 0.1)
    wanted = by_brute_force(looks, 0.1)
    found = list(zip(map(tuple, merged.boxes.tolist()), merged.labels.tolist(), strict=True))
    assert found == [row[:2] for row in wanted]
    np.testing.assert_allclose(merged.scores, [row[2] for row in wanted], rtol=1e-5)


def test_masks_and_corners_go_with_their_boxes():
    """Rows that are taken or joined take masks and corners along."""
    masks = tuple(np.full((2, 2), number, np.float32) for number in range(3))
    corners = np.arange(24, dtype=np.float32).reshape(3, 4, 2)
    found = found_of(np.arange(12).reshape(3, 4), [0.1, 0.2, 0.3], corners=corners, masks=masks)
    some = take_found(found, np.asarray([2, 0]))
    assert [mask[0, 0] for mask in some.masks] == [2, 0]
    assert some.corners[0].tolist() == corners[2].tolist()
    both = join_found([some, found])
    assert [mask[0, 0] for mask in both.masks] == [2, 0, 0, 1, 2]
    assert both.corners.shape == (5, 4, 2)
    assert (DIHEDRAL[0],) == AS_IT_IS
