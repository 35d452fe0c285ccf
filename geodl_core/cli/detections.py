"""`geodl detections`: what is done with objects that were found."""

import click

from geodl_core.cli.lazy import LazyGroup

COMMANDS = {
    "nms": "geodl_core.cli.detections_nms:nms",
    "accuracy": "geodl_core.cli.detections_accuracy:accuracy",
    "classify": "geodl_core.cli.detections_classify:classify",
}


@click.group(cls=LazyGroup, commands=COMMANDS, short_help="Suppress, judge and classify objects that were found.")
def detections() -> None:
    """Suppress overlapping objects, compare objects with the truth, classify given objects.

    \b
    Examples:
      geodl detections nms detections.parquet --max-overlap-ratio 0.3
      geodl detections accuracy truth.geojson detections.parquet
      geodl detections classify scene.tif buildings.gpkg --model damage.emd
    """
