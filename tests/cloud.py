"""A deployment on moto: bucket, table, topic, queue and state machine, behind AWS_ENDPOINT_URL as on AWS itself."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from geodl_core.aws.ledger.ledger import BY_STATE, DynamoLedger
from geodl_core.aws.site.executions import Deployment
from geodl_core.aws.site.layout import Bucket

DAY_S = 86_400
NOON = 20_000.5 * DAY_S
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nowhere",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
}
_numbers = count()


class Clock:
    """Seconds that a test sets; a millisecond passes with each look."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        self.now = round(self.now + 0.001, 3)
        return self.now


@dataclass
class Cloud:
    """One deployment of its own."""

    deployment: Deployment
    clock: Clock
    topic: str
    queue: str
    table: str

    @property
    def bucket(self) -> Bucket:
        return self.deployment.bucket

    @property
    def ledger(self) -> DynamoLedger:
        return self.deployment.ledger

    @property
    def s3(self) -> Any:
        return self.deployment.s3

    def executions(self) -> list[str]:
        """Return the names of all executions, oldest first."""
        found = self.deployment.states.list_executions(stateMachineArn=self.deployment.machine)["executions"]
        return [entry["name"] for entry in sorted(found, key=lambda entry: entry["startDate"])]

    def received(self) -> list[dict[str, Any]]:
        """Take all messages out of the queue behind the topic."""
        sqs, bodies = client("sqs"), []
        while True:
            messages = sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages", [])
            if not messages:
                return bodies
            for message in messages:
                bodies.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])

    def refusing(self, **calls: Exception) -> Deployment:
        """Return the deployment with calls of Step Functions that fail."""
        return replace(self.deployment, states=Refusing(self.deployment.states, calls))

    def keys(self, prefix: str = "") -> list[str]:
        """Return the keys in the bucket."""
        found = self.s3.list_objects_v2(Bucket=self.bucket.name, Prefix=prefix).get("Contents", [])
        return [entry["Key"] for entry in found]


class Refusing:
    """A client some of whose calls fail."""

    def __init__(self, client: Any, calls: dict[str, Exception]) -> None:
        self._client, self._calls = client, calls

    def __getattr__(self, name: str) -> Any:
        if name in self._calls:
            error = self._calls[name]

            def fail(*_: Any, **__: Any) -> Any:
                raise error

            return fail
        return getattr(self._client, name)


def client(service: str) -> Any:
    return boto3.client(service)


@contextmanager
def moto_server() -> Iterator[str]:
    """Give the endpoint of a server of its own."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def make_table(name: str) -> Any:
    """Make a table as the template does."""
    text = dict.fromkeys(("pk", "sk", "state_pk"), "S") | {"updated": "N"}
    return boto3.resource("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": each, "AttributeType": kind} for each, kind in text.items()],
        GlobalSecondaryIndexes=[
            {
                "IndexName": BY_STATE,
                "KeySchema": [
                    {"AttributeName": "state_pk", "KeyType": "HASH"},
                    {"AttributeName": "updated", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )


def make_cloud() -> Cloud:
    """Make a deployment with names of its own."""
    name = f"geodl-{next(_numbers)}"
    s3, states = client("s3"), client("stepfunctions")
    s3.create_bucket(Bucket=name)
    machine = states.create_state_machine(
        name=name,
        roleArn="arn:aws:iam::123456789012:role/states",
        definition=json.dumps({"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 9, "End": True}}}),
    )["stateMachineArn"]
    topic = client("sns").create_topic(Name=name)["TopicArn"]
    sqs = client("sqs")
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    clock = Clock()
    ledger = DynamoLedger(make_table(name), clock)
    return Cloud(Deployment(Bucket(f"s3://{name}"), ledger, s3, states, machine), clock, topic, queue, name)
