"""What tells how a detector's answer is laid out: names, shapes, the definition, and the values of one answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.domain.detection.configuration import Configuration
from geodl_core.domain.detection.decoder import Coordinates
from geodl_core.domain.detection.labels import is_background
from geodl_core.domain.emd.definition import Emd
from geodl_core.domain.model.tensors import layout_of, sizes_of
from geodl_core.domain.network.graph import Graph, Tensor

Array = npt.NDArray[Any]
BOX = 4
SLACK = 1e-3
NORMALISED_RANGE = (-0.5, 2.0)
"""Of boxes that are given as shares of the image, beyond which they may reach."""
ORDERED_SHARE = 0.95
"""Of boxes whose second corner lies below and right of the first, where they are corners at all."""
FEW = 5
"""So many best boxes are looked at where others may be anything."""
UNTOLD = "no run of the network told"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of an answer."""

    outputs: tuple[Tensor, ...]
    """Those that may carry it, sizes as they were in the answer where there is one."""
    counts: tuple[int, ...]
    """How many classes the definition has, without background and with; empty where it has none."""
    config: Configuration
    input_px: tuple[int, int] | None
    """Height and width of the network's input, None where they are open."""
    activations: Mapping[str, str | None]
    probe: Mapping[str, Array]
    """One answer by the outputs' names; empty where the network was not run."""


def gather_evidence(emd: Emd, graph: Graph, config: Configuration, probe: Mapping[str, Array] | None) -> Evidence:
    """Put together what is known; of the outputs those that Config names, where it does."""
    answer = probe or {}
    names = config.settings.get("outputs") or [tensor.name for tensor in graph.outputs]
    by_name = {tensor.name: tensor for tensor in graph.outputs}
    outputs = [by_name[name] for name in names if name in by_name]
    shaped = tuple(
        Tensor(tensor.name, str(answer[tensor.name].dtype), tuple(answer[tensor.name].shape))
        if tensor.name in answer
        else tensor
        for tensor in outputs
    )
    objects = sum(not is_background(entry) for entry in emd.Classes)
    counts = tuple(dict.fromkeys(count for count in (objects, len(emd.Classes)) if count))
    activations = dict(zip((tensor.name for tensor in graph.outputs), graph.activations, strict=True))
    return Evidence(shaped, counts, config, _input_px(emd, graph), activations, answer)


def values_of(evidence: Evidence, name: str) -> Array | None:
    """Return the finite part of an output's values with their shape, what is not finite being 0; None: unknown."""
    values = evidence.probe.get(name)
    if values is None or not values.size:
        return None
    with np.errstate(over="ignore"):
        floats = np.asarray(values, np.float32)
    return np.where(np.isfinite(floats), floats, np.float32(0))


def coordinates_of(boxes: Array | None, usual: Coordinates) -> tuple[Coordinates, str]:
    """Return how boxes are given, and by what that is known.

    Args:
        boxes: (…, 4) of an answer, those that count; None where there is none. What is all zeros fills up.
        usual: of the form.
    """
    filled = None if boxes is None else boxes[(boxes != 0).any(axis=-1)]
    if filled is None or not filled.size:
        return usual, f"{usual} as is usual, which {UNTOLD}"
    low, high = float(filled.min()), float(filled.max())
    if NORMALISED_RANGE[0] <= low and high <= NORMALISED_RANGE[1]:
        return "normalised", f"normalised, its values being {low:.2g} to {high:.2g}"
    return "pixels", f"in pixels, its values being {low:.3g} to {high:.4g}"


