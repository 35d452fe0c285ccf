"""IAM with AUTH=true: roles decide what functions, jobs, writers and topics may do, as on AWS."""

import json
from types import SimpleNamespace

import pytest
from aws_probe import (
    Aws,
    bodies,
    eventually,
    invoke,
    make_bucket,
    make_function,
    make_queue,
    make_role,
    named,
    output,
    received,
    run_machine,
)
from botocore.exceptions import ClientError

from emulator import launch

pytestmark = pytest.mark.aws
READ = """
import boto3

def handler(event, context):
    return boto3.client("s3").get_object(Bucket=event["bucket"], Key="key")["Body"].read().decode()
"""


def policy(action, resource):
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]}


@pytest.fixture(scope="module")
def strict(emulator, tmp_path_factory):
    """An emulator that enforces IAM; asks for the open one first, so that it is skipped where that one is."""
    setup = launch.Setup(
        images={"geodl:*": {"entrypoint": [str(launch.python("runtime")), "-c"]}},
        auth=True,
        log=tmp_path_factory.mktemp("strict") / "log",
    )
    with launch.running(setup) as running:
        yield Aws(running)


@pytest.fixture(scope="module")
def place(strict):
    """A bucket with an object, and two roles: one may read it, one may write beside it."""
    bucket = make_bucket(strict)
    strict.s3.put_object(Bucket=bucket, Key="key", Body=b"content")
    return SimpleNamespace(
        bucket=bucket,
        reads=make_role(strict, policy("s3:GetObject", f"arn:aws:s3:::{bucket}/*")),
        writes=make_role(strict, policy("s3:PutObject", f"arn:aws:s3:::{bucket}/results/*")),
    )


def test_a_user_without_a_policy_may_nothing(strict, place):
    """A key of a user's without policies is refused."""
    name = named("user")
    strict.iam.create_user(UserName=name)
    key = strict.iam.create_access_key(UserName=name)["AccessKey"]
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    s3 = launch.client(strict.emulator, "s3", **keys)
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.list_objects_v2(Bucket=place.bucket)


def test_policies_are_simulated(strict):
    """SimulateCustomPolicy tells allowed from not mentioned."""
    found = strict.iam.simulate_custom_policy(
        PolicyInputList=[json.dumps(policy("s3:Get*", "arn:aws:s3:::b/*"))],
        ActionNames=["s3:GetObject", "s3:PutObject"],
        ResourceArns=["arn:aws:s3:::b/k"],
    )["EvaluationResults"]
    decisions = {one["EvalActionName"]: one["EvalDecision"] for one in found}
    assert decisions == {"s3:GetObject": "allowed", "s3:PutObject": "implicitDeny"}


def test_a_function_may_what_its_role_may(strict, place):
    """With the reading role it reads; with the other it is refused."""
    event = {"bucket": place.bucket}
    assert invoke(strict, make_function(strict, READ, place.reads), event)[0] == "content"
    answer, _ = invoke(strict, make_function(strict, READ, place.writes), event)
    assert "AccessDenied" in answer["errorMessage"]


def test_a_stream_of_a_log_group_is_a_resource(strict):
    """A role for a group's streams, as CloudFormation gives its ARN, reads one, and none of another group's.

    The group's ARN alone means none of its streams.
    """
    logs, group, other = launch.client(strict.emulator, "logs"), named("group"), named("group")
    for name in (group, other):
        logs.create_log_group(logGroupName=name)
        logs.create_log_stream(logGroupName=name, logStreamName="a/b")
    (arn,) = (one["arn"] for one in logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"])
    assert arn.endswith(f":{group}:*")
    source = """
import boto3

def handler(event, context):
    return boto3.client("logs").get_log_events(logGroupName=event["group"], logStreamName="a/b")["events"]
"""
    function = make_function(strict, source, make_role(strict, policy("logs:GetLogEvents", arn)))
    assert invoke(strict, function, {"group": group})[0] == []
    assert "AccessDenied" in invoke(strict, function, {"group": other})[0]["errorMessage"]
    narrow = make_function(strict, source, make_role(strict, policy("logs:GetLogEvents", arn.removesuffix(":*"))))
    assert "AccessDenied" in invoke(strict, narrow, {"group": group})[0]["errorMessage"]


def test_a_job_may_what_its_role_may(strict, place):
    """A Batch job reads with the reading role and fails with the other."""
    service = make_role(strict)
    environment = strict.batch.create_compute_environment(
        computeEnvironmentName=named("cpu"), type="MANAGED", serviceRole=service
    )["computeEnvironmentArn"]
    order = [{"order": 1, "computeEnvironment": environment}]
    queue = strict.batch.create_job_queue(jobQueueName=named("q"), priority=1, computeEnvironmentOrder=order)
    jobs = []
    for role in (place.reads, place.writes):
        definition = strict.batch.register_job_definition(
            jobDefinitionName=named("read"),
            type="container",
            containerProperties={
                "image": "geodl:1",
                "command": [READ + f"handler({{'bucket': '{place.bucket}'}}, None)\n"],
                "jobRoleArn": role,
            },
        )["jobDefinitionArn"]
        job = strict.batch.submit_job(jobName="j", jobQueue=queue["jobQueueArn"], jobDefinition=definition)
        jobs.append(job["jobId"])

    def over():
        found = [job["status"] for job in strict.batch.describe_jobs(jobs=jobs)["jobs"]]
        return found if set(found) <= {"SUCCEEDED", "FAILED"} else None

    assert eventually(over) == ["SUCCEEDED", "FAILED"]


def test_a_result_writer_may_what_its_machine_s_role_may(strict, place):
    """A Distributed Map writes its results with the state machine's role, and is refused without the right."""
    state = {
        "Type": "Map",
        "ItemsPath": "$.xs",
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "P",
            "States": {"P": {"Type": "Pass", "End": True}},
        },
        "ResultWriter": {
            "Resource": "arn:aws:states:::s3:putObject",
            "Parameters": {"Bucket": place.bucket, "Prefix": "results"},
        },
        "End": True,
    }
    definition = {"StartAt": "M", "States": {"M": state}}
    assert output(run_machine(strict, definition, place.writes, {"xs": [1]}))["ResultWriterDetails"]
    assert run_machine(strict, definition, place.reads, {"xs": [1]})["error"] == "States.ResultWriterFailed"


def test_a_topic_needs_the_queue_s_leave(strict):
    """A topic's messages reach a queue only where the queue's policy lets the topic send."""
    topic = strict.sns.create_topic(Name=named("topic"))["TopicArn"]
    closed, opened = make_queue(strict), make_queue(strict)
    leave = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": opened.arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [leave]})
    strict.sqs.set_queue_attributes(QueueUrl=opened.url, Attributes={"Policy": document})
    for queue in (closed, opened):
        attributes = {"RawMessageDelivery": "true"}
        strict.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn, Attributes=attributes)
    strict.sns.publish(TopicArn=topic, Message="hello")
    assert bodies(received(strict, opened, 1)) == ["hello"]
    assert received(strict, closed, 1, 1) == []
