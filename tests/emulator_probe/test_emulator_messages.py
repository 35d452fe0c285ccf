"""SNS and SQS as geodl uses them: a topic that fans out with filters, queues with a dead-letter queue."""

import json
import time

import pytest
from aws_probe import bodies, make_queue, named, received
from botocore.exceptions import ClientError

pytestmark = pytest.mark.aws


def subscribed(aws, **attributes):
    """A topic, and a queue that gets its messages raw."""
    topic, queue = aws.sns.create_topic(Name=named("topic"))["TopicArn"], make_queue(aws)
    spelled = {name: value if isinstance(value, str) else json.dumps(value) for name, value in attributes.items()}
    aws.sns.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=queue.arn, Attributes={"RawMessageDelivery": "true", **spelled}
    )
    return topic, queue


def test_a_raw_message_arrives_as_it_was_with_its_attributes(aws):
    """Raw delivery adds no envelope and keeps the attributes."""
    topic, queue = subscribed(aws)
    collection = {"coll": {"DataType": "String", "StringValue": "s2"}}
    aws.sns.publish(TopicArn=topic, Message='{"id":1}', MessageAttributes=collection)
    (message,) = received(aws, queue, 1)
    assert message["Body"] == '{"id":1}'
    assert message["MessageAttributes"]["coll"]["StringValue"] == "s2"


def test_attributes_are_filtered(aws):
    """A filter policy on attributes knows words, prefixes and numbers."""
    policy = {"coll": ["s2", {"prefix": "landsat"}], "cloud": [{"numeric": ["<", 20]}]}
    topic, queue = subscribed(aws, FilterPolicy=policy)
    for body, collection, cloud in (("a", "s2", 10), ("b", "modis", 10), ("d", "s2", 50), ("c", "landsat-9", 5)):
        attributes = {
            "coll": {"DataType": "String", "StringValue": collection},
            "cloud": {"DataType": "Number", "StringValue": str(cloud)},
        }
        aws.sns.publish(TopicArn=topic, Message=body, MessageAttributes=attributes)
    assert sorted(bodies(received(aws, queue, 2))) == ["a", "c"]


def test_bodies_are_filtered(aws):
    """A filter policy on the body looks into nested fields, as a topic of STAC Items needs it."""
    policy = {"collection": ["s2-l2a"], "properties": {"eo:cloud_cover": [{"numeric": ["<=", 30]}]}}
    topic, queue = subscribed(aws, FilterPolicyScope="MessageBody", FilterPolicy=policy)
    for name, collection, cloud in (("b", "s2-l2a", 90), ("c", "x", 1), ("a", "s2-l2a", 10)):
        item = {"id": name, "collection": collection, "properties": {"eo:cloud_cover": cloud}}
        aws.sns.publish(TopicArn=topic, Message=json.dumps(item))
    assert [json.loads(body)["id"] for body in bodies(received(aws, queue, 1))] == ["a"]


def test_a_message_that_nobody_deletes_goes_to_the_dead_letter_queue(aws):
    """It is seen as often as the redrive policy says, then moves."""
    dead = make_queue(aws)
    redrive = {"deadLetterTargetArn": dead.arn, "maxReceiveCount": 2}
    queue = make_queue(aws, VisibilityTimeout=1, RedrivePolicy=redrive)
    aws.sqs.send_message(QueueUrl=queue.url, MessageBody="x")
    seen = 0
    for _ in range(4):
        seen += len(aws.sqs.receive_message(QueueUrl=queue.url).get("Messages", []))
        time.sleep(1.05)
    assert (seen, bodies(received(aws, dead, 1))) == (2, ["x"])


@pytest.mark.xfail(raises=ClientError, reason="MiniStack 1.5.33 has no StartMessageMoveTask")
def test_dead_letters_move_back(aws):
    """StartMessageMoveTask brings dead letters back to their queue."""
    dead = make_queue(aws)
    queue = make_queue(aws, RedrivePolicy={"deadLetterTargetArn": dead.arn, "maxReceiveCount": 1}, VisibilityTimeout=0)
    aws.sqs.send_message(QueueUrl=queue.url, MessageBody="y")
    for _ in range(2):
        aws.sqs.receive_message(QueueUrl=queue.url)
    aws.sqs.start_message_move_task(SourceArn=dead.arn)
    assert bodies(received(aws, queue, 1)) == ["y"]


def test_a_fifo_queue_keeps_the_order_and_drops_doubles(aws):
    """Messages of a group come in order, equal bodies once."""
    queue = make_queue(aws, ".fifo", FifoQueue="true", ContentBasedDeduplication="true")
    for body in "aabc":
        aws.sqs.send_message(QueueUrl=queue.url, MessageBody=body, MessageGroupId="g")
    assert bodies(received(aws, queue, 3)) == ["a", "b", "c"]
