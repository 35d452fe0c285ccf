"""Decoders of networks that give boxes themselves: the objects that were put in come out."""

import numpy as np
import pytest

from detectors_finished import (
    Objects,
    answering_network,
    cntk_answer,
    detr_answer,
    finished_answer,
    keras_answer,
    run_once,
    some_objects,
    tensorflow_answer,
    torchvision_answer,
)
from geodl_core.domain.detection.decode import DECODERS, decode_answer
from geodl_core.domain.detection.decoder import Decoder
from geodl_core.errors import ModelError

SIZE = (96, 128)
OBJECTS = some_objects(SIZE)
CASES = {
    "tensorflow": (tensorflow_answer(OBJECTS, SIZE), "normalised", {}, 1),
    "torchvision": (torchvision_answer(OBJECTS, has_masks=True), "pixels", {}, 1),
    "detr": (detr_answer(OBJECTS, SIZE), "normalised", {"is_activated": False, "classes": 3}, 0),
    "finished": (finished_answer(OBJECTS), "pixels", {}, 0),
    "cntk faster-rcnn": (cntk_answer(OBJECTS), "pixels", {"first_label": 1, "classes": 3}, 1),
    "keras mask-rcnn": (keras_answer(OBJECTS, SIZE), "normalised", {}, 1),
}


def decoder_of(form, answer, coordinates="pixels", **fields):
    fields = {"classes": None, **fields}
    return Decoder(form, tuple(answer), coordinates, **fields)


def decode(decoder, answer, threshold=0.5, size=SIZE):
    return DECODERS[decoder.form](tuple(answer.values()), decoder, size, threshold)


def assert_found(found, objects, first, threshold=0.5):
    """The objects above the threshold, in their order."""
    kept = objects.scores > threshold
    np.testing.assert_allclose(found.boxes, objects.boxes[kept], atol=1e-3)
    np.testing.assert_allclose(found.scores, objects.scores[kept], atol=1e-5)
    assert found.labels.tolist() == (objects.kinds[kept] + first).tolist()


@pytest.mark.parametrize("form", CASES)
@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.9])
def test_what_was_put_in_comes_out(form, threshold, tmp_path):
    """Every decoder gives back the objects above the threshold of a network that onnxruntime runs."""
    answer, coordinates, fields, first = CASES[form]
    path = answering_network(tmp_path / "net.onnx", answer, SIZE)
    decoder = decoder_of(form, answer, coordinates, **fields)
    (found,) = decode(decoder, run_once(path), max(threshold, 0.01))
    assert_found(found, OBJECTS, first, max(threshold, 0.01))


@pytest.mark.parametrize("form", CASES)
def test_score_must_be_above_the_threshold(form):
    """An object whose score equals the threshold is dropped."""
    answer, coordinates, fields, _ = CASES[form]
    decoder = decoder_of(form, answer, coordinates, **fields)
    (every,) = decode(decoder, answer, 0.2)
    exact = float(every.scores[2])
    (found,) = decode(decoder, answer, exact)
    assert len(every.scores) == 5
    assert len(found.scores) == 2


@pytest.mark.parametrize("form", CASES)
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_refused(form, wrong):
    """A score that is NaN or infinite stops the decoder, with the output's name."""
    answer, coordinates, fields, _ = CASES[form]
    place = {"detection_scores": (0, 1), "scores": (1,), "logits": (0, 1, 1), "output0": (0, 1, 4), "cls_pred": (1, 0)}
    place["mrcnn_detection"] = (0, 1, 5)
    name = next(name for name in answer if name in place)
    broken = {key: array.copy() for key, array in answer.items()}
    broken[name][place[name]] = wrong
    with pytest.raises(ModelError, match=name):
        decode(decoder_of(form, answer, coordinates, **fields), broken)


@pytest.mark.parametrize("form", CASES)
def test_other_shapes_are_refused(form):
    """A tensor of another rank or size is named, with what was expected and found."""
    answer, coordinates, fields, _ = CASES[form]
    decoder = decoder_of(form, answer, coordinates, **fields)
    for name, array in answer.items():
        shorter = array[:-1] if array.ndim == 1 else array[..., :-1, :] if array.ndim < 5 else array[:, :-1]
        for broken in (array[None, None, None], shorter):
            if (name == "num_detections" and broken.size) or (form == "finished" and broken is shorter):
                continue  # a count in any shape, any number of rows
            with pytest.raises(ModelError, match=r"expected|takes"):
                decode(decoder, answer | {name: broken})


