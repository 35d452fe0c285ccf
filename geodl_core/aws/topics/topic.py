"""Publishing from a user's machine: Items in whatever envelope to a topic, each with its own outcome."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from geodl_core.aws.site.account import account_errors
from geodl_core.aws.site.clients import client, open_bucket
from geodl_core.aws.site.stack import Stack
from geodl_core.aws.topics.publish import Topic, batches_of, entry_of, send_batch
from geodl_core.domain.place.href import hide_secrets
from geodl_core.domain.watch.envelopes import Message, read_envelope
from geodl_core.errors import InputError, ItemError, StoreError
from geodl_core.service.triggers.fetch import fetch_item
from geodl_core.service.triggers.publish import Outcome, Published, prepared_item

ARN = re.compile(r"arn:aws[a-z-]*:sns:([a-z0-9-]+):\d{12}:[A-Za-z0-9_-]{1,256}")
OWN = ("/", "file:", "~", "\\")
"""Beginnings of hrefs that only this machine can follow."""


def topic_of(arn: str, stack: Stack | None = None) -> Topic:
    """Return a topic by its ARN, with the bucket of a deployment for Items that are too large.

    Raises:
        InputError: it is the ARN of no standard topic, or there is no region.
    """
    match = ARN.fullmatch(arn)
    if not match:
        raise InputError(f"--topic: expected the ARN of a topic, arn:aws:sns:REGION:ACCOUNT:NAME, found {arn[:300]!r}")
    with account_errors(f"topic {arn}"):
        bucket = None if stack is None else open_bucket(f"s3://{stack.bucket}")
        return Topic(client("sns", match[1]), client("s3", match[1]), arn, bucket)


def publish_document(
    topic: Topic, document: Any, place: str, collection: str | None, *, is_dry: bool = False
) -> list[Published]:
    """Publish the Items of an envelope to a topic; what is wrong with one Item does not stop the others.

    Args:
        topic: where.
        document: from JSON.
        place: what it is called in errors.
        collection: of Items that name none.
        is_dry: only tell what would be published.

    Returns:
        The outcome of each message, in order.

    Raises:
        InputError: there is no such topic, or it may not be written to.
    """
    messages = read_envelope(document, place).messages
    results: list[Published] = []
    ready: list[tuple[int, dict[str, Any]]] = []
    for message in messages:
        item: Mapping[str, Any] = message.item or {}
        try:
            item = _item_of(message, collection)
            entry = entry_of(topic, item, "created", is_dry=is_dry)
        except (InputError, StoreError) as error:
            results.append(_told(message, item, error))
            continue
        ready.append((len(results), entry))
        results.append(_told(message, item, None))
    if is_dry:
        return [replace(one, outcome="ready") if one.outcome == "published" else one for one in results]
    for (number, _), wrong in zip(ready, _sent(topic, [entry for _, entry in ready]), strict=True):
        if wrong is not None:
            results[number] = replace(results[number], outcome=_outcome(wrong), text=_said(wrong))
    return results


def _sent(topic: Topic, entries: list[dict[str, Any]]) -> list[InputError | StoreError | None]:
    """Publish messages; return what is wrong with each. Where the topic does not answer the rest is not tried."""
    errors: list[InputError | StoreError | None] = []
    try:
        for batch in batches_of(entries):
            errors += send_batch(topic, batch)
    except StoreError as error:
        errors += [error] * (len(entries) - len(errors))
    return errors


def _item_of(message: Message, collection: str | None) -> Mapping[str, Any]:
    """Return the Item of a message, as it may be published.

    Raises:
        ItemError: there is none, or only this machine could read it.
        StoreError: what has it does not answer.
    """
    if message.problem is not None:
        raise ItemError(message.problem)
    if message.key is not None:
        raise ItemError(f"{'/'.join(message.key)[:200]}: expected an Item, found its name alone")
    found = message.item if message.href is None else fetch_item(message.href)
    item = prepared_item(found or {}, collection)
    for key, asset in item["assets"].items():
        href = str(asset.get("href", ""))
        if href.startswith(OWN):
            raise ItemError(
                f"asset {key}: expected a URL that the deployment can read, found {hide_secrets(href)[:200]!r}",
                hint="bring the file to a bucket first: s3://…",
            )
    return item


def _told(message: Message, item: Mapping[str, Any], error: InputError | StoreError | None) -> Published:
    names = [item.get(name) for name in ("collection", "id")]
    named, item_id = (one[:200] if isinstance(one, str) else None for one in names)
    if error is None:
        return Published(message.place, "published", named, item_id)
    return Published(message.place, _outcome(error), named, item_id, _said(error))


def _outcome(error: InputError | StoreError) -> Outcome:
    return "unavailable" if isinstance(error, StoreError) else "refused"


def _said(error: InputError | StoreError) -> str:
    return error.message if error.hint is None else f"{error.message} ({error.hint})"
