"""Registered models in the bucket, ready to run."""

from dataclasses import replace
from typing import Any

from geodl_core.aws.site.documents import read_document
from geodl_core.aws.site.layout import Bucket, model_item_url
from geodl_core.aws.site.model_index import resolve_model
from geodl_core.catalog.model_files import load_registered
from geodl_core.domain.model.model import Model
from geodl_core.engine.load_model import load_model
from geodl_core.errors import ModelError
from geodl_core.io.package.package import ModelPackage


def load_from_bucket(s3: Any, bucket: Bucket, reference: str) -> ModelPackage:
    """Return a registered model.

    Args:
        s3: boto3's client.
        bucket: that has it.
        reference: `NAME@VERSION`, the version whole.

    Raises:
        ModelError: there is none, or its files are not those that were registered.
        StoreError: the bucket does not answer.
    """
    name, _, version = reference.partition("@")
    item = read_document(s3, model_item_url(bucket, name, version))
    if not isinstance(item, dict):
        hint = "geodl model add DEFINITION --stack NAME brings it"
        raise ModelError(f"no registered model {reference} in {bucket.url}", hint=hint)
    return replace(load_registered(item), location=reference)


def open_from_bucket(s3: Any, bucket: Bucket, asked: str) -> tuple[ModelPackage, Model]:
    """Return package and model of what `NAME` or `NAME@VERSION` means in a deployment.

    Raises:
        ModelError: as `resolve_model` and `load_from_bucket`, or it does not serve.
        StoreError: the bucket does not answer.
    """
    package = load_from_bucket(s3, bucket, resolve_model(s3, bucket, asked).reference)
    return package, load_model(package)
