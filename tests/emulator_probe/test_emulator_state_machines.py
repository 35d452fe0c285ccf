"""Step Functions: the states, intrinsics, retries, callbacks and limits that geodl's machines rely on."""

import json

import pytest
from aws_probe import (
    ended,
    eventually,
    make_function,
    make_machine,
    make_queue,
    named,
    output,
    received,
    run_machine,
    task,
)
from botocore.exceptions import ClientError

pytestmark = pytest.mark.aws
PASS = {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}


def call(function, **more):
    """A state that calls a function."""
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": function, "Payload.$": "$"},
        "OutputPath": "$.Payload",
        "End": True,
        **more,
    }


def test_states_choose_and_compute(aws, role, double):
    """Pass with intrinsics, Choice and a function in a row."""
    compute = {
        "i.$": "States.MathAdd($.i, 1)",
        "id.$": "States.Format('{}-{}', $.n, $$.Execution.Name)",
        "hash.$": "States.Hash('a', 'SHA-256')",
    }
    states = {
        "P": {"Type": "Pass", "Parameters": compute, "Next": "C"},
        "C": {"Type": "Choice", "Choices": [{"Variable": "$.i", "NumericGreaterThan": 3, "Next": "L"}], "Default": "F"},
        "F": {"Type": "Fail"},
        "L": call(double),
    }
    assert output(run_machine(aws, {"StartAt": "P", "States": states}, role, {"i": 4, "n": "x"}))["doubled"] == 10


def test_a_named_error_is_retried_then_caught(aws, role, double):
    """Retry and Catch go by the class name of a function's error."""
    retry = [{"ErrorEquals": ["RuntimeError"], "IntervalSeconds": 1, "MaxAttempts": 1, "BackoffRate": 1}]
    catch = [{"ErrorEquals": ["RuntimeError"], "ResultPath": "$.error", "Next": "D"}]
    states = {"L": call(double, Retry=retry, Catch=catch), "D": {"Type": "Pass", "End": True}}
    execution = run_machine(aws, {"StartAt": "L", "States": states}, role, {"fail": True, "i": 1})
    assert output(execution)["error"]["Error"] == "RuntimeError"
    history = aws.stepfunctions.get_execution_history(executionArn=execution["executionArn"])["events"]
    assert [one["type"] for one in history].count("TaskFailed") == 2


def test_an_inline_map_keeps_the_order(aws, role, double):
    """Map in a state machine gives results in the order of its items."""
    state = {
        "Type": "Map",
        "ItemsPath": "$.xs",
        "MaxConcurrency": 2,
        "ItemSelector": {"i.$": "$$.Map.Item.Value"},
        "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "L", "States": {"L": call(double)}},
        "End": True,
    }
    found = output(run_machine(aws, {"StartAt": "M", "States": {"M": state}}, role, {"xs": [1, 2, 3]}))
    assert [one["doubled"] for one in found] == [2, 4, 6]


def test_jsonata_and_variables(aws, role, double):
    """Assign binds a variable that later states read."""
    states = {
        "A": {"Type": "Pass", "Assign": {"v": "{% $states.input.x * 2 %}"}, "Next": "B"},
        "B": {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Arguments": {"FunctionName": double, "Payload": {"i": "{% $v %}"}},
            "Output": "{% $states.result.Payload.doubled + $v %}",
            "End": True,
        },
    }
    definition = {"QueryLanguage": "JSONata", "StartAt": "A", "States": states}
    assert output(run_machine(aws, definition, role, {"x": 5})) == 30


def test_a_worker_answers_with_its_token(aws, role):
    """waitForTaskToken sends the token and waits for the answer; a heartbeat is taken."""
    queue = make_queue(aws)
    given = {"QueueUrl": queue.url, "MessageBody": {"token.$": "$$.Task.Token", "shard.$": "$.shard"}}
    definition = task("arn:aws:states:::sqs:sendMessage.waitForTaskToken", HeartbeatSeconds=30, Parameters=given)
    machine = make_machine(aws, definition, role)
    started = aws.stepfunctions.start_execution(stateMachineArn=machine, input='{"shard": 3}')
    message = json.loads(received(aws, queue, 1)[0]["Body"])
    aws.stepfunctions.send_task_heartbeat(taskToken=message["token"])
    aws.stepfunctions.send_task_success(taskToken=message["token"], output=json.dumps({"done": message["shard"]}))
    assert output(ended(aws, started["executionArn"])) == {"done": 3}


