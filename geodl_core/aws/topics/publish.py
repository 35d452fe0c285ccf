"""Items to a topic, with the attributes by which subscribers choose; those that are too large by reference.

The attributes are those of Earth Search's topic (https://github.com/Element84/earth-search, "SNS"): collection,
datetime, start_datetime, end_datetime, bbox.ll_lon, bbox.ll_lat, bbox.ur_lon, bbox.ur_lat, cloud_cover, status. They
are ten at most, which is what raw delivery to SQS takes.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from geodl_core.aws.ledger.ledger import DynamoLedger, answers
from geodl_core.aws.site.account import HOW
from geodl_core.aws.site.documents import write_document
from geodl_core.aws.site.layout import Bucket, large_url
from geodl_core.domain.watch.envelopes import read_envelope, require_complete
from geodl_core.domain.watch.match import MODELS
from geodl_core.errors import CatalogError, InputError, ItemError, StoreError

LARGE_BYTES = 200_000
"""Those that are larger go by reference: envelopes around a message need room, too."""
MOST_BYTES = 262_144
"""That SNS takes, with attributes (Amazon SNS endpoints and quotas)."""
BATCH_ENTRIES = 10
"""Messages of one request, by SNS's limits."""
SCHEDULE = "geodl.schedule"
"""Source that an event has which only says that it is time."""
KEPT = timedelta(days=7)
OUTBOX: dict[str, str] = {"pk": "META", "sk": "OUTBOX"}
"""Row with the cursor: how far the catalog's outbox was published."""
PAGE = 500
Status = Literal["created", "updated"]
STATUSES: dict[Status, str] = {"created": "create", "updated": "replace"}
"""Status → what the outbox calls it."""


@dataclass(frozen=True, slots=True)
class Topic:
    """Where Items are published."""

    sns: Any
    """boto3's clients of SNS and S3."""
    s3: Any
    arn: str
    bucket: Bucket | None
    """For Items that are too large; None refuses them."""


class Outbox(Protocol):
    """A catalog that knows what was written to it."""

    def outbox(self, after: int, limit: int) -> Sequence[Any]:
        """Return the writes after a number, oldest first: seq, op, collection_id, item_id."""
        ...

    def get_item(self, collection_id: str, item_id: str) -> dict[str, Any] | None:
        """Return an Item, None where there is none."""
        ...


def publish_items(topic: Topic, items: Iterable[Mapping[str, Any]], status: Status = "created") -> int:
    """Publish Items; return how many. One that was published before does no harm again.

    Args:
        topic: where.
        items: with absolute hrefs.
        status: what has become of them.

    Raises:
        InputError: the topic refuses a message, or an Item is too large and there is no bucket for it.
        StoreError: the topic or the bucket do not answer.
    """
    count = 0
    for batch in batches_of(entry_of(topic, item, status) for item in items):
        for error in send_batch(topic, batch):
            if error is not None:
                raise error
        count += len(batch)
    return count


def publish_outbox(topic: Topic, catalog: Outbox, ledger: DynamoLedger) -> int:
    """Publish what was written to a catalog since the last time; return how many Items that were.

    The cursor moves on when they are published: whoever is killed before it leaves them to the next, and of two at
    once both publish, which does no harm.

    Raises:
        CatalogError: the catalog or the table does not answer.
        StoreError: the topic or the bucket do not answer.
    """
    count = 0
    while True:
        position = _position(ledger)
        rows = catalog.outbox(position, PAGE)
        if not rows:
            return count
        last = {(row.collection_id, row.item_id): row for row in rows if row.item_id and row.collection_id != MODELS}
        kept = [row for row in last.values() if row.op != "delete"]
        for status, ops in STATUSES.items():
            found = (catalog.get_item(row.collection_id, row.item_id) for row in kept if row.op == ops)
            count += publish_items(topic, (item for item in found if item is not None), status)
        if not _advance(ledger, position, int(rows[-1].seq)):
            return count


def publish_event(
    topic: Topic,
    event: Any,
    open_catalog: Callable[[], AbstractContextManager[Any]] | None,
    ledger: DynamoLedger,
    now: datetime,
) -> int:
    """Publish what an event has: Items in any envelope; one of a schedule asks for what the outbox of the catalog has.

    Args:
        topic: where.
        event: from JSON.
        open_catalog: of the deployment; None where it has no outbox.
        ledger: with the cursor.
        now: rows of the outbox that were published a week before it are taken away.

    Returns:
        How many Items were published.

    Raises:
        ItemError: the event holds something that is no Item; nothing was published.
        CatalogError: catalog or table do not answer.
        StoreError: topic or bucket do not answer.
    """
    if isinstance(event, Mapping) and event.get("source") == SCHEDULE:
        if open_catalog is None:
            return 0
        with open_catalog() as catalog:
            count = publish_outbox(topic, catalog, ledger)
            catalog.prune_outbox(_position(ledger), now - KEPT)
        return count
    envelope = read_envelope(event, "event")
    if envelope.problems or len(envelope.items) != len(envelope.messages):
        raise ItemError("; ".join(envelope.problems[:5]) or "event: expected Items, found references to Items")
    for item in envelope.items:
        require_complete(item)
    return publish_items(topic, envelope.items)


