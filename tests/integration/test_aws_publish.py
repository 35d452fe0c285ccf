"""Items to a topic: with attributes to choose by, the large ones by reference, what a catalog's outbox has, once."""

import json
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest

from cloud import make_cloud
from geodl_core.aws.site.documents import read_document
from geodl_core.aws.steps.ingest import Known, ingest
from geodl_core.aws.topics.publish import (
    LARGE_BYTES,
    MOST_BYTES,
    Topic,
    attributes_of,
    publish_event,
    publish_items,
    publish_outbox,
)
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.errors import InputError, ItemError
from stac_documents import make_collection

ITEM = json.loads((Path(__file__).parents[1] / "events" / "item.json").read_text())
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def topic(cloud):
    return Topic(boto3.client("sns"), cloud.s3, cloud.topic, cloud.bucket)


def items(number, size=0):
    return [{**ITEM, "id": f"i{n}", "properties": {**ITEM["properties"], "note": "x" * size}} for n in range(number)]


def test_an_item_is_published_whole(cloud, topic):
    """The message is the Item; its attributes are those by which Earth Search's subscribers choose."""
    assert publish_items(topic, [ITEM]) == 1
    (message,) = cloud.received()
    assert json.loads(message["Message"]) == ITEM
    told = {name: (each["Type"], each["Value"]) for name, each in message["MessageAttributes"].items()}
    assert told == {
        "collection": ("String", "scenes"),
        "status": ("String", "created"),
        "datetime": ("String", "2026-05-14T10:10:31Z"),
        "bbox.ll_lon": ("Number", "12.9"),
        "bbox.ll_lat": ("Number", "47.7"),
        "bbox.ur_lon": ("Number", "13.3"),
        "bbox.ur_lat": ("Number", "48.0"),
        "cloud_cover": ("Number", "7.5"),
    }


