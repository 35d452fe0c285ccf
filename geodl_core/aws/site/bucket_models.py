"""The registry of a deployment: which models its bucket has, found by name, and removed."""

from datetime import datetime
from typing import Any

from geodl_core.aws.ledger.watches import list_cloud_watches
from geodl_core.aws.site.documents import folder_names, read_document, write_document
from geodl_core.aws.site.executions import Deployment
from geodl_core.aws.site.layout import MODELS, Bucket, model_item_url, model_url
from geodl_core.aws.site.model_index import resolve_model
from geodl_core.catalog.model_versions import (
    choose_model,
    latest_first,
    link_versions,
    name_of,
    reference,
    version_of,
)
from geodl_core.domain.naming import slug
from geodl_core.errors import ModelError
from geodl_core.io.remote.objects import delete, join, list_names


def bucket_models(s3: Any, bucket: Bucket) -> list[dict[str, Any]]:
    """Return the Items of all models of a deployment, by name, the latest version of each first.

    Args:
        s3: boto3's client.
        bucket: of the deployment.

    Raises:
        InputError: the bucket may not be read.
        StoreError: the bucket does not answer.
    """
    names = folder_names(s3, f"{bucket.url}/{MODELS}")
    return latest_first(item for name in names for item in bucket_versions(s3, bucket, name))


def bucket_versions(s3: Any, bucket: Bucket, name: str) -> list[dict[str, Any]]:
    """Return the Items of all versions of a model in the bucket.

    Raises:
        InputError: the bucket may not be read.
        StoreError: the bucket does not answer.
    """
    versions = folder_names(s3, model_url(bucket, name))
    found = (read_document(s3, model_item_url(bucket, name, version)) for version in versions)
    return [item for item in found if isinstance(item, dict)]


def find_bucket_model(s3: Any, bucket: Bucket, asked: str) -> dict[str, Any]:
    """Return the Item that `NAME` or `NAME@VERSION` means, as `catalog.model_versions.choose_model` does.

    Raises:
        ModelError: there is none, or there are several.
        InputError: the bucket may not be read.
        StoreError: the bucket does not answer.
    """
    named = latest_first(bucket_versions(s3, bucket, slug(asked.partition("@")[0])))
    # All of them for what is called otherwise, and to say what there is.
    return choose_model(named or bucket_models(s3, bucket), asked)


def remove_bucket_model(
    deployment: Deployment, item: dict[str, Any], now: datetime, *, is_forced: bool = False
) -> None:
    """Remove one version of a model from the bucket: first its Item, so that nobody takes it any more, then its files.

    Runs that were planned have a copy of the model; those that still wait for that end as invalid.

    Args:
        deployment: bucket, and ledger with the watches.
        item: of the model.
        now: for the other versions, whose links change.
        is_forced: remove it although a watch takes it.

    Raises:
        ModelError: a watch takes this version.
        InputError: Items in the bucket may not be read or written.
        RefusedError: files in the bucket may not be listed or removed.
        CatalogError: the ledger does not answer.
        StoreError: the bucket does not answer.
    """
    s3, bucket, name = deployment.s3, deployment.bucket, name_of(item)
    watches = [] if is_forced else _watches_of(deployment, item)
    if watches:
        raise ModelError(
            f"model {reference(item)}: expected one that no watch takes, found {', '.join(watches)}",
            hint="geodl watch remove, or --force; a watch then takes the version before, where there is one",
        )
    others = [other for other in bucket_versions(s3, bucket, name) if other["id"] != item["id"]]
    delete(model_item_url(bucket, name, version_of(item)))
    for other in link_versions(others, now):
        if other not in others:
            write_document(s3, model_item_url(bucket, name, version_of(other)), other)
    place = model_url(bucket, name, version_of(item))
    for file in list_names(place):
        delete(join(place, file))


def _watches_of(deployment: Deployment, item: dict[str, Any]) -> list[str]:
    """Return the watches whose next Item would be run by this very version, by their names."""
    found = []
    for kept in list_cloud_watches(deployment.ledger):
        asked = kept.watch.model
        if slug(asked.partition("@")[0]) != name_of(item):
            continue
        try:
            taken = resolve_model(deployment.s3, deployment.bucket, asked).reference
        except ModelError:
            # It takes none at all.
            continue
        if taken == reference(item):
            found.append(kept.watch.name)
    return sorted(found)
