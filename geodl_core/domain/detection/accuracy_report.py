"""How right detections are, as documents: JSON, and the table that ArcGIS makes."""

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import ROUND_FLOOR, Context
from typing import Any

import numpy as np

from geodl_core.domain.detection.accuracy import COCO_IOUS, Accuracy, ClassAccuracy, Curve, Rules

OVERALL = "Overall"
MOST_POINTS = 200
"""Of a curve in a document."""
DIGITS = 6
DOWNWARDS = Context(prec=4, rounding=ROUND_FLOOR)
FIELDS = ("Class", "Precision", "Recall", "F1_Score", "AP", "True_Positive", "False_Positive", "False_Negative")
"""Of the table of ArcGIS's "Compute Accuracy For Object Detection"."""


@dataclass(frozen=True, slots=True)
class AccuracyReport:
    """How right detections are, and what was compared."""

    accuracy: Accuracy
    rules: Rules
    with_outlines: bool
    """Whether the IoU is that of outlines."""
    facts: Mapping[str, str]
    """What was compared, label → text; files by name, not by path."""
    notes: tuple[str, ...]


def accuracy_document(report: AccuracyReport) -> dict[str, Any]:
    """Return a report as JSON; null where there is nothing to divide by."""
    accuracy = report.accuracy
    return {
        "compared": dict(report.facts),
        "rules": {
            "iou": "polygon" if report.with_outlines else "box",
            "min_iou": report.rules.min_iou,
            "threshold": report.rules.threshold,
        },
        "overall": _class_document(accuracy.overall),
        "classes": [_class_document(each) for each in accuracy.classes],
        "found_as": [asdict(each) for each in accuracy.found_as],
        "notes": list(report.notes),
    }


def accuracy_table(accuracy: Accuracy) -> str:
    """Return the table of ArcGIS's tool as CSV: a row for each class and one overall, empty where nothing divides."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for each in (*accuracy.classes, accuracy.overall):
        counts = each.counts
        shares = (counts.precision, counts.recall, counts.f1, each.ap)
        writer.writerow(
            [
                OVERALL if each is accuracy.overall else each.name,
                *("" if share is None else f"{share:.{DIGITS}f}" for share in shares),
                *(counts.true_positives, counts.false_positives, counts.false_negatives),
            ]
        )
    return text.getvalue()


def thinned(curve: Curve, most: int = MOST_POINTS) -> Curve:
    """Return a curve of no more than so many points, the first and the last among them."""
    count = len(curve.scores)
    rows = np.unique(np.linspace(0, max(count - 1, 0), most).round().astype(np.int64))[:count]
    return Curve(curve.scores[rows], curve.precisions[rows], curve.recalls[rows], curve.f1s[rows])


def threshold_text(threshold: float) -> str:
    """Return a threshold with four digits, rounded down, so that it keeps what the threshold keeps."""
    return f"{float(DOWNWARDS.create_decimal(repr(threshold))):.4g}"


def _class_document(each: ClassAccuracy) -> dict[str, Any]:
    counts, curve = each.counts, thinned(each.curve)
    columns = {"score": curve.scores, "precision": curve.precisions, "recall": curve.recalls, "f1": curve.f1s}
    return {
        "name": each.name,
        "truths": each.truths,
        "detections": each.detections,
        **asdict(counts),
        "precision": _rounded(counts.precision),
        "recall": _rounded(counts.recall),
        "f1": _rounded(counts.f1),
        "ap": _rounded(each.ap),
        "map": _rounded(each.mean_ap),
        "ap_by_iou": None
        if each.aps is None
        else {f"{least:.2f}": _rounded(ap) for least, ap in zip(COCO_IOUS, each.aps, strict=True)},
        # Not rounded: the threshold is a score that detections have.
        "best": None if each.best is None else asdict(each.best),
        "curve": {name: [_rounded(float(value)) for value in column] for name, column in columns.items()},
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else round(value, DIGITS)
