"""`geodl detections accuracy`: detections against the truth."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geodl_core.errors import InputError

if TYPE_CHECKING:  # heavy: paid by a command, not by --help
    from geodl_core.io.vector.compared_files import ReadWords


@click.command("accuracy", short_help="Compare detections with the truth.")
@click.argument("truth")
@click.argument("detections")
@click.option(
    "--min-iou",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="Least IoU of a detection and the true object that it is.",
)
@click.option(
    "--iou",
    type=click.Choice(["box", "polygon"]),
    default="box",
    show_default=True,
    help="Of bounding boxes, or of the outlines themselves.",
)
@click.option("--threshold", type=float, help="Count detections of this score or more; AP is of all.  [default: all]")
@click.option("--class-field", metavar="FIELD", help="Of the detections.  [default: one with values of the truth's]")
@click.option("--truth-class-field", metavar="FIELD", help="Of the truth.  [default: as above]")
@click.option("--score-field", metavar="FIELD", help="Of the detections.  [default: Confidence, else score]")
@click.option(
    "--same-class", "same", multiple=True, metavar="FOUND=TRUTH", help="A class of detections is one of the truth's."
)
@click.option("--one-class", is_flag=True, help="Compare without classes.")
@click.option("--within", metavar="FILE", help="Only what intersects a feature of this file counts.")
@click.option("--buffer", type=float, metavar="METRES", help="Radius of the circles that the truth's points become.")
@click.option("--crs", metavar="CRS", help="In which to compare.  [default: the detections']")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.html", help="Write a report with curves.")
@click.option("--table", type=click.Path(path_type=Path), metavar="FILE.csv", help="Write ArcGIS's table of accuracy.")
@click.option("--force", is_flag=True, help="Replace files that exist.")
@click.option("--json", "is_json", is_flag=True, help="Print JSON, for machines.")
def accuracy(truth: str, detections: str, is_json: bool, **options: Any) -> None:
    """Compare detections with the truth: precision, recall, F1, AP and mAP of each class, and what was mixed up.

    TRUTH and DETECTIONS are files of polygons, as GeoJSON, GeoPackage, GeoParquet, FlatGeobuf, Shapefile. Each true
    object is found once: by the detection of its class with the best score that overlaps it enough, by COCO's rule.

    \b
    Examples:
      geodl detections accuracy truth.geojson detections.parquet
      geodl detections accuracy truth.gpkg detections.gpkg --iou polygon --out report.html --table accuracy.csv
      geodl detections accuracy trees.geojson detections.parquet --buffer 2 --within plots.geojson --json
      geodl detections accuracy cars.geojson detections.parquet --same-class car=vehicle --same-class truck=vehicle
    """
    from geodl_core.cli.accuracy_tables import print_accuracy
    from geodl_core.domain.detection.accuracy import Rules
    from geodl_core.domain.detection.accuracy_report import accuracy_document, accuracy_table
    from geodl_core.engine.judge_detections import judge_detections
    from geodl_core.io.store import write_bytes
    from geodl_core.io.vector.accuracy_html import accuracy_html

    targets = [target for target in (options["out"], options["table"]) if target is not None]
    _check_targets(targets, options["force"])
    rules = Rules(options["min_iou"], options["threshold"])
    report = judge_detections(truth, detections, _words(options), rules)
    if options["out"] is not None:
        write_bytes(options["out"], accuracy_html(report).encode())
    if options["table"] is not None:
        write_bytes(options["table"], accuracy_table(report.accuracy).encode())
    if is_json:
        click.echo(json.dumps(accuracy_document(report), ensure_ascii=False, allow_nan=False))
        return
    print_accuracy(report)
    for name in ("out", "table"):
        if options[name] is not None:
            click.echo(f"{'report' if name == 'out' else 'table':<12}{options[name]}")


def _check_targets(targets: Sequence[Path], is_forced: bool) -> None:
    if len({target.absolute() for target in targets}) < len(targets):
        raise InputError(f"--out and --table: expected two files, found {targets[0]} twice")
    for target in targets:
        if target.exists() and not is_forced:
            raise InputError(f"{target} exists", hint="replace it with --force, or name another")


def _words(options: Mapping[str, Any]) -> "ReadWords":
    from geodl_core.io.vector.compared_classes import ClassWords
    from geodl_core.io.vector.compared_files import ReadWords

    if options["buffer"] is not None and not options["buffer"] > 0:
        raise InputError(f"--buffer {options['buffer']:g}: expected a radius above 0")
    if options["one_class"] and (options["class_field"] or options["truth_class_field"] or options["same"]):
        raise InputError("--one-class: expected no other option on classes")
    classes = ClassWords(
        options["class_field"],
        options["truth_class_field"],
        options["one_class"],
        dict(_pair(text) for text in options["same"]),
    )
    return ReadWords(
        classes=classes,
        score_field=options["score_field"],
        within=options["within"],
        buffer_m=options["buffer"],
        crs=options["crs"],
        with_outlines=options["iou"] == "polygon",
    )


def _pair(text: str) -> tuple[str, str]:
    found, equals, truth = (part.strip() for part in text.partition("="))
    if not (found and equals and truth):
        raise InputError(f"--same-class {text}: expected FOUND=TRUTH")
    return found, truth
