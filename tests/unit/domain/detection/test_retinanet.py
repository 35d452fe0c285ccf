"""RetinaNet: known objects come back from one tensor and from maps of levels, in every order of anchors."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

import detectors
from geodl_core.domain.detection.decoder import Decoder
from geodl_core.domain.detection.retinanet import decode_retinanet_raw
from geodl_core.errors import ModelError

KNOWN = detectors.known_boxes(4, 15)
SMALL = {"sizes": [10, 20], "strides": [16, 32], "scales": [1, 1.5], "ratios": [1, 2]}
"""At 48 × 70 pixels 3 × 5 and 2 × 3 cells, with 4 anchors each."""


def decoder_of(tensors: tuple[str, ...] = ("classes", "boxes"), **more) -> Decoder:
    values = {"classes": KNOWN.classes, "is_activated": False, **more}
    return Decoder("retinanet raw", tensors, "pixels", **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("variances", [(1.0, 1.0), (0.1, 0.2)])
@pytest.mark.parametrize("count", [15, 0])
def test_rows(tmp_path, variances, count):
    """Known objects come back from one tensor of logits and one of offsets, with the paper's anchors by default."""
    known = detectors.known_boxes(4, count)
    tensors = detectors.answer(detectors.retinanet_network(tmp_path / "net.onnx", known, variances=variances))
    decoder = decoder_of(first_label=2, settings={"variances": variances} if variances != (1, 1) else {})
    (found,) = decode_retinanet_raw(tensors, decoder, known.size, 0.4)
    detectors.assert_known(found, known, first_label=2)


@pytest.mark.parametrize("classes", [KNOWN.classes, None])
@pytest.mark.parametrize("is_in_halves", [True, False])
def test_maps(tmp_path, is_in_halves, classes):
    """Known objects come back from maps, first all of logits and then all of offsets, or in turns."""
    tensors = detectors.answer(detectors.retinanet_network(tmp_path / "net.onnx", KNOWN, is_per_level=True))
    names = tuple(f"{kind}{level}" for kind in ("classes", "boxes") for level in range(3, 8))
    if not is_in_halves:
        order = [index for level in range(5) for index in (level, 5 + level)]
        tensors, names = tuple(tensors[index] for index in order), tuple(names[index] for index in order)
    (found,) = decode_retinanet_raw(tensors, decoder_of(names, classes=classes), KNOWN.size, 0.4)
    detectors.assert_known(found, KNOWN)


def test_activated(tmp_path):
    """Where the graph has the sigmoid in it, scores are taken as they are."""
    logits, offsets = detectors.answer(detectors.retinanet_network(tmp_path / "net.onnx", KNOWN))
    (found,) = decode_retinanet_raw((special.expit(logits), offsets), decoder_of(is_activated=True), KNOWN.size, 0.4)
    detectors.assert_known(found, KNOWN)


@given(st.integers(0, 1 << 30), st.booleans(), st.booleans(), st.booleans(), st.sampled_from([0, 0.5]))
@settings(max_examples=60)
def test_anchors_one_by_one(seed, is_by_scale, is_rounded, is_maps, offset):
    """Objects are those that a loop over levels, rows, columns and anchors finds, in rows and in maps alike."""
    rng = np.random.default_rng(seed)
    order = "scales" if is_by_scale else "ratios"
    said = {**SMALL, "offset": offset, "anchor_order": order, "is_rounded": is_rounded}
    logits = rng.normal(0, 1, (2, (15 + 6) * 4, 3)).astype(np.float32)
    moves = rng.normal(0, 0.5, (2, (15 + 6) * 4, 4)).astype(np.float32)
    if is_maps:
        tensors = tuple(
            values[:, start : start + rows * cols * 4].reshape(2, rows, cols, -1).transpose(0, 3, 1, 2)
            for values in (logits, moves)
            for start, rows, cols in ((0, 3, 5), (60, 2, 3))
        )
        decoder = decoder_of(("c1", "c2", "b1", "b2"), classes=3, settings=said)
    else:
        tensors, decoder = (logits, moves), decoder_of(classes=3, settings=said)
    for number, found in enumerate(decode_retinanet_raw(tensors, decoder, (48, 70), 0.7)):
        expected, place = [], 0
        for size, stride, rows, cols in ((10, 16, 3, 5), (20, 32, 2, 3)):
            pairs = [(scale, ratio) for ratio in (1, 2) for scale in (1, 1.5)]
            pairs = sorted(pairs, key=lambda pair: pair[0]) if is_by_scale else pairs
            for row, col, (scale, ratio) in itertools.product(range(rows), range(cols), pairs):
                w, h = size * scale / np.sqrt(ratio), size * scale * np.sqrt(ratio)
                if is_rounded:
                    w, h = 2 * np.round(w / 2), 2 * np.round(h / 2)
                dx, dy, dw, dh = moves[number, place].astype(np.float64)
                x, y = (col + offset) * stride + dx * w, (row + offset) * stride + dy * h
                w, h = w * np.exp(dw), h * np.exp(dh)
                scores = special.expit(logits[number, place].astype(np.float64))
                if scores.max() > 0.7:
                    expected.append((x - w / 2, y - h / 2, x + w / 2, y + h / 2, scores.max(), scores.argmax()))
                place += 1
        rows_found = np.column_stack([found.boxes, found.scores, found.labels])
        np.testing.assert_allclose(rows_found, np.reshape(expected, (-1, 6)), atol=1e-3)


