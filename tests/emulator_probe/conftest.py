"""One emulator for the probes of a session, with its slow clocks wound up at the start."""

import json
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from aws_probe import Aws, make_bucket, make_function, make_machine, make_queue, make_role, named

from emulator import launch

DOUBLE = """
def handler(event, context):
    if event.get("fail"):
        raise RuntimeError("nope")
    numbers = [one["i"] for one in event.get("Items", [event])]
    return {"doubled": 2 * sum(numbers), "count": len(numbers), "shared": event.get("BatchInput")}
"""
APP = """
import os, sys

def handler(event, context):
    if event.get("fail"):
        raise KeyError(event["fail"])
    told = {name: os.environ.get(name) for name in ("FROM_IMAGE", "OWN", "BOTH")}
    return {**told, "folder": os.getcwd(), "memory": context.memory_limit_in_mb, "given": event, "path": sys.argv}
"""
IMAGES = {"geodl:*": {"entrypoint": ["/bin/sh", "-c"]}, "plain:*": {"env": {"FROM_IMAGE": "yes"}}}


@pytest.fixture(scope="session")
def emulator(tmp_path_factory):
    state = launch.state()
    if state is not True:
        pytest.skip(f"aws: {state}")
    folder = tmp_path_factory.mktemp("emulator")
    (folder / "task").mkdir()
    (folder / "task" / "app.py").write_text(APP)
    path = f"{launch.python('runtime').parent}:/usr/bin:/bin"
    function = {
        "entrypoint": ["/bin/false"],
        "env": {"PATH": path, "FROM_IMAGE": "yes", "BOTH": "image"},
        "folders": {"/var/task": str(folder / "task")},
    }
    log = folder / "log"
    with launch.running(launch.Setup(images={**IMAGES, "function:*": function}, gpus=2, vcpus=2, log=log)) as running:
        yield running


@pytest.fixture(scope="session")
def aws(emulator):
    found = Aws(emulator)
    return replace(found, timers=wind_up(found))


@pytest.fixture(scope="session")
def role(aws):
    return make_role(aws)


@pytest.fixture(scope="session")
def bucket(aws):
    return make_bucket(aws)


@pytest.fixture(scope="session")
def double(aws, role):
    """A function that doubles `i`, or the sum of a batch's."""
    return make_function(aws, DOUBLE, role)


@pytest.fixture(scope="session")
def items(aws, bucket):
    """A bucket with items 1 to 5 in the forms that a Distributed Map reads."""
    numbers = [{"i": index} for index in range(1, 6)]
    files = {
        "items.json": json.dumps(numbers),
        "items.jsonl": "\n".join(map(json.dumps, numbers)),
        "nested.json": json.dumps({"a": {"windows": numbers}}),
        "failing.json": json.dumps([{"i": 1}, {"i": 2, "fail": True}, {"i": 3}]),
    }
    for key, body in files.items():
        aws.s3.put_object(Bucket=bucket, Key=key, Body=body.encode())
    return bucket


def wind_up(aws):
    """Start what takes up to a minute, so that it is over when the last probes look."""
    role, once, rule, name = make_role(aws), make_queue(aws), make_queue(aws), named("rate")
    machine = make_machine(aws, {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}, role)
    aws.events.put_rule(Name=name, ScheduleExpression="rate(1 minute)")
    aws.events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": rule.arn}])
    at = time.strftime("at(%Y-%m-%dT%H:%M:%S)", time.gmtime(time.time() + 2))
    for expression, target in ((at, once.arn), ("rate(1 minute)", machine)):
        aws.scheduler.create_schedule(
            Name=named("schedule"),
            ScheduleExpression=expression,
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": target, "RoleArn": role, "Input": '{"scan":1}'},
        )
    return SimpleNamespace(once=once, rule=rule, machine=machine, table=_expiring(aws))


def _expiring(aws):
    table = named("expiring")
    aws.dynamodb.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    aws.dynamodb.update_time_to_live(
        TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
    )
    now = int(time.time())
    for key, expires in (("old", now - 100), ("young", now + 3600)):
        aws.dynamodb.put_item(TableName=table, Item={"pk": {"S": key}, "expires": {"N": str(expires)}})
    return table
