"""`geodl aws` over jobs and executions that really ran: their logs, their counts, and where a run failed."""

import json
import os
from contextlib import suppress

import boto3
import pytest
from aws_probe import ended, eventually, make_machine, named

from commands import geodl_here
from geodl_core.aws.ledger.ledger import BY_STATE
from geodl_core.aws.operate.batch_jobs import count_jobs, jobs_of
from geodl_core.aws.site.stack import read_stack, stack_deployment
from geodl_core.aws.steps.ingest import take_order
from geodl_core.domain.run.order import Order

pytestmark = pytest.mark.aws
CONTAINER = {
    "Image": "geodl:1",
    "Command": ["Ref::said"],
    "ResourceRequirements": [{"Type": "VCPU", "Value": "1"}, {"Type": "MEMORY", "Value": "64"}],
    "LogConfiguration": {"LogDriver": "awslogs", "Options": {"awslogs-group": "/geodl/probe"}},
}
TEXT = dict.fromkeys(("pk", "sk", "state_pk"), "S") | {"updated": "N"}
SCENE = {
    "StartAt": "Plan",
    "States": {
        "Plan": {"Type": "Pass", "Next": "Shards"},
        "Shards": {
            "Type": "Map",
            "ItemsPath": "$.shards",
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                "StartAt": "Shard",
                "States": {
                    "Shard": {
                        "Type": "Task",
                        "Resource": "arn:aws:states:::batch:submitJob.sync",
                        "Parameters": {"JobName.$": "$.name", "JobQueue.$": "$.queue", "JobDefinition.$": "$.work",
                                       "Parameters": {"said.$": "$.said"}},
                        "End": True,
                    }
                },
            },
            "End": True,
        },
    },
}  # fmt: skip


def template(machine):
    """A deployment as far as jobs go: bucket, table, a queue, a job definition; and a machine that there is."""
    key = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
    index = [{"AttributeName": "state_pk", "KeyType": "HASH"}, {"AttributeName": "updated", "KeyType": "RANGE"}]
    table = {
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": key,
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind} for name, kind in TEXT.items()],
        "GlobalSecondaryIndexes": [
            {"IndexName": BY_STATE, "KeySchema": index, "Projection": {"ProjectionType": "ALL"}}
        ],
    }
    machines = {"Type": "MANAGED", "ComputeResources": {"Type": "SPOT", "MinvCpus": 0, "MaxvCpus": 8}}
    order = [{"Order": 1, "ComputeEnvironment": {"Ref": "Machines"}}]
    outputs = {name: {"Ref": name} for name in ("Bucket", "Table", "ShardQueue", "Work")}
    outputs |= {"SceneMachine": machine, "BatchLogs": "/geodl/probe", "FunctionLogs": "/aws/lambda/probe-"}
    return {
        "Resources": {
            "Bucket": {"Type": "AWS::S3::Bucket"},
            "Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "/geodl/probe"}},
            "Table": {"Type": "AWS::DynamoDB::Table", "Properties": table},
            "Machines": {"Type": "AWS::Batch::ComputeEnvironment", "Properties": machines},
            "ShardQueue": {
                "Type": "AWS::Batch::JobQueue",
                "Properties": {"Priority": 1, "ComputeEnvironmentOrder": order},
            },
            "Work": {
                "Type": "AWS::Batch::JobDefinition",
                "Properties": {"Type": "container", "ContainerProperties": CONTAINER},
            },
        },
        "Outputs": {name: {"Value": value} for name, value in outputs.items()},
    }


@pytest.fixture(scope="module")
def operated(aws, role):
    """A stack with a run that is claimed, and what its jobs are to be made of."""
    name, machine = named("operated"), make_machine(aws, SCENE, role)
    aws.cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(template(machine)))
    waiter = aws.cloudformation.get_waiter("stack_create_complete")
    waiter.wait(StackName=name, WaiterConfig={"Delay": 0.2, "MaxAttempts": 150})
    (found,) = aws.cloudformation.describe_stacks(StackName=name)["Stacks"]
    outputs = {one["OutputKey"]: one["OutputValue"] for one in found["Outputs"]}
    return name, outputs


