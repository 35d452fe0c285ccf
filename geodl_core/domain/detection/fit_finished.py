"""Whether an answer has the form of networks that give boxes themselves."""

from dataclasses import replace

import numpy as np

from geodl_core.domain.detection.checks import PERCENT
from geodl_core.domain.detection.decoder import Decoder
from geodl_core.domain.detection.evidence import (
    BOX,
    Array,
    Evidence,
    best_boxes,
    coordinates_of,
    has_word,
    is_activated,
    is_corners,
    is_float,
    is_score,
    is_shares,
    is_whole,
    size_at,
    values_of,
)
from geodl_core.domain.detection.finished import finished_columns
from geodl_core.domain.network.graph import Tensor

MOST_FINISHED = 1024
"""Rows that a suppression leaves over; more are proposals."""
OFFSET_WORDS = ("reg", "offset", "delta", "loc")
"""In the names of what shifts anchors."""
LABEL_WORDS = ("label", "class")


def fit_tensorflow(evidence: Evidence) -> Decoder | None:
    """Boxes, scores, classes and maybe their count, by name or in this order."""
    outputs = [tensor for tensor in evidence.outputs if "raw" not in tensor.name.lower()]
    named = [
        next((tensor for tensor in outputs if has_word(tensor, (word,))), None) for word in ("boxes", "score", "class")
    ]
    count = next((tensor for tensor in outputs if has_word(tensor, ("num",))), None)
    boxes, scores, labels = named
    how = "by their names"
    if boxes is None or scores is None or labels is None or len({boxes, scores, labels}) < 3:
        found = _by_position(evidence, outputs)
        if found is None:
            return None
        boxes, scores, labels, count = found
        how = "by their order and shapes"
    rank = len(boxes.shape)
    if not _has_box(boxes) or rank not in (2, 3) or not len(scores.shape) == len(labels.shape) == rank - 1:
        return None
    tensors = (boxes.name, scores.name, labels.name, *([count.name] if count else []))
    coordinates, known = coordinates_of(_found_boxes(evidence, boxes, scores, count), "normalised")
    if coordinates == "pixels" and not _is_tensorflow(evidence, boxes):
        return None  # that API gives shares, others corners in another order
    first = _first_label(evidence, labels, scores)
    why = f"{', '.join(tensors)} are boxes, scores and classes of TensorFlow's object detection API {how}, {known}"
    return Decoder("tensorflow", tensors, coordinates, None, first, is_suppressed=True, why=why)


def fit_torchvision(evidence: Evidence) -> Decoder | None:
    """Boxes, labels and scores, and maybe masks; or boxes with their scores, and labels."""
    joined = _boxes_with_scores(evidence)
    if joined is not None:
        return joined
    for boxes in evidence.outputs:
        rank = len(boxes.shape)
        if rank not in (2, 3) or not _has_box(boxes) or not is_float(boxes) or _is_tensorflow(evidence, boxes):
            continue
        rows = [tensor for tensor in evidence.outputs if len(tensor.shape) == rank - 1 and tensor.name != boxes.name]
        whole = [tensor for tensor in rows if not is_float(tensor) and not has_word(tensor, ("num",))]
        labels = next((tensor for tensor in [*whole, *rows] if tensor in whole or has_word(tensor, LABEL_WORDS)), None)
        scores = next((tensor for tensor in rows if is_float(tensor) and tensor != labels), None)
        if labels is None or scores is None:
            continue
        masks = [tensor.name for tensor in evidence.outputs if _is_masks(tensor)][:1]
        tensors = (boxes.name, labels.name, scores.name, *masks)
        coordinates, known = coordinates_of(_found_boxes(evidence, boxes, scores), "pixels")
        if rank == 3 and coordinates == "normalised" and "torchvision" not in evidence.config.forms:
            continue  # of a batch, shares of the image are TensorFlow's
        # TensorRT's operator, so named, leaves labels as they are, from 0.
        first = 0 if boxes.name.lower().startswith("det_") else _first_label(evidence, labels, scores)
        kinds = "boxes, labels, scores and masks" if masks else "boxes, labels and scores"
        why = f"{', '.join(tensors)} are {kinds} by shape and type, {known}"
        return Decoder("torchvision", tensors, coordinates, None, first, is_suppressed=True, why=why)
    return None


