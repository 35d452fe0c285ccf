"""Accuracy of detections, against pycocotools and brute force."""

import contextlib
import io
import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from geodl_core.domain.detection import matching
from geodl_core.domain.detection.accuracy import COCO_IOUS, Rules, judge_objects
from geodl_core.domain.detection.confusion import FoundAs
from geodl_core.domain.detection.matching import FREE, Objects, match_greedily

NAMES = ("car", "lorry", "ship")


def some_objects(random, count, extent, classes=3):
    """Boxes on whole pixels, so that equal IoUs and IoUs of just a threshold occur."""
    corners = random.integers(0, extent, (count, 2))
    boxes = np.concatenate([corners, corners + random.integers(1, 12, (count, 2))], axis=1).astype(float)
    return Objects(boxes, random.integers(0, classes, count))


def a_scene(seed, counts=(40, 60), extent=40, levels=20):
    """Truth, detections that are about right and some that are not, scores of which many are equal."""
    random = np.random.default_rng(seed)
    truth = some_objects(random, counts[0], extent)
    near = random.integers(0, max(1, len(truth)), counts[1]) if len(truth) else np.zeros(0, int)
    boxes = truth.boxes[near] + random.integers(-1, 2, (len(near), 4))
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    classes = np.where(random.random(len(near)) < 0.8, truth.classes[near], random.integers(0, 3, len(near)))
    wrong = some_objects(random, counts[1] // 4, extent)
    found = Objects(np.concatenate([boxes, wrong.boxes]), np.concatenate([classes, wrong.classes]))
    return found, random.integers(1, levels, len(found)) / levels, truth


def by_coco(found, scores, truth, ious):
    """What pycocotools makes of it: precision (T, 101, K), and the matches of each class."""

    def annotations(objects, **more):
        rows = zip(objects.boxes.tolist(), objects.classes.tolist(), strict=True)
        return [
            {
                "id": row + 1,
                "image_id": 1,
                "category_id": kind + 1,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": (x1 - x0) * (y1 - y0),
                "iscrowd": 0,
                **{key: values[row] for key, values in more.items()},
            }
            for row, ((x0, y0, x1, y1), kind) in enumerate(rows)
        ]

    def coco(rows):
        base = COCO()
        base.dataset = {
            "images": [{"id": 1}],
            "categories": [{"id": index + 1, "name": name} for index, name in enumerate(NAMES)],
            "annotations": rows,
        }
        base.createIndex()
        return base

    with contextlib.redirect_stdout(io.StringIO()):
        judged = COCOeval(coco(annotations(truth)), coco(annotations(found, score=scores.tolist())), "bbox")
        judged.params.maxDets = [len(found) + 1]
        judged.params.areaRng, judged.params.areaRngLbl = [[0, 1e10]], ["all"]
        judged.params.iouThrs = np.asarray(ious)
        judged.evaluate()
        judged.accumulate()
    return judged.eval["precision"][:, :, :, 0, 0], judged.evalImgs


@given(st.integers(0, 2**32 - 1), st.integers(0, 50), st.integers(0, 60), st.sampled_from([0.1, 0.5, 0.75, 1.0]))
def test_numbers_are_those_of_pycocotools(seed, truths, detections, least):
    """AP, mAP and the counted objects of each class are those of pycocotools, ties among them."""
    found, scores, truth = a_scene(seed, (truths, detections))
    accuracy = judge_objects(found, scores, truth, NAMES, Rules(min_iou=least))
    precision, images = by_coco(found, scores, truth, (least, *COCO_IOUS))
    for index, each in enumerate(accuracy.classes):
        oracle = precision[:, :, index].mean(axis=1)
        if each.ap is None:
            assert set(oracle) == {-1.0}
        else:
            np.testing.assert_allclose((each.ap, *each.aps), oracle, atol=1e-9)
            assert each.mean_ap == pytest.approx(oracle[1:].mean(), abs=1e-9)
        hits = 0 if images[index] is None else np.count_nonzero(images[index]["dtMatches"][0])
        assert each.counts.true_positives == hits
    judged = precision[1:][precision[1:] > -1]
    expected = pytest.approx(judged.mean(), abs=1e-9) if judged.size else None
    assert accuracy.overall.mean_ap == expected


@pytest.mark.parametrize(("order", "hits"), [([0, 1], 1), ([1, 0], 2)])
def test_of_equal_overlaps_the_last_is_taken(order, hits):
    """A detection between two true objects takes the last, as with pycocotools; the next one then gets what is left."""
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10]], float)[order]
    truth = Objects(boxes, np.zeros(2, int))
    found, scores = Objects(np.array([[2, 0, 12, 10], [5, 0, 15, 10]], float), np.zeros(2, int)), np.array([0.9, 0.8])
    _, images = by_coco(found, scores, truth, (0.5,))
    counted = judge_objects(found, scores, truth, NAMES, Rules()).overall.counts.true_positives
    assert counted == np.count_nonzero(images[0]["dtMatches"]) == hits


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_a_threshold_drops_what_lies_below(seed, threshold):
    """Counts with a threshold are those of the detections that reach it alone; AP is of all."""
    found, scores, truth = a_scene(seed)
    rows = np.flatnonzero(scores >= threshold)
    alone = judge_objects(matching.take_objects(found, rows), scores[rows], truth, NAMES, Rules())
    everything = judge_objects(found, scores, truth, NAMES, Rules())
    at_it = judge_objects(found, scores, truth, NAMES, Rules(threshold=threshold))
    assert [each.counts for each in at_it.classes] == [each.counts for each in alone.classes]
    assert at_it.found_as == alone.found_as
    assert at_it.overall.counts == alone.overall.counts
    assert [each.ap for each in at_it.classes] == [each.ap for each in everything.classes]


