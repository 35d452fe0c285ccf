"""`geodl watch add`: a watch from options, or watches from a YAML file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geodl_core.cli.stack_option import meant_stack, opened_controls, stack_option
from geodl_core.cli.watch_options import catalog_option, json_option, services_of
from geodl_core.errors import InputError

if TYPE_CHECKING:  # heavy: paid by the command, not by --help
    from geodl_core.aws.site.executions import Deployment
    from geodl_core.domain.watch.watch import Watch
    from geodl_core.service.services import Services

PACKAGES = (".emd", ".dlpk")
STORE_NAME = "models"


@click.command("add", short_help="Add watches.")
@click.argument("file", required=False, type=click.Path(path_type=Path), metavar="[FILE]")
@click.option("--name", metavar="NAME", help="Of the watch: lower case letters, digits, . _ -")
@click.option("--description", metavar="TEXT", help="What it is for.")
@click.option("-m", "--model", metavar="MODEL", help="NAME[@VERSION]; a .emd or .dlpk is registered first.")
@click.option("-c", "--collection", "collections", multiple=True, metavar="ID", help="Of the Items; repeatable.")
@click.option("--aoi", metavar="GEOJSON|W,S,E,N", help="Items that meet it; what is computed is clipped to it.")
@click.option("--whole-scenes", is_flag=True, help="Do not clip to --aoi.")
@click.option("--filter", metavar="CQL2", help="Of the Items, CQL2 as text or JSON.")
@click.option("--arg", "arguments", multiple=True, metavar="NAME=VALUE", help="Of the model; repeatable.")
@click.option("--radiometry", type=click.Choice(["raw", "dn_harmonised", "reflectance"]), help="As geodl run has it.")
@click.option("--output-collection", metavar="ID", help="Of the results.  [default: geodl-<model name>]")
@click.option("--priority", type=click.IntRange(-100, 100), help="Higher is run first.  [default: 0]")
@click.option("--dedupe-by", multiple=True, metavar="PROPERTY", help="Tells scenes apart, not their ids; repeatable.")
@click.option("--max-runs-per-day", type=click.IntRange(1), metavar="N", help="Further runs wait for the next day.")
@click.option("--cron", metavar="'M H D M W'", help="Scan a STAC API at these times.")
@click.option("--every", metavar="SECONDS|PT6H", help="Scan a STAC API so often.")
@click.option("--timezone", metavar="ZONE", help="Of --cron.  [default: UTC]")
@click.option("--api", metavar="URL", help="The STAC API that is scanned.  [default: Earth Search]")
@click.option("--lookback", type=float, metavar="DAYS", help="How far a scan reaches back.  [default: 10]")
@click.option("--max-cloud", type=float, metavar="PERCENT", help="Of scanned Items, by eo:cloud_cover.")
@click.option("--min-cover", type=float, metavar="SHARE", help="Of --aoi, that a scanned Item covers.")
@click.option("--replace", is_flag=True, help="Take the place of a watch of the same name.")
@click.option("--store", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER", help="Of models' files.")
@catalog_option
@stack_option
@json_option
def add(
    file: Path | None,
    replace: bool,
    store: Path | None,
    catalog: str | None,
    stack: str | None,
    is_json: bool,
    **said: Any,
) -> None:
    """Add a watch by options, or all watches of a YAML or JSON FILE.

    A watch looks at Items that are published from then on; `geodl watch apply` orders runs for those that are there.
    With --cron or --every it scans a STAC API instead. An `aoi` in FILE may name a GeoJSON file beside it.

    \b
    Examples:
      geodl watch add --name crops --model landcover --collection sentinel-2-l2a --aoi fields.geojson
      geodl watch add --name boats -m boats.dlpk --filter "eo:cloud_cover < 20" --max-runs-per-day 50
      geodl watch add --name daily --model landcover -c sentinel-2-l2a --aoi 5,45,6,46 --cron "0 6 * * *"
      geodl watch add watches.yaml --replace
      geodl watch add watches.yaml --stack geodl
    """
    from geodl_core.domain.watch.watch import watch_json

    stack = meant_stack(stack, catalog=catalog, store=store)
    documents = _documents(file, said)
    kept = _kept_here(documents, catalog, store, replace) if stack is None else _kept_there(documents, stack, replace)
    if is_json:
        click.echo(json.dumps([watch_json(watch) for watch in kept], ensure_ascii=False))
        return
    for watch in kept:
        what = "what is published" if watch.mode == "item" else "what its scans find"
        click.echo(f"watch    {watch.name}: {watch.model} over {what}")
    click.echo(f"next     {_next(kept, stack)}")


def _next(kept: "list[Watch]", stack: str | None) -> str:
    """Return who runs watches, and how to see what they would do."""
    who = "geodl serve runs them" if stack is None else f"the deployment {stack} runs them"
    there = "" if stack is None else f" --stack {stack}"
    if all(watch.mode == "schedule" for watch in kept):
        return f"{who}; geodl scan {kept[0].name}{there} --dry-run says what it would find"
    how = "geodl watch test ITEM says what they would do" if stack is None else f"geodl publish ITEM{there} tries one"
    return f"{who}; {how}"


Documents = list[tuple[str, dict[str, Any], Path]]
"""Of watches, each with what it is called in errors, and the folder that its paths start from."""


def _kept_here(documents: Documents, catalog: str | None, store: Path | None, replaces: bool) -> "list[Watch]":
    from geodl_core.service.watches.check import keep_watch

    with services_of(catalog, creates=True) as services:
        kept = []
        for place, document, folder in documents:
            whole = _registered(services, document, folder, store)
            kept.append(keep_watch(services, whole, place, replaces=replaces).watch)
    return kept


def _kept_there(documents: Documents, stack: str, replaces: bool) -> "list[Watch]":
    from geodl_core.aws.watches.controls import keep_cloud_watch

    _, controls = opened_controls(stack)
    kept = []
    for place, document, folder in documents:
        whole = _brought(controls.deployment, document, folder)
        kept.append(keep_cloud_watch(controls, whole, place, replaces=replaces).watch)
    return kept


def _documents(file: Path | None, said: Mapping[str, Any]) -> Documents:
    """Return the watches of a file, or the one of the options."""
    given = [name for name, value in said.items() if value not in (None, (), False)]
    if file is not None:
        from geodl_core.service.watches.files import read_watch_file

        if given:
            raise InputError(f"expected either a file or options, found {file} and --{given[0].replace('_', '-')}")
        return [(place, document, file.parent) for place, document in read_watch_file(file)]
    if not said["name"] or not said["model"]:
        raise InputError("expected a file of watches, or --name and --model", hint="geodl watch add --help shows how")
    return [(f"watch {said['name']}", _of_options(said), Path())]


def _of_options(said: Mapping[str, Any]) -> dict[str, Any]:
    from geodl_core.domain.model.arguments import split_arguments
    from geodl_core.service.jobs.read_job import area_of

    same = ("name", "description", "model", "filter", "output_collection", "priority", "max_runs_per_day")
    document = {name: said[name] for name in same if said[name] is not None}
    document |= {name: list(said[name]) for name in ("collections", "dedupe_by") if said[name]}
    if said["aoi"]:
        document["aoi"] = area_of(said["aoi"])
    if said["whole_scenes"]:
        document["clip"] = False
    given = split_arguments(said["arguments"])
    options = {"radiometry": said["radiometry"], "arguments": {name: _value(text) for name, text in given.items()}}
    document["options"] = {name: value for name, value in options.items() if value}
    schedule = {name: said[name] for name in ("cron", "timezone") if said[name]}
    if said["every"]:
        schedule["every"] = _value(said["every"])
    source = {"api": said["api"], "lookback_days": said["lookback"]}
    source |= {name: said[name] for name in ("max_cloud", "min_cover")}
    source = {name: value for name, value in source.items() if value is not None}
    if schedule or source:
        document |= {"mode": "schedule", "schedule": schedule or None, "source": source or None}
    return document


def _value(text: str) -> bool | int | float | str:
    """Return an argument as YAML would have it, so that both ways to say it order the same run."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float) else text


