"""SSD: known objects come back from boxes and from offsets; real heads decode as a real graph decodes them itself."""

import itertools
import math

import numpy as np
import onnx
import onnxruntime
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, utils
from scipy import special

import detectors
from geodl_core.domain.detection.decoder import Decoder
from geodl_core.domain.detection.ssd import decode_ssd, decode_ssd_raw
from geodl_core.errors import ModelError

KNOWN = detectors.known_boxes(3, 13, (256, 320))
ULTRAFACE = {"strides": [8, 16, 32, 64], "min_sizes": [list(sizes) for sizes in detectors.MIN_SIZES]}
FACES = (240, 320)


def decoder_of(form: str = "ssd", **more) -> Decoder:
    values = {"coordinates": "normalised", "classes": KNOWN.classes, **more}
    return Decoder(form, ("boxes", "scores"), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("background", ["first", "last", "none", None])
@pytest.mark.parametrize("coordinates", ["pixels", "normalised"])
@pytest.mark.parametrize("count", [13, 0])
def test_boxes(tmp_path, coordinates, background, count):
    """Known objects come back with the background first, last, absent, or where the number of scores says it is."""
    known = detectors.known_boxes(3, count)
    path = detectors.ssd_network(tmp_path / "net.onnx", known, coordinates, background or "none")
    decoder = decoder_of(
        coordinates=coordinates, first_label=1, settings={"background": background} if background else {}
    )
    (found,) = decode_ssd(detectors.answer(path), decoder, known.size, 0.4)
    detectors.assert_known(found, known, first_label=1)


def test_background_by_default(tmp_path):
    """Where nothing is said, one score more than classes is a background that comes first."""
    tensors = detectors.answer(detectors.ssd_network(tmp_path / "net.onnx", KNOWN))
    for classes in (KNOWN.classes, None):
        (found,) = decode_ssd(tensors, decoder_of(classes=classes), KNOWN.size, 0.4)
        detectors.assert_known(found, KNOWN)


@pytest.mark.parametrize("classes", [KNOWN.classes, None])
def test_offsets(tmp_path, classes):
    """Known objects come back from offsets of UltraFace's anchors and logits of a softmax."""
    path = detectors.ssd_raw_network(tmp_path / "net.onnx", KNOWN)
    decoder = decoder_of("ssd raw", classes=classes, is_activated=False, settings=ULTRAFACE)
    (found,) = decode_ssd_raw(detectors.answer(path), decoder, KNOWN.size, 0.4)
    detectors.assert_known(found, KNOWN)


def test_offsets_of_given_anchors(tmp_path):
    """Anchors that are given one by one, as shares of the image, and other variances, give the same objects."""
    path = detectors.ssd_raw_network(tmp_path / "net.onnx", KNOWN, variances=(1, 0.5))
    height, width = KNOWN.size
    anchors = [
        ((col + 0.5) * stride / width, (row + 0.5) * stride / height, side / width, side / height)
        for stride, sides in zip((8, 16, 32, 64), detectors.MIN_SIZES, strict=True)
        for row, col, side in itertools.product(range(height // stride), range(width // stride), sides)
    ]
    given_anchors = {"anchors": anchors, "variances": [1, 0.5]}
    decoder = decoder_of("ssd raw", is_activated=False, settings=given_anchors)
    (found,) = decode_ssd_raw(detectors.answer(path), decoder, KNOWN.size, 0.4)
    detectors.assert_known(found, KNOWN)


@given(st.integers(0, 1 << 30), st.booleans(), st.booleans(), st.sampled_from(["softmax", "sigmoid"]))
@settings(max_examples=60)
def test_boxes_one_by_one(seed, is_activated, is_multi_label, activation):
    """Objects are those that a loop over boxes finds: of each the best class, or every class, above the threshold."""
    rng = np.random.default_rng(seed)
    boxes = rng.random((2, 25, 4)).astype(np.float32)
    scores = (rng.integers(0, 5, (2, 25, 4)) / 4 if is_activated else rng.normal(0, 3, (2, 25, 4))).astype(np.float32)
    settings_ = {"is_multi_label": is_multi_label, "background": "last", "activation": activation}
    decoder = decoder_of(classes=3, is_activated=is_activated, settings=settings_)
    for number, found in enumerate(decode_ssd((boxes, scores), decoder, (50, 70), 0.25)):
        expected = []
        activate = {"softmax": special.softmax, "sigmoid": special.expit}[activation]
        for box, raw in zip(boxes[number].tolist(), scores[number].astype(np.float64), strict=True):
            values = raw if is_activated else activate(raw)
            passing = [(label, score) for label, score in enumerate(values[:3].tolist()) if score > 0.25]
            if not is_multi_label:
                passing = sorted(passing, key=lambda each: -each[1])[:1]
            x0, y0, x1, y1 = box
            expected += [(x0 * 70, y0 * 50, x1 * 70, y1 * 50, score, label) for label, score in passing]
        rows = np.column_stack([found.boxes, found.scores, found.labels])
        np.testing.assert_allclose(rows, np.reshape(expected, (-1, 6)), atol=1e-4)


@given(st.integers(0, 1 << 30))
@settings(max_examples=30)
def test_bounded_offsets_one_by_one(seed):
    """The encoding of fast.ai's course moves an anchor by half a cell at most and makes it half to one and a half times
    as large; its axes come as y, x.
    """
    rng = np.random.default_rng(seed)
    keys = {"Grids": [4, 2, 1], "Zooms": [0.7, 1], "Ratios": [[1, 1], [1, 0.5], [0.5, 1]]}
    offsets = rng.normal(0, 2, (1, (16 + 4 + 1) * 6, 4)).astype(np.float32)
    logits = rng.normal(0, 2, (1, offsets.shape[1], 3)).astype(np.float32)
    said = {**keys, "encoding": "tanh", "activation": "sigmoid", "background": "last"}
    decoder = decoder_of("ssd raw", classes=2, is_activated=False, settings=said)
    (found,) = decode_ssd_raw((offsets, logits), decoder, (60, 90), 0.6)
    expected, place = [], 0
    for grid in (4, 2, 1):
        for row, col, zoom, (tall, wide) in itertools.product(range(grid), range(grid), (0.7, 1), keys["Ratios"]):
            dy, dx, dh, dw = np.tanh(offsets[0, place].astype(np.float64)) / 2
            y, x = (row + 0.5 + dy) / grid * 60, (col + 0.5 + dx) / grid * 90
            h, w = zoom * tall / grid * 60 * (1 + dh), zoom * wide / grid * 90 * (1 + dw)
            scores = special.expit(logits[0, place, :2].astype(np.float64))
            if scores.max() > 0.6:
                expected.append((x - w / 2, y - h / 2, x + w / 2, y + h / 2, scores.max(), scores.argmax()))
            place += 1
    rows = np.column_stack([found.boxes, found.scores, found.labels])
    np.testing.assert_allclose(rows, np.reshape(expected, (-1, 6)), atol=1e-3)


BOXES, SCORES = np.zeros((1, 8, 4)), np.zeros((1, 8, 5))


@pytest.mark.parametrize(
    ("boxes", "scores", "more", "message"),
    [
        (BOXES[0], SCORES, {}, r"'boxes': expected the shape \(N, B, 4\), found \(8, 4\)"),
        (SCORES, SCORES, {}, r"'boxes': expected the shape \(N, B, 4\), found \(1, 8, 5\)"),
        (BOXES, SCORES[:, 1:], {}, r"'scores': expected the shape \(1, 8, K\), found \(1, 7, 5\)"),
        (
            BOXES,
            SCORES,
            {"classes": 3},
            "'scores': expected scores of 3 classes, background first, found 5 scores a box",
        ),
        (BOXES, SCORES[..., :1], {"classes": None}, "expected scores of at least one class, background first, found 1"),
        (BOXES, SCORES, {"settings": {"background": "second"}}, "background is 'second', expected one of none, first"),
        (BOXES, SCORES, {"is_activated": False, "settings": {"activation": "tanh"}}, "activation is 'tanh'"),
        (BOXES, np.where(np.arange(5) == 0, np.nan, SCORES), {}, "'scores': the network gives NaN"),
        (
            BOXES,
            np.where(np.arange(5) == 3, -np.inf, SCORES),
            {"is_activated": False},
            "'scores': the network gives NaN",
        ),
    ],
)
@pytest.mark.parametrize("decode", [decode_ssd, decode_ssd_raw])
def test_what_does_not_fit(decode, boxes, scores, more, message):
    """Other shapes, numbers of classes, words and scores that are no numbers are refused by both decoders."""
    more = {**more, "settings": {"anchors": np.zeros((8, 4)), **more.get("settings", {})}}
    with pytest.raises(ModelError, match=message):
        decode((boxes, scores), decoder_of(**more), (64, 96), 0.5)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({}, "offsets of anchors, but nothing says which"),
        ({"anchors": np.zeros((7, 4))}, "'boxes': expected a box for each of 7 anchors, found 8"),
        ({"anchors": np.zeros((8, 3))}, r"rows of cx, cy, w, h, found the shape \(8, 3\)"),
        ({"anchors": "many"}, "rows of cx, cy, w, h"),
        ({"anchors": np.zeros((8, 4)), "encoding": "tanh"}, "encoding tanh is of anchors on grids"),
        ({"anchors": np.zeros((8, 4)), "variances": [0.1]}, "variances of centre and size, found"),
        ({"anchors": np.zeros((8, 4)), "variances": "small"}, "variances is 'small', expected numbers"),
        ({"grids": [2]}, "'boxes': expected a box for each of 4 anchors, found 8"),
    ],
)
def test_anchors_that_do_not_fit(said, message):
    """Anchors that nothing names, of another number or form, are refused."""
    with pytest.raises(ModelError, match=message):
        decode_ssd_raw((BOXES, SCORES), decoder_of("ssd raw", settings=said), (64, 96), 0.5)


@pytest.mark.parametrize("is_clipped", [True, False])
def test_anchors_beyond_the_image(is_clipped):
    """Anchors of min_sizes are cut to the image, as UltraFace has them, unless the settings say otherwise."""
    said = {"strides": [64], "min_sizes": [[200]], "is_clipped": is_clipped}
    decoder = decoder_of("ssd raw", classes=1, settings=said)
    (found,) = decode_ssd_raw((np.zeros((1, 2, 4)), np.full((1, 2, 1), 0.9)), decoder, (64, 128), 0.5)
    sides = (128, 64) if is_clipped else (200, 200)
    np.testing.assert_array_equal(found.boxes[:, 2:] - found.boxes[:, :2], [sides, sides])


def test_offsets_that_are_no_numbers():
    """An offset that is NaN, or overflows, reaches what is found, without a warning."""
    offsets, scores = np.zeros((1, 8, 4), np.float32), np.full((1, 8, 4), 0.9)
    offsets[0, 2, 0], offsets[0, 5, 3] = np.nan, 1e6
    decoder = decoder_of("ssd raw", settings={"anchors": np.full((8, 4), 0.5)})
    (found,) = decode_ssd_raw((offsets, scores), decoder, (64, 96), 0.5)
    np.testing.assert_array_equal(np.flatnonzero(~np.isfinite(found.boxes).all(1)), [2, 5])


@pytest.fixture(scope="module")
def faces(shared):
    """UltraFace's RFB-320 with its offsets and logits as further outputs, and its own decoding of offsets alone."""
    model = onnx.load(shared / "data" / "ultraface_ssd" / "version-RFB-320.onnx")
    names = {initializer.name for initializer in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in names]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    (logits,) = (node.input[0] for node in model.graph.node if node.op_type == "Softmax")
    levels = [node.output[0] for node in model.graph.node if node.op_type == "Concat" and len(node.input) == 4]
    (offsets,) = (name for name in levels if name != logits)
    model.graph.value_info.append(helper.make_tensor_value_info(offsets, onnx.TensorProto.FLOAT, [1, 4420, 4]))
    tail = utils.Extractor(model).extract_model([offsets], ["boxes"])
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in (offsets, logits))
    return _session(model), _session(tail)


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def pictures(shared):
    """Three images as UltraFace wants them: noise, a photo, an aerial scene."""
    images = [np.random.default_rng(0).integers(0, 256, (3, *FACES))]
    for name in ("yolox_nano/dog.jpg", "oam_manila_cars/5b90f92da0d7280005fab355_4310.tif"):
        with rasterio.open(shared / "data" / name) as picture:
            images.append(picture.read([1, 2, 3], out_shape=(3, *FACES)))
    return [((image[None] - 127.0) / 128).astype(np.float32) for image in images]