@given(st.integers(0, 2**32 - 1))
def test_the_best_threshold_has_the_greatest_f1(seed):
    """No other score as threshold gives a class a greater F1, and the curve says what each gives."""
    found, scores, truth = a_scene(seed)
    judged = {
        score: judge_objects(found, scores, truth, NAMES, Rules(threshold=score)) for score in np.unique(scores)[::-1]
    }
    accuracy = judge_objects(found, scores, truth, NAMES, Rules())
    for index, each in [*enumerate(accuracy.classes), (None, accuracy.overall)]:
        of = [one.overall if index is None else one.classes[index] for one in judged.values()]
        if each.best is None:
            assert not each.truths or not each.detections
            continue
        f1s = [one.counts.f1 or 0.0 for one in of]
        assert each.best.f1 == pytest.approx(max(f1s))
        assert list(judged)[int(np.argmax(np.round(f1s, 9)))] == each.best.threshold
        curve = dict(zip(each.curve.scores, each.curve.precisions, strict=True))
        for score, one in zip(judged, of, strict=True):
            if score in curve:
                assert one.counts.precision == pytest.approx(curve[score])


@given(st.integers(0, 2**32 - 1), st.randoms(use_true_random=False))
def test_order_does_not_matter(seed, shuffle):
    """With scores and IoUs that all differ, the order of detections, truth and classes changes nothing."""
    random = np.random.default_rng(seed)
    found, _, truth = a_scene(seed)
    found = Objects(found.boxes + random.random((len(found), 4)) / 10, found.classes)
    # Two of one area within a third have one IoU with it, unless theirs differ a little.
    truth = Objects(truth.boxes + random.random((len(truth), 4)) / 100, truth.classes)
    scores = random.permutation(len(found)) / len(found)
    orders = [np.array(shuffle.sample(range(len(each)), len(each)), np.int64) for each in (found, truth)]
    one = judge_objects(found, scores, truth, NAMES, Rules())
    other = judge_objects(
        matching.take_objects(found, orders[0]),
        scores[orders[0]],
        matching.take_objects(truth, orders[1]),
        NAMES,
        Rules(),
    )
    assert [(each.counts, each.aps) for each in one.classes] == [(each.counts, each.aps) for each in other.classes]
    assert one.found_as == other.found_as


@given(st.integers(0, 2**32 - 1))
def test_what_was_found_as_what_adds_up(seed):
    """Each true object and each detection stands in one cell; a class with itself has its true positives."""
    found, scores, truth = a_scene(seed)
    accuracy = judge_objects(found, scores, truth, NAMES, Rules())
    cells = {(cell.truth, cell.found): cell.count for cell in accuracy.found_as}
    for index, each in enumerate(accuracy.classes):
        assert sum(count for (true, _), count in cells.items() if true == each.name) == sum(truth.classes == index)
        assert sum(count for (_, other), count in cells.items() if other == each.name) == sum(found.classes == index)
        assert cells.get((each.name, each.name), 0) == each.counts.true_positives
    assert (None, None) not in cells


