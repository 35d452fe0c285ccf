"""Handlers of the functions as Lambda starts them: their environment, and the services that one asks as it starts."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import boto3

import postgres
from cloud import ENVIRONMENT, moto_server
from layers import Function

REGION = ENVIRONMENT["AWS_REGION"]
ARN = f"arn:aws:{{}}:{REGION}:123456789012:{{}}"
CATALOG, TOKENS = "geodl-catalog", "geodl-tokens"
TOLD = {
    "GEODL_BUCKET": "s3://geodl",
    "GEODL_CACHE": "/tmp/geodl",  # where Lambda lets functions write
    "GEODL_SCENE_MACHINE": ARN.format("states", "stateMachine:geodl-scene"),
    "GEODL_TABLE": "geodl",
    "GEODL_TOKENS_SECRET": TOKENS,
    # Threads for linear algebra, of which functions do none, would turn idly for a tenth of a second at each start.
    "OPENBLAS_NUM_THREADS": "1",
    "GEODL_TOPIC": ARN.format("sns", "geodl-items"),
    "POWERTOOLS_METRICS_NAMESPACE": "geodl",
    "POWERTOOLS_SERVICE_NAME": "geodl",
}
"""What the template tells every function."""
LAMBDA = {"AWS_LAMBDA_FUNCTION_NAME": "geodl", "LAMBDA_TASK_ROOT": "/var/task", "LANG": "en_US.UTF-8", "TZ": ":UTC"}
"""What Lambda tells it; tracing looks there, too."""
CATALOG_LAYER = "catalog"
OPENS_CATALOG = frozenset({"api"})
"""Functions that open the database as they start."""


@contextmanager
def services() -> Iterator[dict[str, str] | None]:
    """The services that functions ask as they start; what says where they are, None where there is no PostgreSQL."""
    if postgres.state() is not True:
        yield None
        return
    with ExitStack() as held:
        endpoint = held.enter_context(moto_server())
        dsn = held.enter_context(postgres.database(held.enter_context(postgres.running())))
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": REGION}
        secrets = boto3.client("secretsmanager", endpoint_url=endpoint, **keys)
        secrets.create_secret(Name=CATALOG, SecretString=dsn)
        secrets.create_secret(Name=TOKENS, SecretString=json.dumps([]))
        yield {"AWS_ENDPOINT_URL": endpoint}


def can_start(function: Function, place: Mapping[str, str] | None) -> bool:
    """Say whether a function finds here what it asks as it starts."""
    return place is not None or function.name not in OPENS_CATALOG


def environment_of(function: Function, place: Mapping[str, str] | None) -> dict[str, str]:
    """Return all variables that a function has on Lambda, where services are at a place (None: nowhere)."""
    catalog = {"GEODL_CATALOG_SECRET": CATALOG} if CATALOG_LAYER in function.layers else {}
    return {**ENVIRONMENT, **LAMBDA, **TOLD, **catalog, **(place or {})}
