"""`geodl model add|list|show|remove|export`: models as versioned Items of a catalog."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geodl_core.domain.place.href import hide_secrets
from geodl_core.errors import InputError
from geodl_core.settings import Settings

if TYPE_CHECKING:  # heavy: paid by a command, not by --help
    from geodl_core.catalog.pgstac.catalog import PgstacCatalog
    from geodl_core.catalog.sqlite import SqliteCatalog
    from geodl_core.catalog.stac_api import StacApiCatalog
    from geodl_core.io.package.package import ModelPackage

STORE_NAME = "models"

_catalog = click.option(
    "--catalog",
    metavar="PATH|URL",
    help="A catalog file, or the address of a STAC API.  [default: geodl-out/catalog.db; env: GEODL_CATALOG]",
)
_store = click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Where the files of models lie; needed with a STAC API.  [default: models beside the catalog file]",
)
_add_store = click.option(
    "--store",
    metavar="FOLDER|URL",
    help="Where the files of models lie: a folder, or the bucket of a deployment on AWS (s3://…).  "
    "[default: models beside the catalog file]",
)
_json = click.option("--json", "is_json", is_flag=True, help="Print JSON, for machines.")


@click.command("add", short_help="Register a model.")
@click.argument("model")
@_catalog
@_add_store
@_json
def add(model: str, catalog: str | None, store: str | None, is_json: bool) -> None:
    """Register a model: copy its files, and put it into the catalog as a STAC Item.

    MODEL is a .emd, a .dlpk, an EMD's JSON text, or the .json file of a STAC Item with the MLM extension and an ONNX
    asset. The version is the hash of its content: the same model again changes nothing.

    With --store s3://… it comes to the bucket of a deployment on AWS, whose watches find it there; with --catalog its
    Item is put into that catalog, too.

    \b
    Examples:
      geodl model add landcover.emd
      geodl model add roads.dlpk --catalog results/catalog.db
      geodl model add item.json --catalog https://stac.example.com/v1 --store /data/models
      geodl model add landcover.emd --store s3://geodl-results
    """
    from geodl_core.catalog.model_versions import reference

    item, is_new = _add_to_bucket(model, catalog, store) if is_bucket(store) else _add_here(model, catalog, store)
    if is_json:
        click.echo(json.dumps(item, ensure_ascii=False))
    else:
        click.echo(f"{'registered' if is_new else 'already registered'} {reference(item)}")


def is_bucket(store: str | None) -> bool:
    """Say whether models are to lie in a bucket of S3."""
    return store is not None and store.startswith("s3://")


def _add_here(model: str, catalog: str | None, store: str | None) -> tuple[dict[str, Any], bool]:
    """Register a model in a catalog, with its files in a folder; return its Item and whether it is new."""
    from geodl_core.catalog.models import add_model, list_models

    where = _where(catalog)
    if store is not None and "://" in store:
        raise InputError(f"--store {hide_secrets(store)}: expected a folder, or s3://…")
    folder = _folder(where, None if store is None else Path(store))
    with _opened(where, create=True) as opened:
        before = {item["id"] for item in list_models(opened)}
        item = _with_package(model, lambda package: add_model(opened, folder, package, _now()))
    return item, item["id"] not in before


def _add_to_bucket(model: str, catalog: str | None, store: str | None) -> tuple[dict[str, Any], bool]:
    """Register a model in a bucket, and in a catalog where one is named; return its Item and whether it is new."""
    from contextlib import nullcontext

    from geodl_core.aws.site.clients import client, open_bucket
    from geodl_core.aws.site.register_model import add_model_to_bucket

    bucket, s3, kept = open_bucket(store or ""), client("s3"), []
    with nullcontext() if catalog is None else _opened(catalog) as opened:

        def bring(package: "ModelPackage") -> dict[str, Any]:
            item, is_new = add_model_to_bucket(s3, bucket, package, _now(), opened)
            kept.append(is_new)
            return item

        return _with_package(model, bring), kept[0]


@click.command("list", short_help="Show the registered models.")
@_catalog
@_json
def list_(catalog: str | None, is_json: bool) -> None:
    """Show the registered models, all versions of each, the latest first.

    \b
    Examples:
      geodl model list
      geodl model list --catalog results/catalog.db --json
    """
    from geodl_core.catalog.models import list_models
    from geodl_core.cli.model_tables import print_list

    with _opened(_where(catalog)) as opened:
        items = list_models(opened)
    if is_json:
        click.echo(json.dumps({"type": "FeatureCollection", "features": items}, ensure_ascii=False))
    elif items:
        print_list(items)
    else:
        click.echo("no models")


@click.command("show", short_help="Show what is known of a registered model.")
@click.argument("model", metavar="NAME[@VERSION]")
@_catalog
@_json
def show(model: str, catalog: str | None, is_json: bool) -> None:
    """Show what is known of a registered model; --json prints its STAC Item.

    Without a version it is the latest; four characters of one are enough.

    \b
    Examples:
      geodl model show landcover
      geodl model show landcover@3f2a --json
    """
    from geodl_core.catalog.models import count_results, find_model
    from geodl_core.cli.model_tables import print_card

    with _opened(_where(catalog)) as opened:
        item = find_model(opened, model)
        results = count_results(opened, item)
    if is_json:
        click.echo(json.dumps(item, ensure_ascii=False))
    else:
        print_card(item, results)


@click.command("remove", short_help="Remove a registered model.")
@click.argument("model", metavar="NAME[@VERSION]")
@_catalog
@_store
@click.option("--force", is_flag=True, help="Although results in the catalog were made by it; they stay.")
def remove(model: str, catalog: str | None, store: Path | None, force: bool) -> None:
    """Remove one version of a registered model, and its files.

    \b
    Examples:
      geodl model remove landcover@3f2a
      geodl model remove landcover --force
    """
    from geodl_core.catalog.model_versions import reference
    from geodl_core.catalog.models import find_model, remove_model

    where = _where(catalog)
    folder = _folder(where, store)
    with _opened(where) as opened:
        item = find_model(opened, model)
        remove_model(opened, folder, item, _now(), is_forced=force)
    click.echo(f"removed {reference(item)}")


@click.command("export", short_help="Write a registered model as a package.")
@click.argument("model", metavar="NAME[@VERSION]")
@click.argument("target", type=click.Path(path_type=Path))
@_catalog
@click.option("--force", is_flag=True, help="Replace what exists.")
def export(model: str, target: Path, catalog: str | None, force: bool) -> None:
    """Write a registered model as a package.

    TARGET is a .dlpk, which ArcGIS and geodl open, or else a folder for the .emd and the network. The same model
    gives the same bytes.

    \b
    Examples:
      geodl model export landcover landcover.dlpk
      geodl model export landcover@3f2a folder/
    """
    from geodl_core.catalog.model_files import export_model
    from geodl_core.catalog.model_versions import reference
    from geodl_core.catalog.models import find_model

    if target.exists() and not force and (target.is_file() or any(target.iterdir())):
        raise InputError(f"{target} exists", hint="--force replaces it")
    with _opened(_where(catalog)) as opened:
        item = find_model(opened, model)
    export_model(item, target)
    click.echo(f"exported {reference(item)} to {target}")


REGISTRY_COMMANDS = [add, list_, show, remove, export]
"""The commands of the group `geodl model` that need a catalog."""


def _where(catalog: str | None) -> str:
    return catalog or Settings.from_env().catalog


def _folder(catalog: str, store: Path | None) -> Path:
    """Return the folder of models: as told, else beside the catalog file."""
    if store is not None:
        return store
    if "://" in catalog.removeprefix("file://"):
        raise InputError(f"--store: expected a folder for models, as {hide_secrets(catalog)} is no file to lie beside")
    return Path(catalog.removeprefix("file://")).parent / STORE_NAME


def _opened(catalog: str, create: bool = False) -> "SqliteCatalog | PgstacCatalog | StacApiCatalog":
    from geodl_core.catalog.open import open_catalog

    return open_catalog(catalog, create=create)


def _with_package(model: str, use: "Callable[[ModelPackage], dict[str, Any]]") -> dict[str, Any]:
    """Call a function with the model that a person names; one that comes as an Item is unpacked for that long."""
    from tempfile import TemporaryDirectory

    from geodl_core.catalog.model_files import export_model, read_model_files
    from geodl_core.io.package.package import load_package
    from geodl_core.io.stac import read_item
    from geodl_core.service.jobs.model_source import is_item

    if model.lstrip().startswith("{") or not is_item(model):
        return use(load_package(model))
    item = read_item(model)
    for warning in read_model_files(item).warnings:
        click.echo(f"note: {warning}", err=True)
    with TemporaryDirectory() as folder:
        export_model(item, Path(folder))
        return use(load_package(str(next(Path(folder).glob("*.emd")))))


def _now() -> Any:
    from datetime import UTC, datetime

    return datetime.now(UTC)
