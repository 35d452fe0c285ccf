"""YOLOX: known objects come back from its grids, and a real network finds the dog, the bicycle and the car."""

import numpy as np
import onnxruntime
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling

import detectors
from geodl_core.domain.detection.decoder import Decoder
from geodl_core.domain.detection.yolox import decode_yolox
from geodl_core.errors import ModelError

KNOWN = detectors.known_boxes(2, 14)
COCO = {"bicycle": 1, "car": 2, "dog": 16}
SEEN = {"bicycle": (120, 130, 570, 430), "car": (465, 75, 690, 170), "dog": (130, 220, 312, 540)}
"""Where they are in the photo, in its pixels, as drawn by eye."""


def decoder_of(**more) -> Decoder:
    return Decoder("yolox", ("output",), "pixels", **{"classes": KNOWN.classes, **more})


@pytest.mark.parametrize(
    ("strides", "more"),
    [
        ((8, 16, 32), {}),
        ((8, 16, 32, 64), {}),
        ((16, 32, 8), {"settings": {"strides": [16, 32, 8]}}),
        ((8, 16, 32), {"settings": {"strides": (8, 16, 32)}, "first_label": 1}),
    ],
)
@pytest.mark.parametrize("count", [14, 0])
def test_grids(tmp_path, strides, more, count):
    """Known objects come back from three strides, from four where the number of boxes says so, from strides as said."""
    known = detectors.known_boxes(2, count)
    tensors = detectors.answer(detectors.yolox_network(tmp_path / "net.onnx", known, strides))
    decoder = decoder_of(**more)
    (found,) = decode_yolox(tensors, decoder, known.size, 0.4)
    detectors.assert_known(found, known, decoder.first_label)


def test_logits(tmp_path):
    """Scores that are not activated are logits of sigmoids."""
    (rows,) = detectors.answer(detectors.yolox_network(tmp_path / "net.onnx", KNOWN))
    scores = np.clip(rows[..., 4:].astype(np.float64), 1e-6, None)
    logits = np.concatenate([rows[..., :4], np.log(scores / (1 - scores))], axis=2)
    (found,) = decode_yolox((logits,), decoder_of(is_activated=False), KNOWN.size, 0.4)
    detectors.assert_known(found, KNOWN)


@given(st.integers(0, 1 << 30), st.sampled_from([(64, 96), (70, 97), (33, 127)]), st.booleans())
@settings(max_examples=40)
def test_cells_one_by_one(seed, size, is_rounded_up):
    """Each image's objects are those that a loop over the cells finds, also of inputs that strides do not divide."""
    rng = np.random.default_rng(seed)
    cells = [
        (stride, row, col)
        for stride in (8, 16, 32)
        for row in range(-(-size[0] // stride) if is_rounded_up else size[0] // stride)
        for col in range(-(-size[1] // stride) if is_rounded_up else size[1] // stride)
    ]
    boxes = np.concatenate(
        [rng.normal(0, 1, (2, len(cells), 4)), rng.integers(0, 5, (2, len(cells), 4)) / 4], axis=2
    ).astype(np.float32)
    for image, found in zip(boxes, decode_yolox((boxes,), decoder_of(classes=3), size, 0.5), strict=True):
        expected = []
        for (stride, row, col), (dx, dy, dw, dh, objectness, *scores) in zip(cells, image.tolist(), strict=True):
            score = objectness * max(scores)
            if score > 0.5:
                x, y = (col + dx) * stride, (row + dy) * stride
                w, h = np.exp(dw) * stride, np.exp(dh) * stride
                expected.append((x - w / 2, y - h / 2, x + w / 2, y + h / 2, score, scores.index(max(scores))))
        np.testing.assert_allclose(
            np.column_stack([found.boxes, found.scores, found.labels]),
            np.reshape(expected, (-1, 6)),
            rtol=1e-5,
            atol=1e-3,
        )


ROWS = np.zeros((1, 126, 9))


@pytest.mark.parametrize(
    ("rows", "more", "message"),
    [
        (ROWS[0], {}, r"'output': expected the shape \(N, B, 9\), found \(126, 9\)"),
        (ROWS, {"classes": 3}, r"\(N, B, 8\), found \(1, 126, 9\)"),
        (ROWS[..., :5], {"classes": None}, "at least 6 numbers a box, found 5"),
        (ROWS[:, 1:], {}, r"125 boxes do not fit the strides \(8, 16, 32, 64\) of an input of 64 × 96 pixels"),
        (ROWS, {"settings": {"strides": [8, 16]}}, r"126 boxes do not fit the strides \(8.0, 16.0\)"),
        (ROWS, {"is_activated": False, "settings": {"activation": "softmax"}}, "are sigmoids, found the activation"),
        (ROWS, {"settings": {"strides": [8, 0]}}, "strides of at least a pixel"),
        (ROWS, {"settings": {"strides": "fine"}}, "strides is 'fine', expected numbers"),
        (np.where(np.arange(9) == 4, np.nan, ROWS), {}, "the network gives NaN"),
        (np.where(np.arange(9) == 8, np.inf, ROWS), {}, "the network gives NaN"),
    ],
)
def test_what_does_not_fit(rows, more, message):
    """Other shapes, numbers of boxes that no strides explain, and scores that are no numbers are refused."""
    with pytest.raises(ModelError, match=message):
        decode_yolox((rows,), decoder_of(**more), (64, 96), 0.5)


def test_a_size_that_overflows():
    """A logarithm that is too large gives an infinite box, which later checks see, and no warning."""
    rows = np.full((1, 126, 9), 0.9, np.float32)
    rows[0, 3, 2] = 1000
    (found,) = decode_yolox((rows,), decoder_of(), (64, 96), 0.5)
    np.testing.assert_array_equal(np.flatnonzero(~np.isfinite(found.boxes).all(1)), [3])


@pytest.mark.shared
def test_a_real_network(shared):
    """YOLOX-nano finds the dog, the bicycle and the car of the photo, each where it is."""
    folder = shared / "data" / "yolox_nano"
    with rasterio.open(folder / "dog.jpg") as photo:
        scale = 416 / photo.width
        pixels = photo.read(out_shape=(3, round(photo.height * scale), 416), resampling=Resampling.bilinear)
    image = np.full((1, 3, 416, 416), 114, np.float32)
    image[0, :, : pixels.shape[1]] = pixels[::-1]  # blue, green, red
    session = onnxruntime.InferenceSession(folder / "yolox_nano.onnx", providers=["CPUExecutionProvider"])
    (found,) = decode_yolox(tuple(session.run(None, {"images": image})), decoder_of(classes=80), (416, 416), 0.3)
    for name, least in (("dog", 0.8), ("car", 0.75), ("bicycle", 0.75)):
        of_class = np.flatnonzero(found.labels == COCO[name])
        best = of_class[found.scores[of_class].argmax()]
        assert found.scores[best] >= least, name
        assert _iou(found.boxes[best] / scale, SEEN[name]) > 0.75, name


def _iou(box: np.ndarray, other: tuple[int, ...]) -> float:
    low, high = np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])
    shared = np.prod(np.maximum(high - low, 0))
    areas = [np.prod(np.subtract(each[2:], each[:2])) for each in (box, other)]
    return float(shared / (sum(areas) - shared))
