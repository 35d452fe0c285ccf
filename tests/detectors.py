"""ONNX networks that answer with known objects, each in the exact layout of one family of detectors.

Objects are encoded by the inverse of what a family's paper or export says, one number after the other, on purpose
without anything of the decoders that are tested. Networks take an image (1, 3, H, W), which their answer does not
depend on.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import networks
from geodl_core.domain.detection.decoder import Found

ANCHORS = (((10, 13), (16, 30), (33, 23)), ((30, 61), (62, 45), (59, 119)), ((116, 90), (156, 198), (373, 326)))
"""Width and height in pixels, three for each of the strides 8, 16, 32."""
STRIDES = (8, 16, 32)
MIN_SIZES = ((10, 16, 24), (32, 48), (64, 96), (128, 192, 256))
"""UltraFace's: widths in pixels for each of the strides 8, 16, 32, 64."""
PROTOTYPES = 32
CELL = 32
MASK_STEEPNESS = 8.0


@dataclass(frozen=True)
class Known:
    """Objects of an image; no two have their centre in one cell of 32 pixels, and no two have one score."""

    size: tuple[int, int]
    """Height and width."""
    classes: int
    boxes: np.ndarray
    """(n, 4) xmin, ymin, xmax, ymax in pixels, whole within the image."""
    labels: np.ndarray
    """(n,) from 0."""
    scores: np.ndarray
    """(n,) falling, between 0.5 and 1."""
    angles: np.ndarray
    """(n,) radians by which an oriented detector's boxes are turned about their centres, clockwise as seen."""

    def __iter__(self) -> Iterator[tuple[float, float, float, float, int, float]]:
        """Go through the objects: cx, cy, w, h, label, score."""
        for (x0, y0, x1, y1), label, score in zip(self.boxes, self.labels, self.scores, strict=True):
            yield (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, int(label), float(score)


def known_boxes(seed: int, n: int, size: tuple[int, int] = (256, 320), classes: int = 4) -> Known:
    """Make n objects for an image of this height and width, both multiples of 32."""
    rng = np.random.default_rng(seed)
    height, width = size
    cells = rng.choice((height // CELL) * (width // CELL), n, replace=False)
    rows, cols = np.divmod(cells, width // CELL)
    centres = np.stack([cols, rows], axis=1) * CELL + rng.uniform(9, CELL - 9, (n, 2))
    room = np.minimum(centres, [width, height] - centres)
    halves = np.minimum(np.exp(rng.uniform(np.log(6), np.log(60), (n, 2))), room)
    scores = np.sort(0.52 + 0.45 * (np.arange(n) + rng.uniform(0.2, 0.8, n)) / n)[::-1]
    return Known(
        size,
        classes,
        np.concatenate([centres - halves, centres + halves], axis=1),
        rng.integers(0, classes, n),
        scores,
        rng.uniform(-math.pi / 4, 3 * math.pi / 4, n),
    )


def constant_network(path: Path, size: tuple[int, int], outputs: Mapping[str, np.ndarray]) -> Path:
    """Write a network that gives these arrays, whatever the image (1, 3, H, W) is."""
    nodes = [
        helper.make_node("ReduceMax", ["images"], ["highest"], keepdims=0),
        helper.make_node("Mul", ["highest", "zero"], ["nothing"]),
    ]
    arrays = [numpy_helper.from_array(np.float32(0), "zero")]
    infos = []
    for name, array in outputs.items():
        nodes.append(helper.make_node("Add", ["nothing", f"{name}_answer"], [name]))
        arrays.append(numpy_helper.from_array(array.astype(np.float32), f"{name}_answer"))
        infos.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape))
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, *size])
    return networks.save(helper.make_graph(nodes, "detector", [image], infos, arrays), path)


