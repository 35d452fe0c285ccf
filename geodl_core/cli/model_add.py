"""`geodl model add`: a model into a catalog, or into the bucket of a deployment."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geodl_core.cli.registry_options import catalog_option, json_option, models_folder, now, opened, where
from geodl_core.cli.stack_option import meant_stack, stack_option
from geodl_core.domain.place.href import hide_secrets
from geodl_core.errors import InputError

if TYPE_CHECKING:  # heavy: paid by the command, not by --help
    from geodl_core.io.package.package import ModelPackage

store_option = click.option(
    "--store",
    metavar="FOLDER|URL",
    help="Where the files of models lie: a folder, or the bucket of a deployment on AWS (s3://…).  "
    "[default: models beside the catalog file]",
)


@click.command("add", short_help="Register a model.")
@click.argument("model")
@catalog_option
@store_option
@stack_option
@json_option
def add(model: str, catalog: str | None, store: str | None, stack: str | None, is_json: bool) -> None:
    """Register a model: copy its files, and put it into the catalog as a STAC Item.

    MODEL is a .emd, a .dlpk, an EMD's JSON text, or the .json file of a STAC Item with the MLM extension and an ONNX
    asset. The version is the hash of its content: the same model again changes nothing.

    With --stack it comes to the bucket of a deployment on AWS, whose watches find it there. --store s3://… names that
    bucket itself; with --catalog its Item is put into that catalog, too.

    \b
    Examples:
      geodl model add landcover.emd
      geodl model add roads.dlpk --catalog results/catalog.db
      geodl model add item.json --catalog https://stac.example.com/v1 --store /data/models
      geodl model add landcover.emd --stack geodl
      geodl model add landcover.emd --store s3://geodl-results
    """
    from geodl_core.catalog.model_versions import reference

    stack = meant_stack(stack, catalog=catalog, store=store)
    store = store if stack is None else bucket_of(stack)
    item, is_new = _add_to_bucket(model, catalog, store) if is_bucket(store) else _add_here(model, catalog, store)
    if is_json:
        click.echo(json.dumps(item, ensure_ascii=False))
    else:
        click.echo(f"{'registered' if is_new else 'already registered'} {reference(item)}")


def is_bucket(store: str | None) -> bool:
    """Say whether models are to lie in a bucket of S3."""
    return store is not None and store.startswith("s3://")


def bucket_of(stack: str) -> str:
    """Return the URL of a deployment's bucket.

    Raises:
        InputError: there is no deployment of this name, or no leave to look.
    """
    from geodl_core.cli.stack_option import opened_deployment

    return opened_deployment(stack).bucket.url


def _add_here(model: str, catalog: str | None, store: str | None) -> tuple[dict[str, Any], bool]:
    """Register a model in a catalog, with its files in a folder; return its Item and whether it is new."""
    from geodl_core.catalog.models import add_model, list_models

    place = where(catalog)
    if store is not None and "://" in store:
        raise InputError(f"--store {hide_secrets(store)}: expected a folder, or s3://…")
    folder = models_folder(place, None if store is None else Path(store))
    with opened(place, create=True) as found:
        before = {item["id"] for item in list_models(found)}
        item = _with_package(model, lambda package: add_model(found, folder, package, now()))
    return item, item["id"] not in before


def _add_to_bucket(model: str, catalog: str | None, store: str | None) -> tuple[dict[str, Any], bool]:
    """Register a model in a bucket, and in a catalog where one is named; return its Item and whether it is new."""
    from contextlib import nullcontext

    from geodl_core.aws.site.clients import client, open_bucket
    from geodl_core.aws.site.register_model import add_model_to_bucket

    bucket, s3, kept = open_bucket(store or ""), client("s3"), []
    with nullcontext() if catalog is None else opened(catalog) as found:

        def bring(package: "ModelPackage") -> dict[str, Any]:
            item, is_new = add_model_to_bucket(s3, bucket, package, now(), found)
            kept.append(is_new)
            return item

        return _with_package(model, bring), kept[0]


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
