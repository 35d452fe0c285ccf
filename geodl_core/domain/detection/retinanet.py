"""Decoder of RetinaNet's heads (Lin et al., Focal loss for dense object detection, 2017): logits and offsets."""

from collections.abc import Sequence

import numpy as np

from geodl_core.domain.detection.anchors import Level, anchors_at, apply_offsets, count_anchors, retinanet_levels
from geodl_core.domain.detection.decoder import Decoder, Found, Tensor
from geodl_core.domain.detection.dense import (
    Floats,
    Shape,
    check_tensors,
    choose_best,
    columns,
    join_parts,
    require_columns,
    require_finite,
    require_sigmoid,
    to_found,
)
from geodl_core.domain.detection.options import numbers
from geodl_core.errors import ModelError


def decode_retinanet_raw(
    tensors: tuple[Tensor, ...], decoder: Decoder, size: tuple[int, int], threshold: float
) -> list[Found]:
    """Decode class logits, each of its own sigmoid and none of a background, and offsets of anchors.

    Anchors are numbered level by level from the finest, in a level row by row, in a row cell by cell, and in a cell as
    `retinanet_levels` says; maps have them outermost in their channels. Offsets are applied as by `apply_offsets`.

    Args:
        tensors: logits (N, B, K) and offsets (N, B, 4); or maps, logits (N, A × K, h, w) and offsets (N, A × 4, h, w) a
            level: first the logits of all levels and then the offsets, or level by level, in each the logits first.
        decoder: `classes`, `is_activated`, `first_label` are heeded; of `settings` those of `retinanet_levels`, and
            `variances` (default 1 and 1; Keras-like ports have 0.1 and 0.2).
        size: height and width of the network's input.
        threshold: objects of a score above it are kept.

    Raises:
        ModelError: another shape, another number of boxes or cells than anchors have, scores that are not finite, or a
            setting that cannot be read.
    """
    require_sigmoid(decoder)
    levels = retinanet_levels(decoder.settings, size)
    variances = numbers(decoder.settings, "variances", (1, 1))
    if len(variances) != 2:
        raise ModelError(f"detector: expected variances of centre and size, found {variances.tolist()}")
    is_maps = any(np.ndim(tensor) == 4 for tensor in tensors)
    parts = _of_maps(tensors, decoder, levels) if is_maps else _of_rows(tensors, decoder, levels)
    found: list[list[Found]] = []
    for name, logits, offsets, of_part in parts:
        found.append([])
        for image, moved in zip(logits, offsets, strict=True):
            require_finite(image, name)
            chosen = choose_best(image, threshold, decoder.is_activated)
            own = moved[np.unravel_index(chosen.rows, moved.shape[:-1])]
            boxes = apply_offsets(anchors_at(of_part, chosen.rows), own, (float(variances[0]), float(variances[1])))
            found[-1].append(to_found(chosen, boxes, decoder))
    return [join_parts(image) for image in zip(*found, strict=True)]


_Part = tuple[str, Floats, Floats, Sequence[Level]]
"""Name of the tensor of logits, logits (N, ..., K), offsets (N, ..., 4), and the levels of their anchors."""


def _of_rows(tensors: tuple[Tensor, ...], decoder: Decoder, levels: tuple[Level, ...]) -> list[_Part]:
    count = count_anchors(levels)
    logits, offsets = check_tensors(tensors, decoder, [("N", count, columns(decoder, 0)), ("N", count, 4)])
    require_columns(logits.shape[2], 1, decoder.tensors[0])
    return [(decoder.tensors[0], logits, offsets, levels)]


def _of_maps(tensors: tuple[Tensor, ...], decoder: Decoder, levels: tuple[Level, ...]) -> list[_Part]:
    """Return views (N, h, w, A, K) and (N, h, w, A, 4) of the maps of each level."""
    count = len(levels)
    if len(tensors) != 2 * count:
        raise ModelError(
            f"detector: the anchors have {count} levels, which takes {2 * count} outputs, found {list(decoder.tensors)}"
        )
    places = [np.shape(tensor)[2:] for tensor in tensors]
    is_in_halves = places[:count] == places[count:]
    order = [(index, count + index) if is_in_halves else (2 * index, 2 * index + 1) for index in range(count)]
    shapes: dict[int, Shape] = {}
    for level, (of_logits, of_offsets) in zip(levels, order, strict=True):
        kinds, each = len(level.sizes), columns(decoder, 0)
        logits = kinds * each if isinstance(each, int) else f"{kinds} × K"
        shapes[of_logits] = ("N", logits, level.rows, level.cols)
        shapes[of_offsets] = ("N", 4 * kinds, level.rows, level.cols)
    checked = check_tensors(tensors, decoder, [shapes[index] for index in range(2 * count)])
    return [
        (
            decoder.tensors[of_logits],
            _split(checked[of_logits], level, decoder.tensors[of_logits]),
            _split(checked[of_offsets], level, decoder.tensors[of_offsets]),
            (level,),
        )
        for level, (of_logits, of_offsets) in zip(levels, order, strict=True)
    ]


def _split(maps: Floats, level: Level, name: str) -> Floats:
    """Return (N, A × K, h, w) as a view (N, h, w, A, K)."""
    kinds = len(level.sizes)
    if maps.shape[1] % kinds:
        raise ModelError(f"output {name!r}: expected {kinds} anchors times K channels, found {maps.shape[1]}")
    return maps.reshape(len(maps), kinds, -1, *maps.shape[2:]).transpose(0, 3, 4, 1, 2)