def _registered(services: "Services", document: dict[str, Any], folder: Path, store: Path | None) -> dict[str, Any]:
    """Return a watch that names a registered model; a model that is a file is registered first."""
    if not _is_package(document):
        return document
    from geodl_core.catalog.model_versions import name_of, reference
    from geodl_core.catalog.models import add_model
    from geodl_core.io.package.package import load_package

    place = services.ledger.location
    if store is None and "://" in place.removeprefix("file://"):
        raise InputError("--store: expected a folder for models, as the catalog is no file to lie beside")
    kept = store or Path(place.removeprefix("file://")).parent / STORE_NAME
    item = add_model(services.catalog, kept, load_package(str(folder / document["model"])), services.now())
    click.echo(f"model    {reference(item)} is registered; the watch takes the latest version", err=True)
    return {**document, "model": name_of(item)}


def _brought(deployment: "Deployment", document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a watch that names a model of a deployment; a model that is a file is brought there first."""
    if not _is_package(document):
        return document
    from geodl_core.aws.site.register_model import add_model_to_bucket
    from geodl_core.catalog.model_versions import name_of, reference
    from geodl_core.io.package.package import load_package
    from geodl_core.service.services import utc_now

    package = load_package(str(folder / document["model"]))
    item, _ = add_model_to_bucket(deployment.s3, deployment.bucket, package, utc_now())
    click.echo(
        f"model    {reference(item)} is in {deployment.bucket.url}; the watch takes the latest version", err=True
    )
    return {**document, "model": name_of(item)}


def _is_package(document: Mapping[str, Any]) -> bool:
    model = document.get("model")
    return isinstance(model, str) and model.lower().endswith(PACKAGES)
