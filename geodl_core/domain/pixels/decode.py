"""Decode a network's answer: class indices or scores become the values that are stored."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.domain.classes import Storage
from geodl_core.domain.model.tensors import Output
from geodl_core.domain.pixels.chip import Mask, to_class_ids
from geodl_core.domain.pixels.product import SCORE_STEPS, Product
from geodl_core.errors import ModelError

Scores = npt.NDArray[np.float32]
"""(C, h, w) in [0, 1]; a mask has one channel."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How answers of a model become stored values."""

    output: Output
    storage: Storage
    lookup: npt.NDArray[Any]
    """(K,) class id of each class index; for a class map the class ids that may occur."""
    threshold: float
    """Of a mask: above it a score is class index 1."""
    left_out: int | None
    """Class index that is never chosen: the background, where it is not to be predicted."""
    score_order: tuple[int, ...]
    """Class index of each band of a raster of scores."""


def decide(scores: Scores, decoding: Decoding) -> npt.NDArray[Any]:
    """Return the (h, w) class index of each pixel: the best, of equals the first; for a mask 1 above the threshold."""
    if decoding.output == "mask":
        return np.asarray(scores[0] > np.float32(decoding.threshold), np.uint8)
    if decoding.left_out is None:
        return np.asarray(scores.argmax(0))
    candidates = scores.copy()
    candidates[decoding.left_out] = -np.inf
    return np.asarray(candidates.argmax(0))


def to_ids(classes: npt.NDArray[Any], valid: Mask, decoding: Decoding) -> npt.NDArray[Any]:
    """Turn (h, w) class indices into stored values: class ids where valid, nodata elsewhere.

    Raises:
        ModelError: a class that the definition lacks.
    """
    storage, lookup = decoding.storage, decoding.lookup
    if decoding.output != "class map":
        if classes.size and int(classes.max()) >= len(lookup):
            raise ModelError(f"the network gives class index {classes.max()}, but Classes ends at {len(lookup) - 1}")
        return to_class_ids(classes, valid, lookup, storage.nodata)
    strange = np.setdiff1d(classes[valid], lookup)
    if strange.size:
        raise ModelError(f"the network wrote the values {strange[:5].tolist()}, which Classes does not have")
    return np.where(valid, classes, storage.nodata).astype(storage.dtype)


def to_stored_scores(scores: Scores, valid: Mask, decoding: Decoding, product: Product) -> npt.NDArray[Any]:
    """Return (classes, h, w) scores as they are stored, one band a class; a mask gets a band for its other class too.

    Raises:
        ModelError: fewer channels than classes.
    """
    every = np.concatenate([1 - scores, scores]) if decoding.output == "mask" else scores
    if len(every) <= max(decoding.score_order):
        raise ModelError(f"the network gives {len(every)} scores a pixel, expected {max(decoding.score_order) + 1}")
    chosen = every[list(decoding.score_order)]
    if product.dtype == "uint8":
        chosen = np.rint(np.clip(chosen, 0, 1) * SCORE_STEPS)
    stored: npt.NDArray[Any] = chosen.astype(product.dtype)
    stored[:, ~valid] = product.nodata
    return stored
