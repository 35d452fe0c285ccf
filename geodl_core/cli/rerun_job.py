"""The job that `geodl rerun` computes: what the Item of a result says, by what lies here or in a deployment now."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geodl_core.cli.job_options import places_of
from geodl_core.cli.stack_option import opened_deployment
from geodl_core.domain.place.href import WEB, hide_secrets
from geodl_core.errors import InputError, ItemError

if TYPE_CHECKING:  # heavy: paid by the command, not by --help
    from geodl_core.aws.site.executions import Deployment
    from geodl_core.domain.model.model import Model
    from geodl_core.io.package.package import ModelPackage
    from geodl_core.service.jobs.read_job import AskedJob

DEPLOYED = "--stack NAME has both, where a deployment on AWS made it; else --model and --item say where they lie now"
NAMED = "--item says where the source Item lies now"


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where things lie now, as far as the user says so."""

    item: str | None
    """The source Item; None where the result's Item, or an order, says it."""
    model: str | None
    """The model; None where the result's Item says it."""
    stack: str | None
    """Deployment that has what is named by id; None where a catalog has it."""


def find_result(location: str, catalog: str, stack: str | None) -> dict[str, Any]:
    """Return the Item of a result.

    Args:
        location: its path or URL, or `catalog:COLLECTION/ID`.
        catalog: path or URL of the catalog.
        stack: deployment in whose bucket such results are looked for instead; None for none.

    Raises:
        ItemError: there is none.
        StoreError: what has it does not answer.
    """
    from geodl_core.catalog.open import open_catalog
    from geodl_core.io.stac import parse_item, read_item
    from geodl_core.service.jobs.read_job import CATALOG_PREFIX, item_of, key_of

    if not location.startswith(CATALOG_PREFIX):
        return read_item(location)
    if stack is None:
        with open_catalog(catalog, create=False) as opened:
            return item_of(opened, location)
    from geodl_core.aws.site.layout import result_item_url
    from geodl_core.aws.steps.ingest import results_lookup

    collection, item_id = key_of(location)
    deployment = opened_deployment(stack)
    found = results_lookup(deployment)(collection, item_id)
    if found is None:
        raise ItemError(
            f"stack {stack}: it has no result {item_id} in the collection {collection}",
            hint="--catalog looks for it in a catalog",
        )
    return parse_item(found, result_item_url(deployment.bucket, collection, item_id))


def job_again(result: Mapping[str, Any], params: Mapping[str, Any], whereabouts: Whereabouts) -> "AskedJob":
    """Return the job that gave a result.

    Where a deployment is meant, and the result was made by a registered model, model and source Item are those of the
    deployment. All other results are none of a deployment's.

    Args:
        result: its Item.
        params: of the `geodl run` that the Item names, with the user's own catalog and folder.
        whereabouts: what the user says.

    Raises:
        InputError: as its parts, or an Item is named for a mosaic of several.
    """
    try:
        return _job_again(result, params, whereabouts)
    except InputError as error:
        if whereabouts.stack is not None or not _may_be_deployed(result, params):
            raise
        raise type(error)(error.message, DEPLOYED) from error


def _may_be_deployed(result: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    """Say whether a result looks like one of a deployment: by its files, or by a model that is known by name alone."""
    from geodl_core.service.jobs.model_source import names_registered

    hrefs = [str(asset.get("href")) for asset in result["assets"].values()]
    return names_registered(params["model"]) or any(href.startswith("s3://") for href in hrefs)


def _job_again(result: Mapping[str, Any], params: Mapping[str, Any], whereabouts: Whereabouts) -> "AskedJob":
    from geodl_core.service.jobs.model_source import names_registered
    from geodl_core.service.jobs.read_job import job_of, with_item, with_items

    words = params["items"]
    if whereabouts.item is not None and len(words) > 1:
        raise InputError(f"--item: expected the result of one Item, found that of a mosaic of {len(words)}")
    is_deployed = whereabouts.stack is not None and names_registered(params["model"])
    deployment = opened_deployment(str(whereabouts.stack)) if is_deployed else None
    package, model = _model(whereabouts.model or params["model"], params, deployment)
    asked = job_of(package, model, params, places_of(dict(params)))
    if whereabouts.item is not None:
        return with_item(asked, whereabouts.item)
    kept = _kept_source(deployment, result, words[0]) if deployment is not None and len(words) == 1 else None
    if kept is not None:
        return replace(asked, item=kept)
    return with_items(asked, words, params["mosaic"], is_typed=False)


def _model(word: str, params: Mapping[str, Any], deployment: "Deployment | None") -> "tuple[ModelPackage, Model]":
    """Return a model by its word; a registered one is that of the deployment, where there is one."""
    from geodl_core.service.jobs.model_source import names_registered, open_model

    if deployment is None or not names_registered(word):
        return open_model(word, params["catalog"], is_strict=params["strict"])
    from geodl_core.aws.site.registry import open_from_bucket

    return open_from_bucket(deployment.s3, deployment.bucket, word)


def _kept_source(deployment: "Deployment", result: Mapping[str, Any], word: str) -> dict[str, Any] | None:
    """Return the source Item of the order that a result came of; None where there is none and its word may be tried.

    Raises:
        ItemError: a raster of it is no public URL; or no order is kept, and the word leads nowhere.
    """
    from geodl_core.aws.site.kept_sources import ordered_item
    from geodl_core.service.jobs.allowed_item import allowed_item

    found = ordered_item(deployment, result)
    if found is not None:
        try:
            # Strangers may have published it: none of this machine's files is meant.
            return allowed_item(found, ())
        except ItemError as error:
            raise ItemError(f"the source of {result['id']}, as it was ordered: {error.message}", NAMED) from error
    if not word.startswith(WEB) and not Path(word).is_file():
        raise ItemError(
            f"Item {result['id']}: expected the order that named its source {hide_secrets(word)}, found none that is "
            f"kept in {deployment.bucket.url}",
            NAMED,
        )
    click.echo(f"note: no order of it is kept any more; its source is read from {hide_secrets(word)}", err=True)
    return None