def attributes_of(item: Mapping[str, Any], status: Status) -> dict[str, dict[str, str]]:
    """Return the attributes of an Item's message; what it does not tell is left out."""
    properties = item.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    texts = {"collection": item.get("collection"), "status": status}
    texts |= {name: properties.get(name) for name in ("datetime", "start_datetime", "end_datetime")}
    found = {name: _text(value) for name, value in texts.items() if isinstance(value, str) and value}
    bbox = item.get("bbox")
    if isinstance(bbox, list) and len(bbox) in (4, 6):
        half = len(bbox) // 2
        corners = {"ll_lon": bbox[0], "ll_lat": bbox[1], "ur_lon": bbox[half], "ur_lat": bbox[half + 1]}
        found |= {f"bbox.{name}": _number(value) for name, value in corners.items() if _is_number(value)}
    cloud: Any = properties.get("eo:cloud_cover")
    if _is_number(cloud):
        found["cloud_cover"] = _number(cloud)
    return found


def entry_of(topic: Topic, item: Mapping[str, Any], status: Status, *, is_dry: bool = False) -> dict[str, Any]:
    """Return the message of an Item; one that is large is written to the bucket, and the message says where.

    Where it is to be only told of nothing is written.

    Raises:
        InputError: it is too large, and there is no bucket.
        StoreError: the bucket does not answer.
    """
    text = json.dumps(item, ensure_ascii=False, separators=(",", ":"))
    content, attributes = text.encode(), attributes_of(item, status)
    if topic.bucket is None:
        size = len(content) + _size_of(attributes)
        if size > MOST_BYTES:
            raise InputError(
                f"item {item.get('id')}: expected at most {MOST_BYTES:,} bytes, found {size:,}",
                hint="a deployment has a bucket for larger ones: --stack names it",
            )
    elif len(content) > LARGE_BYTES:
        url = large_url(topic.bucket, hashlib.sha256(content).hexdigest())
        if not is_dry:
            write_document(topic.s3, url, item)
        text = json.dumps({"href": url})
    return {"Message": text, "MessageAttributes": attributes}


def batches_of(entries: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield messages, so many at a time as SNS takes in one request."""
    batch: list[dict[str, Any]] = []
    size = 0
    for entry in entries:
        weight = len(entry["Message"].encode()) + _size_of(entry["MessageAttributes"])
        if batch and (len(batch) == BATCH_ENTRIES or size + weight > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append({"Id": str(len(batch)), **entry})
        size += weight
    if batch:
        yield batch


def send_batch(topic: Topic, batch: list[dict[str, Any]]) -> list[InputError | StoreError | None]:
    """Publish messages in one request; return for each what is wrong with it, None where it was taken.

    Raises:
        InputError: there is no such topic, or it may not be written to.
        StoreError: the topic does not answer.
    """
    try:
        answer = topic.sns.publish_batch(TopicArn=topic.arn, PublishBatchRequestEntries=batch)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in ("NotFound", "AuthorizationError", "InvalidParameter", "AccessDenied"):
            raise InputError(
                f"{topic.arn}: refused ({code})", hint="is it the ARN, and may the role do this?"
            ) from error
        raise StoreError(f"{topic.arn}: the topic answers {code}") from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise InputError(f"{topic.arn}: expected credentials for AWS, found none", hint=HOW) from error
    except BotoCoreError as error:
        raise StoreError(f"{topic.arn}: the topic does not answer ({type(error).__name__})") from error
    errors: list[InputError | StoreError | None] = [None] * len(batch)
    for failed in answer.get("Failed") or ():
        kind = InputError if failed.get("SenderFault") else StoreError
        errors[int(failed["Id"])] = kind(f"{topic.arn}: a message was not taken ({failed.get('Code')})")
    return errors


def _position(ledger: DynamoLedger) -> int:
    with answers(ledger):
        row = ledger.table.get_item(Key=OUTBOX, ConsistentRead=True).get("Item")
    return 0 if row is None else int(row["position"])


def _advance(ledger: DynamoLedger, seen: int, position: int) -> bool:
    """Move the cursor, if it stands where it stood; False where somebody else was faster."""
    condition = "#position = :seen" if seen else "attribute_not_exists(#position)"
    values = {":position": position, **({":seen": seen} if seen else {})}
    try:
        ledger.table.update_item(
            Key=OUTBOX,
            UpdateExpression="SET #position = :position",
            ConditionExpression=condition,
            ExpressionAttributeNames={"#position": "position"},
            ExpressionAttributeValues=values,
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
            return False
        raise CatalogError(f"table {ledger.table.name}: it does not answer ({error})") from error
    return True


def _size_of(attributes: Mapping[str, Mapping[str, str]]) -> int:
    """Return the bytes that attributes count for: names, types and values."""
    return sum(len(name.encode()) + len("".join(each.values()).encode()) for name, each in attributes.items())


def _text(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}


def _number(value: float) -> dict[str, str]:
    return {"DataType": "Number", "StringValue": repr(value)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
