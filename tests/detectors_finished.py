"""Small ONNX detectors that give boxes themselves, one a form: what they find is laid down when they are built."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from networks import save


@dataclass(frozen=True, slots=True)
class Objects:
    """What a detector finds in every image."""

    boxes: np.ndarray
    """(n, 4) xmin, ymin, xmax, ymax in pixels of the input."""
    scores: np.ndarray
    """(n,)."""
    kinds: np.ndarray
    """(n,) 0-based place of the class."""
    masks: np.ndarray | None = None
    """(n, H, W) in [0, 1]."""


def some_objects(size=(96, 128), count=5, classes=3, seed=1):
    """Objects of whole pixels within an image of this height and width, scores 0.3 to 0.95, all of them different."""
    rng = np.random.default_rng(seed)
    height, width = size
    low = np.stack([rng.integers(2, width // 2, count), rng.integers(2, height // 2, count)], axis=1)
    high = low + np.stack([rng.integers(8, width // 3, count), rng.integers(8, height // 3, count)], axis=1)
    boxes = np.concatenate([low, high], axis=1).astype("float32")
    scores = np.linspace(0.95, 0.3, count).astype("float32")
    masks = np.zeros((count, height, width), "float32")
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.astype(int), strict=True):
        rows, cols = np.mgrid[y0:y1, x0:x1]
        down, right = (rows + 0.5 - (y0 + y1) / 2) / (y1 - y0), (cols + 0.5 - (x0 + x1) / 2) / (x1 - x0)
        mask[y0:y1, x0:x1] = np.where(down**2 + right**2 < 0.25, 0.9, 0.1)
    return Objects(boxes, scores, np.arange(count) % classes, masks)


def answering_network(path: Path, outputs, size=(96, 128), layout="NCHW", channels=3) -> Path:
    """A network that answers these arrays, by name, to every image of this size; it adds zero times its mean."""
    shape = [1, channels, *size] if layout == "NCHW" else [1, *size, channels]
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "none"], ["zero"]),
    ]
    weights = [numpy_helper.from_array(np.float32(0), "none")]
    infos = []
    for name, array in outputs.items():
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        weights.append(numpy_helper.from_array(np.asarray(array), f"{name}_is"))
        nodes += [
            helper.make_node("Cast", ["zero"], [f"{name}_zero"], to=kind),
            helper.make_node("Add", [f"{name}_is", f"{name}_zero"], [name]),
        ]
        infos.append(helper.make_tensor_value_info(name, kind, array.shape))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    return save(helper.make_graph(nodes, "detector", [image], infos, weights), path)


def run_once(path: Path, seed=3):
    """Return a network's answer to random pixels, by name."""
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    pixels = np.random.default_rng(seed).uniform(0, 1, source.shape).astype("float32")
    names = [tensor.name for tensor in session.get_outputs()]
    return dict(zip(names, session.run(names, {source.name: pixels}), strict=True))


def tensorflow_answer(objects, size, rows=20, prefix="detection_"):
    """Boxes y, x, y, x in 0–1, scores, classes from 1 as floats, count; rows beyond the count hold nonsense."""
    height, width = size
    count = len(objects.scores)
    boxes = np.full((1, rows, 4), 7, "float32")
    scores, classes = np.full((1, rows), 0.99, "float32"), np.full((1, rows), 1, "float32")
    x0, y0, x1, y1 = objects.boxes.T
    boxes[0, :count] = np.stack([y0 / height, x0 / width, y1 / height, x1 / width], axis=1)
    scores[0, :count], classes[0, :count] = objects.scores, objects.kinds + 1
    names = ("boxes", "scores", "classes")
    answer = dict(zip((f"{prefix}{name}" for name in names), (boxes, scores, classes), strict=True))
    return answer | {"num_detections": np.array([count], "float32")}