def test_rows_beyond_the_count_are_nothing():
    """What lies beyond the count may be anything, NaN too; a count of more rows than there are is refused."""
    answer, coordinates, _, _ = CASES["tensorflow"]
    nonsense = {name: array.copy() for name, array in answer.items()}
    nonsense["detection_scores"][0, 5:] = np.nan
    decoder = decoder_of("tensorflow", answer, coordinates)
    (found,) = decode(decoder, nonsense)
    assert_found(found, OBJECTS, 1)
    with pytest.raises(ModelError, match=r"num_detections.*0 to 20.*21"):
        decode(decoder, nonsense | {"num_detections": np.array([21], "float32")})
    three = dict(list(answer.items())[:3])
    (uncounted,) = decode(decoder_of("tensorflow", three, coordinates), three)
    assert len(uncounted.scores) == 15 + 3


def test_classes_of_tensorflow_are_whole():
    """Labels with a fraction are refused."""
    answer, coordinates, _, _ = CASES["tensorflow"]
    broken = answer | {"detection_classes": answer["detection_classes"] + 0.5}
    with pytest.raises(ModelError, match=r"detection_classes.*whole numbers"):
        decode(decoder_of("tensorflow", answer, coordinates), broken)


def test_each_image_of_a_batch_has_its_own():
    """Two images give two lists, each with its count."""
    one, two = (tensorflow_answer(some_objects(SIZE, count, seed=count), SIZE) for count in (3, 6))
    both = {name: np.concatenate([one[name], two[name]]) for name in one}
    first, second = decode(decoder_of("tensorflow", both, "normalised"), both, 0.01)
    assert_found(first, some_objects(SIZE, 3, seed=3), 1, 0.01)
    assert_found(second, some_objects(SIZE, 6, seed=6), 1, 0.01)


def test_masks_of_the_image_are_cut_to_the_box():
    """A mask in pixels of the image comes back as the window under its box, to the last value."""
    answer, _, _, _ = CASES["torchvision"]
    (found,) = decode(decoder_of("torchvision", answer), answer, 0.01)
    for mask, box, whole in zip(found.masks, OBJECTS.boxes.astype(int), OBJECTS.masks, strict=True):
        x0, y0, x1, y1 = box
        np.testing.assert_allclose(mask, whole[y0:y1, x0:x1], atol=1e-6)


def test_masks_under_boxes_between_pixels():
    """Under a box that begins within a pixel a mask is read between pixels: a ramp stays the ramp it is."""
    ramp = np.broadcast_to(np.arange(128, dtype="float32") / 128, SIZE)[None]
    boxes = np.array([[10.25, 20.5, 30.75, 41.0]], "float32")
    objects = Objects(boxes, np.array([0.9], "float32"), np.array([0]), ramp)
    answer = torchvision_answer(objects, has_masks=True)
    (found,) = decode(decoder_of("torchvision", answer), answer)
    (mask,) = found.masks
    step = (30.75 - 10.25) / mask.shape[1]
    expected = (10.25 + (np.arange(mask.shape[1]) + 0.5) * step - 0.5) / 128
    np.testing.assert_allclose(mask, np.broadcast_to(expected, mask.shape), atol=1e-5)


def test_masks_of_another_size_are_refused():
    """Masks are of the image's size, or small ones of the box, which stay as they are."""
    answer, _, _, _ = CASES["torchvision"]
    decoder = decoder_of("torchvision", answer)
    small = np.random.default_rng(0).uniform(0, 1, (5, 1, 28, 28)).astype("float32")
    (found,) = decode(decoder, answer | {"masks": small}, 0.01)
    np.testing.assert_array_equal(np.stack(found.masks), small[:, 0])
    with pytest.raises(ModelError, match=r"masks.*96 × 128"):
        decode(decoder, answer | {"masks": np.zeros((5, 1, 192, 256), "float32")})


def test_boxes_with_scores_and_labels():
    """MMDetection's boxes carry their scores in a fifth column."""
    dets = np.concatenate([OBJECTS.boxes, OBJECTS.scores[:, None]], axis=1)[None]
    answer = {"dets": dets, "labels": OBJECTS.kinds[None].astype("int64")}
    (found,) = decode(decoder_of("torchvision", answer), answer)
    assert_found(found, OBJECTS, 0)


def test_detr_by_sigmoid():
    """With the activation sigmoid each class stands for itself, and no score is that of nothing."""
    answer = detr_answer(OBJECTS, SIZE, activation="sigmoid")
    decoder = decoder_of(
        "detr", answer, "normalised", classes=3, is_activated=False, settings={"activation": "sigmoid"}
    )
    (found,) = decode(decoder, answer)
    assert_found(found, OBJECTS, 0)
    with pytest.raises(ModelError, match=r"logits.*5 classes"):
        decode(decoder_of("detr", answer, "normalised", classes=5), answer)


