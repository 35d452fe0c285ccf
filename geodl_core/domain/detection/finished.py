"""Decoders of networks that give boxes themselves, one row an object or a proposal."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from geodl_core.domain.detection.answers import (
    BOX_ORDERS,
    box_order,
    corners_px,
    whole_labels,
    with_batch,
)
from geodl_core.domain.detection.box_masks import masks_over_boxes, masks_per_image
from geodl_core.domain.detection.decoder import Decoder, Found, Tensor
from geodl_core.domain.detection.dense import (
    Floats,
    Shape,
    check_tensors,
    choose_best,
    require_finite,
    sigmoid,
    softmax,
    to_float32,
)
from geodl_core.errors import ModelError

BOX = 4
BOXES: Shape = ("N", "B", BOX)
MOST_IMAGES = 4096
"""Of a batch."""


def decode_tensorflow(
    tensors: tuple[Tensor, ...], decoder: Decoder, input_px: tuple[int, int], threshold: float
) -> list[Found]:
    """Decode the answer of TensorFlow's object detection API; labels are as they stand, 1 as a rule for the first.

    Args:
        tensors: boxes (N, B, 4) y, x, y, x; scores (N, B); classes (N, B), whole numbers of any type; and maybe how
            many rows of each image count (N,): the others may hold anything.
        decoder: `settings["order"]` may name another order of the four.
        input_px: height and width of the network's input.
        threshold: objects of a score above it are kept.

    Raises:
        ModelError: a tensor has another shape, scores are not finite, labels no whole numbers.
    """
    tensors = (*tensors[:3], *(np.ravel(count) for count in tensors[3:]))
    boxes, scores, labels, *counted = _batched(tensors, (3, 2, 2, 1), decoder, [BOXES, ("N", "B"), ("N", "B"), ("N",)])
    images, rows = scores.shape
    counts = _counts(counted[0], decoder.tensors[3], rows) if counted else np.full(images, rows)
    order = box_order(decoder, "yxyx")
    found = []
    for image, count in enumerate(counts):
        require_finite(scores[image, :count], decoder.tensors[1])
        kept = np.flatnonzero(scores[image, :count] > threshold)
        found.append(
            Found(
                corners_px(boxes[image, kept], order, decoder, input_px),
                scores[image, kept],
                whole_labels(labels[image, kept], decoder.tensors[2]),
            )
        )
    return found


def decode_torchvision(
    tensors: tuple[Tensor, ...], decoder: Decoder, input_px: tuple[int, int], threshold: float
) -> list[Found]:
    """Decode the answer of torchvision's detectors, and of others that give boxes, labels and scores.

    Args:
        tensors: boxes (B, 4) x, y, x, y, labels (B,), scores (B,), and maybe masks (B, 1, H, W) or (B, H, W) of
            scores in [0, 1], in pixels of the input or small ones of each box. All may have a batch axis before them.
            Two tensors, or three with masks, of which the first is (…, 5) are MMDetection's: the score stands behind
            the box, and there is no tensor of its own.
        decoder: `settings["order"]` may name another order of the four.
        input_px: height and width of the network's input.
        threshold: objects of a score above it are kept.

    Raises:
        ModelError: a tensor has another shape, scores are not finite, labels no whole numbers.
    """
    if tensors[0].shape[-1:] == (BOX + 1,):
        first, name = tensors[0], decoder.tensors[0]
        tensors = (first[..., :BOX], *tensors[1:2], first[..., BOX], *tensors[2:])
        decoder = replace(decoder, tensors=(name, *decoder.tensors[1:2], name, *decoder.tensors[2:]))
    boxes, labels, scores = _batched(
        tensors[:3], (3, 2, 2), replace(decoder, tensors=decoder.tensors[:3]), [BOXES, ("N", "B"), ("N", "B")]
    )
    require_finite(scores, decoder.tensors[2])
    masks = None
    if len(tensors) > 3:
        masks = masks_per_image(tensors[3], decoder.tensors[3], scores.shape, input_px)
    order = box_order(decoder, "xyxy")
    found = []
    for image, score in enumerate(scores):
        kept = np.flatnonzero(score > threshold)
        corners = corners_px(boxes[image, kept], order, decoder, input_px)
        cut = None if masks is None else masks_over_boxes(masks[image][kept], corners, input_px, decoder.tensors[3])
        found.append(Found(corners, score[kept], whole_labels(labels[image, kept], decoder.tensors[1]), masks=cut))
    return found


def decode_detr(
    tensors: tuple[Tensor, ...], decoder: Decoder, input_px: tuple[int, int], threshold: float
) -> list[Found]:
    """Decode the queries of DETR and its kin: each is an object of its best class.

    Scores are a softmax over the classes and "no object", which stands last and is left out (Carion et al. 2020); or,
    where `settings["activation"]` is `sigmoid`, a score of each class for itself (Deformable DETR, RT-DETR).

    Args:
        tensors: logits (N, Q, K) or (N, Q, K + 1), boxes (N, Q, 4) cx, cy, w, h in 0–1.
        decoder: `classes` is K; `is_activated`: the logits are scores already; `settings["background"]`, `first`,
            `last` or `none`, says where "no object" stands, should it be elsewhere.
        input_px: height and width of the network's input.
        threshold: objects of a score above it are kept.

    Raises:
        ModelError: a tensor has another shape, scores are not finite.
    """
    logits, boxes = _batched(tensors, (3, 3), decoder, [("N", "Q", "K"), ("N", "Q", 4)])
    channels = logits.shape[-1]
    is_sigmoid = decoder.settings.get("activation") == "sigmoid"
    is_all = is_sigmoid if decoder.classes is None else decoder.classes == channels
    background = decoder.settings.get("background", "none" if is_all else "last")
    columns = slice(int(background == "first"), channels - (background == "last"))
    if columns.stop <= columns.start or decoder.classes not in (None, columns.stop - columns.start):
        raise ModelError(
            f"output {decoder.tensors[0]!r}: expected scores of {decoder.classes or 'some'} classes, "
            f"background {background}, found {channels} a query"
        )
    require_finite(logits, decoder.tensors[0])
    scores = logits if decoder.is_activated else sigmoid(logits) if is_sigmoid else softmax(logits)
    order = box_order(decoder, "cxcywh")
    found = []
    for rows, places in zip(scores, boxes, strict=True):
        best = choose_best(rows[:, columns], threshold)
        corners = corners_px(places[best.rows], order, decoder, input_px)
        found.append(Found(corners, best.scores, best.classes + decoder.first_label))
    return found


def decode_finished(
    tensors: tuple[Tensor, ...], decoder: Decoder, input_px: tuple[int, int], threshold: float
) -> list[Found]:
    """Decode rows of box, score and class that a network's own suppression left over.

    Args:
        tensors: one (N, B, 6), or (B, 6) of one image: x, y, x, y, score, class; rows of zeros or -1 fill the rest.
            With 7 columns the image's number stands first, and (B, 7) holds all images of the batch, of which those
            after the last that has an object are not known of; -1 as number is no object.
        decoder: `settings["order"]` may name other columns, such as `xyxy class score` or `class score xyxy`.
        input_px: height and width of the network's input.
        threshold: objects of a score above it are kept.

    Raises:
        ModelError: the tensor has another shape, scores are not finite, labels or numbers no whole numbers.
    """
    name = decoder.tensors[0]
    answer = with_batch(tensors[0][:, 0] if tensors[0].ndim == 4 and tensors[0].shape[1] == 1 else tensors[0], 3)
    columns = finished_columns(decoder, answer.shape[-1]) if answer.ndim == 3 else None
    if columns is None:
        raise ModelError(f"output {name!r}: expected rows (N, B, 6) or (N, B, 7), found {tensors[0].shape}")
    images = list(to_float32(answer))
    if "image" in columns and len(images) == 1:
        numbers = whole_labels(images[0][:, columns["image"]], name)
        last = int(numbers.max(initial=0))
        if last > MOST_IMAGES:
            raise ModelError(f"output {name!r}: expected the image's number first in each row, found {last}")
        images = [images[0][numbers == image] for image in range(last + 1)]
    found = []
    for rows in images:
        scores = rows[:, columns["score"]]
        require_finite(scores, name)
        kept = rows[scores > threshold]
        boxes = kept[:, columns["box"] : columns["box"] + BOX]
        found.append(
            Found(
                corners_px(boxes, box_order(decoder, "xyxy"), decoder, input_px),
                kept[:, columns["score"]],
                whole_labels(kept[:, columns["class"]], name),
            )
        )
    return found


def finished_columns(decoder: Decoder, width: int) -> dict[str, int] | None:
    """Return where box, score, class and image stand in a row of 6 or 7; None for rows of another width."""
    words = re.findall(r"[a-z]+", str(decoder.settings.get("order", "")).lower())
    order = ["box" if word in BOX_ORDERS else word for word in words]
    if "box" not in order:
        order = ["box", *order]
    order += [word for word in ("score", "class") if word not in order]
    if width == BOX + 3 and "image" not in order:
        order = ["image", *order]
    if width != BOX + len(order) - 1 or len(set(order)) != len(order):
        return None
    starts = {word: place + (BOX - 1 if "box" in order[:place] else 0) for place, word in enumerate(order)}
    return starts if set(starts) <= {"image", "box", "score", "class"} else None


def decode_cntk_faster_rcnn(
    tensors: tuple[Tensor, ...], decoder: Decoder, input_px: tuple[int, int], threshold: float
) -> list[Found]:
    """Decode CNTK's Faster R-CNN: each region is an object of its best class, moved as that class says.

    A region of centre c and size s becomes c + s·d and s·exp(e) (Girshick et al. 2014, Appendix C), cut to the image.
    Regions whose best class is 0, the background, are dropped.

    Args:
        tensors: class scores (B, K), background first; regions (B, 4) x, y, x, y in pixels; regressions (B, 4 K)
            dx, dy, dw, dh of each class. All may have a batch axis before them.
        decoder: `is_activated` False: a softmax makes scores of the first.
        input_px: height and width of the network's input.
        threshold: objects of a score above it are kept.

    Raises:
        ModelError: a tensor has another shape, scores are not finite.
    """
    values, regions, moves = _batched(tensors, (3, 3, 3), decoder, [("N", "B", "K"), BOXES, ("N", "B", "4 K")])
    classes = values.shape[-1]
    if moves.shape[-1] != BOX * classes:
        raise ModelError(
            f"output {decoder.tensors[2]!r}: expected {BOX * classes} regressions a region, four a class, "
            f"found {moves.shape[-1]}"
        )
    require_finite(values, decoder.tensors[0])
    scores = values if decoder.is_activated else softmax(values)
    height, width = input_px
    found = []
    for score, region, move in zip(scores, regions, moves, strict=True):
        best = choose_best(score, threshold)
        kept = best.classes != 0
        rows, label = best.rows[kept], best.classes[kept]
        boxes = corners_px(region[rows], box_order(decoder, "xyxy"), decoder, input_px)
        boxes = _moved(boxes, move.reshape(-1, classes, BOX)[rows, label])
        boxes = np.clip(boxes, 0, np.asarray([width, height, width, height], np.float32))
        found.append(Found(boxes, best.scores[kept], label - 1 + decoder.first_label))
    return found


def decode_keras_mask_rcnn(
    tensors: tuple[Tensor, ...], decoder: Decoder, input_px: tuple[int, int], threshold: float
) -> list[Found]:
    """Decode Matterport's Mask R-CNN: rows of box, class and score, a small mask of each class for each.

    Args:
        tensors: detections (N, B, 6) y, x, y, x in 0–1, class, score, of which class 0 fills unused rows; masks
            (N, B, h, w, K) over the boxes, of all classes, background among them.
        decoder: of the boxes' coordinates.
        input_px: height and width of the network's input.
        threshold: objects of a score above it are kept.

    Raises:
        ModelError: a tensor has another shape, scores are not finite, a class has no mask.
    """
    rows, masks = _batched(tensors, (3, 5), decoder, [("N", "B", 6), ("N", "B", "h", "w", "K")])
    found = []
    for row, mask in zip(rows, masks, strict=True):
        require_finite(row[:, BOX:], decoder.tensors[0])
        labels = whole_labels(row[:, BOX], decoder.tensors[0])
        kept = np.flatnonzero((row[:, BOX + 1] > threshold) & (labels > 0))
        label = labels[kept]
        if label.max(initial=0) >= mask.shape[-1]:
            raise ModelError(
                f"output {decoder.tensors[1]!r}: expected a mask of class {label.max()}, "
                f"found masks of {mask.shape[-1]} classes"
            )
        picked = mask[kept, :, :, label]
        require_finite(picked, decoder.tensors[1])
        boxes = corners_px(row[kept, :BOX], box_order(decoder, "yxyx"), decoder, input_px)
        found.append(Found(boxes, row[kept, BOX + 1], label, masks=tuple(picked)))
    return found


def _batched(
    tensors: tuple[Tensor, ...], ranks: tuple[int, ...], decoder: Decoder, shapes: Sequence[Shape]
) -> tuple[Floats, ...]:
    """Return tensors with their batch axis, as float32, their shapes as expected; the last may be left out."""
    batched = [with_batch(tensor, rank) for tensor, rank in zip(tensors, ranks, strict=False)]
    is_short = len(tensors) == 3 < len(shapes)
    return check_tensors(batched, decoder, shapes[:3] if is_short else shapes)


def _counts(counts: Floats, name: str, most: int) -> npt.NDArray[np.int64]:
    """Return how many rows of each image count."""
    numbers = whole_labels(counts, name)
    if numbers.min(initial=0) < 0 or numbers.max(initial=0) > most:
        raise ModelError(f"output {name!r}: expected counts from 0 to {most}, found {numbers.tolist()}")
    return numbers


def _moved(boxes: Floats, moves: Tensor) -> Floats:
    """Return (B, 4) boxes moved by dx, dy of their size and scaled by the exponentials of dw, dh."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    centres = boxes[:, :2] + sizes / 2 + sizes * moves[:, :2]
    with np.errstate(over="ignore"):
        halves = sizes * np.exp(np.asarray(moves[:, 2:], np.float32)) / 2
    return np.concatenate([centres - halves, centres + halves], axis=1).astype(np.float32)
