"""Clients of AWS: by region, credentials and endpoint of the environment, as boto3 reads it (AWS_ENDPOINT_URL)."""

import time
from typing import Any

import boto3
from botocore.config import Config

from geodl_core.aws.ledger.ledger import DynamoLedger
from geodl_core.aws.site.executions import Deployment
from geodl_core.aws.site.layout import Bucket
from geodl_core.errors import InputError

CONFIG = Config(
    connect_timeout=5, read_timeout=30, retries={"mode": "standard", "max_attempts": 5}, max_pool_connections=16
)


def client(service: str, region: str | None = None) -> Any:
    """Return a client of a service; in the region of the environment, unless another is named."""
    return boto3.client(service, region_name=region, config=CONFIG)


def open_ledger(table: str) -> DynamoLedger:
    """Return the ledger in a table, whose name was configured.

    Raises:
        InputError: it was not.
    """
    if not table:
        raise InputError("expected the name of the ledger's table, found none", hint="GEODL_TABLE names it")
    return DynamoLedger(boto3.resource("dynamodb", config=CONFIG).Table(table), time.time)


def open_bucket(url: str) -> Bucket:
    """Return the bucket of a deployment, which was configured.

    Raises:
        InputError: it was not, or it is no URL of S3.
    """
    if not url.startswith("s3://"):
        raise InputError(
            f"expected the deployment's bucket, s3://…, found {url or 'none'}", hint="GEODL_BUCKET names it"
        )
    return Bucket(url.rstrip("/"))


def open_deployment(bucket: str, table: str, machine: str) -> Deployment:
    """Return a deployment, as it was configured.

    Raises:
        InputError: something of it was not.
    """
    return Deployment(open_bucket(bucket), open_ledger(table), client("s3"), client("stepfunctions"), machine)