def torchvision_answer(objects, has_masks=False):
    """Boxes in pixels, labels from 1, scores, and masks of the whole image."""
    answer = {"boxes": objects.boxes, "labels": objects.kinds.astype("int64") + 1, "scores": objects.scores}
    return answer | ({"masks": objects.masks[:, None]} if has_masks else {})


def detr_answer(objects, size, classes=3, queries=30, activation="softmax"):
    """Logits whose softmax or sigmoid are the scores, boxes as centres and sizes in 0–1; other queries see nothing."""
    height, width = size
    other = activation == "softmax"
    scores = np.full((1, queries, classes + other), 1e-3)
    for row, (score, kind) in enumerate(zip(objects.scores, objects.kinds, strict=True)):
        scores[0, row, kind] = score
    if other:
        scores[..., -1] = 1 - scores[..., :-1].sum(-1)
    logits = np.log(scores) if other else np.log(scores / (1 - scores))
    boxes = np.random.default_rng(0).uniform(0.3, 0.6, (1, queries, 4))
    x0, y0, x1, y1 = objects.boxes.T
    boxes[0, : len(x0)] = np.stack(
        [(x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height], axis=1
    )
    return {"logits": logits.astype("float32"), "pred_boxes": boxes.astype("float32")}


def finished_answer(objects, rows=50, order="xyxy score class", fill=0.0, name="output0"):
    """Rows of box, score and class in any order of columns, with the image's number where `image` is among them."""
    parts = {
        "xyxy": objects.boxes,
        "score": objects.scores[:, None],
        "class": objects.kinds[:, None],
        "image": np.zeros((len(objects.scores), 1)),
    }
    filled = np.concatenate([parts[word] for word in order.split()], axis=1).astype("float32")
    answer = np.full((1, rows, filled.shape[1]), fill, "float32")
    answer[0, : len(filled)] = filled
    return {name: answer}


def cntk_answer(objects, classes=3, regions=20, seed=4):
    """Class scores with the background first, regions beside the objects, regressions that lead from these to those."""
    rng = np.random.default_rng(seed)
    count = len(objects.scores)
    low = rng.uniform(0, 40, (regions, 2))
    rois = np.concatenate([low, low + rng.uniform(10, 40, (regions, 2))], axis=1)
    scores = np.zeros((regions, classes + 1))
    scores[:, 0] = 1
    moves = rng.normal(size=(regions, classes + 1, 4))
    rows, kinds = np.arange(count), objects.kinds + 1
    scores[rows, 0], scores[rows, kinds] = 1 - objects.scores, objects.scores
    scores[rows, 0] = np.minimum(scores[rows, 0], 0.29)  # so that the class is the best of them
    sizes, wanted = rois[:count, 2:] - rois[:count, :2], objects.boxes[:, 2:] - objects.boxes[:, :2]
    centres, goals = (rois[:count, 2:] + rois[:count, :2]) / 2, (objects.boxes[:, 2:] + objects.boxes[:, :2]) / 2
    moves[rows, kinds] = np.concatenate([(goals - centres) / sizes, np.log(wanted / sizes)], axis=1)
    arrays = {"cls_pred": scores, "rpn_rois": rois, "bbox_regr": moves.reshape(regions, -1)}
    return {name: array.astype("float32") for name, array in arrays.items()}


def keras_answer(objects, size, classes=3, rows=12, side=28):
    """Detections y, x, y, x in 0–1, class from 1, score; masks of every class, that of the object's own a half disc."""
    height, width = size
    count = len(objects.scores)
    answer = np.zeros((1, rows, 6))
    x0, y0, x1, y1 = objects.boxes.T
    answer[0, :count] = np.stack(
        [y0 / height, x0 / width, y1 / height, x1 / width, objects.kinds + 1, objects.scores], axis=1
    )
    masks = np.full((1, rows, side, side, classes + 1), 0.2)
    for row, kind in enumerate(objects.kinds + 1):
        masks[0, row, : side // 2, :, kind] = 0.8 + row / 100
    return {"mrcnn_detection": answer.astype("float32"), "mrcnn_mask": masks.astype("float32")}