@pytest.mark.parametrize("fill", [0.0, -1.0])
@pytest.mark.parametrize("order", ["xyxy score class", "xyxy class score", "class score xyxy"])
def test_order_of_columns(order, fill):
    """The definition may say in which order columns stand; rows that fill up are nothing."""
    answer = finished_answer(OBJECTS, order=order, fill=fill)
    (found,) = decode(decoder_of("finished", answer, settings={"order": order}), answer, 0.0)
    assert_found(found, OBJECTS, 0, 0.0)


def test_rows_with_the_images_number():
    """Seven columns say which image a row is of; images without rows have no objects."""
    rows = finished_answer(OBJECTS, rows=5, order="image xyxy score class")["output0"][0]
    rows[:, 0] = [0, 2, 2, 0, -1]
    answer = {"output0": rows}
    decoder = decoder_of("finished", answer)
    found = decode(decoder, answer, 0.01)
    assert [each.boxes[:, 0].tolist() for each in found] == [
        OBJECTS.boxes[[0, 3], 0].tolist(),
        [],
        OBJECTS.boxes[[1, 2], 0].tolist(),
    ]
    checked = decode_answer((rows,), decoder, SIZE, 0.01, images=4)
    assert [len(each.found.scores) for each in checked] == [2, 0, 2, 0]
    with pytest.raises(ModelError, match="expected 2 images, found 3"):
        decode_answer((rows,), decoder, SIZE, 0.01, images=2)


def test_regions_are_cut_to_the_image():
    """CNTK's boxes end at the image's border; regions of background are nothing."""
    wide = Objects(np.array([[-20, 10, 140, 60]], "float32"), np.array([0.8], "float32"), np.array([1]), None)
    answer = cntk_answer(wide)
    (found,) = decode(decoder_of("cntk faster-rcnn", answer, classes=3, first_label=1), answer)
    np.testing.assert_allclose(found.boxes, [[0, 10, 128, 60]], atol=1e-3)


def test_logits_of_regions():
    """CNTK's class values may be logits, of which a softmax makes scores."""
    answer = cntk_answer(OBJECTS)
    scores = answer["cls_pred"] / answer["cls_pred"].sum(-1, keepdims=True)
    logits = {**answer, "cls_pred": np.log(np.maximum(scores, 1e-9)).astype("float32") + 3}
    plain = {**answer, "cls_pred": scores}
    (found,) = decode(decoder_of("cntk faster-rcnn", logits, is_activated=False), logits, 0.2)
    (expected,) = decode(decoder_of("cntk faster-rcnn", plain), plain, 0.2)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    assert len(found.scores) == 5


def test_masks_are_picked_by_class():
    """Matterport's masks are those of the object's class; a class that has none is refused."""
    answer = keras_answer(OBJECTS, SIZE)
    (found,) = decode(decoder_of("keras mask-rcnn", answer, "normalised"), answer, 0.01)
    for row, mask in enumerate(found.masks):
        np.testing.assert_allclose(mask[:14], 0.8 + row / 100, atol=1e-6)
        np.testing.assert_allclose(mask[14:], 0.2, atol=1e-6)
    few = answer | {"mrcnn_mask": answer["mrcnn_mask"][..., :3]}
    with pytest.raises(ModelError, match="mask of class 3"):
        decode(decoder_of("keras mask-rcnn", answer, "normalised"), few, 0.01)


@pytest.mark.parametrize("form", CASES)
def test_half_precision(form):
    """Answers of 16 bits decode like those of 32, to their precision."""
    answer, coordinates, fields, _ = CASES[form]
    half = {name: array.astype("float16") if array.dtype == np.float32 else array for name, array in answer.items()}
    decoder = decoder_of(form, answer, coordinates, **fields)
    (found,), (expected,) = decode(decoder, half), decode(decoder, answer)
    assert found.boxes.dtype == found.scores.dtype == np.float32
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.25)
    assert found.labels.tolist() == expected.labels.tolist()


@pytest.mark.parametrize("shape", [(3, 6), (1, 3, 6)])
def test_rows_that_name_no_image_are_of_one(shape):
    """Two images cannot share rows that do not say whose they are; with the image's number in front they can."""
    rows = np.asarray([[1, 1, 9, 9, 0.9, 0], [2, 2, 8, 8, 0.8, 0], [3, 3, 7, 9, 0.7, 0]], "float32")
    decoder = Decoder("finished", ("rows",), "pixels", None)
    with pytest.raises(ModelError, match="expected 2 images, found 1"):
        decode_answer((rows.reshape(shape),), decoder, (64, 64), 0.5, 2)
    numbered = np.concatenate([np.zeros((3, 1), "float32"), rows], axis=1)
    first, second = decode_answer((numbered,), decoder, (64, 64), 0.5, 2)
    assert (len(first.found.scores), len(second.found.scores)) == (3, 0)
