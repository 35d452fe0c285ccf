"""Lambda: functions run under the real client, alone and behind queues and streams."""

import base64
import json
import threading

import pytest
from aws_probe import bodies, eventually, invoke, make_function, make_queue, named, received, zipped

from emulator import launch

pytestmark = pytest.mark.aws
TELL = """
import os, sys
import inner, shared

def handler(event, context):
    print("a line of the log")
    return {
        "doubled": inner.double(event["x"]), "version": shared.VERSION, "environment": dict(os.environ),
        "left_ms": context.get_remaining_time_in_millis(), "arn": context.invoked_function_arn,
        "python": sys.version_info[:2], "own": sys.modules["inner"].__file__.startswith(os.environ["LAMBDA_TASK_ROOT"]),
    }
"""
FORWARD = """
import boto3
sqs = boto3.client("sqs")

def handler(event, context):
    failed = []
    for record in event["Records"]:
        body = record["body"] if "body" in record else record["dynamodb"]["Keys"]["pk"]["S"]
        if body == "bad":
            failed.append({{"itemIdentifier": record["messageId"]}})
        else:
            sqs.send_message(QueueUrl="{url}", MessageBody=body)
    return {{"batchItemFailures": failed}}
"""


def layer(aws, files):
    made = aws.lambda_.publish_layer_version(LayerName=named("layer"), Content={"ZipFile": zipped(files)})
    return made["LayerVersionArn"]


@pytest.fixture(scope="module")
def told(aws, role):
    """What a function with two layers and a variable says of itself."""
    first = layer(aws, {"python/shared.py": "VERSION = 1\n", "python/inner.py": "raise ImportError\n"})
    second = layer(aws, {"python/shared.py": "VERSION = 2\n"})
    package = zipped({"index.py": TELL, "inner.py": "def double(x): return 2 * x\n"})
    function = make_function(
        aws,
        "",
        role,
        Code={"ZipFile": package},
        Layers=[first, second],
        Environment={"Variables": {"FOO": "bar"}},
    )
    answer, about = invoke(aws, function, {"x": 21}, LogType="Tail")
    return function, answer, base64.b64decode(about["LogResult"]).decode()


def test_a_function_has_its_code_layers_and_context(told):
    """Its own code comes before its layers, a later layer before an earlier one; the context is Lambda's."""
    function, answer, log = told
    assert (answer["doubled"], answer["version"], answer["own"]) == (42, 2, True)
    assert answer["arn"] == function
    assert 15_000 < answer["left_ms"] <= 20_000
    assert "a line of the log" in log


def test_a_function_sees_its_own_environment_only(emulator, told):
    """What Lambda documents and what the function asks for; nothing of the emulator's or the caller's."""
    environment = told[1]["environment"]
    assert (environment["FOO"], environment["AWS_ENDPOINT_URL"]) == ("bar", emulator.endpoint)
    documented = ("AWS_", "LAMBDA_", "LD_LIBRARY_PATH", "PYTHON", "_")
    plain = {"FOO", "PATH", "HOME", "LANG", "TZ", "TMPDIR", "PWD", "SHLVL", "OLDPWD", "LC_CTYPE"}
    assert [name for name in environment if not name.startswith(documented) and name not in plain] == []
    assert not [name for name in environment if name.startswith(("EMULATOR", "GATEWAY", "PYTEST"))]


def test_functions_run_on_the_runtime_environment(told):
    """The interpreter is the one that `setup` chose, the template's Python where there is one."""
    config = (launch.PLACE / "runtime" / "pyvenv.cfg").read_text()
    version = next(line.split("=")[1].strip() for line in config.splitlines() if line.startswith("version"))
    assert told[1]["python"] == [int(part) for part in version.split(".")[:2]]


def test_an_error_keeps_its_type(aws, role):
    """An exception of the handler's arrives with its class name and traceback."""
    function = make_function(aws, "class MyError(Exception): pass\ndef handler(e, c): raise MyError('boom')\n", role)
    answer, about = invoke(aws, function, {})
    assert (about["FunctionError"], answer["errorType"], answer["errorMessage"]) == ("Unhandled", "MyError", "boom")
    assert answer["stackTrace"]


def test_a_failed_import_is_named(aws, role):
    """A module that a function lacks is Runtime.ImportModuleError, as on Lambda."""
    answer, _ = invoke(aws, make_function(aws, "import no_such_module\n", role), {})
    assert answer["errorType"] == "Runtime.ImportModuleError"
    assert "no_such_module" in answer["errorMessage"]


def test_a_function_that_takes_too_long_is_stopped(aws, role):
    """The time limit holds, and the next call starts afresh."""
    code = "import time\ndef handler(e, c):\n    time.sleep(e['s'])\n    return 'awake'\n"
    function = make_function(aws, code, role, Timeout=1)
    answer, about = invoke(aws, function, {"s": 30})
    assert about["FunctionError"]
    assert "Task timed out after 1.00 seconds" in answer["errorMessage"]
    assert invoke(aws, function, {"s": 0})[0] == "awake"