def is_corners(boxes: Array, best: Array, side_px: float) -> bool:
    """Say whether numbers are two corners, the second below and right of the first.

    Args:
        boxes: (…, 4) of all proposals: most are corners then, or the best are and lie within the image.
        best: (n, 4) of those that score best.
        side_px: the longer side of the image.
    """
    ordered = (boxes[..., 2] > boxes[..., 0]) & (boxes[..., 3] > boxes[..., 1])
    if not ordered.size or float(ordered.mean()) >= ORDERED_SHARE:
        return bool(ordered.size)
    if not best.size:
        return False
    most = 1.0 if best.max(initial=0) <= NORMALISED_RANGE[1] else side_px
    inside = (best >= -0.05 * most) & (best <= 1.05 * most)
    return bool(((best[:, 2] > best[:, 0]) & (best[:, 3] > best[:, 1])).all()) and bool(inside.all())


def is_shares(boxes: Array) -> bool:
    """Say whether all numbers are shares of the image, none beyond it, and not all of them 0."""
    return bool(boxes.any()) and bool(((boxes >= 0) & (boxes <= 1 + SLACK)).all())


def best_boxes(boxes: Array, scores: Array) -> Array:
    """Return (n, 4) boxes of (N, B, 4) that score best by (N, B), of those that are not all zeros."""
    flat, values = boxes.reshape(-1, BOX), scores.reshape(-1)
    filled = np.flatnonzero((flat != 0).any(axis=-1))
    chosen: Array = flat[filled[np.argsort(-values[filled], kind="stable")[:FEW]]]
    return chosen


def is_whole(values: Array) -> bool:
    """Say whether all are whole numbers."""
    return bool((np.abs(values - np.rint(values)) < SLACK).all())


def is_score(values: Array, scale: float = 1.0) -> bool:
    """Say whether all are in [0, 1], or up to another scale."""
    return bool(((values >= -SLACK) & (values <= scale * (1 + SLACK))).all())


def is_activated(evidence: Evidence, name: str, values: Array | None) -> tuple[bool, str]:
    """Return whether class values are scores, not logits, and by what that is known.

    Args:
        evidence: with what the definition and the graph say.
        name: of the output.
        values: the class values of an answer, None where there is none.
    """
    said = evidence.config.said.get("activation")
    if said is not None:
        return said == "none", f"activation {said} by the definition"
    if evidence.activations.get(name):
        return True, f"scores of a {evidence.activations[name]}"
    if evidence.config.said.get("score_scale", 1) != 1:
        return True, "scores by the definition"
    if values is None:
        return True, f"taken as scores, which {UNTOLD}"
    # Above 1 and never below 0 are percent, of which only the definition may tell; logits are on both sides.
    if values.min() < -SLACK:
        return False, f"logits, going down to {values.min():.3g}"
    return True, f"scores, going up to {values.max():.3g}"


def size_at(tensor: Tensor, axis: int) -> int | None:
    """Return a size, None where it is open or there is no such axis."""
    return tensor.shape[axis] if -len(tensor.shape) <= axis < len(tensor.shape) else None


def is_float(tensor: Tensor) -> bool:
    """Say whether a tensor holds numbers with fractions."""
    return tensor.dtype.startswith(("float", "bfloat"))


def has_word(tensor: Tensor, words: Sequence[str]) -> bool:
    """Say whether one of some words occurs in a tensor's name."""
    return any(word in tensor.name.lower() for word in words)


def _input_px(emd: Emd, graph: Graph) -> tuple[int, int] | None:
    for given in graph.inputs:
        tensor = given
        if len(tensor.shape) == 3 and is_float(tensor):
            tensor = Tensor(given.name, given.dtype, (1, *given.shape))
        if len(tensor.shape) == 4:
            fixed = sizes_of(tensor, layout_of(emd, tensor))
            height, width = fixed[0] or emd.ImageHeight, fixed[1] or emd.ImageWidth
            return None if height is None or width is None else (height, width)
    return None


def is_picture(evidence: Evidence, tensor: Tensor) -> bool:
    """Say whether the last two of three axes are the image's, scaled alike: a value a pixel."""
    height, width = tensor.shape[-2:]
    if evidence.input_px is None or height is None or width is None or min(height, width) < 8:
        return False
    return height * evidence.input_px[1] == width * evidence.input_px[0]