def test_a_filter_policy_chooses(cloud, topic):
    """A subscriber with a filter on the attributes gets what it asked for alone."""
    other = make_cloud()
    sqs = boto3.client("sqs")
    arn = sqs.get_queue_attributes(QueueUrl=other.queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = {"collection": ["scenes"], "cloud_cover": [{"numeric": ["<", 5]}]}
    boto3.client("sns").subscribe(
        TopicArn=cloud.topic, Protocol="sqs", Endpoint=arn, Attributes={"FilterPolicy": json.dumps(policy)}
    )
    clear = {**ITEM, "id": "clear", "properties": {**ITEM["properties"], "eo:cloud_cover": 2}}
    publish_items(topic, [ITEM, clear])
    assert [json.loads(message["Message"])["id"] for message in other.received()] == ["clear"]
    assert len(cloud.received()) == 2


@pytest.mark.parametrize(
    ("change", "absent"),
    [
        ({"bbox": None}, "bbox.ll_lon"),
        ({"bbox": [1, 2, "x", 4]}, "bbox.ur_lon"),
        ({"properties": {"datetime": None}}, "datetime"),
        ({"properties": None}, "cloud_cover"),
        ({"properties": {"eo:cloud_cover": float("nan")}}, "cloud_cover"),
        ({"properties": {"eo:cloud_cover": True}}, "cloud_cover"),
    ],
)
def test_what_an_item_does_not_tell_is_left_out(change, absent):
    """Of whatever is missing or no value there is no attribute, and there are never more than ten."""
    found = attributes_of({**ITEM, **change}, "updated")
    assert absent not in found
    assert len(found) <= 10


def test_corners_of_a_box_with_heights(cloud):
    """Of six numbers the horizontal ones are told."""
    found = attributes_of({**ITEM, "bbox": [1, 2, -9, 3, 4, 9]}, "created")
    assert [found[f"bbox.{name}"]["StringValue"] for name in ("ll_lon", "ll_lat", "ur_lon", "ur_lat")] == list("1234")


def test_a_large_item_goes_by_reference(cloud, topic):
    """What a message has no room for lies in the bucket, and who takes the message finds it."""
    (large,) = items(1, LARGE_BYTES)
    publish_items(topic, [large])
    (message,) = cloud.received()
    told = json.loads(message["Message"])
    assert list(told) == ["href"]
    assert read_document(cloud.s3, told["href"]) == large
    assert message["MessageAttributes"]["collection"]["Value"] == "scenes"
    assert ingest(cloud.deployment, Known(), message, "m") == []
    bare = Topic(topic.sns, topic.s3, topic.arn, None)
    assert publish_items(bare, [large]) == 1


def test_the_largest_message_is_taken(cloud, topic):
    """An Item just below SNS's limit, attributes counted, is taken whole; one byte more is refused here, not there."""
    bare = Topic(topic.sns, topic.s3, topic.arn, None)
    (empty,) = items(1)
    counted = sum(len(name) + sum(map(len, each.values())) for name, each in attributes_of(empty, "created").items())
    room = MOST_BYTES - counted - len(json.dumps(empty, separators=(",", ":")))
    assert publish_items(bare, items(1, room)) == 1
    with pytest.raises(InputError, match="262,145"):
        publish_items(bare, items(1, room + 1))


def test_many_items_fit_into_requests(cloud, topic):
    """However many and large they are, each is published once; a request holds ten and 256 kB at most."""
    many = items(23) + [{**one, "id": f"big{n}"} for n, one in enumerate(items(5, 150_000))]
    assert publish_items(topic, many) == 28
    found = sorted(json.loads(message["Message"])["id"] for message in cloud.received())
    assert found == sorted(one["id"] for one in many)


def test_a_topic_that_there_is_not_is_told(topic):
    """A wrong ARN is the caller's fault, and named."""
    with pytest.raises(InputError, match="nowhere"):
        publish_items(Topic(topic.sns, topic.s3, "arn:aws:sns:us-east-1:123456789012:nowhere", None), [ITEM])


@pytest.fixture
def catalog(tmp_path):
    with SqliteCatalog(tmp_path / "catalog.db") as opened:
        opened.put_collection(make_collection("scenes"))
        yield opened


def test_what_was_written_is_published_once(cloud, topic, catalog):
    """All writes since the last time are told of, with whether they were new; deletions and Collections are not."""
    catalog.put_items(items(3))
    assert publish_outbox(topic, catalog, cloud.ledger) == 3
    assert publish_outbox(topic, catalog, cloud.ledger) == 0
    catalog.put_items([{**items(1)[0], "bbox": [0, 0, 1, 1]}])
    catalog.delete_item("scenes", "i1")
    assert publish_outbox(topic, catalog, cloud.ledger) == 1
    told = [(json.loads(m["Message"])["id"], m["MessageAttributes"]["status"]["Value"]) for m in cloud.received()]
    assert sorted(told) == [("i0", "created"), ("i0", "updated"), ("i1", "created"), ("i2", "created")]


def test_more_writes_than_a_page(cloud, topic, catalog, monkeypatch):
    """A long outbox is published to its end."""
    monkeypatch.setattr("geodl_core.aws.topics.publish.PAGE", 10)
    catalog.put_items(items(35))
    assert publish_outbox(topic, catalog, cloud.ledger) == 35
    assert len({json.loads(message["Message"])["id"] for message in cloud.received()}) == 35


def test_who_is_killed_leaves_the_rest_to_the_next(cloud, topic, catalog):
    """What was not published for sure is published by the next one."""
    catalog.put_items(items(2))
    broken = Topic(topic.sns, topic.s3, "arn:aws:sns:us-east-1:123456789012:nowhere", None)
    with pytest.raises(InputError):
        publish_outbox(broken, catalog, cloud.ledger)
    assert publish_outbox(topic, catalog, cloud.ledger) == 2


def test_events_are_published(cloud, topic, catalog):
    """Items in an envelope go to the topic, references do not; a schedule's event asks for the outbox."""
    assert publish_event(topic, {"type": "FeatureCollection", "features": items(2)}, None, cloud.ledger, NOW) == 2
    with pytest.raises(ItemError, match="references"):
        publish_event(topic, {"href": "https://h/i.json"}, None, cloud.ledger, NOW)
    with pytest.raises(ItemError, match="expected a STAC Item"):
        publish_event(topic, {"x": 1}, None, cloud.ledger, NOW)

    schedule = {"source": "geodl.schedule"}
    catalog.put_items(items(1))
    assert publish_event(topic, schedule, lambda: nullcontext(catalog), cloud.ledger, NOW) == 1
    assert publish_event(topic, schedule, None, cloud.ledger, NOW) == 0
