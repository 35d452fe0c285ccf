"""Items out of every envelope that services put around them."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.watch.envelopes import MOST_MESSAGES, MOST_WRAPPINGS, read_envelope
from geodl_core.errors import InputError

ITEM = {"type": "Feature", "id": "i", "collection": "s", "properties": {}, "geometry": None}
TEXT = json.dumps(ITEM)
SNS = {"Type": "Notification", "TopicArn": "arn:aws:sns:us-west-2:1:t", "Message": TEXT}
NAMES = (
    *("type", "features", "Records", "body", "Sns", "Message", "Type", "detail", "detail-type", "data", "specversion"),
    *("href", "id", "collection", "TopicArn", "Messages", "Body"),
)
EVENT = {"specversion": "1.0", "type": "org.ogc.api.collection.item.create", "source": "/", "id": "1"}


@pytest.mark.parametrize(
    ("document", "place"),
    [
        (ITEM, "body"),
        ({"type": "FeatureCollection", "features": [ITEM]}, "body.features[0]"),
        ([ITEM], "body[0]"),
        (SNS, "body.Message"),
        ({"Records": [{"body": TEXT}]}, "body.Records[0].body"),
        ({"Records": [{"body": json.dumps(SNS)}]}, "body.Records[0].body.Message"),
        ({"Records": [{"Sns": {"Message": TEXT}}]}, "body.Records[0].Sns.Message"),
        ({"Messages": [{"Body": json.dumps(SNS)}]}, "body.Messages[0].Body.Message"),
        ({"detail-type": "new", "source": "x", "detail": ITEM}, "body.detail"),
        ({**EVENT, "data": ITEM}, "body.data"),
        ({**EVENT, "data": TEXT}, "body.data"),
        ({**EVENT, "data_base64": base64.b64encode(TEXT.encode()).decode()}, "body.data_base64"),
        ({"detail-type": "x", "detail": {**EVENT, "data": ITEM}}, "body.detail.data"),
    ],
)
def test_every_envelope_is_opened(document, place):
    """The Item comes out as it went in, and is said to stand where it stood."""
    (message,) = read_envelope(document, "body").messages
    assert (message.item, message.place, message.problem) == (ITEM, place, None)


def test_references_stand_for_items():
    """An href or the name of an Item is taken in its place, in any envelope."""
    assert read_envelope({"href": "https://example.com/i.json"}, "b").hrefs == ("https://example.com/i.json",)
    assert read_envelope({**SNS, "Message": '{"href": "https://e.com/i"}'}, "b").hrefs == ("https://e.com/i",)
    (message,) = read_envelope({**EVENT, "data": {"collection": "s", "id": "i"}}, "b").messages
    assert message.key == ("s", "i")


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "place"),
    [("sns-single", "event.Records[0].Sns.Message"), ("sns-sqs-single", "event.Records[0].body.Message")],
)
def test_real_events_are_opened(shared, name, place):
    """Lambda's events as Cirrus has recorded them are opened to the message, whether that is an Item or not."""
    event = json.loads((shared / "fixtures" / "stac" / f"cirrus_event_{name}.json").read_text())
    (message,) = read_envelope(event, "event").messages
    assert message.place == place
    assert "found an object whose keys are id" in message.problem
    text = json.dumps(event).replace(
        json.dumps(json.dumps({"id": "some-collection/some-workflow/an-item-id"}))[1:-1], json.dumps(TEXT)[1:-1]
    )
    if name == "sns-single":
        assert read_envelope(json.loads(text), "event").items == (ITEM,)


@pytest.mark.shared
def test_a_process_payload_is_a_feature_collection(shared):
    """A Cirrus payload's Items are taken, whatever else stands beside them."""
    payload = json.loads((shared / "fixtures" / "stac" / "stac-task_payload_sentinel2-l2a-j2k.json").read_text())
    assert read_envelope(payload, "event").items == tuple(payload["features"])


def test_a_bad_message_does_not_block_the_others():
    """Each message has its own outcome, and a bad one names its place."""
    records = [{"body": TEXT}, {"body": "{"}, {"body": 7}, {"Sns": {}}, {"Sns": {"Message": TEXT}}, None]
    found = read_envelope({"Records": records}, "event")
    assert found.items == (ITEM, ITEM)
    assert [text.partition(": ")[0] for text in found.problems] == [
        "event.Records[1].body",
        "event.Records[2].body",
        "event.Records[3].Sns.Message",
        "event.Records[5]",
    ]


@pytest.mark.parametrize(
    "document",
    [
        None,
        7,
        "x",
        "",
        {},
        [],
        {"type": "FeatureCollection"},
        {"type": "FeatureCollection", "features": {}},
        {"Records": []},
        {"Type": "SubscriptionConfirmation", "SubscribeURL": "https://example.com"},
        {**EVENT, "type": "org.ogc.api.collection.item.delete", "data": ITEM},
        {**EVENT, "data_base64": "%"},
        {**EVENT},
        {"href": ""},
        {"href": "x" * 10_000},
        {"id": "i"},
        {"type": "Collection", "id": "c", "collection": "d"},
        {**SNS, "Message": "NaN"},
        {**SNS, "Message": "[" * 100_000},
    ],
)
def test_what_is_no_message_is_told(document):
    """Nothing that is sent raises an error or counts as an Item; it is a problem that says what was expected."""
    found = read_envelope(document, "body")
    assert (found.items, found.hrefs, len(found.problems)) == ((), (), 1)


def test_envelopes_without_end_are_refused():
    """Wrapped more often than services do, nested more deeply than Items are, or more than are taken at a time."""
    wrapped = ITEM
    for _ in range(MOST_WRAPPINGS):
        wrapped = {**EVENT, "data": wrapped}
    assert read_envelope(wrapped, "b").items == (ITEM,)
    assert read_envelope({**EVENT, "data": wrapped}, "b").items == ()
    deep = {}
    for _ in range(150):
        deep = {"x": deep}
    assert "nesting" in read_envelope({**ITEM, "properties": deep}, "b").problems[0]
    with pytest.raises(InputError, match="messages"):
        read_envelope([ITEM] * (MOST_MESSAGES + 1), "b")
    with pytest.raises(InputError, match="messages"):
        read_envelope([[ITEM] * (MOST_MESSAGES // 2 + 1)] * 2, "b")


@given(
    st.recursive(
        st.none() | st.integers() | st.sampled_from(["Feature", TEXT, "{}", "1.0"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(NAMES),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_is_answered(document):
    """Whatever is sent, each message has exactly one of item, href, key and problem."""
    for message in read_envelope(document, "b").messages:
        kinds = (message.item, message.href, message.key, message.problem)
        assert sum(kind is not None for kind in kinds) == 1
