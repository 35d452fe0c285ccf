"""`geodl run`: one Item, or several, and one model; one result for each, or for all together."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geodl_core.cli.job_options import JOB_OPTIONS, MEANS_OPTIONS, places_of, with_options
from geodl_core.settings import Settings

if TYPE_CHECKING:
    from geodl_core.engine.open_worker import Means
    from geodl_core.engine.run_scene import RunRequest, RunResult
    from geodl_core.service.jobs.read_job import AskedJob


@click.command()
@click.argument("items", nargs=-1, required=True, metavar="ITEM...")
@with_options(JOB_OPTIONS, MEANS_OPTIONS)
@click.option("--force", is_flag=True, help="Compute anew what exists.")
@click.option("--keep-parts", is_flag=True, help="Keep the parts after registering.")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object, for machines.")
def run(items: tuple[str, ...], model: str, is_json: bool, **options: Any) -> None:
    """Classify the pixels of a STAC Item, or find its objects, with a model, and register the result.

    ITEM is the path or URL of a STAC Item, or catalog:COLLECTION/ID for one of the catalog; or of a raster that GDAL
    reads, a folder of such rasters, which are run one after the other, an ArcGIS image service, a WMS GetMap request or
    map tiles. The result is a cloud-optimised GeoTIFF, or of a detector GeoParquet, and a STAC Item in --out, found by
    `geodl search`. A finished run repeated prints its Item and does nothing; a stopped one goes on.

    Several Items are run one after the other; with --mosaic they are one scene, each pixel of the first that has it.

    \b
    Examples:
      geodl run item.json --model landcover.emd
      geodl run https://example.com/items/S2B_32UQU.json --model model.dlpk --out results
      geodl run catalog:sentinel-2-l2a/S2B_32UQU --model water.emd --catalog results/catalog.db
      geodl run orchard.tif --model trees.emd
      geodl run harbour.tif --model ships.emd --max-object 60m --format gpkg
      geodl run item.json -m model.emd --band NearInfrared=B8A --arg tile_size=1024
      geodl run item.json -m landcover@1f2e --arg "padding 56;batch_size 4"
      geodl run item.json -m model.emd --aoi 12.9,47.7,13.3,48.0 --mask scl=3,8,9,10
      geodl run west.json east.json -m model.emd --mosaic cloud --mask qa_pixel:cloud,cloud_shadow
      geodl run item.json -m model.emd --arg return_probability_raster=uint8 --max-memory 2G
    """
    from geodl_core.catalog.open import open_catalog
    from geodl_core.cli.progress import RunProgress
    from geodl_core.cli.report import print_result
    from geodl_core.domain.place.href import hide_secrets
    from geodl_core.engine.run_scene import run_scene
    from geodl_core.service.jobs.read_job import read_job

    if len(items) == 1 and Path(items[0]).is_dir() and not options["mosaic"]:
        from geodl_core.cli.run_folder import run_folder

        run_folder(Path(items[0]), model, options, is_json)
        return
    if len(items) > 1 and not options["mosaic"]:
        from geodl_core.cli.run_folder import run_each

        run_each({item: item for item in items}, "Item", model, options, is_json)
        return
    asked = read_job(_spread(items), model, options, places_of(options))
    with open_catalog(asked.catalog) as opened, RunProgress(is_quiet=is_json) as progress:
        result = run_scene(request_of(asked, options), opened, now, progress.listen)
    if is_json:
        click.echo(json.dumps(result_json(result, asked.catalog)))
    else:
        print_result(result, hide_secrets(asked.catalog))


def _spread(items: tuple[str, ...]) -> tuple[str, ...]:
    """Return what is put together to a mosaic: the rasters of a folder stand for it."""
    from geodl_core.io.scene.source import rasters_of

    folders = {item: tuple(map(str, rasters_of(Path(item)))) for item in items if Path(item).is_dir()}
    return tuple(word for item in items for word in folders.get(item, (item,)))


def request_of(asked: "AskedJob", options: dict[str, Any]) -> "RunRequest":
    """Return the run that a command line asks for."""
    from geodl_core.engine.run_scene import RunRequest

    return RunRequest(
        item=asked.item,
        package=asked.package,
        model=asked.model,
        arguments=asked.arguments,
        out=asked.out,
        collection=options["collection"],
        shards=options["shards"],
        means=read_means(options, asked.batch_size),
        is_forced=options["force"],
        keeps_parts=options["keep_parts"],
        others=asked.others,
    )


def read_means(options: dict[str, Any], batch_size: int) -> "Means":
    """Return what `MEANS_OPTIONS` say of the machine."""
    from geodl_core.engine.open_worker import Means

    return Means(
        threads=options["threads"],
        batch_size=batch_size,
        provider=options["provider"],
        cache=Settings.from_env().cache,
        max_memory_bytes=options["max_memory"],
    )


def now() -> Any:
    """Return the time, in UTC."""
    from datetime import UTC, datetime

    return datetime.now(UTC)


def result_json(result: "RunResult", catalog: str) -> dict[str, Any]:
    """Return a result for machines."""
    from geodl_core.cli.report import item_path
    from geodl_core.domain.place.href import hide_secrets
    from geodl_core.domain.result.result import main_asset

    item = result.item
    found = item["properties"].get("geodl:detections")
    return {
        "status": "computed" if result.is_computed else "present",
        "id": item["id"],
        "collection": item["collection"],
        "folder": str(result.folder.absolute()),
        "item": str(item_path(result).absolute()),
        "catalog": hide_secrets(catalog),
        "assets": {key: asset["href"] for key, asset in item["assets"].items()},
        "classes": main_asset(item)["classification:classes"],
        **({} if found is None else {"detections": found}),
    }
