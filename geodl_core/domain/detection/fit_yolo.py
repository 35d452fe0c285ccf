"""Whether an answer has one of the forms of the YOLO family."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from geodl_core.domain.detection.decoder import Decoder, Form
from geodl_core.domain.detection.evidence import (
    BOX,
    SLACK,
    UNTOLD,
    Array,
    Evidence,
    best_boxes,
    coordinates_of,
    is_activated,
    is_float,
    is_picture,
    size_at,
    values_of,
)
from geodl_core.domain.detection.fit_finished import find_pair
from geodl_core.domain.network.graph import Tensor

MOST_VALUES = 1024
"""Of a box; more along an axis are boxes."""
YOLOX_STRIDES = ((8, 16, 32), (8, 16, 32, 64))
MOST_ANCHORS = 9
"""Of a cell of an undecoded map."""
MOST_SHARE = 1.25
"""Of a centre or a size as a share of the image."""
MOST_RAW = 16.0
"""Of a logarithm of a size in cells."""
NO_SIZES_SHARE = 0.01
"""Of boxes with a negative size above which the sizes are none."""


@dataclass(frozen=True, slots=True)
class Rows:
    """An output of boxes with their values."""

    tensor: Tensor
    values: Array | None
    """(N, B, width) of an answer."""
    width: int
    """Values a box: four coordinates, maybe a score of its own, class values, and what the form adds."""
    stop: int
    """Where the class values end."""
    count: int | None
    """Boxes."""


def fit_yolo(evidence: Evidence) -> Decoder | None:
    """(N, B, 5 + K) or (N, B, 4 + K), decoded."""
    for rows in _rows(evidence, is_transposed=False):
        if rows.values is not None and _negative_share(rows.values) > NO_SIZES_SHARE:
            continue
        objectness = _has_objectness(evidence, rows.width)
        classes = rows.width - BOX - objectness
        doubt = "" if evidence.counts or "objectness" in evidence.config.said else ", as is usual"
        why = f"{rows.tensor} holds, a box, {_spelt(classes, objectness)}{doubt}"
        return _decoder("yolo", evidence, rows, objectness, why)
    return None


def fit_yolox(evidence: Evidence) -> Decoder | None:
    """(N, B, 5 + K), a row a cell of grids, sizes as logarithms."""
    for rows in _rows(evidence, is_transposed=False):
        classes = rows.width - BOX - 1
        has_cells = rows.count in _cell_counts(evidence)
        is_raw = _is_raw(evidence, rows)
        if not evidence.config.is_form_said:
            if not has_cells or is_raw is False or not _is_count(evidence, classes):
                continue
            if evidence.config.said.get("objectness") is False:
                continue
        how = "as its values show" if is_raw else f"which {UNTOLD}"
        why = f"{rows.tensor} holds a row for each cell of YOLOX's grids, {_spelt(classes, True)}, undecoded, {how}"
        return replace(_decoder("yolox", evidence, rows, True, why), coordinates="pixels", why=why)
    return None


def fit_yolo_transposed(evidence: Evidence) -> Decoder | None:
    """(N, 4 + K, B)."""
    for rows in _rows(evidence, is_transposed=True):
        why = f"{rows.tensor} holds, a box along the last axis, {_spelt(rows.stop - BOX, False)}"
        return _decoder("yolo transposed", evidence, rows, False, why)
    return None


def fit_yolo_oriented(evidence: Evidence) -> Decoder | None:
    """(N, 4 + K + 1, B), the last an angle."""
    if not evidence.counts and "yolo oriented" not in evidence.config.forms:
        return None  # nothing tells an angle from a score
    for rows in _rows(evidence, is_transposed=True, extra=1):
        if rows.values is not None and float(np.abs(rows.values[..., -1]).max(initial=0)) > math.pi + SLACK:
            continue
        spelt = _spelt(rows.stop - BOX, False)
        why = f"{rows.tensor} holds, a box along the last axis, {spelt} and one more, in the range of an angle"
        return _decoder("yolo oriented", evidence, rows, False, why)
    return None


def fit_yolo_masks(evidence: Evidence) -> Decoder | None:
    """Boxes with coefficients, and the prototypes of their masks."""
    for prototypes in evidence.outputs:
        masks = size_at(prototypes, 1)
        if len(prototypes.shape) != 4 or not masks or not is_float(prototypes):
            continue
        for is_transposed in (True, False):
            for rows in _rows(evidence, is_transposed, extra=masks):
                objectness = not is_transposed
                classes = rows.stop - BOX - objectness
                if not _is_count(evidence, classes):
                    continue
                spelt = _spelt(classes, objectness)
                why = f"{rows.tensor} holds, a box, {spelt} and {masks} coefficients of the masks in {prototypes}"
                decoder = _decoder("yolo masks", evidence, rows, objectness, why)
                return replace(decoder, tensors=(rows.tensor.name, prototypes.name))
    return None


def fit_yolo_heads(evidence: Evidence) -> Decoder | None:
    """Undecoded maps, one a scale."""
    found = [(tensor, _head_classes(evidence, tensor)) for tensor in evidence.outputs if is_float(tensor)]
    maps = [tensor for tensor, classes in found if classes is not None]
    classes = {classes for _, classes in found if classes is not None}
    scales = {tensor.shape[2:4] for tensor in maps}
    is_pyramid = len(maps) > 1 and (len(scales) == len(maps) or scales == {(None, None)})
    if len(classes) != 1 or not (is_pyramid or (maps and evidence.config.is_form_said)):
        return None
    names = tuple(tensor.name for tensor in maps)
    extremes = extremes_of(evidence, names)
    done, told = is_activated(evidence, names[0], extremes)
    if extremes is None and "activation" not in evidence.config.said:
        done, told = False, f"logits as is usual, which {UNTOLD}"
    why = f"{'; '.join(map(str, maps))} are undecoded maps, one a scale, {told}"
    return Decoder("yolo heads", names, "pixels", classes.pop(), is_activated=done, why=why)


def extremes_of(evidence: Evidence, names: tuple[str, ...]) -> Array | None:
    """Return the lowest and highest values of some outputs together; None where there is no answer."""
    values = [found for found in (values_of(evidence, name) for name in names) if found is not None]
    return np.asarray([[found.min(), found.max()] for found in values], np.float32) if values else None


def _decoder(form: Form, evidence: Evidence, rows: Rows, objectness: bool, why: str) -> Decoder:
    values = rows.values
    coordinates, known = coordinates_of(_best(rows, objectness), "pixels")
    scores = None if values is None else values[..., BOX : rows.stop]
    done, told = is_activated(evidence, rows.tensor.name, scores)
    return Decoder(
        form,
        (rows.tensor.name,),
        coordinates,
        rows.stop - BOX - objectness,
        has_objectness=objectness,
        is_activated=done,
        why=f"{why}; boxes {known}; {told}",
    )


def _rows(evidence: Evidence, is_transposed: bool, extra: int = 0) -> Iterator[Rows]:
    """Yield the outputs of three axes that hold boxes with their values."""
    pair = find_pair(evidence)
    for tensor in evidence.outputs:
        if len(tensor.shape) != 3 or not is_float(tensor) or is_picture(evidence, tensor):
            continue
        if pair is not None and tensor.name == pair[1].name:
            continue  # its boxes are a tensor of their own
        count, width = (tensor.shape[2], tensor.shape[1]) if is_transposed else (tensor.shape[1], tensor.shape[2])
        if width is None or not BOX + extra < width <= MOST_VALUES:
            continue
        if not _is_laid_out(evidence, tensor, is_transposed, extra):
            continue
        values = values_of(evidence, tensor.name)
        if values is not None and is_transposed:
            values = values.swapaxes(1, 2)
        yield Rows(tensor, values, width, width - extra, count)


def _is_laid_out(evidence: Evidence, tensor: Tensor, is_transposed: bool, extra: int) -> bool:
    """Say whether an output is laid out so: by the number of classes, else by which axis is the longer."""
    middle, last = tensor.shape[1], tensor.shape[2]
    is_longer = _is_more(last, middle) if is_transposed else _is_more(middle, last)
    fits = {
        (False, extra): _fits_rows(evidence, last, extra),
        (True, extra): _fits(evidence, middle, BOX + extra),
    }
    others = [_fits_rows(evidence, last, 0), _fits(evidence, middle, BOX), _fits(evidence, middle, BOX + 1)]
    if fits[is_transposed, extra]:
        return is_longer or not fits[not is_transposed, extra]
    return is_longer and (evidence.config.is_form_said or not any(others) or extra > 1)


def _fits_rows(evidence: Evidence, width: int | None, extra: int) -> bool:
    said = evidence.config.said.get("objectness")
    with_own = said is not False and _fits(evidence, width, BOX + 1 + extra)
    return with_own or (said is not True and extra <= 1 and _fits(evidence, width, BOX + extra))


def _fits(evidence: Evidence, width: int | None, others: int) -> bool:
    return width is not None and width - others in evidence.counts


def _is_more(count: int | None, width: int | None) -> bool:
    return width is not None and (count is None or count > width)


def _is_count(evidence: Evidence, classes: int) -> bool:
    return classes > 0 and (not evidence.counts or classes in evidence.counts or evidence.config.is_form_said)


def _has_objectness(evidence: Evidence, width: int) -> bool:
    said = evidence.config.said.get("objectness")
    if said is not None:
        return bool(said)
    for count in evidence.counts:
        if width - count in (BOX, BOX + 1):
            return width - count == BOX + 1
    return width > BOX + 1


def _best(rows: Rows, objectness: bool) -> Array | None:
    """Return the boxes of an answer that score best."""
    if rows.values is None:
        return None
    scores = rows.values[..., BOX + objectness : rows.stop].max(-1)
    return best_boxes(rows.values[..., :BOX], scores * rows.values[..., BOX] if objectness else scores)


def _negative_share(values: Array) -> float:
    return float((values[..., 2:BOX] < -SLACK).any(axis=-1).mean())


def _is_raw(evidence: Evidence, rows: Rows) -> bool | None:
    """Say whether rows are offsets and logarithms in cells, not decoded boxes; None where nothing tells."""
    best = _best(rows, True)
    if rows.values is None or best is None or not best.size:
        return None
    if bool((rows.values[..., 2:BOX] < -SLACK).any()):
        return True
    most = float(best.max())
    # Centres and sizes are shares of about 1 at most, pixels seldom below 16; offsets and logarithms lie between.
    if most <= MOST_SHARE:
        return None if "yolox" in evidence.config.forms[:1] else False
    return most <= MOST_RAW


def _cell_counts(evidence: Evidence) -> set[int]:
    """Return how many cells YOLOX's grids may have together."""
    if evidence.input_px is None:
        return set()
    given = evidence.config.settings.get("strides")
    strides = YOLOX_STRIDES if not isinstance(given, list) or not all(given) else (tuple(given),)
    return {
        sum(math.prod(rounded(side / stride) for side in evidence.input_px) for stride in each)
        for each in strides
        for rounded in (math.floor, math.ceil)
    }


def _head_classes(evidence: Evidence, tensor: Tensor) -> int | None:
    """Return how many classes an undecoded map tells apart, None for what is none."""
    shape = tensor.shape
    if len(shape) == 5 and shape[4] is not None and shape[1] is not None and shape[1] <= MOST_ANCHORS:
        classes = shape[4] - BOX - 1
        return classes if _is_count(evidence, classes) else None
    channels = shape[1] if len(shape) == 4 else None
    anchors = evidence.config.settings.get("anchors")
    if channels is None:
        return None
    if isinstance(anchors, list) and anchors and isinstance(anchors[0], list):
        count = np.size(anchors[0]) // 2
        return channels // count - BOX - 1 if count and channels % count == 0 and channels // count > BOX + 1 else None
    for classes in evidence.counts:
        if channels % (BOX + 1 + classes) == 0 and channels // (BOX + 1 + classes) <= MOST_ANCHORS:
            return classes
    return None


def _spelt(classes: int, objectness: bool) -> str:
    own = "its own score and " if objectness else ""
    return f"4 coordinates, {own}{classes} class {'value' if classes == 1 else 'values'}"