def fit_detr(evidence: Evidence) -> Decoder | None:
    """Class values and centres with sizes of as many queries."""
    pair = find_pair(evidence)
    if pair is None:
        return None
    boxes, scores = pair
    values = values_of(evidence, boxes.name)
    is_named = has_word(scores, ("logit", "pred_")) and has_word(boxes, ("box",)) and not has_word(boxes, OFFSET_WORDS)
    is_said = "detr" in evidence.config.forms
    if values is None and not (is_named or is_said):
        return None
    is_forced = is_said and evidence.config.is_form_said
    if values is not None and not is_forced and (not is_shares(values) or holds_corners(evidence, pair)):
        return None
    channels = size_at(scores, -1) or 0
    settings = evidence.config.settings
    activation = settings.get("activation")
    count = next((count for count in evidence.counts if channels in (count, count + 1)), None)
    has_other = settings.get("background") in ("first", "last") or channels - 1 == count
    if activation in (None, "none"):
        activation = "softmax" if has_other or count is None else "sigmoid"
    # Where each class stands for itself, ids that begin at 1 leave the first score unused.
    background = settings.get("background", "none" if not has_other else "last" if activation == "softmax" else "first")
    if count is None and activation == "softmax" and "background" not in settings:
        background = "last"
    done, told = is_activated(evidence, scores.name, values_of(evidence, scores.name))
    why = (
        f"{scores.name} holds {channels} class values and {boxes.name} centre and size of as many queries, "
        f"{told}, of a {activation}"
    )
    return Decoder(
        "detr",
        (scores.name, boxes.name),
        "normalised",
        channels - (background != "none"),
        1 if background == "first" else 0,
        is_activated=done,
        is_suppressed=True,
        settings={"activation": activation, "background": background},
        why=why,
    )


def fit_finished(evidence: Evidence) -> Decoder | None:
    """Rows of box, score and class."""
    for tensor in evidence.outputs:
        shape = tensor.shape
        if len(shape) == 4 and shape[1] == 1:
            shape = (shape[0], *shape[2:])
        width = shape[-1] if shape else None
        if len(shape) not in (2, 3) or width not in (BOX + 2, BOX + 3) or not is_float(tensor):
            continue
        rows = values_of(evidence, tensor.name)
        order = _row_order(evidence, rows, width)
        if order is None or (rows is None and (shape[-2] or 0) > MOST_FINISHED):
            continue
        trial = Decoder("finished", (tensor.name,), "pixels", None, settings={"order": order} if order else {})
        columns = finished_columns(trial, width)
        boxes = None
        if rows is not None and columns is not None:
            filled = rows.reshape(-1, width)
            filled = filled[filled[:, columns["score"]] > 0]
            boxes = filled[:, columns["box"] : columns["box"] + BOX]
        coordinates, known = coordinates_of(boxes, "pixels")
        why = f"{tensor} holds a row of {width} a box, {order or 'xyxy score class'}, {known}"
        return replace(trial, coordinates=coordinates, is_suppressed=True, why=why)
    return None


