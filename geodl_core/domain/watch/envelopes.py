"""Messages that carry Items: bare, in collections, or wrapped by the services that pass them on.

Formats: STAC ItemCollection; Amazon SNS notification, SQS message and Lambda's records of both, EventBridge (`detail`),
as in AWS's documentation of each; CloudEvents 1.0, JSON format and batch; `{"href": …}` and
`{"collection": …, "id": …}` in place of an Item, as Cirrus, stac-server and eoapi-notifier send them.
"""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from geodl_core.errors import InputError, ItemError

MOST_MESSAGES = 10_000
MOST_WRAPPINGS = 6
"""EventBridge → SNS → SQS → Lambda are four."""
MOST_LEVELS = 100
"""Of nesting in an Item; STAC's have about ten."""
MOST_CHARACTERS = 32 << 20
"""Of a message that is wrapped as text."""
MOST_HREF = 8_000
NEEDED: Mapping[str, type | tuple[type, ...]] = {
    "id": (str, int),
    "properties": dict,
    "assets": dict,
    "stac_version": str,
}
"""Key of a STAC Item → what it must be; assets may be an empty object."""
SUBSCRIPTIONS = ("SubscriptionConfirmation", "UnsubscribeConfirmation")
EXPECTED = (
    "expected a STAC Item, a FeatureCollection, {href}, {collection, id}, "
    "or an envelope of SNS, SQS, EventBridge or CloudEvents"
)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of an envelope: just one of item, href, key and problem is given."""

    place: str
    """Where in the envelope it stands, as `Records[2].body`."""
    item: Mapping[str, Any] | None = None
    """As it came, unchecked but for being a Feature of bounded depth."""
    href: str | None = None
    """Where the Item is to be fetched."""
    key: tuple[str, str] | None = None
    """Collection and id of an Item that a catalog has already."""
    problem: str | None = None
    """Why it cannot be read."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What was sent together. Messages that cannot be read stand among the others."""

    messages: tuple[Message, ...]

    @property
    def items(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(one.item for one in self.messages if one.item is not None)

    @property
    def hrefs(self) -> tuple[str, ...]:
        return tuple(one.href for one in self.messages if one.href is not None)

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(f"{one.place}: {one.problem}" for one in self.messages if one.problem is not None)


def read_envelope(document: Any, place: str) -> Envelope:
    """Read what a publisher sent, whatever it is wrapped in.

    Args:
        document: from JSON.
        place: what it is called in errors.

    Raises:
        InputError: more messages than are taken at a time. What is wrong with one message is said by itself.
    """
    found: list[Message] = []
    for message in _unwrapped(document, place, 0):
        if len(found) >= MOST_MESSAGES:
            raise InputError(f"{place}: expected at most {MOST_MESSAGES:,} messages, found more")
        found.append(message)
    return Envelope(tuple(found))


def require_complete(document: Mapping[str, Any]) -> None:
    """Make sure that a Feature is a STAC Item, as far as that is told by its outermost keys.

    Raises:
        ItemError: it is another Feature.
    """
    lacking = [key for key, kind in NEEDED.items() if not isinstance(document.get(key), kind) or document[key] == ""]
    if lacking:
        raise ItemError(f"expected a STAC Item, found a Feature without {', '.join(lacking)}")


def _unwrapped(document: Any, place: str, depth: int) -> Iterator[Message]:
    """Yield the messages in what may be an Item, or an envelope in an envelope."""
    if depth > MOST_WRAPPINGS:
        yield Message(place, problem=f"expected at most {MOST_WRAPPINGS} envelopes around an Item, found more")
        return
    try:
        # What services pass on is mostly text.
        document = _read_text(document) if isinstance(document, str) else document
        inner = list(_inner(document, place))
        if not inner:
            yield _message(document, place)
    except ItemError as error:
        yield Message(place, problem=error.message)
        return
    for below, content in inner:
        yield from _unwrapped(content, below, depth + 1)


def _inner(document: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield place and content of what an envelope holds; nothing where the document is none."""
    if isinstance(document, list):
        yield from _several(document, place)
    elif not isinstance(document, Mapping) or document.get("type") == "Feature":
        return
    elif document.get("type") == "FeatureCollection":
        yield from _several(_list(document, "features"), f"{place}.features")
    elif isinstance(document.get("Records"), list):
        yield from _several(document["Records"], f"{place}.Records")
    elif isinstance(document.get("Messages"), list):
        yield from _several(document["Messages"], f"{place}.Messages")
    elif document.get("Type") in SUBSCRIPTIONS:
        raise ItemError(f"expected a notification, found SNS's {document['Type']}, which is confirmed by a server")
    else:
        yield from _wrapped(document, place)


def _wrapped(document: Mapping[str, Any], place: str) -> Iterator[tuple[str, Any]]:
    sns = document.get("Sns")
    if isinstance(sns, Mapping):
        yield f"{place}.Sns.Message", sns.get("Message")
    elif "Message" in document and ("TopicArn" in document or document.get("Type") == "Notification"):
        yield f"{place}.Message", document["Message"]
    elif "body" in document or "Body" in document:
        key = "body" if "body" in document else "Body"
        yield f"{place}.{key}", document[key]
    elif "detail" in document and ("detail-type" in document or "source" in document):
        yield f"{place}.detail", document["detail"]
    elif "specversion" in document:
        yield from _cloud_event(document, place)


def _cloud_event(document: Mapping[str, Any], place: str) -> Iterator[tuple[str, Any]]:
    kind = str(document.get("type"))
    if kind.rsplit(".", 1)[-1].lower() in ("delete", "deleted"):
        raise ItemError(f"expected an Item that was published, found the event {kind[:80]}")
    encoded = document.get("data_base64")
    if isinstance(encoded, str):
        try:
            yield f"{place}.data_base64", base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise ItemError("data_base64: expected JSON in base64, found something else") from error
        return
    yield f"{place}.data", document.get("data")


def _several(documents: list[Any], place: str) -> Iterator[tuple[str, Any]]:
    if not documents:
        raise ItemError("expected messages, found none")
    if len(documents) > MOST_MESSAGES:
        raise InputError(f"{place}: expected at most {MOST_MESSAGES:,} messages, found {len(documents):,}")
    return ((f"{place}[{number}]", one) for number, one in enumerate(documents))


def _list(document: Mapping[str, Any], key: str) -> list[Any]:
    value = document.get(key)
    if not isinstance(value, list):
        raise ItemError(f"expected a list of {key}, found {type(value).__name__}")
    return value


def _read_text(text: str) -> Any:
    if len(text) > MOST_CHARACTERS:
        raise ItemError(f"expected at most {MOST_CHARACTERS >> 20} MB of text, found more")
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ItemError("expected JSON as text, found text that is none") from error


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no JSON number")


def _message(document: Any, place: str) -> Message:
    """Return the message that is not wrapped any more."""
    if not isinstance(document, Mapping):
        raise ItemError(f"{EXPECTED}; found {_shown(document)}")
    if document.get("type") == "Feature":
        _require_shallow(document)
        return Message(place, item=document)
    href, collection, item_id = (document.get(name) for name in ("href", "collection", "id"))
    if isinstance(href, str) and href:
        if len(href) > MOST_HREF:
            raise ItemError(f"href: expected at most {MOST_HREF:,} characters, found {len(href):,}")
        return Message(place, href=href)
    if isinstance(collection, str) and isinstance(item_id, str) and collection and item_id and "type" not in document:
        return Message(place, key=(collection, item_id))
    if document.get("type") in ("Collection", "Catalog"):
        raise ItemError(f"expected a STAC Item, found a {document['type']}, which geodl catalog import takes")
    keys = ", ".join(str(key)[:20] for key in list(document)[:5])
    raise ItemError(f"{EXPECTED}; found an object {f'whose keys are {keys}' if keys else 'with nothing in it'}")


def _require_shallow(document: Mapping[str, Any]) -> None:
    level: list[Any] = [document]
    for _ in range(MOST_LEVELS):
        below = (one.values() if isinstance(one, dict) else one for one in level)
        level = [child for children in below for child in children if isinstance(child, (dict, list))]
        if not level:
            return
    raise ItemError(f"expected at most {MOST_LEVELS} levels of nesting, found more")


def _shown(value: Any) -> str:
    return repr(value)[:40] if value is None or isinstance(value, str | int | float) else type(value).__name__
