"""What takes up to a minute: wound up when the emulator starts (`aws` in conftest.py), looked at last."""

import pytest
from aws_probe import bodies, eventually, received

pytestmark = pytest.mark.aws


def test_a_one_time_schedule_fires(aws):
    """A schedule at(…) sends its input, once."""
    assert bodies(received(aws, aws.timers.once, 1, 60)) == ['{"scan":1}']


def test_an_expired_row_is_deleted_and_another_stays(aws):
    """Time to live takes the row that is over and leaves the one that is not."""

    def keys():
        return [item["pk"]["S"] for item in aws.dynamodb.scan(TableName=aws.timers.table)["Items"]]

    eventually(lambda: keys() == ["young"], 90, 0.5)


def test_a_rule_fires_by_rate(aws):
    """rate(1 minute) sends an event a minute."""
    assert received(aws, aws.timers.rule, 1, 90)


def test_a_schedule_starts_a_state_machine_by_rate(aws):
    """rate(1 minute) of the Scheduler starts an execution a minute."""
    eventually(lambda: aws.stepfunctions.list_executions(stateMachineArn=aws.timers.machine)["executions"], 90, 0.5)