def test_an_object_of_another_class_is_told_from_nothing():
    """A lorry found as a car, a car found where nothing is, and a missed ship are three things."""
    truth = Objects(np.array([[0, 0, 10, 10], [50, 50, 60, 60]], float), np.array([1, 2]))
    found = Objects(np.array([[0, 0, 10, 9], [30, 30, 40, 40]], float), np.array([0, 0]))
    accuracy = judge_objects(found, np.array([0.9, 0.8]), truth, NAMES, Rules())
    assert accuracy.found_as == (FoundAs("lorry", "car", 1), FoundAs("ship", None, 1), FoundAs(None, "car", 1))


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.05, 0.3, 0.5]))
def test_outlines_are_matched_by_the_area_that_they_share(seed, least):
    """Of polygons, matching is that of a full matrix of IoUs by shapely."""
    random = np.random.default_rng(seed)

    def turned(objects):
        boxes = shapely.box(*objects.boxes.T)
        angles = random.uniform(0, 90, len(boxes))
        shapes = np.array([shapely.affinity.rotate(box, angle) for box, angle in zip(boxes, angles, strict=True)])
        return Objects(shapely.bounds(shapes), objects.classes, shapes)

    found, truth = turned(some_objects(random, 40, 25)), turned(some_objects(random, 30, 25))
    free, expected = set(range(len(truth))), []
    for kind, shape in zip(found.classes, found.outlines, strict=True):
        ious = {
            other: shape.intersection(truth.outlines[other]).area / shape.union(truth.outlines[other]).area
            for other in free
            if truth.classes[other] == kind
        }
        best = max(ious, key=ious.__getitem__, default=None)
        hit = best is not None and ious[best] >= least
        expected.append(best if hit else FREE)
        free -= {best} if hit else set()
    assert match_greedily(found, truth, (least,))[0].tolist() == expected


@given(st.integers(0, 2**32 - 1), st.integers(1, 300))
def test_pieces_of_the_work_do_not_show(seed, most):
    """However few pairs are looked at together, the matches are the same."""
    found, _, truth = a_scene(seed)
    whole = match_greedily(found, truth, COCO_IOUS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "MOST_PAIRS", most)
        np.testing.assert_array_equal(match_greedily(found, truth, COCO_IOUS), whole)


def test_nothing_found_and_nothing_there():
    """Without detections there is no precision, without truth no recall and no AP; nothing is divided by 0."""
    none, one = Objects(np.zeros((0, 4)), np.zeros(0, int)), Objects(np.array([[0.0, 0, 5, 5]]), np.array([0]))
    missed = judge_objects(none, np.zeros(0), one, ("car",), Rules()).overall
    assert (missed.counts.precision, missed.counts.recall, missed.counts.f1) == (None, 0.0, 0.0)
    assert (missed.ap, missed.mean_ap, missed.best) == (0.0, 0.0, None)
    false = judge_objects(one, np.ones(1), none, ("car",), Rules()).overall
    assert (false.counts.precision, false.counts.recall, false.counts.f1) == (0.0, None, 0.0)
    assert (false.ap, false.mean_ap, false.best) == (None, None, None)
    assert math.isnan(false.curve.recalls[0])
    empty = judge_objects(none, np.zeros(0), none, (), Rules())
    assert (empty.overall.counts.f1, empty.overall.ap, empty.classes, empty.found_as) == (None, None, (), ())


def test_a_box_without_area_is_found_nowhere():
    """A line or a point overlaps nothing, not even itself."""
    flat = Objects(np.array([[0.0, 0, 5, 0], [3, 3, 3, 3]]), np.array([0, 0]))
    assert judge_objects(flat, np.ones(2), flat, ("car",), Rules(min_iou=0.01)).overall.counts.true_positives == 0


@pytest.mark.parametrize("least", [0.0, -0.1, 1.1, math.nan])
def test_a_least_iou_lies_between_0_and_1(least):
    """Other limits are refused: 0 would match what does not touch."""
    found, scores, truth = a_scene(0)
    with pytest.raises(ValueError, match="IoU threshold"):
        judge_objects(found, scores, truth, NAMES, Rules(min_iou=least))


def test_arrays_have_one_length():
    """Scores, classes and outlines that are not as many as the boxes are refused."""
    found, scores, truth = a_scene(0)
    with pytest.raises(ValueError, match="scores"):
        judge_objects(found, scores[1:], truth, NAMES, Rules())
    with pytest.raises(ValueError, match="length"):
        Objects(found.boxes, found.classes[1:])
    with pytest.raises(ValueError, match="length"):
        Objects(truth.boxes, truth.classes, shapely.box(*truth.boxes[1:].T))