def fit_cntk_faster_rcnn(evidence: Evidence) -> Decoder | None:
    """Class scores, regions and four regressions a class of each."""
    for moves in evidence.outputs:
        for scores in evidence.outputs:
            classes = size_at(scores, -1)
            if scores.name == moves.name or not classes or classes < 2 or size_at(moves, -1) != BOX * classes:
                continue
            regions = next(
                (
                    tensor
                    for tensor in evidence.outputs
                    if _has_box(tensor) and tensor.name not in (moves.name, scores.name)
                ),
                None,
            )
            if regions is None or not regions.shape[:-1] == scores.shape[:-1] == moves.shape[:-1]:
                continue
            tensors = (scores.name, regions.name, moves.name)
            coordinates, known = coordinates_of(values_of(evidence, regions.name), "pixels")
            done, told = is_activated(evidence, scores.name, values_of(evidence, scores.name))
            why = f"{', '.join(tensors)} are class values, regions and regressions of each class, {known}, {told}"
            return Decoder("cntk faster-rcnn", tensors, coordinates, classes - 1, 1, is_activated=done, why=why)
    return None


def fit_keras_mask_rcnn(evidence: Evidence) -> Decoder | None:
    """Rows of box, class and score, and small masks of every class."""
    for masks in evidence.outputs:
        for rows in evidence.outputs:
            if len(masks.shape) != 5 or len(rows.shape) != 3 or size_at(rows, -1) != BOX + 2:
                continue
            if masks.shape[1] is not None and masks.shape[1] != rows.shape[1]:
                continue
            values = values_of(evidence, rows.name)
            boxes = None if values is None else values[values[..., BOX] > 0][:, :BOX]
            coordinates, known = coordinates_of(boxes, "normalised")
            tensors = (rows.name, masks.name)
            why = f"{', '.join(tensors)} are boxes with class and score, and masks of each class, {known}"
            return Decoder("keras mask-rcnn", tensors, coordinates, None, 1, is_suppressed=True, why=why)
    return None


def find_pair(evidence: Evidence) -> tuple[Tensor, Tensor] | None:
    """Return boxes (N, B, 4) and class values (N, B, K); where both have four columns, names tell which is which."""
    triples = [tensor for tensor in evidence.outputs if len(tensor.shape) == 3 and is_float(tensor)]
    pairs = [
        (boxes, scores)
        for boxes in triples
        for scores in triples
        if boxes.name != scores.name and _has_box(boxes) and boxes.shape[1] == scores.shape[1] and size_at(scores, -1)
    ]
    words = ("box", *OFFSET_WORDS)
    named = [pair for pair in pairs if has_word(pair[0], words) and not has_word(pair[1], words)]
    return next(iter([*named, *pairs]), None)


def holds_corners(evidence: Evidence, pair: tuple[Tensor, Tensor]) -> bool:
    """Say whether the boxes of a pair that was answered are corners."""
    boxes, scores = (values_of(evidence, tensor.name) for tensor in pair)
    if boxes is None or scores is None or boxes.shape[:2] != scores.shape[:2]:
        return False
    best = best_of_pair(evidence, boxes, scores)
    return is_corners(boxes, best, float(max(evidence.input_px or (np.inf,))))


def best_of_pair(evidence: Evidence, boxes: Array, scores: Array) -> Array:
    """Return the boxes of a pair that score best, the background left out where there is one."""
    if scores.shape[-1] > 1 and scores.shape[-1] not in evidence.counts[:1]:
        scores = np.delete(scores, int(scores.mean(axis=(0, 1)).argmax()), axis=-1)
    return best_boxes(boxes, scores.max(-1))


def _by_position(evidence: Evidence, outputs: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor | None] | None:
    """Return boxes, scores, classes and count by their shapes, as Esri's open ONNX functions take them."""
    if len(outputs) not in (3, 4) or not _has_box(outputs[0]) or len(outputs[0].shape) != 3:
        return None
    first, second = outputs[1:3]
    if not len(first.shape) == len(second.shape) == 2:
        return None
    one, other = values_of(evidence, first.name), values_of(evidence, second.name)
    if one is not None and other is not None and is_whole(one) and not is_whole(other):
        first, second = second, first  # TensorFlow Lite has classes before scores
    return outputs[0], first, second, outputs[3] if len(outputs) == 4 else None


