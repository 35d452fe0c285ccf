"""What a detector finds is checked: refused with a word for the cause, or left out and counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.detection.checks import check_found
from geodl_core.domain.detection.decode import decode_answer
from geodl_core.domain.detection.decoder import Decoder, Found
from geodl_core.errors import ModelError

SIZE = (100, 200)
PLAIN = Decoder("finished", ("y",), "pixels", None, why="y holds rows.")
BOXES = [[10, 10, 30, 40], [50, 20, 90, 60], [-5, 70, 12, 130]]


def found(boxes=BOXES, scores=None, **fields):
    boxes = np.asarray(boxes, "float32").reshape(-1, 4)
    scores = np.full(len(boxes), 0.8) if scores is None else scores
    return Found(boxes, np.asarray(scores, "float32"), np.arange(len(boxes)), **fields)


def test_what_is_right_stays():
    """Boxes that reach beyond the image stay as they are, with all that belongs to them."""
    masks = tuple(np.full((2, 2), value, "float32") for value in (0.1, 0.2, 0.3))
    x0, y0, x1, y1 = np.asarray(BOXES, "float32").T
    corners = np.stack([np.stack(pair, 1) for pair in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))], 1)
    checked = check_found(found(masks=masks, corners=corners), PLAIN, SIZE)
    np.testing.assert_array_equal(checked.found.boxes, BOXES)
    assert checked.dropped == 0
    assert [float(mask[0, 0]) for mask in checked.found.masks] == [float(mask[0, 0]) for mask in masks]
    assert checked.found.corners.shape == (3, 4, 2)


def test_nothing_is_nothing():
    """No objects are no objects."""
    checked = check_found(found([]), PLAIN, SIZE)
    assert (len(checked.found.scores), checked.dropped) == (0, 0)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_boxes_that_are_no_numbers(wrong):
    """One box that is not finite is refused."""
    with pytest.raises(ModelError, match=r"NaN or infinite, 1 of 3"):
        check_found(found([*BOXES[:2], [1, 2, wrong, 4]]), PLAIN, SIZE)


def test_boxes_without_an_area_are_counted():
    """Boxes without an area are left out, and so are single ones that are inside out; both are counted."""
    boxes = [*BOXES, [5, 5, 5, 20], [60, 40, 50, 30]]
    checked = check_found(found(boxes), PLAIN, SIZE)
    assert checked.dropped == 2
    assert checked.found.labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize("side", [0.0, -20.0])
def test_oriented_boxes_without_an_area(side):
    """An oriented box whose side is 0 or negative is left out and counted, though its bounds have an area."""
    along, across = np.asarray([0.9, 0.4]), np.asarray([-0.4, 0.9])
    centre, (half, other) = np.asarray([60.0, 50.0]), (15.0, side / 2)
    around = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    corners = np.asarray([[centre + a * half * along + b * other * across for a, b in around]], "float32")
    bounds = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    one = Found(bounds, np.asarray([0.9], "float32"), np.asarray([0]), corners)
    checked = check_found(one, PLAIN, SIZE)
    assert (len(checked.found.scores), checked.dropped) == (0, 1)


@pytest.mark.parametrize("boxes", [[[60, 40, 20, 30]], [[60, 40, 20, 30], [70, 40, 20, 30], [10, 10, 20, 20]]])
def test_a_few_boxes_inside_out(boxes):
    """Of a few boxes nothing can be told of a network: those inside out are left out and counted."""
    checked = check_found(found(boxes), PLAIN, SIZE)
    right = sum(box[2] > box[0] for box in boxes)
    assert (len(checked.found.scores), checked.dropped) == (right, len(boxes) - right)


@pytest.mark.parametrize("count", [3, 4, 9])
def test_boxes_inside_out(count):
    """Where most boxes are inside out their numbers stand in another order; the hint says how to say so."""
    boxes = [[60, 40, 20, 30]] * count + [[10, 10, 20, 20]] * (count - 1)
    with pytest.raises(
        ModelError, match=rf"{count} of {2 * count - 1} boxes are inside out.*\[60, 40, 20, 30\]"
    ) as caught:
        check_found(found(boxes), PLAIN, SIZE)
    assert "order" in caught.value.hint
    assert "cxcywh" in caught.value.hint


@pytest.mark.parametrize(("coordinates", "other"), [("pixels", "normalised"), ("normalised", "pixels")])
def test_boxes_far_outside(coordinates, other):
    """Where most boxes lie more than an image beside the image, coordinates are of the other kind."""
    far = np.tile(np.asarray(BOXES) * 100 + 1000, (2, 1))
    decoder = Decoder("finished", ("y",), coordinates, None)
    with pytest.raises(ModelError, match="far outside the image of 200 × 100 pixels") as caught:
        check_found(found(far), decoder, SIZE)
    assert f"coordinates {other}" in caught.value.hint
    one = check_found(found([*BOXES, [1000, 0, 1010, 10]]), decoder, SIZE)
    assert len(one.found.scores) == 4


def test_boxes_that_are_shares():
    """Boxes that are shares of the image where pixels are expected all lie in its corner: refused."""
    shares = np.asarray(BOXES[:2]) / 200
    with pytest.raises(ModelError, match=r"within 1.5 pixels") as caught:
        check_found(found(shares), PLAIN, SIZE)
    assert "normalised" in caught.value.hint
    sliver = check_found(found([[0, 0, 1.2, 1.4]]), PLAIN, SIZE)
    assert len(sliver.found.scores) == 1
    tiny = check_found(found(shares), PLAIN, (8, 8))
    assert len(tiny.found.scores) == 2


def test_percent_is_for_the_definition_to_say():
    """Scores up to 100 are refused with the key that explains them; with it they are brought to [0, 1]."""
    scores = [87, 40, 99.5]
    with pytest.raises(ModelError, match=r"scores up to 99\.5") as caught:
        check_found(found(scores=scores), PLAIN, SIZE)
    assert "score_scale 100" in caught.value.hint
    percent = Decoder("finished", ("y",), "pixels", None, settings={"score_scale": 100})
    checked = check_found(found(scores=scores), percent, SIZE)
    np.testing.assert_allclose(checked.found.scores, [0.87, 0.4, 0.995], rtol=1e-6)
    with pytest.raises(ModelError, match="scores up to 2"):
        check_found(found(scores=[200, 1, 1]), percent, SIZE)


def test_percent_meets_the_threshold():
    """The threshold is in [0, 1] for networks that give percent too."""
    rows = np.array([[[10, 10, 30, 40, 60, 0], [50, 20, 90, 60, 40, 1]]], "float32")
    percent = Decoder("finished", ("y",), "pixels", None, settings={"score_scale": 100})
    (checked,) = decode_answer((rows,), percent, SIZE, 0.5)
    assert checked.found.scores.tolist() == pytest.approx([0.6])


@pytest.mark.parametrize("scores", [[0.5, 7.3, 1], [0.5, -0.4, 0.1], [0.2, np.nan, 0.3], [0.2, 1e6, 0.3]])
def test_scores_that_are_none(scores):
    """Scores that are logits, negative or no numbers are refused."""
    with pytest.raises(ModelError, match="scores"):
        check_found(found(scores=scores), PLAIN, SIZE)


def test_rounding_is_forgiven():
    """Scores a thousandth above 1 are 1."""
    checked = check_found(found(scores=[1.0009, -0.0005, 0.5]), PLAIN, SIZE)
    assert checked.found.scores.tolist() == [1.0, 0.0, 0.5]


@pytest.mark.parametrize("scale", [0, -1, True, "100", float("nan")])
def test_scale_of_scores_is_a_number(scale):
    """A scale that is no number above 0 is refused."""
    with pytest.raises(ModelError, match="score_scale"):
        check_found(found(), Decoder("finished", ("y",), "pixels", None, settings={"score_scale": scale}), SIZE)


numbers = st.floats(-1e6, 1e6, width=32) | st.sampled_from([float("nan"), float("inf"), float("-inf")])


@given(
    st.lists(st.tuples(*[numbers] * 4), max_size=6),
    st.lists(st.floats(-2, 200, width=32), min_size=6, max_size=6),
    st.sampled_from(["pixels", "normalised"]),
)
def test_whatever_comes_is_handled_or_refused(boxes, scores, coordinates):
    """Of any numbers there come objects that may be used, all others counted, or an error that has a message."""
    decoder = Decoder("finished", ("y",), coordinates, None)
    try:
        checked = check_found(found(boxes, scores[: len(boxes)]), decoder, SIZE)
    except ModelError as error:
        assert error.message
        return
    kept = checked.found
    assert len(kept.scores) + checked.dropped == len(boxes)
    assert np.isfinite(kept.boxes).all()
    assert (kept.boxes[:, 2:] > kept.boxes[:, :2]).all()
    assert ((kept.scores >= 0) & (kept.scores <= 1)).all()
