"""`geodl model list|show|remove|export`: registered models, of a catalog or of a deployment."""

import json
from pathlib import Path

import click

from geodl_core.cli.model_add import add
from geodl_core.cli.registry_options import (
    catalog_option,
    find_registered,
    json_option,
    models_folder,
    now,
    opened,
    where,
)
from geodl_core.cli.stack_option import meant_stack, opened_deployment, stack_option
from geodl_core.errors import InputError

store_option = click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Where the files of models lie; needed with a STAC API.  [default: models beside the catalog file]",
)


@click.command("list", short_help="Show the registered models.")
@catalog_option
@stack_option
@json_option
def list_(catalog: str | None, stack: str | None, is_json: bool) -> None:
    """Show the registered models, all versions of each, the latest first.

    \b
    Examples:
      geodl model list
      geodl model list --catalog results/catalog.db --json
      geodl model list --stack geodl
    """
    from geodl_core.cli.model_tables import print_list

    stack = meant_stack(stack, catalog=catalog)
    if stack is not None:
        from geodl_core.aws.site.bucket_models import bucket_models

        deployment = opened_deployment(stack)
        items = bucket_models(deployment.s3, deployment.bucket)
    else:
        from geodl_core.catalog.models import list_models

        with opened(where(catalog)) as found:
            items = list_models(found)
    if is_json:
        click.echo(json.dumps({"type": "FeatureCollection", "features": items}, ensure_ascii=False))
    elif items:
        print_list(items)
    else:
        click.echo("no models")


@click.command("show", short_help="Show what is known of a registered model.")
@click.argument("model", metavar="NAME[@VERSION]")
@catalog_option
@stack_option
@json_option
def show(model: str, catalog: str | None, stack: str | None, is_json: bool) -> None:
    """Show what is known of a registered model; --json prints its STAC Item.

    Without a version it is the latest; four characters of one are enough.

    \b
    Examples:
      geodl model show landcover
      geodl model show landcover@3f2a --json
      geodl model show landcover --stack geodl
    """
    from geodl_core.catalog.models import count_results
    from geodl_core.cli.model_tables import print_card

    stack = meant_stack(stack, catalog=catalog)
    item = find_registered(model, catalog, stack)
    if is_json:
        click.echo(json.dumps(item, ensure_ascii=False))
        return
    if stack is not None:
        print_card(item, None)
        return
    with opened(where(catalog)) as found:
        results = count_results(found, item)
    print_card(item, results)


@click.command("remove", short_help="Remove a registered model.")
@click.argument("model", metavar="NAME[@VERSION]")
@catalog_option
@store_option
@stack_option
@click.option("--force", is_flag=True, help="Although the catalog has results of it, or a watch of the stack takes it.")
def remove(model: str, catalog: str | None, store: Path | None, stack: str | None, force: bool) -> None:
    """Remove one version of a registered model, and its files.

    Results that were made by it stay, but cannot be computed again by `geodl rerun` without its files.

    \b
    Examples:
      geodl model remove landcover@3f2a
      geodl model remove landcover --force
      geodl model remove landcover@3f2a --stack geodl
    """
    from geodl_core.catalog.model_versions import reference

    stack = meant_stack(stack, catalog=catalog, store=store)
    if stack is not None:
        from geodl_core.aws.site.bucket_models import find_bucket_model, remove_bucket_model

        deployment = opened_deployment(stack)
        item = find_bucket_model(deployment.s3, deployment.bucket, model)
        remove_bucket_model(deployment, item, now(), is_forced=force)
    else:
        from geodl_core.catalog.models import find_model, remove_model

        place = where(catalog)
        folder = models_folder(place, store)
        with opened(place) as found:
            item = find_model(found, model)
            remove_model(found, folder, item, now(), is_forced=force)
    click.echo(f"removed {reference(item)}")


@click.command("export", short_help="Write a registered model as a package.")
@click.argument("model", metavar="NAME[@VERSION]")
@click.argument("target", type=click.Path(path_type=Path))
@catalog_option
@stack_option
@click.option("--force", is_flag=True, help="Replace what exists.")
def export(model: str, target: Path, catalog: str | None, stack: str | None, force: bool) -> None:
    """Write a registered model as a package.

    TARGET is a .dlpk, which ArcGIS and geodl open, or else a folder for the .emd and the network. The same model
    gives the same bytes.

    \b
    Examples:
      geodl model export landcover landcover.dlpk
      geodl model export landcover@3f2a folder/
      geodl model export landcover landcover.dlpk --stack geodl
    """
    from geodl_core.catalog.model_files import export_model
    from geodl_core.catalog.model_versions import reference

    if target.exists() and not force and (target.is_file() or any(target.iterdir())):
        raise InputError(f"{target} exists", hint="--force replaces it")
    item = find_registered(model, catalog, meant_stack(stack, catalog=catalog))
    export_model(item, target)
    click.echo(f"exported {reference(item)} to {target}")


REGISTRY_COMMANDS = [add, list_, show, remove, export]
"""The commands of the group `geodl model` that need a registry."""
