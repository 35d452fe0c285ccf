"""EventBridge and its Scheduler: rules, events of executions, one-time schedules."""

import json
import time

import pytest
from aws_probe import bodies, make_queue, named, received, run_machine

pytestmark = pytest.mark.aws


def ruled(aws, pattern, **target):
    """A queue that gets the events of a pattern."""
    queue, rule = make_queue(aws), named("rule")
    aws.events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
    aws.events.put_targets(Rule=rule, Targets=[{"Id": "1", "Arn": queue.arn, **target}])
    return queue


def test_a_rule_picks_events_and_forms_them(aws):
    """A pattern with a prefix lets one of two events through; the transformer makes the message."""
    form = {"InputPathsMap": {"s": "$.detail.state"}, "InputTemplate": '{"state":"<s>"}'}
    queue = ruled(aws, {"source": ["geodl"], "detail": {"state": [{"prefix": "FAIL"}]}}, InputTransformer=form)
    for state in ("OK", "FAILED"):
        entry = {"Source": "geodl", "DetailType": "run", "Detail": json.dumps({"state": state})}
        aws.events.put_events(Entries=[entry])
    assert bodies(received(aws, queue, 1)) == ['{"state":"FAILED"}']


def test_an_execution_s_end_is_an_event(aws, role):
    """Step Functions tells the default bus how an execution ended."""
    queue = ruled(aws, {"source": ["aws.states"], "detail": {"status": ["FAILED"]}})
    failed = run_machine(aws, {"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "Own"}}}, role)
    told = [json.loads(body) for body in bodies(received(aws, queue, 1))]
    assert failed["executionArn"] in [one["detail"]["executionArn"] for one in told]


def test_a_one_time_schedule_fires(aws, role):
    """A schedule at(…) sends its input at its time."""
    queue, at = make_queue(aws), time.gmtime(time.time() + 1)
    aws.scheduler.create_schedule(
        Name=named("once"),
        ScheduleExpression=time.strftime("at(%Y-%m-%dT%H:%M:%S)", at),
        FlexibleTimeWindow={"Mode": "OFF"},
        ActionAfterCompletion="DELETE",
        Target={"Arn": queue.arn, "RoleArn": role, "Input": '{"scan":1}'},
    )
    assert bodies(received(aws, queue, 1, 60)) == ['{"scan":1}']
