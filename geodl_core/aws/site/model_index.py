"""Which models there are in the bucket, without opening any: a watch names a model, an order one version of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from geodl_core.aws.site.documents import folder_names, read_document
from geodl_core.aws.site.layout import MODELS, Bucket, model_item_url, model_url
from geodl_core.domain.naming import slug
from geodl_core.errors import ModelError
from geodl_core.service.watches.verdict import Ran

KEPT_S = 60.0
"""So long a version that was registered since may be overlooked."""
SHORTEST_VERSION = 4
REGISTER = "register it with geodl model add DEFINITION --stack NAME"
NEVER = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class ModelCache:
    """What was found lately: what a watch names → when, and the model, or why there is none."""

    found: dict[str, tuple[float, Ran | str]] = field(default_factory=dict)


def model_finder(s3: Any, bucket: Bucket, cache: ModelCache, clock: Callable[[], float]) -> Callable[[str], Ran]:
    """Return what finds the model that a watch names; it remembers answers for a minute.

    What it returns raises ModelError where there is no such model, StoreError where the bucket does not answer.
    """

    def find(asked: str) -> Ran:
        at, answer = cache.found.get(asked, (float("-inf"), ""))
        if clock() - at >= KEPT_S:
            try:
                answer = resolve_model(s3, bucket, asked)
            except ModelError as error:
                answer = error.message
            cache.found[asked] = (clock(), answer)
        if isinstance(answer, str):
            raise ModelError(answer, hint=REGISTER)
        return answer

    return find


def resolve_model(s3: Any, bucket: Bucket, asked: str) -> Ran:
    """Return the version that `NAME` or `NAME@VERSION` means: the one registered last, or the one that begins so.

    Raises:
        ModelError: there is none, or there are several.
        StoreError: the bucket does not answer.
    """
    name, _, version = asked.partition("@")
    name = slug(name)
    versions = folder_names(s3, model_url(bucket, name))
    if not versions:
        known = ", ".join(folder_names(s3, f"{bucket.url}/{MODELS}")) or "none"
        raise ModelError(
            f"no registered model {name} in {bucket.url}; there are: {known}",
            hint=REGISTER,
        )
    if not version:
        newest = max(versions, key=lambda each: (_created(s3, bucket, name, each), each))
        return Ran(f"{name}@{newest}", name)
    found = [each for each in versions if each == version or each.startswith(version.lower())]
    if len(version) < SHORTEST_VERSION or len(found) != 1:
        there = ", ".join(found or versions)
        what = f"{version} means {len(found)} of its versions" if found else f"no version {version}"
        raise ModelError(f"model {name}: {what}; there are: {there}")
    return Ran(f"{name}@{found[0]}", name)


def _created(s3: Any, bucket: Bucket, name: str, version: str) -> datetime:
    """Return when a version was registered; one whose Item is missing was never."""
    item = read_document(s3, model_item_url(bucket, name, version))
    try:
        moment = datetime.fromisoformat(str(item["properties"]["created"]))
    except (ValueError, TypeError, KeyError):
        return NEVER
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
