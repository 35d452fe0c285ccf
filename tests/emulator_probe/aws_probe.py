"""What the probes of the emulator share: clients, functions, queues and state machines of a test's own."""

import io
import json
import time
import uuid
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from emulator import launch

SERVICES = ("batch", "events", "lambda", "scheduler", "states")
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": [*(f"{name}.amazonaws.com" for name in SERVICES), "ecs-tasks.amazonaws.com"]},
            "Action": "sts:AssumeRole",
        }
    ],
}


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue's two names."""

    url: str
    arn: str


@dataclass(frozen=True, slots=True)
class Aws:
    """An emulator and its clients; every client once."""

    emulator: launch.Emulator
    timers: SimpleNamespace | None = None
    """What was wound up when the emulator started."""
    _clients: dict = field(default_factory=dict)

    def __getattr__(self, service):
        name = {"lambda_": "lambda"}.get(service, service)
        if name not in self._clients:
            self._clients[name] = launch.client(self.emulator, name)
        return self._clients[name]


def named(prefix):
    """A name that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def eventually(check, within_s=20.0, every_s=0.1):
    """The first true value of a check, polled; fails when there is none in time."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        found = check()
        if found:
            return found
        time.sleep(every_s)
    pytest.fail(f"nothing within {within_s:g} s")


def zipped(files):
    """A package of text files."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as package:
        for name, text in files.items():
            package.writestr(name, text)
    return held.getvalue()


def make_role(aws, policy=None):
    """A role that every service may take; with a policy, if one is given."""
    name = named("role")
    arn = aws.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    if policy is not None:
        aws.iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=json.dumps(policy))
    return arn


def make_bucket(aws):
    """An empty bucket."""
    name = named("bucket")
    aws.s3.create_bucket(Bucket=name)
    return name


def make_queue(aws, suffix="", **attributes):
    """A queue with attributes; they may be numbers and documents."""
    spelled = {name: value if isinstance(value, str) else json.dumps(value) for name, value in attributes.items()}
    url = aws.sqs.create_queue(QueueName=named("queue") + suffix, Attributes=spelled)["QueueUrl"]
    found = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    return Queue(url, found["QueueArn"])


def received(aws, queue, count, within_s=15.0):
    """The messages of a queue once there are so many, and whatever else arrives shortly after; taken from it."""
    found, until = [], time.monotonic() + within_s
    while time.monotonic() < until:
        answer = aws.sqs.receive_message(
            QueueUrl=queue.url, MaxNumberOfMessages=10, WaitTimeSeconds=1, MessageAttributeNames=["All"]
        )
        for message in answer.get("Messages", []):
            found.append(message)
            aws.sqs.delete_message(QueueUrl=queue.url, ReceiptHandle=message["ReceiptHandle"])
        if len(found) >= count:
            until = min(until, time.monotonic() + 0.3)
    return found


def bodies(messages):
    return [message["Body"] for message in messages]


def make_function(aws, code, role, **more):
    """A Python function; the module is `index`, the handler `handler`."""
    made = aws.lambda_.create_function(
        **{
            "FunctionName": named("function"),
            "Runtime": "python3.13",
            "Role": role,
            "Handler": "index.handler",
            "Code": {"ZipFile": zipped({"index.py": code})},
            "Timeout": 20,
            **more,
        }
    )
    name = made["FunctionName"]
    eventually(lambda: aws.lambda_.get_function_configuration(FunctionName=name)["State"] == "Active", 10, 0.02)
    return made["FunctionArn"]


def invoke(aws, function, event, **more):
    """A function's answer, and what AWS says about it."""
    answer = aws.lambda_.invoke(FunctionName=function, Payload=json.dumps(event), **more)
    return json.loads(answer["Payload"].read() or "null"), answer


def make_machine(aws, definition, role):
    """A state machine's ARN."""
    made = aws.stepfunctions.create_state_machine(
        name=named("machine"), definition=json.dumps(definition), roleArn=role
    )
    return made["stateMachineArn"]


def run_machine(aws, definition, role, given=None, within_s=30.0):
    """The execution of a state machine, described when it is over."""
    machine = make_machine(aws, definition, role)
    started = aws.stepfunctions.start_execution(stateMachineArn=machine, input=json.dumps(given or {}))
    return ended(aws, started["executionArn"], within_s)


def ended(aws, execution, within_s=30.0):
    """An execution's description when it is over."""

    def over():
        found = aws.stepfunctions.describe_execution(executionArn=execution)
        return found if found["status"] != "RUNNING" else None

    return eventually(over, within_s, 0.05)


def output(execution):
    """The output of an execution that has to have succeeded."""
    assert execution["status"] == "SUCCEEDED", (execution.get("error"), execution.get("cause"))
    return json.loads(execution["output"])


def task(resource, **more):
    """A definition of one task."""
    return {"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": resource, "End": True, **more}}}


def is_alive(pid):
    """Whether a process runs; one that has ended and waits for its parent does not (Linux)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
