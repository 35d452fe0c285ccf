"""The classes of objects, and the columns of a table that say them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.domain.model.object_classifier import ObjectClassifier
from geodl_core.errors import InputError, ModelError

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ObjectClasses:
    """What is known of objects, in their order."""

    ids: npt.NDArray[np.int64]
    """(N,) class ids; 0 where an object has none."""
    is_classified: npt.NDArray[np.bool_]
    """(N,) False where the network did not see an object, or its best score is below the threshold."""
    scores: Scores
    """(N,) of the best class, NaN where the network did not see the object."""
    each: Scores
    """(N, K) of every class, in the order of the network; NaN likewise."""


@dataclass(frozen=True, slots=True)
class Columns:
    """How columns are called."""

    is_arcgis: bool = False
    """`ClassLabel` and `Confidence`, which goes to 100, instead of `class_id`, `class_name` and `score`."""
    has_all_scores: bool = False
    """One more for each class."""
    prefix: str = ""


def all_scores(answer: npt.NDArray[Any], classifier: ObjectClassifier) -> Scores:
    """Return (N, K) scores of an answer (N, K, 1, 1); one score is that of the second class of two.

    Raises:
        ModelError: there are more or fewer than classes.
    """
    scores = np.asarray(answer, np.float32).reshape(len(answer), -1)
    if classifier.model.output == "mask":
        scores = np.concatenate([1 - scores, scores], axis=1)
    if scores.shape[1] != len(classifier.model.indices_to_ids):
        expected = len(classifier.model.indices_to_ids)
        raise ModelError(f"the network gives {scores.shape[1]} scores an object, expected {expected}: one a class")
    return scores


def choose_classes(each: Scores, classifier: ObjectClassifier, threshold: float) -> ObjectClasses:
    """Return the class of each object: that of its best score, the first of equal ones.

    Args:
        each: (N, K) scores, rows of NaN for objects that the network did not see.
        classifier: whose classes they are.
        threshold: below it an object gets no class.
    """
    is_seen = np.asarray(np.isfinite(each).all(axis=1))
    best = np.where(is_seen[:, None], each, 0).argmax(axis=1)
    scores = np.take_along_axis(each, best[:, None], axis=1)[:, 0]
    is_classified = is_seen & (scores >= threshold)
    ids = np.asarray(classifier.model.indices_to_ids, np.int64)[best]
    return ObjectClasses(np.where(is_classified, ids, 0), is_classified, scores, each)


def column_names(classifier: ObjectClassifier, wanted: Columns) -> list[str]:
    """Return the names of the columns of `columns_of`, in their order."""
    labels, score = (["ClassLabel"], "Confidence") if wanted.is_arcgis else (["class_id", "class_name"], "score")
    names = _names(classifier)
    each = [f"{score}_{names[value]}" for value in classifier.model.indices_to_ids] if wanted.has_all_scores else []
    return [f"{wanted.prefix}{name}" for name in (*labels, score, *each)]


def columns_of(found: ObjectClasses, classifier: ObjectClassifier, wanted: Columns) -> dict[str, npt.NDArray[Any]]:
    """Return name → (N,) values: whole numbers as masked arrays, texts with None, float64 with NaN."""
    names = _names(classifier)
    pairs = zip(found.ids.tolist(), found.is_classified, strict=True)
    labels = np.array([names[value] if is_classified else None for value, is_classified in pairs], np.object_)
    ids = np.ma.masked_array(found.ids.astype(np.int32), ~found.is_classified)
    scale = 100.0 if wanted.is_arcgis else 1.0
    scores = [found.scores, *(found.each.T if wanted.has_all_scores else ())]
    values = [*(() if wanted.is_arcgis else (ids,)), labels, *(each.astype(np.float64) * scale for each in scores)]
    return dict(zip(column_names(classifier, wanted), values, strict=True))


def require_new(columns: list[str], there: list[str]) -> None:
    """Make sure that no column of a table is lost; case is no difference to some formats.

    Raises:
        InputError: one is there already.
    """
    taken = {name.lower() for name in there}
    lost = [name for name in columns if name.lower() in taken]
    if lost:
        raise InputError(
            f"the features have the columns {', '.join(lost)} already",
            hint="--prefix NAME_ calls the new ones otherwise",
        )


def _names(classifier: ObjectClassifier) -> dict[int, str]:
    """Return class id → name; where two classes share one, their ids follow it."""
    names = [entry.name for entry in classifier.model.classes]
    return {
        entry.value: entry.name if names.count(entry.name) == 1 else f"{entry.name} {entry.value}"
        for entry in classifier.model.classes
    }