@pytest.fixture
def stack(emulator, operated, monkeypatch):
    """The stack as the commands find it."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "GEODL_"))]:
        monkeypatch.delenv(name)
    for name, value in {**emulator.environment, "GEODL_STACK": operated[0], "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    return read_stack(operated[0])


def ordered(stack):
    """Order a run whose execution is somebody else's: its own is started by the test."""
    item = {"id": named("scene"), "collection": "scenes", "properties": {}, "assets": {"a": {"href": "https://h/a"}}}
    deployment = stack_deployment(stack)
    run_id = take_order(deployment, Order(item, "water@0123456789abcdef"), None).run_id
    return deployment, run_id


def submit(aws, outputs, run_id, part, said):
    job = aws.batch.submit_job(
        jobName=f"{run_id}-1-{part}",
        jobQueue=outputs["ShardQueue"],
        jobDefinition=outputs["Work"],
        parameters={"said": said},
    )["jobId"]

    def is_over():
        (found,) = aws.batch.describe_jobs(jobs=[job])["jobs"]
        return found["status"] in ("SUCCEEDED", "FAILED")

    eventually(is_over)
    return job


def test_what_jobs_wrote_is_printed_by_shard(aws, operated, stack):
    """All jobs of a run, or one shard's, in order of time; those of another run are not among them."""
    _, run_id = ordered(stack)
    _, other = ordered(stack)
    submit(aws, operated[1], other, 0, "echo another")
    submit(aws, operated[1], run_id, 0, "echo first; echo second")
    submit(aws, operated[1], run_id, 1, "echo 'error: no memory'; exit 4")
    submit(aws, operated[1], run_id, "merge", "echo merged")

    def lines(*words):
        done = geodl_here("aws", "logs", run_id[:12], *words)
        return [line.split(maxsplit=1)[1] for line in done.stdout.splitlines()]

    every = ["shard 0      first", "shard 0      second", "shard 1      error: no memory", "merge job    merged"]
    assert lines() == every
    assert lines("--shard", "0") == every[:2]
    assert lines("--stage", "merge") == every[3:]
    assert [(job.shard, job.status) for job in jobs_of(stack, run_id)] == [
        (0, "SUCCEEDED"),
        (1, "FAILED"),
        (None, "SUCCEEDED"),
    ]


def test_jobs_are_counted_by_state(aws, operated, stack):
    """A job that runs is counted until it ends."""
    _, run_id = ordered(stack)
    job = aws.batch.submit_job(
        jobName=f"{run_id}-1-0",
        jobQueue=operated[1]["ShardQueue"],
        jobDefinition=operated[1]["Work"],
        parameters={"said": "sleep 30"},
    )["jobId"]
    eventually(lambda: count_jobs(stack)["RUNNING"] == 1)
    assert "jobs     1 running" in geodl_here("aws", "status").stdout
    aws.batch.terminate_job(jobId=job, reason="enough")
    eventually(lambda: count_jobs(stack)["RUNNING"] == 0)


def test_the_state_that_failed_is_that_of_the_shard(aws, operated, stack):
    """Where a child of the map failed, its job's end is told, not only that the map failed."""
    deployment, run_id = ordered(stack)
    name, outputs = f"{run_id}-1", operated[1]
    # Its input is no plan's: it may have failed by itself by now.
    with suppress(aws.stepfunctions.exceptions.ClientError):
        aws.stepfunctions.stop_execution(
            executionArn=outputs["SceneMachine"].replace(":stateMachine:", ":execution:") + f":{name}"
        )
    shard = {"name": f"{name}-0", "queue": outputs["ShardQueue"], "work": outputs["Work"], "said": "exit 3"}
    again = geodl_here("aws", "retry", run_id)
    assert again.returncode == 2, "a run that has not ended is not retried"
    deployment.ledger.table.update_item(
        Key={"pk": f"RUN#{run_id}", "sk": "RUN"},
        UpdateExpression="SET attempt = :two",
        ExpressionAttributeValues={":two": 2},
    )
    started = aws.stepfunctions.start_execution(
        stateMachineArn=outputs["SceneMachine"], name=f"{run_id}-2", input=json.dumps({"shards": [shard]})
    )
    assert ended(aws, started["executionArn"])["status"] == "FAILED"
    told = geodl_here("aws", "status", run_id[:10]).stdout
    assert "executed  failed" in told
    (line,) = [line for line in told.splitlines() if line.startswith("failed in")]
    assert line.startswith("failed in Shards: DataError: ")
    assert "exit code 3" in line
