"""`geodl detections nms`: of objects that overlap, the best."""

from pathlib import Path

import click

from geodl_core.errors import InputError


@click.command("nms", short_help="Keep the best of objects that overlap.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Write there.  [default: FILE_nms]")
@click.option(
    "--max-overlap-ratio",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Of intersection to union, above which the object with the lower score goes.",
)
@click.option("--score-field", metavar="FIELD", help="[default: Confidence, else score]")
@click.option(
    "--class-field",
    metavar="FIELD",
    help="Objects of different classes do not count as overlapping.  [default: the first of Classvalue, Value, "
    "class_id, Class, class_name; none: one class]",
)
@click.option("--force", is_flag=True, help="Replace a file that exists.")
def nms(
    file: Path,
    out: Path | None,
    max_overlap_ratio: float,
    score_field: str | None,
    class_field: str | None,
    force: bool,
) -> None:
    """Keep the best of objects that overlap, as ArcGIS's tool Non Maximum Suppression does.

    FILE holds polygons, as GeoParquet, GeoPackage, GeoJSON, FlatGeobuf or Shapefile. Best first, an object is kept, and
    those of its class go that overlap it more than the ratio allows: an overlap of any size by default. The outlines
    themselves are compared, not their boxes. All fields and the CRS are kept.

    \b
    Examples:
      geodl detections nms detections.parquet
      geodl detections nms detections.gpkg --max-overlap-ratio 0.3 --out best.gpkg
      geodl detections nms arcgis.shp --score-field Confidence --class-field Class --out best.geojson
    """
    from geodl_core.io.vector.files import read_features, write_features
    from geodl_core.io.vector.suppressed_features import CLASS_FIELDS, SCORE_FIELDS, find_field, suppress_features

    # A Shapefile, which is several files, can be read only.
    suffix = ".gpkg" if file.suffix.lower() == ".shp" else file.suffix
    target = out or file.with_name(f"{file.stem}_nms{suffix}")
    if target.exists() and not force:
        raise InputError(f"{target} exists", hint="replace it with --force, or name another with --out")
    frame = read_features(file)
    score = score_field or find_field(frame, SCORE_FIELDS)
    if score is None:
        raise InputError(
            f"{file}: expected a field {' or '.join(SCORE_FIELDS)}, found none", hint="name it with --score-field"
        )
    label = class_field or find_field(frame, CLASS_FIELDS)
    kept = suppress_features(frame, file, max_overlap_ratio, score, label)
    write_features(kept, target)
    click.echo(f"scores   {score}")
    click.echo(f"classes  {label or 'one, as there is no field of classes'}")
    click.echo(f"kept     {len(kept):,} of {len(frame):,} objects")
    click.echo(f"file     {target}")