@pytest.mark.shared
def test_a_real_raw_head(faces, pictures):
    """A real network's raw head gives what its own graph makes of it: each box to 1e-4 of the image, each score too."""
    session, _ = faces
    for image in pictures:
        scores, boxes, offsets, logits = session.run(None, {"input": image})
        (expected,) = decode_ssd((boxes, scores), decoder_of(classes=1), FACES, -1)
        raw = decoder_of("ssd raw", classes=1, is_activated=False, settings=ULTRAFACE)
        (found,) = decode_ssd_raw((offsets, logits), raw, FACES, -1)
        assert len(found.scores) == len(expected.scores) == 4420
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
        np.testing.assert_allclose(found.boxes / (320, 240, 320, 240), expected.boxes / (320, 240, 320, 240), atol=1e-4)


@pytest.mark.shared
def test_a_real_network_without_decoding(faces, pictures, shared):
    """Another network's offsets give what the first one's graph makes of them, whose anchors are the same."""
    _, tail = faces
    path = shared / "data" / "ultraface_ssd" / "version-slim-320_without_postprocessing.onnx"
    slim = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for image in pictures:
        scores, offsets = slim.run(["scores", "boxes"], {"input": image})
        (boxes,) = tail.run(None, {tail.get_inputs()[0].name: offsets})
        (expected,) = decode_ssd((boxes, scores), decoder_of(classes=1), FACES, -1)
        (found,) = decode_ssd_raw((offsets, scores), decoder_of(classes=1, settings=ULTRAFACE), FACES, -1)
        assert len(found.scores) == 4420
        np.testing.assert_array_equal(found.scores, expected.scores)
        np.testing.assert_allclose(found.boxes / (320, 240, 320, 240), expected.boxes / (320, 240, 320, 240), atol=1e-4)
        assert math.isfinite(float(found.boxes.sum()))
