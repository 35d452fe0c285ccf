"""EventBridge: rules, and events of executions."""

import json

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
