"""Dead letters: why each is one, and their way back into the queue.

A letter is sent to the queue first and deleted after that. A crash in between leaves it in both, and it is sent again
with the next replay: that does no harm, since an order is claimed once and an execution started once. The other order
would lose it. Letters go one by one, so that a crash leaves one such letter at most.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from geodl_core.aws.site.account import account_errors
from geodl_core.aws.site.clients import client
from geodl_core.aws.site.executions import Deployment
from geodl_core.aws.site.model_index import model_finder
from geodl_core.aws.site.stack import Stack
from geodl_core.aws.steps.ingest import Known, refresh, results_lookup
from geodl_core.domain.place.href import hide_secrets
from geodl_core.domain.watch.envelopes import Message, read_envelope, require_complete
from geodl_core.domain.watch.match import match_item
from geodl_core.errors import GeodlError
from geodl_core.service.watches.verdict import decide, fault_text

HIDDEN_S = 900
"""That letters stay out of sight of others while they are being looked at."""
WAIT_S = 1
EMPTY_LOOKS = 2
"""Looks that find nothing, before a queue counts as empty: it is spread over many machines."""
MOST_SAID = 3
AT_ONCE = 10
"""Letters that SQS gives at a time."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter."""

    id: str
    body: str
    receipt: str
    sent_s: float
    """When it first came to the queue, seconds since 1970."""
    attributes: Mapping[str, Any]
    """Of the message, which go with it."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a letter is dead, as far as it can be told by now."""

    text: str
    is_lasting: bool
    """Whether it will fail again as it is."""


def letters_of(stack: Stack, limit: int | None) -> Iterator[Letter]:
    """Yield dead letters; each is hidden from others for some minutes.

    Letters that came after the beginning are left alone: what is replayed and fails again would come round for ever.

    Args:
        stack: the deployment.
        limit: how many; None for all.

    Raises:
        InputError: the queue may not be read.
        UnavailableError: SQS does not answer.
    """
    sqs, begun_s, count, empty = client("sqs"), time.time(), 0, 0
    late: list[Letter] = []
    try:
        while empty < EMPTY_LOOKS and (limit is None or count < limit):
            with account_errors("dead letters"):
                told = sqs.receive_message(
                    QueueUrl=stack.ingest_dead_letters,
                    MaxNumberOfMessages=AT_ONCE if limit is None else min(AT_ONCE, limit - count),
                    VisibilityTimeout=HIDDEN_S,
                    WaitTimeSeconds=WAIT_S,
                    AttributeNames=["SentTimestamp"],
                    MessageAttributeNames=["All"],
                )
            letters = [_letter(entry) for entry in told.get("Messages", ())]
            empty = 0 if letters else empty + 1
            late += [letter for letter in letters if letter.sent_s > begun_s]
            for letter in letters:
                if letter.sent_s <= begun_s:
                    count += 1
                    yield letter
    finally:
        # Not before: they would be received again.
        for letter in late:
            show_again(stack, letter)


def why_dead(deployment: Deployment, known: Known, letter: Letter) -> Reason:
    """Return why a letter failed: read as the function reads it, without starting anything.

    Args:
        deployment: bucket and ledger.
        known: remembers watches and models.
        letter: the letter.

    Raises:
        UnavailableError: ledger or bucket do not answer.
    """
    try:
        messages = read_envelope(letter.body, "message").messages
    except GeodlError as error:
        return Reason(error.message, is_lasting=True)
    refresh(deployment, known)
    reasons = [_why(deployment, known, message) for message in messages]
    lasting = [reason for reason in reasons if reason.is_lasting]
    if lasting:
        more = f" and {len(lasting) - MOST_SAID} more" if len(lasting) > MOST_SAID else ""
        return Reason("; ".join(reason.text for reason in lasting[:MOST_SAID]) + more, is_lasting=True)
    return reasons[0] if reasons else Reason("it holds no Item", is_lasting=True)


def replay(stack: Stack, letter: Letter) -> None:
    """Send a letter to the queue, then delete it; see above for the order.

    Raises:
        InputError: the queues may not be used.
        UnavailableError: SQS does not answer; the letter is still there.
    """
    sqs = client("sqs")
    with account_errors("queue ingest"):
        more = {"MessageAttributes": dict(letter.attributes)} if letter.attributes else {}
        sqs.send_message(QueueUrl=stack.ingest_queue, MessageBody=letter.body, **more)
    delete(stack, letter)


def delete(stack: Stack, letter: Letter) -> None:
    """Delete a letter, for ever.

    Raises:
        InputError: it may not be deleted.
        UnavailableError: SQS does not answer.
    """
    with account_errors("dead letters"):
        client("sqs").delete_message(QueueUrl=stack.ingest_dead_letters, ReceiptHandle=letter.receipt)


def show_again(stack: Stack, letter: Letter) -> None:
    """Let others see a letter that was only looked at.

    Raises:
        UnavailableError: SQS does not answer; it is seen again after some minutes.
    """
    with account_errors("dead letters"):
        client("sqs").change_message_visibility(
            QueueUrl=stack.ingest_dead_letters, ReceiptHandle=letter.receipt, VisibilityTimeout=0
        )


def _why(deployment: Deployment, known: Known, message: Message) -> Reason:
    if message.item is not None:
        return _why_item(deployment, known, message.item)
    if message.key is not None:
        return Reason(f"an Item by its name, {'/'.join(message.key)}, that was not found", is_lasting=False)
    if message.href is not None:
        return Reason(f"an Item at {hide_secrets(message.href)}, that could not be read", is_lasting=False)
    return Reason(str(message.problem or "there is no Item in it"), is_lasting=True)


def _why_item(deployment: Deployment, known: Known, item: Mapping[str, Any]) -> Reason:
    name = "/".join(str(part) for part in (item.get("collection"), item.get("id")) if part)
    find = model_finder(deployment.s3, deployment.bucket, known.models, deployment.ledger.clock)
    try:
        require_complete(item)
        verdict = decide(item, match_item(known.index, item), results_lookup(deployment), find)
    # As the function, which an Item of anybody may upset.
    except Exception as error:  # noqa: BLE001
        return Reason(f"{name}: {fault_text(error)}", is_lasting=True)
    if verdict.orders:
        count = len(verdict.orders)
        wanted = f"{count} watches want it" if count > 1 else f"watch {verdict.orders[0].watch} wants it"
        return Reason(f"{name}: nothing is wrong with it now, {wanted}", is_lasting=False)
    return Reason(f"{name}: nothing is wrong with it now, and no watch wants it", is_lasting=False)


def _letter(entry: Mapping[str, Any]) -> Letter:
    attributes = {
        name: {key: value[key] for key in ("DataType", "StringValue", "BinaryValue") if key in value}
        for name, value in (entry.get("MessageAttributes") or {}).items()
    }
    sent = float((entry.get("Attributes") or {}).get("SentTimestamp") or 0) / 1000
    return Letter(str(entry["MessageId"]), str(entry["Body"]), str(entry["ReceiptHandle"]), sent, attributes)


def shortened_body(letter: Letter, most: int = 60) -> str:
    """Return the beginning of what a letter says, without SNS's envelope, in a line."""
    text = " ".join(letter.body.split())
    try:
        told = json.loads(letter.body)
        said = told.get("Message") if isinstance(told, dict) else None
        text = " ".join(said.split()) if isinstance(said, str) else json.dumps(told, ensure_ascii=False)
    except (ValueError, RecursionError):
        pass
    return text if len(text) <= most else f"{text[: most - 1]}…"
