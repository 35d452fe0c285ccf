"""Step Functions' Distributed Map: readers, batches, writers, thresholds."""

import json

import pytest
from aws_probe import output, run_machine
from botocore.exceptions import ClientError

pytestmark = pytest.mark.aws


@pytest.fixture
def run(aws, role, items, double):
    """Runs a Distributed Map of the doubling function over an object of the bucket, with more fields if wanted."""

    def started(key="items.json", given=None, config=None, **more):
        read = {"InputType": "JSONL" if key.endswith("l") else "JSON", **(config or {})}
        function = {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Parameters": {"FunctionName": double, "Payload.$": "$"},
            "OutputPath": "$.Payload",
            "End": True,
        }
        state = {
            "Type": "Map",
            "MaxConcurrency": 4,
            "ItemReader": {
                "Resource": "arn:aws:states:::s3:getObject",
                "ReaderConfig": read,
                "Parameters": {"Bucket": items, "Key": key},
            },
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                "StartAt": "L",
                "States": {"L": function},
            },
            "End": True,
            **more,
        }
        return run_machine(aws, {"StartAt": "M", "States": {"M": state}}, role, given)

    return started


def writer(bucket, **config):
    """A ResultWriter to a folder of the bucket."""
    place = {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": bucket, "Prefix": "results"}}
    return {**place, "WriterConfig": config} if config else place


def written(aws, execution):
    """Names and texts of the files that a manifest lists, by how the children ended; and its Map Run."""
    details = output(execution)["ResultWriterDetails"]

    def text(key):
        return aws.s3.get_object(Bucket=details["Bucket"], Key=key)["Body"].read().decode()

    manifest = json.loads(text(details["Key"]))
    files = {status: [text(one["Key"]) for one in listed] for status, listed in manifest["ResultFiles"].items()}
    sizes = [one["Size"] for listed in manifest["ResultFiles"].values() for one in listed]
    assert sizes == [len(one) for listed in files.values() for one in listed]
    return manifest, files


@pytest.mark.parametrize("key", ["items.json", "items.jsonl"])
def test_items_come_from_s3(run, key):
    """JSON and JSONL give one child an item, results in their order."""
    assert [one["doubled"] for one in output(run(key))] == [2, 4, 6, 8, 10]


def test_items_lie_deeper_in_a_document(run):
    """ItemsPointer names the array."""
    found = output(run("nested.json", config={"ItemsPointer": "/a/windows"}))
    assert [one["doubled"] for one in found] == [2, 4, 6, 8, 10]


def test_items_are_a_bucket_s_listing(aws, run, bucket):
    """listObjectsV2 gives an item an object; the selector takes its size."""
    for size in range(3):
        aws.s3.put_object(Bucket=bucket, Key=f"listed/{size}", Body=b"x" * size)
    reader = {"Resource": "arn:aws:states:::s3:listObjectsV2", "Parameters": {"Bucket": bucket, "Prefix": "listed/"}}
    found = output(run(ItemReader=reader, ItemSelector={"i.$": "$$.Map.Item.Value.Size"}))
    assert [one["doubled"] for one in found] == [0, 2, 4]


def test_items_are_put_together(run):
    """ItemBatcher makes children of two items that share an input."""
    found = output(run(ItemBatcher={"MaxItemsPerBatch": 2, "BatchInput": {"run.$": "$.run"}}, given={"run": "r1"}))
    assert [one["count"] for one in found] == [2, 2, 1]
    assert [one["doubled"] for one in found] == [6, 14, 10]
    assert {json.dumps(one["shared"]) for one in found} == {'{"run": "r1"}'}


def test_batches_have_a_largest_size(run):
    """MaxInputBytesPerBatch ends a batch before its child's input is larger."""
    limit = len(json.dumps({"Items": [{"i": 1}, {"i": 2}]}))
    assert [one["count"] for one in output(run(ItemBatcher={"MaxInputBytesPerBatch": limit}))] == [2, 2, 1]
    assert [one["count"] for one in output(run(ItemBatcher={"MaxInputBytesPerBatch": limit - 5}))] == [1] * 5


def test_results_are_written_with_all_about_each_child(aws, run, items):
    """The manifest names the file; its entries have the fields that AWS documents."""
    manifest, files = written(aws, run(ResultWriter=writer(items)))
    (children,) = [json.loads(text) for text in files["SUCCEEDED"]]
    assert (files["FAILED"], manifest["DestinationBucket"]) == ([], items)
    assert [json.loads(child["Output"])["doubled"] for child in children] == [2, 4, 6, 8, 10]
    assert sorted(children[0]) == [
        "ExecutionArn", "Input", "InputDetails", "Name", "Output", "OutputDetails", "RedriveCount", "RedriveStatus",
        "StartDate", "StateMachineArn", "Status", "StopDate",
    ]  # fmt: skip


def test_results_are_written_in_short(aws, run, items):
    """COMPACT keeps the outputs, FLATTEN their members; JSONL has one a line; failures have a file of their own."""
    compact = run("failing.json", ToleratedFailureCount=1, ResultWriter=writer(items, Transformation="COMPACT"))
    manifest, files = written(aws, compact)
    assert [one["doubled"] for one in json.loads(files["SUCCEEDED"][0])] == [2, 6]
    (failed,) = json.loads(files["FAILED"][0])
    assert (failed["Error"], failed["Input"]) == ("RuntimeError", '{"i": 2, "fail": true}')
    twice = {"Type": "Pass", "Parameters": {"two.$": "States.Array($.i, $.i)"}, "OutputPath": "$.two", "End": True}
    flat = run(
        ItemProcessor={
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "P",
            "States": {"P": twice},
        },
        ResultWriter=writer(items, Transformation="FLATTEN", OutputType="JSONL"),
    )
    _, files = written(aws, flat)
    assert files["SUCCEEDED"] == ["\n".join("1122334455")]
    counts = aws.stepfunctions.describe_map_run(mapRunArn=manifest["MapRunArn"])["itemCounts"]
    assert (counts["succeeded"], counts["failed"], counts["resultsWritten"]) == (2, 1, 3)


def test_tolerated_failures_leave_gaps(run):
    """As many failed items as the state tolerates do not fail it, by count and by share."""
    assert [one and one["doubled"] for one in output(run("failing.json", ToleratedFailureCount=1))] == [2, None, 6]
    assert output(run("failing.json", ToleratedFailurePercentage=40))
    found = run("failing.json", ToleratedFailurePercentage=30)
    assert found["error"] == "States.ExceedToleratedFailureThreshold"


def test_one_failure_fails_a_map_that_tolerates_none(run):
    """Without a threshold the first failure fails the state by name."""
    found = run("failing.json")
    assert (found["status"], found["error"]) == ("FAILED", "States.ExceedToleratedFailureThreshold")


def test_a_map_run_is_described(aws, run):
    """ListMapRuns finds the run, DescribeMapRun counts its items."""
    (listed,) = aws.stepfunctions.list_map_runs(executionArn=run()["executionArn"])["mapRuns"]
    found = aws.stepfunctions.describe_map_run(mapRunArn=listed["mapRunArn"])
    assert (found["status"], found["itemCounts"]["succeeded"], found["itemCounts"]["total"]) == ("SUCCEEDED", 5, 5)


@pytest.mark.xfail(raises=ClientError, reason="MiniStack 1.5.33 has no RedriveExecution")
def test_a_failed_map_is_redriven(aws, run):
    """RedriveExecution starts the failed children again."""
    aws.stepfunctions.redrive_execution(executionArn=run("failing.json")["executionArn"])


def test_jsonata_selects_and_sums(aws, role, double):
    """Items, ItemSelector and Output as expressions."""
    function = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": double, "Payload": "{% $states.input %}"},
        "Output": "{% $states.result.Payload.doubled %}",
        "End": True,
    }
    state = {
        "Type": "Map",
        "Items": "{% $states.input.xs %}",
        "ItemSelector": {"i": "{% $states.context.Map.Item.Value + $states.input.more %}"},
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "L",
            "States": {"L": function},
        },
        "Output": {"total": "{% $sum($states.result) %}"},
        "End": True,
    }
    definition = {"QueryLanguage": "JSONata", "StartAt": "M", "States": {"M": state}}
    assert output(run_machine(aws, definition, role, {"xs": [1, 2], "more": 10})) == {"total": 46}


def test_five_thousand_children_pass(aws, role, items):
    """A plan of 5,000 shards maps, as long as its results go to S3."""
    lines = "\n".join(json.dumps({"n": index, "of": 5000}) for index in range(5000))
    aws.s3.put_object(Bucket=items, Key="plan.jsonl", Body=lines.encode())
    state = {
        "Type": "Map",
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": {"InputType": "JSONL"},
            "Parameters": {"Bucket": items, "Key": "plan.jsonl"},
        },
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "P",
            "States": {"P": {"Type": "Pass", "End": True}},
        },
        "ResultWriter": writer(items, Transformation="COMPACT"),
        "End": True,
    }
    found = run_machine(aws, {"StartAt": "M", "States": {"M": state}}, role, within_s=60)
    _, files = written(aws, found)
    assert [one["n"] for one in json.loads(files["SUCCEEDED"][0])] == list(range(5000))
    state.pop("ResultWriter")
    found = run_machine(
        aws, {"StartAt": "M", "States": {"M": {**state, "ItemSelector": {"x": "y" * 100}}}}, role, within_s=60
    )
    assert found["error"] == "States.DataLimitExceeded"
