"""What takes a minute: the last of the probes, wound up by the first (`timers` in conftest.py)."""

import pytest
from aws_probe import eventually, received

pytestmark = pytest.mark.aws


def test_an_expired_row_is_deleted_and_another_stays(aws, timers):
    """Time to live takes the row that is over and leaves the one that is not."""

    def keys():
        return [item["pk"]["S"] for item in aws.dynamodb.scan(TableName=timers.table)["Items"]]

    eventually(lambda: keys() == ["young"], 90, 0.5)


def test_a_rule_fires_by_rate(aws, timers):
    """rate(1 minute) sends an event a minute."""
    assert received(aws, timers.queue, 1, 90)


def test_a_schedule_starts_a_state_machine_by_rate(aws, timers):
    """rate(1 minute) of the Scheduler starts an execution a minute."""
    eventually(lambda: aws.stepfunctions.list_executions(stateMachineArn=timers.machine)["executions"], 90, 0.5)
