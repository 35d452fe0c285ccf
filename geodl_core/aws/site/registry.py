"""Registered models in the bucket, ready to run."""

from dataclasses import replace
from typing import Any

from geodl_core.aws.site.documents import read_document
from geodl_core.aws.site.layout import Bucket, model_item_url
from geodl_core.catalog.model_files import load_registered
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
        raise ModelError(f"no registered model {reference} in {bucket.url}", hint="geodl model add --store brings it")
    return replace(load_registered(item), location=reference)
