"""Whether an answer has one of the forms of SSD and RetinaNet: boxes or offsets of anchors, and class values."""

from dataclasses import replace

from geodl_core.domain.detection.anchors import count_anchors, retinanet_levels
from geodl_core.domain.detection.decoder import Decoder, Form
from geodl_core.domain.detection.evidence import (
    BOX,
    UNTOLD,
    Evidence,
    coordinates_of,
    has_word,
    is_activated,
    is_float,
    values_of,
)
from geodl_core.domain.detection.fit_finished import OFFSET_WORDS, best_of_pair, find_pair, holds_corners
from geodl_core.domain.detection.fit_yolo import extremes_of
from geodl_core.domain.network.graph import Tensor

ANCHOR_KEYS = ("anchors", "grids", "min_sizes")
"""One of them says which anchors an SSD has."""


def fit_ssd(evidence: Evidence) -> Decoder | None:
    """Decoded boxes (N, B, 4), and class values."""
    pair = find_pair(evidence)
    if pair is None:
        return None
    values = values_of(evidence, pair[0].name)
    if not evidence.config.is_form_said:
        has_anchors = any(key in evidence.config.settings for key in ANCHOR_KEYS)
        is_named_raw = values is None and (has_anchors or has_word(pair[0], OFFSET_WORDS))
        if is_named_raw or (values is not None and not holds_corners(evidence, pair)):
            return None
    weights = values_of(evidence, pair[1].name)
    best = None if values is None or weights is None else best_of_pair(evidence, values, weights)
    coordinates, known = coordinates_of(best, "normalised")
    kind = "corners of boxes" if values is not None else f"boxes taken as decoded, which {UNTOLD}"
    return replace(_ssd("ssd", evidence, pair, f"{pair[0]} holds {kind}, {known}"), coordinates=coordinates)


def fit_ssd_raw(evidence: Evidence) -> Decoder | None:
    """Offsets of anchors (N, B, 4), and class values; nothing but the definition says which anchors."""
    pair = find_pair(evidence)
    if pair is None or not any(key in evidence.config.settings for key in ANCHOR_KEYS):
        return None
    return _ssd("ssd raw", evidence, pair, f"{pair[0]} holds offsets of the anchors that the definition gives")


def fit_retinanet_raw(evidence: Evidence) -> Decoder | None:
    """Offsets of RetinaNet's anchors, and class values without a background: one tensor each, or one a level."""
    pair = find_pair(evidence)
    if pair is not None:
        boxes, scores = pair
        names: tuple[str, ...] = (scores.name, boxes.name)
        classes = scores.shape[-1] or 1
        is_odd = bool(evidence.counts) and classes not in evidence.counts
        if not evidence.config.is_form_said and holds_corners(evidence, pair):
            return None
        if "retinanet raw" not in evidence.config.forms and (is_odd or not _has_pyramid(evidence, boxes)):
            return None
    else:
        levels = _levels(evidence)
        if levels is None:
            return None
        names, classes = levels
    logits = names[: len(names) // 2]
    done, told = is_activated(evidence, logits[0], extremes_of(evidence, logits))
    why = f"{', '.join(names)} hold {classes} class values and offsets of RetinaNet's anchors, {told}"
    return Decoder("retinanet raw", names, "pixels", classes, is_activated=done, why=why)


def _ssd(form: Form, evidence: Evidence, pair: tuple[Tensor, Tensor], why: str) -> Decoder:
    boxes, scores = pair
    channels = scores.shape[-1] or 1
    values = values_of(evidence, scores.name)
    background, told = evidence.config.settings.get("background"), "by the definition"
    if background is None:
        objects = evidence.counts[0] if evidence.counts else None
        if channels in (objects, 1):
            background, told = "none", "as there are as many values as classes"
        elif values is None:
            background, told = "first", f"as is usual, which {UNTOLD}"
        else:
            # Most places show nothing.
            is_last = channels > 1 and int(values.mean(axis=(0, 1)).argmax()) == channels - 1
            background, told = ("last" if is_last else "first"), "as its values show"
    done, known = is_activated(evidence, scores.name, values)
    usual = "sigmoid" if background == "none" else "softmax"
    return Decoder(
        form,
        (boxes.name, scores.name),
        "normalised",
        channels - (background != "none"),
        1 if background == "first" else 0,
        is_activated=done,
        settings={"background": background, "activation": usual},
        why=f"{why}; {scores} holds class values, background {background} {told}, {known}",
    )


def _has_pyramid(evidence: Evidence, boxes: Tensor) -> bool:
    """Say whether there are as many boxes as RetinaNet has anchors."""
    if evidence.input_px is None:
        return False
    return boxes.shape[1] == count_anchors(retinanet_levels(evidence.config.settings, evidence.input_px))


def _levels(evidence: Evidence) -> tuple[tuple[str, ...], int] | None:
    """Return the maps of all levels, class values first and the finest first, and how many classes they tell apart."""
    maps = [tensor for tensor in evidence.outputs if len(tensor.shape) == 4 and is_float(tensor)]
    sizes = sorted({(tensor.shape[2] or 0, tensor.shape[3] or 0) for tensor in maps}, reverse=True)
    if len(sizes) < 2 or len(maps) != 2 * len(sizes):
        return None
    for classes in evidence.counts:
        found = [_level([each for each in maps if each.shape[2:] == size], classes) for size in sizes]
        pairs = [pair for pair in found if pair is not None]
        if len(pairs) == len(sizes):
            return (*(scores for scores, _ in pairs), *(boxes for _, boxes in pairs)), classes
    return None


def _level(maps: list[Tensor], classes: int) -> tuple[str, str] | None:
    """Return the names of class values and offsets of one level."""
    if len(maps) != 2:
        return None
    for scores, boxes in (maps, maps[::-1]):
        anchors, rest = divmod(boxes.shape[1] or 0, BOX)
        is_named = not has_word(scores, OFFSET_WORDS) or classes != BOX
        if anchors and not rest and scores.shape[1] == anchors * classes and is_named:
            return scores.name, boxes.name
    return None