def test_an_asynchronous_failure_goes_to_its_destination(aws, role):
    """With no retries left, the destination gets event and answer."""
    queue = make_queue(aws)
    function = make_function(aws, "def handler(e, c): raise ValueError('x')\n", role)
    aws.lambda_.put_function_event_invoke_config(
        FunctionName=function,
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": queue.arn}},
    )
    aws.lambda_.invoke(FunctionName=function, InvocationType="Event", Payload=b'{"a": 1}')
    (body,) = bodies(received(aws, queue, 1))
    told = json.loads(body)
    assert (told["requestPayload"], told["responsePayload"]["errorType"]) == ({"a": 1}, "ValueError")


def test_calls_at_once_have_environments_of_their_own(emulator, aws, role, tmp_path):
    """Four calls that wait for each other all end: they run at once, each in a process."""
    code = (
        "import os, time, pathlib\n"
        "def handler(e, c):\n"
        f"    place = pathlib.Path({str(tmp_path)!r})\n"
        "    (place / str(os.getpid())).touch()\n"
        "    while len(list(place.iterdir())) < 4: time.sleep(0.05)\n"
        "    return os.getpid()\n"
    )
    function, found = make_function(aws, code, role), []

    def call():
        answer = launch.client(emulator, "lambda").invoke(FunctionName=function, Payload=b"{}")
        found.append(json.loads(answer["Payload"].read()))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {str(one) for one in found} == {path.name for path in tmp_path.iterdir()}


def test_boto3_in_a_function_reaches_the_emulator(aws, role, bucket):
    """Without any endpoint in its code."""
    aws.s3.put_object(Bucket=bucket, Key="x/y", Body=b"zz")
    code = (
        "import boto3\n"
        "def handler(e, c):\n"
        f"    return boto3.client('s3').get_object(Bucket='{bucket}', Key='x/y')['Body'].read().decode()\n"
    )
    assert invoke(aws, make_function(aws, code, role), {})[0] == "zz"


def test_a_bad_message_leaves_its_neighbours_unharmed(aws, role):
    """Partial batch failures: good messages are done once, the bad one ends in the dead-letter queue."""
    dead, out = make_queue(aws), make_queue(aws)
    redrive = {"deadLetterTargetArn": dead.arn, "maxReceiveCount": 2}
    queue = make_queue(aws, VisibilityTimeout=3, RedrivePolicy=redrive)
    function = make_function(aws, FORWARD.format(url=out.url), role, Timeout=3)
    aws.lambda_.create_event_source_mapping(
        EventSourceArn=queue.arn, FunctionName=function, BatchSize=5, FunctionResponseTypes=["ReportBatchItemFailures"]
    )
    entries = [{"Id": body, "MessageBody": body} for body in ("g1", "bad", "g2")]
    aws.sqs.send_message_batch(QueueUrl=queue.url, Entries=entries)
    assert bodies(received(aws, dead, 1, 30)) == ["bad"]
    assert sorted(bodies(received(aws, out, 2))) == ["g1", "g2"]


def test_a_mapping_filters_events(aws, role):
    """Messages that the filter does not match never reach the function."""
    queue, out = make_queue(aws), make_queue(aws)
    function = make_function(aws, FORWARD.format(url=out.url), role, Timeout=5)
    aws.lambda_.create_event_source_mapping(
        EventSourceArn=queue.arn,
        FunctionName=function,
        BatchSize=5,
        FilterCriteria={"Filters": [{"Pattern": json.dumps({"body": {"k": ["a"]}})}]},
    )
    for key in "ba":
        aws.sqs.send_message(QueueUrl=queue.url, MessageBody=json.dumps({"k": key}))
    assert bodies(received(aws, out, 1)) == ['{"k": "a"}']


def test_a_table_s_stream_reaches_a_function(aws, role):
    """A new row of a table arrives at the function that listens to its stream."""
    table, out = named("stream"), make_queue(aws)
    made = aws.dynamodb.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )
    function = make_function(aws, FORWARD.format(url=out.url), role)
    aws.lambda_.create_event_source_mapping(
        EventSourceArn=made["TableDescription"]["LatestStreamArn"],
        FunctionName=function,
        StartingPosition="TRIM_HORIZON",
        BatchSize=5,
    )
    aws.dynamodb.put_item(TableName=table, Item={"pk": {"S": "k1"}})
    assert bodies(received(aws, out, 1)) == ["k1"]


def test_what_a_function_prints_is_in_its_log_group(aws, role):
    """CloudWatch Logs has the lines; CloudWatch takes metrics."""
    function = make_function(aws, "def handler(e, c): print('a needle')\n", role)
    invoke(aws, function, {})
    group = f"/aws/lambda/{function.rsplit(':', 1)[1]}"

    def found():
        events = aws.logs.filter_log_events(logGroupName=group)["events"]
        return [one["message"] for one in events if "a needle" in one["message"]]

    assert len(eventually(found, 8)) == 1
    aws.cloudwatch.put_metric_data(Namespace="geodl", MetricData=[{"MetricName": "windows", "Value": 3}])
    assert [one["MetricName"] for one in aws.cloudwatch.list_metrics(Namespace="geodl")["Metrics"]] == ["windows"]
