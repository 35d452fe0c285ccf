"""How right detections are, as a page for people: one file that needs no other."""

from html import escape

from geodl_core.domain.detection.accuracy import Accuracy, ClassAccuracy
from geodl_core.domain.detection.accuracy_report import AccuracyReport, threshold_text
from geodl_core.domain.detection.confusion import FoundAs
from geodl_core.io.vector.accuracy_charts import accuracy_figures, style_of_lines

MOST_SQUARE = 40
"""Classes in the square of what was found as what; of more only mix-ups are listed."""
MOST_MIXED_UP = 50
STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--line:#d5dae1;--paper:#fff;--card:#f5f7f9;
--hit:0 114 178;--slip:213 94 0}
@media(prefers-color-scheme:dark){
:root{--ink:#e8ebef;--soft:#a3adba;--line:#39424e;--paper:#14181d;--card:#1d2329;--hit:20 120 190;--slip:190 85 10}
.line,.dot,.legend i{filter:brightness(1.35)}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1120px;padding:32px 24px 64px;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
h1{font-size:26px;margin:0 0 4px}h2{font-size:18px;margin:36px 0 10px}
p{margin:6px 0;max-width:80ch}.soft,figcaption{color:var(--soft)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:12px;margin:22px 0}
.tiles div{background:var(--card);border-radius:10px;padding:12px 16px}
.tiles b{display:block;font-size:27px;line-height:1.2;font-variant-numeric:tabular-nums}.tiles span{color:var(--soft)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:3px 20px;margin:0}dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(440px,100%),1fr));gap:20px}
figure{margin:0;background:var(--card);border-radius:10px;padding:14px 16px}figure b{display:block;margin-bottom:6px}
figcaption{font-size:13px;margin-top:6px}svg{width:100%;height:auto;display:block}
.legend{display:flex;flex-wrap:wrap;gap:2px 14px;font-size:13px;margin-top:6px}
.legend i{display:inline-block;width:16px;height:4px;border-radius:2px;margin-right:6px;vertical-align:middle}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:5px 12px;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th{color:var(--soft);font-weight:600}th:first-child,td:first-child{text-align:left;white-space:normal;min-width:96px}
tr.all td{font-weight:700;border-top:2px solid var(--soft)}table.square th+th,table.square td+td{text-align:center}
svg text{fill:var(--soft);font:12px system-ui,sans-serif}svg path{fill:none}
.grid{stroke:var(--line);stroke-width:1}.axis{stroke:var(--soft);stroke-width:1}
path.equal{stroke:var(--soft);stroke-dasharray:2 4;opacity:.55}svg text.equal{font-size:10px;opacity:.8}
.mark{stroke:var(--ink);stroke-dasharray:5 4}.line{stroke-width:2;stroke-linejoin:round}
.all.line{stroke-width:3}
"""
RULES = """
<p>An object counts as found once. Detections by falling score take the true object of their class with the greatest IoU
(the area that both share, by the area of both together), of those that are free and reach {least}: true positives (TP).
Other detections are false positives (FP), other true objects false negatives (FN).</p>
<p>Precision = TP / (TP + FP), recall = TP / (TP + FN), F1 = 2 TP / (2 TP + FP + FN); a dash where there is nothing to
divide by.</p>
<p>AP is the mean precision at the recalls 0, 0.01 … 1, where the precision at a recall is the greatest at this or a
greater one. mAP is the mean of AP at the least IoUs 0.50, 0.55 … 0.95. Both are COCO’s, over all detections, without
its limit of 100 an image.</p>
<p>Overall precision, recall, F1 and curves are of all objects together; overall AP and mAP are means over the classes
that have true objects.</p>
<p>What was found as what: detections that match no object of their class are matched, by the same rule, with what is
left of other classes.</p>
"""


def accuracy_html(report: AccuracyReport) -> str:
    """Return a report as a page; all names from files are escaped."""
    accuracy, overall = report.accuracy, report.accuracy.overall
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>Accuracy of detections</title><style>{STYLE}{style_of_lines()}</style></head><body>",
        "<h1>Accuracy of detections</h1>",
        f'<p class="soft">{_summary(overall)}</p>',
        _tiles(report),
        "<h2>What was compared</h2>",
        _compared(report),
        "<h2>Curves</h2>",
        f'<div class="charts">{"".join(accuracy_figures(report))}</div>',
        "<h2>By class</h2>",
        _classes(report),
        "<h2>What was found as what</h2>",
        _found_as(accuracy),
        "<h2>How it is counted</h2>",
        RULES.format(least=f"{report.rules.min_iou:g}"),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _summary(overall: ClassAccuracy) -> str:
    counts = overall.counts
    found = f"{counts.true_positives:,} of {_many(overall.truths, 'true object')} found"
    return f"{found}, {counts.false_negatives:,} missed; {_many(counts.false_positives, 'false detection')}."


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _tiles(report: AccuracyReport) -> str:
    overall = report.accuracy.overall
    shown = [
        ("precision", overall.counts.precision),
        ("recall", overall.counts.recall),
        ("F1", overall.counts.f1),
        (f"AP at IoU {report.rules.min_iou:g}", overall.ap),
        ("mAP, IoU 0.50–0.95", overall.mean_ap),
    ]
    tiles = "".join(f"<div><b>{number(value)}</b><span>{name}</span></div>" for name, value in shown)
    return f'<div class="tiles">{tiles}</div>'


def number(value: float | None) -> str:
    """Return a share as it is shown."""
    return "–" if value is None else f"{value:.3f}"


def _compared(report: AccuracyReport) -> str:
    kind = "polygons" if report.with_outlines else "bounding boxes"
    threshold = report.rules.threshold
    rows = [
        *report.facts.items(),
        ("match", f"IoU of {kind} {report.rules.min_iou:g} or more"),
        ("counted", "all detections" if threshold is None else f"detections of a score of {threshold:g} or more"),
        *(("note", note) for note in report.notes),
    ]
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(text)}</dd>' for name, text in rows)}</dl>"


def _classes(report: AccuracyReport) -> str:
    heads = ["class", "true", "detected", "TP", "FP", "FN", "precision", "recall", "F1"]
    heads += [f"AP at {report.rules.min_iou:g}", "mAP", "best F1", "at score"]
    accuracy = report.accuracy
    rows = [_row(each, "") for each in accuracy.classes] + [_row(accuracy.overall, ' class="all"')]
    head = "".join(f"<th>{name}</th>" for name in heads)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _row(each: ClassAccuracy, style: str) -> str:
    counts, best = each.counts, each.best
    numbers = (each.truths, each.detections, counts.true_positives, counts.false_positives, counts.false_negatives)
    shares = (counts.precision, counts.recall, counts.f1, each.ap, each.mean_ap, best.f1 if best else None)
    cells = [
        escape(each.name),
        *(f"{value:,}" for value in numbers),
        *map(number, shares),
        threshold_text(best.threshold) if best else "–",
    ]
    return f"<tr{style}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _found_as(accuracy: Accuracy) -> str:
    cells = {(each.truth, each.found): each.count for each in accuracy.found_as}
    names = [each.name for each in accuracy.classes]
    if len(names) > MOST_SQUARE:
        return _mixed_up(accuracy.found_as)
    heads = ("true \\ found", *names, "missed")
    rows = []
    for truth in (*names, None):
        counts = {found: cells.get((truth, found), 0) for found in (*names, None)}
        whole = sum(counts.values())
        texts = "".join(_cell(count, whole, "hit" if found == truth else "slip") for found, count in counts.items())
        rows.append(f"<tr><td>{'nothing' if truth is None else escape(truth)}</td>{texts}</tr>")
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    return (
        '<p class="soft">Rows: what is there. Columns: as what it was found.</p><div class="scroll">'
        f'<table class="square"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _cell(count: int, whole: int, kind: str) -> str:
    """Return a cell, the darker the more of its row it holds."""
    shade = f' style="background:rgb(var(--{kind}) / {0.75 * count / whole:.2f})"' if count else ""
    return f"<td{shade}>{count or '·'}</td>"


def _mixed_up(found_as: tuple[FoundAs, ...]) -> str:
    mixed = [each for each in found_as if each.truth != each.found]
    mixed.sort(key=lambda each: -each.count)
    rows = "".join(
        f"<tr><td>{_class(each.truth, 'nothing')}</td><td>{_class(each.found, 'missed')}</td>"
        f"<td>{each.count:,}</td></tr>"
        for each in mixed[:MOST_MIXED_UP]
    )
    shown = f"The {min(len(mixed), MOST_MIXED_UP)} most frequent of {len(mixed)}."
    return (
        f'<p class="soft">{shown}</p><div class="scroll"><table><thead><tr><th>true</th><th>found</th>'
        f"<th>objects</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _class(name: str | None, instead: str) -> str:
    return f"<i>{instead}</i>" if name is None else escape(name)
