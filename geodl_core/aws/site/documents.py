"""Small documents in the bucket: orders, Items, indices of models. boto3 alone, which every function has."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from botocore.exceptions import BotoCoreError, ClientError

from geodl_core.domain.place.refusal import Act, refusal
from geodl_core.errors import DataError, InputError, StoreError

MOST_BYTES = 32 << 20
ABSENT = ("NoSuchKey", "404", "NotFound")
REFUSED = ("AccessDenied", "403")
NO_BUCKET = ("NoSuchBucket", "InvalidBucketName")
ACTS: dict[str, Act] = {"GetObject": "read", "PutObject": "write", "ListObjectsV2": "list"}
"""Operation of S3 → what is done."""


def read_document(s3: Any, url: str) -> Any:
    """Return a JSON document, None where there is none.

    Args:
        s3: boto3's client.
        url: `s3://bucket/key`.

    Raises:
        DataError: it is no JSON, or too large.
        InputError: there is no such bucket.
        RefusedError: it may not be read.
        StoreError: the store does not answer.
    """
    bucket, key = place(url)
    with bucket_errors(url):
        try:
            answer = s3.get_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in ABSENT:
                return None
            raise
        content = answer["Body"].read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise DataError(f"{url}: expected a document of {MOST_BYTES >> 20} MB at most, found a larger one")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{url}: expected a JSON document, found something else ({error})") from error


def write_document(s3: Any, url: str, document: Any) -> None:
    """Write a JSON document over one that is there.

    Raises:
        InputError: there is no such bucket.
        RefusedError: it may not be written.
        StoreError: the store does not answer.
    """
    bucket, key = place(url)
    content = json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    with bucket_errors(url):
        s3.put_object(Bucket=bucket, Key=key, Body=content, ContentType="application/json")


def write_lines(s3: Any, url: str, documents: Sequence[Any]) -> None:
    """Write a file with a line of JSON for each document.

    Raises:
        InputError: there is no such bucket.
        RefusedError: it may not be written.
        StoreError: the store does not answer.
    """
    bucket, key = place(url)
    content = "".join(json.dumps(one, separators=(",", ":"), sort_keys=True) + "\n" for one in documents)
    with bucket_errors(url):
        s3.put_object(Bucket=bucket, Key=key, Body=content.encode(), ContentType="application/jsonl")


def folder_names(s3: Any, url: str) -> list[str]:
    """Return the names of the folders below a URL, sorted; none where there is no such folder.

    Raises:
        InputError: there is no such bucket.
        RefusedError: they may not be listed.
        StoreError: the store does not answer.
    """
    bucket, key = place(url)
    prefix = f"{key}/" if key else ""
    names: list[str] = []
    with bucket_errors(url):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/"):
            names += [entry["Prefix"][len(prefix) : -1] for entry in page.get("CommonPrefixes", ())]
    return sorted(names)


def place(url: str) -> tuple[str, str]:
    """Return bucket and key of a URL.

    Raises:
        InputError: it is none of S3's.
    """
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise InputError(f"expected s3://BUCKET/…, found {url[:200]!r}")
    return bucket, unquote(key.strip("/"))


@contextmanager
def bucket_errors(url: str) -> Iterator[None]:
    """Turn what boto3 raises into errors that name the URL."""
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in REFUSED:
            raise refusal(url, ACTS[error.operation_name], str(error)) from error
        if code in NO_BUCKET:
            raise InputError(f"{url}: the store refuses this ({code})", hint="is that its name?") from error
        raise StoreError(f"{url}: the store answers {code}") from error
    except BotoCoreError as error:
        raise StoreError(f"{url}: the store does not answer ({type(error).__name__})") from error
