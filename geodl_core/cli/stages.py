"""`geodl plan`, `shard`, `merge` and `register`: the stages of a run apart, on any machine."""

import json
from typing import TYPE_CHECKING, Any

import click

from geodl_core.cli.job_options import JOB_OPTIONS, MEANS_OPTIONS, places_of, with_options
from geodl_core.cli.plan_cost import COST_OPTIONS, cost_report, require_place
from geodl_core.cli.run import now, read_means
from geodl_core.cli.stack_option import opened_deployment
from geodl_core.settings import CATALOG_NAME, Settings

if TYPE_CHECKING:
    from geodl_core.engine.plan_files import OpenPlan
    from geodl_core.service.jobs.read_job import AskedJob


@click.command()
@click.argument("items", nargs=-1, required=True, metavar="ITEM...")
@with_options(JOB_OPTIONS, MEANS_OPTIONS)
@click.option("--to", metavar="FOLDER|URL", help="Where the plan is written.  [default: the result's folder in --out]")
@click.option("--calibrate", is_flag=True, help="Infer a tile first, even where the rate is known.")
@click.option("--dry-run", is_flag=True, help="Write nothing.")
@with_options(COST_OPTIONS)
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object, for machines.")
def plan(items: tuple[str, ...], model: str, is_json: bool, **options: Any) -> None:
    """Say what `geodl run` would do, and write the plan that shards are run from.

    The plan lies in the result's folder, or where --to says: a folder or the URL of an object store (s3://, gs://,
    az://), with the model beside it, so that machines which see neither Item nor model file can run its shards.

    With --on aws it says what the scene takes in a deployment there, in time and money, and --scenes what a back-fill
    of scenes like it takes; a plan is written, then, only where --to says so.

    \b
    Examples:
      geodl plan item.json --model landcover.emd --dry-run
      geodl plan item.json -m model.dlpk --shards 16 --to s3://bucket/jobs/one
      geodl plan item.json -m model.dlpk --calibrate --json
      geodl plan item.json -m model.dlpk --on aws --scenes 100000 --plot backfill.svg
      geodl plan item.json -m landcover --on aws --stack geodl
    """
    from geodl_core.cli.report import plan_lines
    from geodl_core.domain.naming import output_collection_id
    from geodl_core.engine.estimate_run import estimate_run
    from geodl_core.engine.origin import origin_of
    from geodl_core.engine.plan_files import RunWishes, write_plan
    from geodl_core.engine.plan_mosaic import plan_items
    from geodl_core.engine.result_place import result_folder

    require_place(options)
    asked = _asked(items, model, options)
    means = read_means(options, asked.batch_size)
    sources = (asked.item, *asked.others)
    planned = plan_items(sources, asked.model, asked.arguments)
    collection = options["collection"] or output_collection_id(asked.model.name)
    estimate = estimate_run(planned, asked.package, means, is_calibrated=options["calibrate"])
    aws = None if options["place"] is None else cost_report(asked, planned, options)
    written = None
    if not options["dry_run"] and (aws is None or options["to"]):
        origin = origin_of(sources, asked.package, asked.arguments, collection)
        place = options["to"] or str(result_folder(asked.out, planned, collection))
        written = write_plan(place, planned, asked.package, origin, RunWishes(options["shards"], asked.batch_size))
    if is_json:
        told = {"plan": written, "job_id": planned.plan.job_id, **estimate.as_json(options["shards"])}
        click.echo(json.dumps(told | ({} if aws is None else {"aws": aws[0]})))
        return
    for line in (*plan_lines(planned, estimate.live), *estimate.lines(options["shards"]), *(aws[1] if aws else ())):
        click.echo(line)
    if written:
        click.echo(f"plan     {written}")


def _asked(items: tuple[str, ...], model: str, options: dict[str, Any]) -> "AskedJob":
    """Return the job of a command line; of a deployment that is named a registered model is its own."""
    from geodl_core.service.jobs.model_source import names_registered
    from geodl_core.service.jobs.read_job import job_of, read_job, with_items

    if options["place"] is None or not options["stack"] or not names_registered(model):
        return read_job(items, model, options, places_of(options))
    deployment = opened_deployment(options["stack"])
    from geodl_core.aws.site.registry import open_from_bucket

    package, loaded = open_from_bucket(deployment.s3, deployment.bucket, model)
    return with_items(job_of(package, loaded, options, places_of(options)), items, options["mosaic"])


