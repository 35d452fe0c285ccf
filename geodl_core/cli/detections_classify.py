"""`geodl detections classify`: the classes of given objects."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geodl_core.cli.job_options import PROVIDER_OPTION, RADIOMETRY_HELP
from geodl_core.errors import InputError

if TYPE_CHECKING:
    from geodl_core.domain.model.object_classes import ObjectClasses
    from geodl_core.domain.model.object_classifier import ObjectClassifier
    from geodl_core.domain.plan.job import Arguments
    from geodl_core.engine.classify_objects import ObjectScores
    from geodl_core.engine.open_worker import Means
    from geodl_core.engine.plan_objects import ObjectPlan
    from geodl_core.io.package.package import ModelPackage

SUFFIX = "_classified"
MOST_NAMED = 10
"""Features that a warning names one by one."""
ARGUMENTS = ("batch_size", "score_threshold")


@click.command("classify", short_help="Tell the classes of given objects.")
@click.argument("item")
@click.argument("features", required=False, type=click.Path(path_type=Path))
@click.option(
    "-m", "--model", required=True, metavar="MODEL", help="A .emd, a .dlpk, an EMD's JSON text, or NAME[@VERSION]."
)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="The file; by its name .parquet, .gpkg, .geojson, …")
@click.option("--threshold", type=click.FloatRange(0, 1), help="Below it no class.  [default: the model's, else 0]")
@click.option("--all-scores", is_flag=True, help="Add a column for each class.")
@click.option("--arcgis-fields", is_flag=True, help="Columns ClassLabel and Confidence (0–100), as ArcGIS has them.")
@click.option("--prefix", default="", metavar="TEXT", help="Before the names of the new columns.")
@click.option("--band", "bands", multiple=True, metavar="WANTED=ASSET", help="Where a band lies; repeatable.")
@click.option(
    "--arg", "arguments", multiple=True, metavar="NAME=VALUE", help="batch_size, score_threshold; repeatable."
)
@click.option("--radiometry", type=click.Choice(["raw", "dn_harmonised", "reflectance"]), help=RADIOMETRY_HELP)
@click.option("--source-range", metavar="MIN,MAX", help="Pixel values that the model's DataRange is mapped from.")
@click.option("--cell-size", metavar="SIZE", help="Of what chips are cut from: 20 in units of its CRS, or 20m.")
@click.option("--catalog", metavar="PATH|URL", help="Of models NAME[@VERSION] and of catalog:COLLECTION/ID.")
@click.option("--strict", is_flag=True, help="Refuse a definition to be repaired, a scene that does not fit.")
@click.option("--threads", type=click.IntRange(min=1), help="Batches computed at a time.  [default: one a core]")
@PROVIDER_OPTION
@click.option("--force", is_flag=True, help="Replace a file that exists.")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object, for machines.")
def classify(item: str, features: Path | None, model: str, out: Path | None, is_json: bool, **options: Any) -> None:
    """Tell the class of each feature by the pixels of a scene, as ArcGIS's Classify Objects does.

    ITEM is what `geodl run` takes, folders apart; FEATURES a file of polygons, lines or points in any CRS. Each feature
    keeps its columns and gets `class_id`, `class_name` and `score`; those outside the scene, or without a valid pixel,
    get no class. Without FEATURES the whole image is one object.

    \b
    Examples:
      geodl detections classify scene.tif buildings.gpkg --model damage.emd
      geodl detections classify item.json trees.parquet -m health.dlpk -o trees_health.parquet --all-scores
      geodl detections classify scene.tif detections.parquet -m damage.emd --prefix damage_ --threshold 0.6
      geodl detections classify orchard.tif -m scene.emd -o orchard.geojson
    """
    from geodl_core.domain.model.object_classes import Columns, choose_classes, column_names, columns_of, require_new
    from geodl_core.engine.classify_objects import score_objects
    from geodl_core.engine.load_object_classifier import load_object_classifier
    from geodl_core.engine.plan_objects import outline_of, plan_objects
    from geodl_core.io.vector.files import read_features, write_features
    from geodl_core.io.vector.object_table import image_table, shapes_of, with_columns

    package, source = _opened(item, model, options)
    classifier = load_object_classifier(package)
    batch_size, threshold = _choices(options, classifier)
    wanted = Columns(options["arcgis_fields"], options["all_scores"], options["prefix"])
    target = _target(out, features, source["id"], is_forced=options["force"])
    frame = None if features is None else read_features(features)
    located = None if frame is None else shapes_of(frame, str(features))
    plan = plan_objects(source, classifier, _arguments(options), located)
    if frame is None:
        grid = plan.planned.plan.grid
        frame = image_table(source["id"], outline_of(grid), grid.crs)
    require_new(column_names(classifier, wanted), list(map(str, frame.columns)))
    with _progress(plan, is_quiet=is_json) as advance:
        scored = score_objects(plan, package, _means(options), batch_size, advance)
    found = choose_classes(scored.each, classifier, threshold)
    write_features(with_columns(frame, columns_of(found, classifier, wanted)), target)
    _report(found, scored, plan, target, is_json=is_json)


def _opened(item: str, model: str, options: Mapping[str, Any]) -> tuple["ModelPackage", dict[str, Any]]:
    """Return the package of the model, and the Item."""
    from geodl_core.service.jobs.model_source import open_package
    from geodl_core.service.jobs.read_job import source_of
    from geodl_core.settings import Settings

    catalog = options["catalog"] or Settings.from_env().catalog
    return open_package(model, catalog, options["strict"]), source_of(item, catalog, None)


def _choices(options: Mapping[str, Any], classifier: "ObjectClassifier") -> tuple[int | None, float]:
    """Return the batch size, None where nothing says it, and the threshold."""
    from geodl_core.domain.model.arguments import split_arguments

    given = split_arguments(options["arguments"])
    if unknown := [name for name in given if name not in ARGUMENTS]:
        raise InputError(f"--arg {', '.join(unknown)}: expected {' or '.join(ARGUMENTS)}")
    batch_size, score = given.get("batch_size"), given.get("score_threshold")
    if batch_size is not None and not (batch_size.isdecimal() and int(batch_size) > 0):
        raise InputError(f"--arg batch_size={batch_size}: expected a whole number above 0")
    try:
        said = None if score is None else float(score)
    except ValueError:
        said = -1.0
    if said is not None and not 0 <= said <= 1:
        raise InputError(f"--arg score_threshold={score}: expected a number from 0 to 1")
    chosen = (options["threshold"], said, classifier.threshold, 0.0)
    return None if batch_size is None else int(batch_size), next(value for value in chosen if value is not None)


def _target(out: Path | None, features: Path | None, item_id: str, *, is_forced: bool) -> Path:
    """Return the file to write, by default beside the features and of their format."""
    from geodl_core.domain.naming import safe_name
    from geodl_core.io.vector.files import SUFFIXES

    like = features or Path(f"{safe_name(item_id)}.geojson")
    suffix = like.suffix if like.suffix.lower() in SUFFIXES else ".gpkg"
    target = out or like.with_name(f"{like.stem}{SUFFIX}{suffix}")
    if target.suffix.lower() not in SUFFIXES:
        raise InputError(f"--out {target}: expected a file of {', '.join(SUFFIXES)}")
    if target.exists() and not is_forced:
        raise InputError(f"{target} exists", hint="replace it with --force, or name another with -o")
    return target


def _arguments(options: Mapping[str, Any]) -> "Arguments":
    from geodl_core.domain.plan.job import Arguments
    from geodl_core.service.jobs.read_job import pairs, value_range

    return Arguments(
        radiometry=options["radiometry"],
        source_range=value_range(options["source_range"]),
        bands=pairs(options["bands"], "--band"),
        cell_size=options["cell_size"],
        is_strict=options["strict"],
    )


def _means(options: Mapping[str, Any]) -> "Means":
    from geodl_core.engine.open_worker import Means
    from geodl_core.settings import Settings

    return Means(threads=options["threads"], provider=options["provider"], cache=Settings.from_env().cache)


@contextmanager
def _progress(plan: "ObjectPlan", *, is_quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show what was decided, then a bar on a terminal; give what is told how many objects were finished."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, quiet=is_quiet, soft_wrap=True, highlight=False, markup=False)
    for line in _plan_lines(plan):
        console.print(line)
    columns = (TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("objects"))
    is_hidden = is_quiet or not console.is_terminal
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=is_hidden) as bar:
        task = bar.add_task("classifying", total=len(plan.order))
        yield lambda count: bar.advance(task, count)


def _plan_lines(plan: "ObjectPlan") -> Iterator[str]:
    planned, classifier = plan.planned, plan.classifier
    model, grid = classifier.model, planned.plan.grid
    height, width = classifier.crop_px
    kind = "" if classifier.is_crop_fixed else "as large as their objects, at most "
    taken = f", given to the network as {model.chip_px[1]} × {model.chip_px[0]}"
    is_as_is = classifier.is_crop_fixed and classifier.crop_px == model.chip_px
    yield f"model    {model.name} ({model.digest[:8]}), {len(model.classes)} classes"
    yield f"values   {planned.radiometry.kind}{f': {planned.rule}' if planned.rule else ''}"
    yield f"grid     {grid.width} × {grid.height} pixels (width × height), {grid.crs[:40]}"
    yield f"chips    {kind}{width} × {height} pixels{'' if is_as_is else taken}"
    for note in planned.notes:
        yield f"note     {note}"
    for warning in planned.warnings:
        yield f"warning  {warning}"


def _report(found: "ObjectClasses", scored: "ObjectScores", plan: "ObjectPlan", target: Path, *, is_json: bool) -> None:
    """Print how many objects there are of each class, and which have none."""
    names = {entry.value: entry.name for entry in plan.classifier.model.classes}
    counts = Counter(found.ids[found.is_classified].tolist())
    warnings = [*plan.planned.warnings, *_unseen(scored)]
    if is_json:
        classes = [{"value": value, "name": name, "count": counts[value]} for value, name in names.items()]
        facts = {"features": len(found.ids), "classified": sum(counts.values()), "classes": classes}
        click.echo(json.dumps({**facts, "warnings": warnings, "out": str(target.absolute())}))
        return
    if scored.note:
        click.echo(f"note     {scored.note}", err=True)
    for warning in _unseen(scored):
        click.echo(f"warning  {warning}", err=True)
    for value, count in sorted(counts.items()):
        click.echo(f"class    {count:,} of {value}, {names[value]}")
    click.echo(f"features {sum(counts.values()):,} of {len(found.ids):,} have a class")
    click.echo(f"file     {target}")


def _unseen(scored: "ObjectScores") -> Iterator[str]:
    reasons = ("lie outside the scene, or have no place", "have no valid pixel")
    for rows, why in zip((scored.outside, scored.invalid), reasons, strict=True):
        if len(rows):
            named = ", ".join(map(str, rows[:MOST_NAMED].tolist()))
            more = f" and {len(rows) - MOST_NAMED:,} more" if len(rows) > MOST_NAMED else ""
            yield f"features without a class, counted from 0: {named}{more} {why}"
