"""Suppression is greedy, and the same whatever the order and the number of boxes."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geodl_core.domain.detection import suppress
from geodl_core.domain.detection.suppress import ROUNDING, nms, nms_polygons

THRESHOLDS = st.sampled_from([0.0, 0.1, 1 / 3, 0.5, 0.9])
COUNTS = st.integers(0, 40)


@pytest.fixture(params=["all pairs", "strips", "best first"])
def way(request, monkeypatch):
    """Each of the ways in which boxes are resolved, by their number and how crowded they are."""
    if request.param != "all pairs":
        monkeypatch.setattr(suppress, "FEW", 2)
    if request.param == "best first":
        monkeypatch.setattr(suppress, "PAIRS_PER_BOX", 1)
    return request.param


def objects_by_chance(seed: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return boxes on a coarse grid, scores with ties, and classes."""
    chance = np.random.default_rng(seed)
    corners, sides = chance.integers(0, 40, (count, 2)), chance.integers(0, 25, (count, 2))
    boxes = np.hstack([corners, corners + sides]).astype(np.float32)
    return boxes, (chance.integers(1, 6, count) / 5).astype(np.float32), chance.integers(0, 2, count)


def overlap(a, b, measure: str) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    one, other = ((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return width * height / (min(one, other) if measure == "ios" else one + other - width * height)


def greedy(order, groups, threshold: float, overlap_of) -> list[int]:
    """Return what a loop over everything keeps."""
    kept: list[int] = []
    for row in order:
        if all(groups[row] != groups[other] or overlap_of(row, other) <= threshold for other in kept):
            kept.append(row)
    return sorted(kept)


def order_of(boxes, scores) -> list[int]:
    return sorted(range(len(boxes)), key=lambda row: (-scores[row], *boxes[row], row))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("measure", ["iou", "ios"])
def test_boxes_survive_as_in_a_loop_over_all(measure: str) -> None:
    """What survives is what a greedy loop over all boxes keeps, at thresholds that overlaps meet exactly too."""

    @settings(deadline=None, max_examples=60)
    @given(st.integers(0, 2**32), COUNTS, THRESHOLDS)
    def check(seed: int, count: int, threshold: float) -> None:
        boxes, scores, groups = objects_by_chance(seed, count)
        exact = boxes.astype(float).tolist()
        wanted = greedy(
            order_of(exact, scores), groups, threshold, lambda one, other: overlap(exact[one], exact[other], measure)
        )
        assert nms(boxes, scores, groups, threshold, measure).tolist() == wanted

    check()


@pytest.mark.usefixtures("way")
def test_survivors_do_not_depend_on_the_order() -> None:
    """Boxes in another order leave the same survivors; among equal boxes the first stays."""

    @settings(deadline=None, max_examples=60)
    @given(st.integers(0, 2**32), COUNTS, THRESHOLDS)
    def check(seed: int, count: int, threshold: float) -> None:
        boxes, scores, groups = objects_by_chance(seed, count)
        turned = np.random.default_rng(seed).permutation(count)

        def survivors(rows):
            kept = rows[nms(boxes[rows], scores[rows], groups[rows], threshold)]
            return sorted((*boxes[row].tolist(), float(scores[row]), int(groups[row])) for row in kept)

        assert survivors(np.arange(count)) == survivors(turned)

    check()
    twice = np.array([[0, 0, 4, 4], [9, 9, 12, 12], [0, 0, 4, 4]])
    assert nms(twice, [0.5, 0.5, 0.5], [7, 7, 7], 0.5).tolist() == [0, 1]


@settings(deadline=None)
@given(st.integers(0, 2**32), COUNTS, THRESHOLDS)
def test_survivors_survive_again(seed: int, count: int, threshold: float) -> None:
    """A second suppression drops nothing."""
    boxes, scores, groups = objects_by_chance(seed, count)
    kept = nms(boxes, scores, groups, threshold)
    assert nms(boxes[kept], scores[kept], groups[kept], threshold).tolist() == list(range(len(kept)))


def test_ends_of_the_threshold() -> None:
    """At 1 all stay, equal ones too; at 0 what touches without sharing area stays."""
    boxes = np.array([[0, 0, 4, 4], [0, 0, 4, 4], [4, 0, 8, 4], [4, 4, 6, 6], [3, 3, 3, 9]])
    scores, groups = np.array([0.9, 0.8, 0.7, 0.6, 0.5]), np.zeros(5, int)
    assert nms(boxes, scores, groups, 1).tolist() == [0, 1, 2, 3, 4]
    assert nms(boxes, scores, groups, 0).tolist() == [0, 2, 3, 4]


def test_many_boxes_survive_as_in_blocks() -> None:
    """3,000 crowded boxes leave what a loop leaves that compares each with all that were kept."""
    chance = np.random.default_rng(3)
    corners, sides = chance.uniform(0, 160, (3_000, 2)), chance.uniform(10, 40, (3_000, 2))
    boxes, scores = np.hstack([corners, corners + sides]), chance.random(3_000)
    kept = np.zeros(0, int)
    for row in np.argsort(-scores):
        low, high = np.maximum(boxes[kept, :2], boxes[row, :2]), np.minimum(boxes[kept, 2:], boxes[row, 2:])
        shared = np.prod(np.maximum(high - low, 0), axis=1)
        areas = np.prod(boxes[kept, 2:] - boxes[kept, :2], axis=1) + np.prod(boxes[row, 2:] - boxes[row, :2])
        if not (shared / (areas - shared) > 0.4).any():
            kept = np.append(kept, row)
    assert nms(boxes, scores, np.zeros(3_000, int), 0.4).tolist() == sorted(kept)


@pytest.mark.usefixtures("way")
def test_a_chain_keeps_every_second() -> None:
    """Of a row of boxes each of which overlaps the next, with equal scores, every second one stays."""
    x = np.arange(3000) * 10.0
    boxes = np.stack([x, 0 * x, x + 12, 0 * x + 10], axis=1)
    assert nms(boxes, np.ones(3000), np.zeros(3000, int), 0.05).tolist() == list(range(0, 3000, 2))


@pytest.mark.parametrize(
    ("scores", "groups", "message"),
    [([0.5], [0, 0], "differ in length"), ([0.5, np.nan], [0, 0], "finite"), ([0.5, 0.5], [0] * 3, "differ in length")],
)
def test_arrays_that_do_not_fit_are_refused(scores, groups, message: str) -> None:
    """Arrays of other lengths and scores that are no numbers are refused."""
    with pytest.raises(ValueError, match=message):
        nms(np.zeros((2, 4)), scores, groups, 0.5)


def shapes_by_chance(seed: int, count: int) -> np.ndarray:
    """Return boxes, rotated boxes, polygons with a hole, bow-ties and multipolygons."""
    chance, shapes = np.random.default_rng(seed), []
    for _ in range(count):
        x, y = chance.integers(0, 30, 2)
        box = shapely.box(x, y, x + chance.integers(2, 14), y + chance.integers(2, 14))
        kind = chance.integers(0, 5)
        if kind == 1:
            box = shapely.affinity.rotate(box, float(chance.uniform(0, 90)))
        elif kind == 2:
            box = box.difference(box.centroid.buffer(1))
        elif kind == 3:
            box = shapely.Polygon([(x, y), (x + 9, y + 7), (x + 9, y), (x, y + 7)])
        elif kind == 4:
            box = shapely.MultiPolygon([box, shapely.affinity.translate(box, 20, 0)])
        shapes.append(box)
    return np.array(shapes, object)


@pytest.mark.usefixtures("way")
def test_polygons_survive_as_in_a_loop_over_all() -> None:
    """What survives is what a greedy loop keeps with shapely's intersection over union, invalid polygons mended."""

    @settings(deadline=None, max_examples=40)
    @given(st.integers(0, 2**32), st.integers(0, 25), THRESHOLDS)
    def check(seed: int, count: int, ratio: float) -> None:
        shapes = shapes_by_chance(seed, count)
        _, scores, groups = objects_by_chance(seed, count)
        valid = [shapely.make_valid(shape) for shape in shapes]

        def iou(one: int, other: int) -> float:
            shared = valid[one].intersection(valid[other]).area
            # An overlap so small may come from rounded coordinates.
            return shared / (valid[one].area + valid[other].area - shared) - ROUNDING

        wanted = greedy(order_of([shape.bounds for shape in shapes], scores), groups, ratio, iou)
        assert nms_polygons(shapes, scores, groups, ratio).tolist() == wanted

    check()


def test_polygons_that_touch_do_not_overlap() -> None:
    """By default any overlap removes the polygon with the lower score, and an edge in common is none."""
    square, slanted = shapely.box(0, 0, 10, 10), shapely.Polygon([(0, 0), (7, 3), (0, 10)])
    beside = shapely.Polygon([(0, 0), (7, 3), (10, -5)])
    shapes = np.array([square, shapely.box(10, 0, 20, 10), shapely.box(19.5, 9.5, 22, 22)], object)
    assert nms_polygons(shapes, [0.9, 0.8, 0.7], [1, 1, 1]).tolist() == [0, 1]
    assert nms_polygons(np.array([slanted, beside], object), [1, 2], [1, 1]).tolist() == [0, 1]
    assert nms_polygons(np.array([square, slanted], object), [60, 90.5], [1, 1]).tolist() == [1]
    assert nms_polygons(np.array([square, slanted], object), [60, 90.5], [1, 2]).tolist() == [0, 1]


def test_rounded_edges_do_not_overlap() -> None:
    """Bricks of a turned wall, which overlap by no more than their corners are rounded, all stay."""
    turn = np.array([[np.cos(0.3), np.sin(0.3)], [-np.sin(0.3), np.cos(0.3)]])
    corners = np.array([[0, 0], [2, 0], [2, 1], [0, 1]]) / 3
    origins = np.array([[(2 * col + row % 2) / 3, row / 3] for row in range(20) for col in range(10)])[:, None]
    bricks = shapely.polygons((origins + corners) @ turn + np.array([500_000, 5_300_000]))
    one, other = shapely.STRtree(bricks).query(bricks, predicate="overlaps")
    assert shapely.area(shapely.intersection(bricks[one], bricks[other])).max() > 0
    assert len(nms_polygons(bricks, np.ones(200), np.zeros(200, int))) == 200


def test_what_has_no_area_overlaps_nothing() -> None:
    """Points, lines, empty polygons and None stay, and remove nothing; a collection counts by its polygons."""
    square = shapely.box(0, 0, 10, 10)
    within = [shapely.Point(5, 5), shapely.LineString([(0, 0), (9, 9)]), shapely.Polygon(), None]
    shapes = np.array([*within, square, shapely.GeometryCollection([shapely.Point(50, 50), square])], object)
    assert nms_polygons(shapes, [9, 9, 9, 9, 1, 2], [0] * 6).tolist() == [0, 1, 2, 3, 5]
    assert nms_polygons(shapes[:0], [], []).tolist() == []


def test_what_has_gone_removes_nothing() -> None:
    """Suppression is greedy: a polygon overlapped only by one that has gone itself stays."""
    shapes = shapely.box([0, 8, 16], 0, [10, 18, 26], 10)
    assert nms_polygons(shapes, [0.9, 0.8, 0.7], [0, 0, 0]).tolist() == [0, 2]