def _boxes_with_scores(evidence: Evidence) -> Decoder | None:
    """MMDetection's: (N, B, 5) boxes with scores, (N, B) labels."""
    for boxes in evidence.outputs:
        labels = next(
            (
                tensor
                for tensor in evidence.outputs
                if not is_float(tensor) and len(tensor.shape) == len(boxes.shape) - 1
            ),
            None,
        )
        if labels is None or size_at(boxes, -1) != BOX + 1 or len(boxes.shape) not in (2, 3):
            continue
        masks = [tensor.name for tensor in evidence.outputs if _is_masks(tensor)][:1]
        values = values_of(evidence, boxes.name)
        coordinates, known = coordinates_of(None if values is None else values[values[..., BOX] > 0][:, :BOX], "pixels")
        tensors = (boxes.name, labels.name, *masks)
        why = f"{', '.join(tensors)} are boxes with scores, and labels, as of MMDetection, {known}"
        return Decoder("torchvision", tensors, coordinates, None, 0, is_suppressed=True, why=why)
    return None


def _is_tensorflow(evidence: Evidence, boxes: Tensor) -> bool:
    """Say whether a name is that of TensorFlow's object detection API, or the definition says so."""
    forms = evidence.config.forms
    return "tensorflow" in forms[:1] or ("torchvision" not in forms and boxes.name.lower().startswith("detection_"))


def _row_order(evidence: Evidence, rows: Array | None, width: int) -> str | None:
    """Return the order of a row's columns, empty for the usual one; None where its values are no such row."""
    said = evidence.config.settings.get("order")
    if said is not None:
        return str(said)
    if rows is None:
        return ""
    flat = rows.reshape(-1, width)
    flat = flat[(flat != 0).any(axis=1) & ~(flat == -1).all(axis=1)]
    # Percent is tried last and in the usual order alone; the check of scores has a word for it.
    tries = (("", 1.0), ("xyxy class score", 1.0), ("class score xyxy", 1.0), ("", PERCENT))
    return next((order for order, most in tries if _is_row(flat, order, most)), None)


def _is_row(rows: Array, order: str, most: float) -> bool:
    """Say whether (n, 6 or 7) numbers may be rows in some order, with scores up to a number."""
    columns = finished_columns(Decoder("finished", (), "pixels", None, settings={"order": order}), rows.shape[-1])
    if columns is None or not is_whole(rows[:, columns["class"]]):
        return False
    scores = rows[:, columns["score"]]
    scores = scores[scores > 0]
    is_odd = bool(order) and scores.size > 0 and is_whole(scores)  # rather numbers of classes
    return is_score(scores, most) and not is_odd and ("image" not in columns or is_whole(rows[:, columns["image"]]))


def _first_label(evidence: Evidence, labels: Tensor, scores: Tensor) -> int:
    """Return 0 where an answer has that label, else 1, as is usual where 0 is the background."""
    given, weights = values_of(evidence, labels.name), values_of(evidence, scores.name)
    return 0 if given is not None and weights is not None and bool(((given == 0) & (weights > 0)).any()) else 1


def _found_boxes(evidence: Evidence, boxes: Tensor, scores: Tensor, count: Tensor | None = None) -> Array | None:
    """Return (n, 4) boxes of the rows that are in use."""
    places, weights = values_of(evidence, boxes.name), values_of(evidence, scores.name)
    if places is None or weights is None or places.shape[:-1] != weights.shape:
        return None
    used = np.asarray(weights > 0)
    counted = values_of(evidence, count.name) if count else None
    if counted is not None and counted.size == 1:
        used = used & (np.arange(used.shape[-1]) < counted.item())
    chosen: Array = places[used]
    return chosen


def _is_masks(tensor: Tensor) -> bool:
    return len(tensor.shape) in (3, 4, 5) and has_word(tensor, ("mask",))


def _has_box(tensor: Tensor) -> bool:
    return size_at(tensor, -1) == BOX