@click.command()
@click.argument("plan")
@click.argument("n", type=click.IntRange(min=0))
@click.argument("of", type=click.IntRange(min=1))
@with_options(MEANS_OPTIONS)
@click.option("--batch-size", type=click.IntRange(min=1), help="Tiles at a time.  [default: as planned]")
@click.option("--force", is_flag=True, help="Compute anew what exists.")
@click.option("--quiet", is_flag=True, help="No progress.")
def shard(plan: str, n: int, of: int, force: bool, quiet: bool, **options: Any) -> None:
    """Compute shard N of OF of a PLAN, counting from 0, and store its part beside the plan.

    A part that is there and whole is left as it is, so that every retry is harmless; of a plan that is merged already
    nothing is computed.

    \b
    Examples:
      geodl shard geodl-out/geodl-water/scene_water_0f3a1b2c/plan.json 0 4
      geodl shard s3://bucket/jobs/one/plan.json 3 16 --provider cuda --batch-size 8
    """
    from geodl_core.cli.progress import RunProgress
    from geodl_core.domain.plan.plan import Shard
    from geodl_core.engine.merge_plan import forget_merged
    from geodl_core.engine.plan_files import has_part, opened_plan, store_part, tasks_of
    from geodl_core.engine.plan_inputs import require_unchanged
    from geodl_core.engine.run_scene import Event, listener_of
    from geodl_core.engine.run_tasks import run_tasks

    chosen = Shard(n, of)
    with opened_plan(plan, Settings.from_env().cache) as opened, RunProgress(is_quiet=quiet) as progress:
        task = tasks_of(opened, of)[chosen.n]
        if not force and has_part(opened, task):
            click.echo(f"present  part {n} of {of}: nothing was computed")
            return
        if not force and _is_merged(opened):
            click.echo(f"merged   beside {plan}: nothing was computed")
            return
        require_unchanged(opened.planned.job, opened.planned.plan)
        progress.listen(Event("planned", opened.planned, task.header.tiles))
        means = read_means(options, options["batch_size"] or opened.document.batch_size)
        run_tasks(opened.planned, opened.package, means, [task], listener_of(progress.listen))
        if force:
            forget_merged(opened)
        store_part(opened, task)
    click.echo(f"computed part {n} of {of}: {task.header.tiles} tiles")


@click.command()
@click.argument("plan")
@click.option("--shards", type=click.IntRange(min=1), help="In how many it was run.  [default: as planned]")
@click.option("--keep-parts", is_flag=True, help="Keep the parts.")
def merge(plan: str, shards: int | None, keep_parts: bool) -> None:
    """Merge the parts of a PLAN into its rasters, or its table of objects, and write them beside it.

    \b
    Examples:
      geodl merge geodl-out/geodl-water/scene_water_0f3a1b2c/plan.json
      geodl merge s3://bucket/jobs/one/plan.json --shards 16
    """
    from geodl_core.engine.merge_plan import merge_plan
    from geodl_core.engine.plan_files import opened_plan

    with opened_plan(plan, Settings.from_env().cache) as opened:
        counts = merge_plan(opened, shards, keeps_parts=keep_parts)
        what = "pixels" if opened.planned.model.detector is None else "objects"
    click.echo(f"merged   {sum(counts.values()):,} {what} beside {plan}")


@click.command()
@click.argument("plan")
@click.option("--catalog", metavar="PATH|URL", help="Where it is registered.  [default: as for geodl run]")
@click.option("--json", "is_json", is_flag=True, help="Print the Item.")
def register(plan: str, catalog: str | None, is_json: bool) -> None:
    """Publish the output Item of a PLAN that was merged.

    \b
    Examples:
      geodl register geodl-out/geodl-water/scene_water_0f3a1b2c/plan.json
      geodl register s3://bucket/jobs/one/plan.json --catalog https://stac.example.com
    """
    from geodl_core.catalog.open import open_catalog
    from geodl_core.domain.place.href import hide_secrets
    from geodl_core.engine.merge_plan import register_plan
    from geodl_core.engine.plan_files import opened_plan

    with opened_plan(plan, Settings.from_env().cache) as opened:
        where = catalog or _catalog_of(opened)
        with open_catalog(where) as found:
            item = register_plan(opened, found, now())
    if is_json:
        click.echo(json.dumps(item))
    else:
        click.echo(f"item     {item['collection']}/{item['id']}")
        click.echo(f"catalog  {hide_secrets(where)}")


def _is_merged(opened: "OpenPlan") -> bool:
    """Say whether a plan was merged; a deployment's, whose results lie elsewhere, has looked before it sent a shard."""
    from geodl_core.engine.merge_plan import merged_before

    if opened.document.results is not None:
        return False
    return merged_before(opened.location, opened.results, opened.planned.plan.job_id) is not None


def _catalog_of(opened: "OpenPlan") -> str:
    """Return the catalog of the folder of results that a plan lies in, else the usual one."""
    from geodl_core.domain.naming import safe_name

    settings = Settings.from_env()
    folder = opened.folder.resolve()
    out = folder.parent.parent
    is_in_results = folder.parent.name == safe_name(opened.document.collection) and not opened.is_remote
    is_usual = out == settings.out.resolve()
    return str(out / CATALOG_NAME) if is_in_results and not is_usual else settings.catalog
