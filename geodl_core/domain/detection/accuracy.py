"""How right detections are: precision, recall, F1, average precision, and what was taken for what.

The rules, where ArcGIS's "Compute Accuracy For Object Detection" publishes none, are those of COCO
(cocodataset.org/#detection-eval), and the numbers those of pycocotools with one image and no limit of detections:

- An object counts as found once: detections by falling score (equal ones in the order given) take the true object of
  their class with the greatest IoU, of those that are free and reach the least IoU. The others are false.
- AP is the mean of the precision at the 101 recalls 0, 0.01 … 1; the precision at a recall is the greatest at this or
  a greater one, 0 where it is not reached. It is over all detections, whatever threshold the counts are for.
- mAP is the mean of the AP at the ten least IoUs 0.50, 0.55 … 0.95.
- A class without true objects has no AP. The overall AP and mAP are means over the classes that have one; the overall
  precision, recall and F1 are of all objects together.
- What is divided by 0 is None: precision without detections, recall without true objects.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geodl_core.domain.detection.confusion import FoundAs, count_found_as
from geodl_core.domain.detection.matching import FREE, Floats, Integers, Objects, match_greedily, take_objects

COCO_IOUS = tuple(float(least) for least in np.linspace(0.5, 0.95, 10))
RECALLS: Floats = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, slots=True)
class Curve:
    """What each score that detections have would give as threshold; all arrays have one length, by falling score."""

    scores: Floats
    precisions: Floats
    recalls: Floats
    """NaN without true objects."""
    f1s: Floats


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one class, or of all together."""

    true_positives: int
    false_positives: int
    false_negatives: int

    @property
    def precision(self) -> float | None:
        return _share(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float | None:
        return _share(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float | None:
        """2 TP / (2 TP + FP + FN): the harmonic mean of the two, which this defines where one of them is not."""
        hits = 2 * self.true_positives
        return _share(hits, hits + self.false_positives + self.false_negatives)


@dataclass(frozen=True, slots=True)
class Best:
    """The threshold with the greatest F1; of several the highest."""

    threshold: float
    """Detections of this score or more are kept."""
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class ClassAccuracy:
    """Of one class, or of all together."""

    name: str
    truths: int
    detections: int
    """All, below the threshold too."""
    counts: Counts
    ap: float | None
    """At the least IoU asked for."""
    aps: tuple[float, ...] | None
    """At each of `COCO_IOUS`."""
    best: Best | None
    """None without detections or true objects."""
    curve: Curve

    @property
    def mean_ap(self) -> float | None:
        """Return COCO's mAP, 0.50:0.95."""
        return None if self.aps is None else float(np.mean(self.aps))


@dataclass(frozen=True, slots=True)
class Rules:
    """What counts."""

    min_iou: float = 0.5
    threshold: float | None = None
    """Least score of the detections that are counted; None: all are. AP and curves are of all."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How right detections are."""

    classes: tuple[ClassAccuracy, ...]
    overall: ClassAccuracy
    """Counts, `best` and the curve of all objects together; AP as mean over classes."""
    found_as: tuple[FoundAs, ...]
    """True objects by the class as which they were found; a class with itself has its true positives."""


def judge_objects(found: Objects, scores: Floats, truth: Objects, names: Sequence[str], rules: Rules) -> Accuracy:
    """Compare detections with the truth.

    Args:
        found: detections, in any order; of equal scores the first goes first.
        scores: (N,) finite.
        truth: true objects; both have outlines, or none has.
        names: of the classes whose indices the objects have.
        rules: what counts.

    Raises:
        ValueError: `scores` and `found` differ in length, or the least IoU is not above 0 and at most 1.
    """
    if len(scores) != len(found):
        raise ValueError(f"expected {len(found)} scores, found {len(scores)}")
    order = np.argsort(-scores, kind="stable")
    found, scores = take_objects(found, order), scores[order]
    matches = match_greedily(found, truth, (rules.min_iou, *COCO_IOUS))
    counted = len(scores) if rules.threshold is None else int(np.count_nonzero(scores >= rules.threshold))
    truths = np.bincount(truth.classes, minlength=len(names))
    classes = []
    for index, rows in enumerate(_rows_of_classes(found.classes, len(names))):
        hits = matches[:, rows] != FREE
        aps = _average_precisions(hits, int(truths[index])) if truths[index] else None
        classes.append(
            ClassAccuracy(
                name=names[index],
                truths=int(truths[index]),
                detections=len(rows),
                counts=_counts(hits[0, : np.searchsorted(rows, counted)], int(truths[index])),
                ap=None if aps is None else aps[0],
                aps=None if aps is None else aps[1:],
                best=_best(curve := _curve(hits[0], scores[rows], int(truths[index]))),
                curve=curve,
            )
        )
    overall = _overall(classes, matches[0] != FREE, scores, counted)
    table = count_found_as(take_objects(found, np.arange(counted)), truth, matches[0, :counted], names, rules.min_iou)
    return Accuracy(tuple(classes), overall, table)


def _rows_of_classes(classes: Integers, count: int) -> Iterator[Integers]:
    """Yield the rows of each class, rising."""
    order = np.argsort(classes, kind="stable")
    ends = np.searchsorted(classes[order], np.arange(count), side="right")
    start = 0
    for end in ends.tolist():
        yield order[start:end]
        start = end


def _overall(
    classes: Sequence[ClassAccuracy], hits: npt.NDArray[np.bool_], scores: Floats, counted: int
) -> ClassAccuracy:
    truths = sum(each.truths for each in classes)
    judged = [(each.ap, each.aps) for each in classes if each.ap is not None and each.aps is not None]
    curve = _curve(hits, scores, truths)
    return ClassAccuracy(
        name="overall",
        truths=truths,
        detections=len(scores),
        counts=_counts(hits[:counted], truths),
        ap=float(np.mean([ap for ap, _ in judged])) if judged else None,
        aps=tuple(np.mean([aps for _, aps in judged], axis=0).tolist()) if judged else None,
        best=_best(curve),
        curve=curve,
    )


def _counts(hits: npt.NDArray[np.bool_], truths: int) -> Counts:
    found = int(np.count_nonzero(hits))
    return Counts(found, len(hits) - found, truths - found)


def _average_precisions(hits: npt.NDArray[np.bool_], truths: int) -> tuple[float, ...]:
    """Return the AP of each row of (T, N) hits by falling score."""
    found = np.cumsum(hits, axis=1, dtype=np.float64)
    recalls = found / truths
    precisions = found / np.arange(1, hits.shape[1] + 1)
    # The greatest precision at this or a greater recall; the last is what lies beyond.
    envelope = np.zeros((len(hits), hits.shape[1] + 1))
    envelope[:, :-1] = np.maximum.accumulate(precisions[:, ::-1], axis=1)[:, ::-1]
    return tuple(
        float(np.mean(most[np.searchsorted(reached, RECALLS, side="left")]))
        for most, reached in zip(envelope, recalls, strict=True)
    )


def _curve(hits: npt.NDArray[np.bool_], scores: Floats, truths: int) -> Curve:
    """Return what each score would give as threshold; detections of one score are kept or dropped together."""
    last = np.flatnonzero(np.diff(scores, append=-np.inf)) if len(scores) else np.zeros(0, np.int64)
    found = np.cumsum(hits, dtype=np.float64)[last]
    kept = last + 1.0
    recalls = found / truths if truths else np.full(len(last), np.nan)
    return Curve(scores[last], found / kept, recalls, 2 * found / (kept + truths))


def _best(curve: Curve) -> Best | None:
    if not len(curve.scores) or np.isnan(curve.recalls[0]):
        return None
    row = int(np.argmax(curve.f1s))
    numbers = (curve.scores[row], curve.precisions[row], curve.recalls[row], curve.f1s[row])
    return Best(*map(float, numbers))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