def answer(path: Path, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Return what a network gives for an image of noise."""
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    image = np.random.default_rng(seed).random(session.get_inputs()[0].shape, np.float32)
    return tuple(session.run(None, {session.get_inputs()[0].name: image}))


def assert_known(found: Found, known: Known, first_label: int = 0, px: float = 0.01) -> None:
    """Check that just the known objects were found, at their places, to a part of a pixel."""
    order = np.argsort(-found.scores)
    np.testing.assert_allclose(found.scores[order], known.scores, atol=1e-5)
    np.testing.assert_array_equal(found.labels[order], known.labels + first_label)
    np.testing.assert_allclose(found.boxes[order], known.boxes, atol=px)
    assert found.boxes.dtype == found.scores.dtype == np.float32
    assert found.labels.dtype == np.int64


def logit(score: float) -> float:
    """Return the number whose sigmoid is the score."""
    return math.log(score / (1 - score))


def yolo_network(
    path: Path,
    known: Known,
    coordinates: str = "pixels",
    has_objectness: bool = True,
    is_activated: bool = True,
) -> Path:
    """Output `output0` (1, B, 5 + K) as of v5, or without objectness (1, B, 4 + K)."""
    return constant_network(
        path, known.size, {"output0": _yolo_rows(known, coordinates, has_objectness, is_activated)[None]}
    )


def yolo_transposed_network(path: Path, known: Known, coordinates: str = "pixels", is_activated: bool = True) -> Path:
    """Output `output0` (1, 4 + K, B) as of v8."""
    rows = _yolo_rows(known, coordinates, False, is_activated)
    return constant_network(path, known.size, {"output0": np.ascontiguousarray(rows.T)[None]})


def yolo_oriented_network(path: Path, known: Known, coordinates: str = "pixels") -> Path:
    """Output `output0` (1, 4 + K + 1, B) as of v8's oriented boxes."""
    rows = _yolo_rows(known, coordinates, False, True)
    angles = np.random.default_rng(1).uniform(-1, 1, len(rows))
    angles[_places(known, len(rows))] = known.angles
    return constant_network(path, known.size, {"output0": np.concatenate([rows, angles[:, None]], axis=1).T[None]})


def yolo_masks_network(path: Path, known: Known, has_objectness: bool = False) -> Path:
    """Outputs `output0` and prototypes `output1` (1, 32, H / 4, W / 4): the masks are the ellipses in the boxes.

    The first prototypes are 1, x, y, x² and y² of their cells' centres, of which a logit is composed that is 0 on the
    ellipse; the others are noise that no object uses.
    """
    height, width = known.size
    rng = np.random.default_rng(2)
    prototypes = rng.standard_normal((PROTOTYPES, height // 4, width // 4))
    for i, j in np.ndindex(height // 4, width // 4):
        x, y = (4 * j + 2) / width, (4 * i + 2) / height
        prototypes[:5, i, j] = 1, x, y, x * x, y * y
    rows = _yolo_rows(known, "pixels", has_objectness, True)
    coefficients = rng.standard_normal((len(rows), PROTOTYPES))
    for place, (cx, cy, w, h, _, _) in zip(_places(known, len(rows)), known, strict=True):
        p, q, a, b = cx / width, cy / height, w / 2 / width, h / 2 / height
        of_ellipse = (1 - (p / a) ** 2 - (q / b) ** 2, 2 * p / a**2, 2 * q / b**2, -1 / a**2, -1 / b**2)
        coefficients[place] = 0
        coefficients[place, :5] = MASK_STEEPNESS * np.array(of_ellipse)
    boxes = np.concatenate([rows, coefficients], axis=1)
    outputs = {"output0": (boxes if has_objectness else boxes.T)[None], "output1": prototypes[None]}
    return constant_network(path, known.size, outputs)


def yolo_heads_network(
    path: Path, known: Known, version: str = "v5", is_flat: bool = True, scale_xy: float = 1.1
) -> Path:
    """Outputs `p3`, `p4`, `p5`, logits for the strides 8, 16, 32: (1, 3 × (5 + K), h, w), or (1, 3, h, w, 5 + K)."""
    rng = np.random.default_rng(3)
    height, width = known.size
    heads = [rng.normal(-6, 0.3, (3, height // s, width // s, 5 + known.classes)) for s in STRIDES]
    for cx, cy, w, h, label, score in known:
        level, anchor = _nearest_shape(w, h)
        stride, (anchor_w, anchor_h) = STRIDES[level], ANCHORS[level][anchor]
        col, row = int(cx // stride), int(cy // stride)
        cell = heads[level][anchor, row, col]
        for axis, share in enumerate((cx / stride - col, cy / stride - row)):
            if version == "v3":
                cell[axis] = logit(share)
            elif version == "v4":
                cell[axis] = logit((share + (scale_xy - 1) / 2) / scale_xy)
            else:
                cell[axis] = logit((share + 0.5) / 2)
        for axis, times in ((2, w / anchor_w), (3, h / anchor_h)):
            cell[axis] = math.log(times) if version in {"v3", "v4"} else logit(math.sqrt(times) / 2)
        objectness = score**0.3
        cell[4], cell[5 + label] = logit(objectness), logit(score / objectness)
    outputs = {}
    for name, head in zip(("p3", "p4", "p5"), heads, strict=True):
        flat = np.concatenate([np.moveaxis(of_anchor, -1, 0) for of_anchor in head])
        outputs[name] = flat[None] if is_flat else head[None]
    return constant_network(path, known.size, outputs)


def yolox_network(path: Path, known: Known, strides: Sequence[int] = STRIDES) -> Path:
    """Output `output` (1, B, 5 + K): offsets in cells, logarithms of sizes, scores."""
    rng = np.random.default_rng(4)
    height, width = known.size
    cells = [(s, row, col) for s in strides for row in range(height // s) for col in range(width // s)]
    rows = rng.uniform(0, 0.1, (len(cells), 5 + known.classes))
    index = {cell: place for place, cell in enumerate(cells)}
    for number, (cx, cy, w, h, label, score) in enumerate(known):
        stride = 64 if 64 in strides and number == 0 else STRIDES[number % 3]  # of 64 pixels two might share a cell
        col, row = int(cx // stride), int(cy // stride)
        objectness = score**0.4
        place = rows[index[stride, row, col]]
        place[:5] = cx / stride - col, cy / stride - row, math.log(w / stride), math.log(h / stride), objectness
        place[5 + label] = score / objectness
    return constant_network(path, known.size, {"output": rows[None]})


def ssd_network(path: Path, known: Known, coordinates: str = "normalised", background: str = "first") -> Path:
    """Outputs `boxes` (1, B, 4) x, y, x, y and `scores` (1, B, K, or K + 1 with a background)."""
    rng = np.random.default_rng(5)
    height, width = known.size
    points = np.sort(rng.uniform(0, 1, (300, 2, 2)), axis=1) * (width, height)
    boxes = points.reshape(300, 4)
    scores = rng.uniform(0, 0.1, (300, known.classes))
    for place, (box, label, score) in zip(
        _places(known, 300), zip(known.boxes, known.labels, known.scores, strict=True), strict=True
    ):
        boxes[place] = box
        scores[place] = 0
        scores[place, label] = score
    if coordinates == "normalised":
        boxes /= (width, height, width, height)
    return constant_network(
        path, known.size, {"boxes": boxes[None], "scores": _with_background(scores, background)[None]}
    )


def ssd_raw_network(path: Path, known: Known, variances: tuple[float, float] = (0.1, 0.2)) -> Path:
    """Outputs `boxes`, offsets (1, B, 4) of UltraFace's anchors, and `scores`, logits (1, B, K + 1) of a softmax."""
    height, width = known.size
    anchors = []
    for stride, sides in zip((8, 16, 32, 64), MIN_SIZES, strict=True):
        for row, col in itertools.product(range(math.ceil(height / stride)), range(math.ceil(width / stride))):
            centre = (min((col + 0.5) * stride, width), min((row + 0.5) * stride, height))
            anchors += [(*centre, min(side, width), min(side, height)) for side in sides]
    offsets, scores = _encode(known, anchors, variances)
    logits = np.log(_with_background(scores, "first")) + 3  # a softmax does not mind a constant
    return constant_network(path, known.size, {"boxes": offsets[None], "scores": logits[None]})


def retinanet_network(
    path: Path, known: Known, is_per_level: bool = False, variances: tuple[float, float] = (1.0, 1.0)
) -> Path:
    """Outputs `classes` (1, B, K), logits of sigmoids, and `boxes` (1, B, 4); or a level `classes3` … and `boxes3` …

    Anchors are the paper's, those of one ratio after each other, centred in their cells.
    """
    height, width = known.size
    anchors, cells = [], []
    for level in range(3, 8):
        rows, cols = math.ceil(height / 2**level), math.ceil(width / 2**level)
        cells.append((rows, cols))
        for row, col, ratio, octave in itertools.product(range(rows), range(cols), (0.5, 1.0, 2.0), range(3)):
            area = (2 ** (level + 2) * 2 ** (octave / 3)) ** 2
            w = math.sqrt(area / ratio)
            anchors.append(((col + 0.5) * 2**level, (row + 0.5) * 2**level, w, w * ratio))
    offsets, scores = _encode(known, anchors, variances)
    logits = np.log(scores / (1 - scores))
    if not is_per_level:
        return constant_network(path, known.size, {"classes": logits[None], "boxes": offsets[None]})
    outputs = {}
    for name, values in (("classes", logits), ("boxes", offsets)):
        start = 0
        for level, (rows, cols) in enumerate(cells, 3):
            of_level = values[start : start + rows * cols * 9].reshape(rows, cols, -1)
            outputs[f"{name}{level}"] = np.moveaxis(of_level, -1, 0)[None]
            start += rows * cols * 9
    return constant_network(path, known.size, outputs)


def _yolo_rows(known: Known, coordinates: str, has_objectness: bool, is_activated: bool) -> np.ndarray:
    """Return (B, 5 + K) or (B, 4 + K) rows, most of which mean nothing."""
    rng = np.random.default_rng(6)
    height, width = known.size
    rows = rng.uniform(0, 0.1, (400, 4 + has_objectness + known.classes))
    rows[:, :4] = rng.uniform(0, 1, (400, 4)) * (width, height, width, height)
    scales = (width, height, width, height) if coordinates == "normalised" else (1, 1, 1, 1)
    for place, (cx, cy, w, h, label, score) in zip(_places(known, 400), known, strict=True):
        rows[place, :4] = cx, cy, w, h
        objectness = score**0.5
        if has_objectness:
            rows[place, 4:6] = objectness, 0.01
        rows[place, 4 + has_objectness + label] = score / objectness if has_objectness else score
    rows[:, :4] /= scales
    if not is_activated:
        rows[:, 4:] = np.log(rows[:, 4:] / (1 - rows[:, 4:]))
    return rows


def _places(known: Known, rows: int) -> np.ndarray:
    """Return the rows in which the objects stand, in no order."""
    return np.random.default_rng(7).choice(rows, len(known.scores), replace=False)


def _nearest_shape(w: float, h: float) -> tuple[int, int]:
    """Return level and number of the anchor that a size is least times larger or smaller than."""
    every = [(level, number) for level in range(3) for number in range(3)]

    def worst(place: tuple[int, int]) -> float:
        anchor_w, anchor_h = ANCHORS[place[0]][place[1]]
        return max(w / anchor_w, anchor_w / w, h / anchor_h, anchor_h / h)

    return min(every, key=worst)


def _encode(
    known: Known, anchors: Sequence[tuple[float, float, float, float]], variances: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return (B, 4) offsets and (B, K) scores: each object at the anchor nearest to it that is still free."""
    rng = np.random.default_rng(8)
    offsets = rng.normal(0, 0.3, (len(anchors), 4))
    scores = rng.uniform(0.001, 0.02, (len(anchors), known.classes))
    every, taken = np.array(anchors), set()
    for cx, cy, w, h, label, score in known:
        far = np.abs(every[:, 0] - cx) / w + np.abs(every[:, 1] - cy) / h
        far += np.abs(np.log(every[:, 2] / w)) + np.abs(np.log(every[:, 3] / h))
        place = next(int(each) for each in np.argsort(far) if int(each) not in taken)
        taken.add(place)
        x, y, anchor_w, anchor_h = anchors[place]
        offsets[place] = (
            (cx - x) / anchor_w / variances[0],
            (cy - y) / anchor_h / variances[0],
            math.log(w / anchor_w) / variances[1],
            math.log(h / anchor_h) / variances[1],
        )
        scores[place] = 0.001
        scores[place, label] = score
    return offsets, scores


def _with_background(scores: np.ndarray, background: str) -> np.ndarray:
    """Return scores with a column of what they lack to 1."""
    rest = 1 - scores.sum(1, keepdims=True)
    if background == "none":
        return scores
    return np.concatenate([rest, scores] if background == "first" else [scores, rest], axis=1)
