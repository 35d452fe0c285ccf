"""Where everything lies in the bucket: the one module that knows the keys.

orders/<run id>.json             an order: Item, model, options
work/<run id>/                   plan.json, model.dlpk, shards.jsonl, parts/, merged.json: taken away after some days
results/<collection>/<result>/   what `geodl run` would write into its folder
models/<name>/<version>/         registered models
large/<sha256>.json              payloads that are too large for a message: taken away after some days
"""

from dataclasses import dataclass
from urllib.parse import quote

from geodl_core.domain.naming import safe_name

ORDERS, WORK, RESULTS, MODELS, LARGE = "orders", "work", "results", "models", "large"
SHARDS_NAME = "shards.jsonl"


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket, and perhaps a prefix, that belongs to one deployment."""

    url: str
    """`s3://bucket` or `s3://bucket/prefix`."""

    @property
    def name(self) -> str:
        return self.url.removeprefix("s3://").partition("/")[0]

    @property
    def prefix(self) -> str:
        """Of keys, with a slash at the end unless it is empty."""
        prefix = self.url.removeprefix("s3://").partition("/")[2].strip("/")
        return f"{prefix}/" if prefix else ""


def order_url(bucket: Bucket, run_id: str) -> str:
    """Return where an order lies."""
    return _beside(bucket.url, ORDERS, f"{run_id}.json")


def work_url(bucket: Bucket, run_id: str) -> str:
    """Return where a run's plan and parts lie."""
    return _beside(bucket.url, WORK, run_id)


def shards_url(bucket: Bucket, run_id: str) -> str:
    """Return where the list of a run's shards lies, a line of JSON each."""
    return _beside(work_url(bucket, run_id), SHARDS_NAME)


def shards_key(bucket: Bucket, run_id: str) -> str:
    """Return the key of the list of a run's shards."""
    return f"{bucket.prefix}{WORK}/{run_id}/{SHARDS_NAME}"


def result_url(bucket: Bucket, collection: str, result_id: str) -> str:
    """Return where the files of a result lie."""
    return _beside(bucket.url, RESULTS, safe_name(collection), safe_name(result_id))


def model_url(bucket: Bucket, name: str, version: str | None = None) -> str:
    """Return where a registered model's files lie, or all of its versions."""
    folder = _beside(bucket.url, MODELS, safe_name(name))
    return folder if version is None else _beside(folder, version)


def model_item_url(bucket: Bucket, name: str, version: str) -> str:
    """Return where the Item of a registered model lies, beside its files."""
    return _beside(model_url(bucket, name, version), f"{safe_name(name)}-{version}.json")


def result_item_url(bucket: Bucket, collection: str, result_id: str) -> str:
    """Return where the Item of a result lies, beside its files: it is there once the result is registered."""
    return _beside(result_url(bucket, collection, result_id), f"{safe_name(result_id)}.json")


def shard_list(of: int) -> bytes:
    """Return the list of a run's shards, which the state machine maps over: a line of JSON each."""
    return "".join(f'{{"n":{n}}}\n' for n in range(of)).encode()


def backfill_url(bucket: Bucket, name: str, number: int) -> str:
    """Return where a list of a back-fill's runs lies, a line of JSON each."""
    return _beside(bucket.url, WORK, "backfills", safe_name(name), f"{number:05d}.jsonl")


def backfill_key(bucket: Bucket, name: str, number: int) -> str:
    """Return the key of a list of a back-fill's runs."""
    return f"{bucket.prefix}{WORK}/backfills/{safe_name(name)}/{number:05d}.jsonl"


def large_url(bucket: Bucket, digest: str) -> str:
    """Return where a large payload lies."""
    return _beside(bucket.url, LARGE, f"{digest}.json")


def _beside(folder: str, *names: str) -> str:
    return "/".join([folder.rstrip("/"), *(quote(name, safe="") for name in names)])
