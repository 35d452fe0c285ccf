"""How right detections are, as tables for people."""

from collections.abc import Sequence

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from geodl_core.cli.main import printable
from geodl_core.domain.detection.accuracy import ClassAccuracy
from geodl_core.domain.detection.accuracy_report import AccuracyReport, threshold_text
from geodl_core.domain.detection.confusion import FoundAs
from geodl_core.io.vector.accuracy_html import number

WIDTH = 120
"""Of a table where it does not go to a terminal."""
LABEL_WIDTH = 12
MOST_MIXED_UP = 5


def print_accuracy(report: AccuracyReport) -> None:
    """Print what was compared, a line for each class and one overall, and what was mixed up."""
    accuracy, rules = report.accuracy, report.rules
    for label, text in report.facts.items():
        _say(label, text)
    _say("match", f"IoU of {'polygons' if report.with_outlines else 'bounding boxes'} {rules.min_iou:g} or more")
    if rules.threshold is not None:
        _say("counted", f"detections of a score of {rules.threshold:g} or more; AP and mAP are of all")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("class", overflow="fold", min_width=8)
    for name in ("true", "TP", "FP", "FN", "precision", "recall", "F1", f"AP {rules.min_iou:g}", "mAP", "best F1"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in (*accuracy.classes, accuracy.overall):
        if each is accuracy.overall and accuracy.classes:
            table.add_section()
        # Text, not str: square brackets in a name are no markup.
        table.add_row(*map(Text, _cells(each)))
    console = Console()
    (console if console.is_terminal else Console(width=WIDTH)).print(table)
    for line in _mixed_up(accuracy.found_as):
        _say("mixed up", line)
    for note in report.notes:
        _say("note", note)


def _say(label: str, text: str) -> None:
    click.echo(f"{label:<{LABEL_WIDTH}}{printable(text)}")


def _cells(each: ClassAccuracy) -> list[str]:
    counts, best = each.counts, each.best
    numbers = (each.truths, counts.true_positives, counts.false_positives, counts.false_negatives)
    shares = (counts.precision, counts.recall, counts.f1, each.ap, each.mean_ap)
    best_f1 = f"{best.f1:.3f} at {threshold_text(best.threshold)}" if best else number(None)
    return [printable(each.name), *(f"{value:,}" for value in numbers), *map(number, shares), best_f1]


def _mixed_up(found_as: Sequence[FoundAs]) -> list[str]:
    mixed = [each for each in found_as if each.truth != each.found and None not in (each.truth, each.found)]
    mixed.sort(key=lambda each: -each.count)
    more = len(mixed) - MOST_MIXED_UP
    lines = [f"{each.count:,} {each.truth} found as {each.found}" for each in mixed[:MOST_MIXED_UP]]
    return [*lines, f"and {more} more; --json has all"] if more > 0 else lines