def test_a_silent_worker_is_given_up(aws, role):
    """Without a heartbeat in time the task fails by that name."""
    given = {"QueueUrl": make_queue(aws).url, "MessageBody": {"token.$": "$$.Task.Token"}}
    definition = task("arn:aws:states:::sqs:sendMessage.waitForTaskToken", HeartbeatSeconds=1, Parameters=given)
    found = run_machine(aws, definition, role, within_s=10)
    assert (found["status"], found["error"]) == ("FAILED", "States.HeartbeatTimeout")


def test_a_conditional_put_is_caught_by_name(aws, role):
    """dynamodb:putItem claims a row once; the second claim takes the other way."""
    table = named("claims")
    aws.dynamodb.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    put = {
        "Type": "Task",
        "Resource": "arn:aws:states:::dynamodb:putItem",
        "Parameters": {
            "TableName": table,
            "Item": {"pk": {"S.$": "$.id"}},
            "ConditionExpression": "attribute_not_exists(pk)",
        },
        "Catch": [{"ErrorEquals": ["DynamoDB.ConditionalCheckFailedException"], "Next": "Second"}],
        "Next": "First",
    }
    ends = {name: {"Type": "Pass", "Result": name, "End": True} for name in ("First", "Second")}
    definition = {"StartAt": "P", "States": {"P": put, **ends}}
    assert [output(run_machine(aws, definition, role, {"id": "1"})) for _ in range(2)] == ["First", "Second"]


def test_a_machine_waits_for_another(aws, role):
    """startExecution.sync:2 gives the child's output as JSON."""
    child = make_machine(
        aws, {"StartAt": "P", "States": {"P": {"Type": "Pass", "Result": {"z": 1}, "End": True}}}, role
    )
    given = {"StateMachineArn": child, "Input": {}}
    definition = task("arn:aws:states:::states:startExecution.sync:2", Parameters=given)
    assert output(run_machine(aws, definition, role))["Output"] == {"z": 1}


def test_a_second_start_is_the_first_one(aws, role):
    """The same name and input while it runs start nothing new; the name with another input is refused."""
    machine = make_machine(aws, {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 1, "End": True}}}, role)
    start = aws.stepfunctions.start_execution
    first, second = (start(stateMachineArn=machine, name="n", input='{"a": 1}')["executionArn"] for _ in range(2))
    assert first == second
    with pytest.raises(ClientError, match="ExecutionAlreadyExists"):
        start(stateMachineArn=machine, name="n", input='{"a": 2}')
    ended(aws, first)
    with pytest.raises(ClientError, match="ExecutionAlreadyExists"):
        start(stateMachineArn=machine, name="n", input='{"a": 1}')


def test_results_and_inputs_are_limited_to_256_kib(aws, role):
    """A task that returns more fails by name; an execution with more does not start."""
    big = make_function(aws, "def handler(e, c): return 'x' * 300_000\n", role)
    found = run_machine(aws, task(big), role)
    assert (found["status"], found["error"]) == ("FAILED", "States.DataLimitExceeded")
    with pytest.raises(ClientError, match="ValidationException"):
        run_machine(aws, PASS, role, {"x": "y" * 300_000})


def test_a_stopped_execution_ends_and_has_a_history(aws, role):
    """StopExecution ends a wait; the history tells where it was."""
    machine = make_machine(aws, {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 60, "End": True}}}, role)
    arn = aws.stepfunctions.start_execution(stateMachineArn=machine)["executionArn"]

    def types():
        return [one["type"] for one in aws.stepfunctions.get_execution_history(executionArn=arn)["events"]]

    eventually(lambda: "WaitStateEntered" in types())
    aws.stepfunctions.stop_execution(executionArn=arn, error="Own", cause="enough")
    found = ended(aws, arn)
    assert (found["status"], found["error"], types()[-1]) == ("ABORTED", "Own", "ExecutionAborted")
