"""The charts of an accuracy report."""

from collections.abc import Iterator, Sequence
from html import escape

import numpy as np

from geodl_core.domain.detection.accuracy import COCO_IOUS, ClassAccuracy
from geodl_core.domain.detection.accuracy_report import AccuracyReport, thinned, threshold_text
from geodl_core.domain.detection.matching import Floats
from geodl_core.io.vector.accuracy_svg import Chart, Line, Mark, chart_svg

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#a6761d")
"""That people who see few colours tell apart (Okabe and Ito 2008, without yellow and black), and two more."""
OTHERS = "grey"
TOGETHER = "all"


def style_of_lines() -> str:
    """Return the style sheet of the charts' lines: a class has a colour of its own, as long as there are some."""
    colours = {f"k{index}": colour for index, colour in enumerate(COLOURS)}
    colours |= {OTHERS: "var(--soft)", TOGETHER: "var(--ink)"}
    return "\n".join(
        f".{name}.line{{stroke:{colour}}}.{name}.dot{{fill:{colour}}}i.{name}{{background:{colour}}}"
        for name, colour in colours.items()
    )


def accuracy_figures(report: AccuracyReport) -> Iterator[str]:
    """Yield a report's charts as figures of HTML."""
    accuracy = report.accuracy
    styles = _styles(accuracy.classes)
    several = len(accuracy.classes) > 1
    together = (accuracy.overall,) if several else ()
    drawn = [*zip(accuracy.classes, styles, strict=True), *((each, TOGETHER) for each in together)]
    lines = [Line(each.name, *_recall_precision(each), style) for each, style in drawn if each.truths]
    chart = Chart("Precision and recall", "recall", "precision", (0, 1), lines, has_f1=True)
    names = [(each.name, style) for each, style in drawn if each.truths and style != OTHERS]
    yield _figure(chart, names, "Each score as threshold. Dotted: equal F1.")
    yield _by_threshold(report)
    aps = [
        Line(each.name, np.array(COCO_IOUS), np.array(each.aps), style, has_points=True)
        for each, style in drawn
        if each.aps is not None
    ]
    chart = Chart("AP by IoU", "least IoU of a match", "AP", (0.5, 0.95), aps)
    yield _figure(chart, names, "How exact the outlines are: mAP is the mean of a line.")


def _styles(classes: Sequence[ClassAccuracy]) -> list[str]:
    """Return each class's style: colours for those with most true objects."""
    order = sorted(range(len(classes)), key=lambda index: -classes[index].truths)[: len(COLOURS)]
    coloured = {index: f"k{place}" for place, index in enumerate(sorted(order))}
    return [coloured.get(index, OTHERS) for index in range(len(classes))]


def _recall_precision(each: ClassAccuracy) -> tuple[Floats, Floats]:
    curve = thinned(each.curve)
    # From recall 0 on, with the precision of the best score.
    return np.append(curve.recalls[:1] * 0, curve.recalls), np.append(curve.precisions[:1], curve.precisions)


def _by_threshold(report: AccuracyReport) -> str:
    overall = report.accuracy.overall
    curve = thinned(overall.curve)
    top = float(curve.scores[0]) if len(curve.scores) else 1.0
    low = min(0.0, float(curve.scores[-1])) if len(curve.scores) else 0.0
    lines = [
        Line(name, curve.scores, values, style)
        for name, values, style in (
            ("precision", curve.precisions, "k0"),
            ("recall", curve.recalls, "k1"),
            ("F1", curve.f1s, TOGETHER),
        )
    ]
    marks = [] if report.rules.threshold is None else [Mark(report.rules.threshold, "as counted")]
    caption = "Of all objects together."
    if overall.best is not None:
        marks.append(Mark(overall.best.threshold, f"best F1 {overall.best.f1:.3f}"))
        caption += f" F1 is greatest at {threshold_text(overall.best.threshold)}."
    high = 1.0 if top <= 1 else top
    chart = Chart("By threshold of the score", "least score", "", (low, high), lines, marks)
    return _figure(chart, [(line.name, line.style) for line in lines], caption)


def _figure(chart: Chart, names: Sequence[tuple[str, str]], caption: str) -> str:
    legend = "".join(f'<span><i class="{style}"></i>{escape(name)}</span>' for name, style in names)
    return (
        f"<figure><b>{escape(chart.title)}</b>{chart_svg(chart)}"
        f'<div class="legend">{legend}</div><figcaption>{escape(caption)}</figcaption></figure>'
    )