LOGITS, OFFSETS = np.zeros((1, 84, 4)), np.zeros((1, 84, 4))
MAPS = (np.zeros((1, 16, 3, 5)), np.zeros((1, 16, 2, 3)), np.zeros((1, 16, 3, 5)), np.zeros((1, 16, 2, 3)))


@pytest.mark.parametrize(
    ("tensors", "more", "message"),
    [
        ((LOGITS[0], OFFSETS), {}, r"'t0': expected the shape \(N, 84, 4\), found \(84, 4\)"),
        ((LOGITS[:, 1:], OFFSETS), {}, r"'t0': expected the shape \(N, 84, 4\), found \(1, 83, 4\)"),
        ((LOGITS, OFFSETS), {"classes": 2}, r"'t0': expected the shape \(N, 84, 2\)"),
        ((LOGITS, OFFSETS[..., 1:]), {}, r"'t1': expected the shape \(1, 84, 4\), found \(1, 84, 3\)"),
        ((LOGITS, OFFSETS, OFFSETS), {}, "takes 2 tensors, found 3"),
        ((LOGITS[..., :0], OFFSETS), {"classes": None}, "'t0': expected at least 1 numbers a box, found 0"),
        (MAPS[:2], {}, "the anchors have 2 levels, which takes 4 outputs, found"),
        ((MAPS[1], MAPS[0], *MAPS[2:]), {}, r"'t0': expected the shape \(N, 16, 3, 5\), found \(1, 16, 2, 3\)"),
        (MAPS, {"classes": 5}, r"'t0': expected the shape \(N, 20, 3, 5\)"),
        (
            (MAPS[0][:, :15], MAPS[1][:, :15], *MAPS[2:]),
            {"classes": None},
            "'t0': expected 4 anchors times K channels, found 15",
        ),
        ((MAPS[0], MAPS[1], MAPS[2][:, :12], MAPS[3]), {}, r"'t2': expected the shape \(1, 16, 3, 5\)"),
        ((np.where(np.arange(4) == 2, np.nan, LOGITS), OFFSETS), {}, "'t0': the network gives NaN"),
        ((MAPS[0], MAPS[1] + np.inf, *MAPS[2:]), {}, "'t1': the network gives NaN"),
        ((LOGITS, OFFSETS), {"settings": {**SMALL, "activation": "softmax"}}, "'retinanet raw' are sigmoids"),
        ((LOGITS, OFFSETS), {"settings": {**SMALL, "variances": 1}}, "variances of centre and size"),
    ],
)
def test_what_does_not_fit(tensors, more, message):
    """Other shapes, levels, settings, and scores that are no numbers are refused by name."""
    decoder = decoder_of(tuple(f"t{number}" for number in range(len(tensors))), **{"settings": SMALL, **more})
    with pytest.raises(ModelError, match=message):
        decode_retinanet_raw(tensors, decoder, (48, 70), 0.5)
