"""Where an execution failed, by histories of the form that Step Functions gives (API reference, HistoryEvent)."""

import json

import pytest

from geodl_core.aws.ledger.ledger import CloudRun
from geodl_core.aws.operate.run_report import FailedState, find_failed_state, request_ids
from geodl_core.aws.site.executions import Deployment, Execution

MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:geodl-scene"
ARN = "arn:aws:states:us-east-1:123456789012:execution:geodl-scene:"
RUN = CloudRun("a" * 64, "failed", 1, 0, None, None, "scene", "water@1", 0.0, 0.0, 0.0, False, None, None)


class States:
    """What Step Functions knows of executions: histories by ARN, and the children of maps."""

    def __init__(self, histories, children=()):
        self.histories, self.children = histories, children

    def get_paginator(self, name):
        self.asked = name
        return self

    def paginate(self, executionArn=None, mapRunArn=None, statusFilter=None, reverseOrder=False):
        if self.asked == "list_executions":
            return [{"executions": list(self.children)}]
        assert reverseOrder
        return [{"events": self.histories[executionArn][::-1]}]

    def list_map_runs(self, executionArn):
        return {"mapRuns": [{"mapRunArn": "map"}] if self.children else []}


def history(*events):
    """Number events and chain them, as they come from one branch."""
    return [{"id": at, "previousEventId": at - 1, **event} for at, event in enumerate(events, start=1)]


def entered(name):
    return {"type": "TaskStateEntered", "stateEnteredEventDetails": {"name": name}}


def task_failed(error, message, **more):
    cause = json.dumps({"errorType": error, "errorMessage": message, **more})
    return {"type": "TaskFailed", "taskFailedEventDetails": {"error": error, "cause": cause}}


def called(request_id):
    output = json.dumps({"Payload": {}, "SdkResponseMetadata": {"RequestId": request_id}})
    return {"type": "TaskSucceeded", "taskSucceededEventDetails": {"output": output}}


END = {"type": "ExecutionFailed", "executionFailedEventDetails": {"error": "DataError", "cause": "in the end"}}
MAP = {"type": "MapRunFailed", "mapRunFailedEventDetails": {"error": "States.ExceedToleratedFailureThreshold"}}


def found(states):
    deployment = Deployment(None, None, None, states, MACHINE)
    return find_failed_state(deployment, RUN, Execution("FAILED", "DataError", "told by the execution"))


def test_a_task_that_failed_is_named_with_its_last_failure():
    """What was tried again and what the failure's writer did are not taken for the cause."""
    events = history(
        entered("Plan"),
        task_failed("StoreError", "not now"),
        called("1"),
        entered("Register"),
        task_failed("CatalogError", "away"),
        task_failed("InputError", "no such Collection"),
        entered("Failed"),
        task_failed("CatalogError", "the ledger is away"),
        entered("End"),
        END,
    )
    states = States({f"{ARN}{RUN.id}-1": events})
    assert found(states) == FailedState("Register", "InputError", "no such Collection")


def test_of_a_map_the_shard_is_named_that_failed_first():
    """The map's own failure says nothing: its first child that failed does, and how many did."""
    shard = history(entered("Shard"), task_failed("DataError", "a block"), entered("ShardFailed"), called("2"), END)
    histories = {f"{ARN}{RUN.id}-1": history(entered("Plan"), entered("Shards"), MAP, entered("Failed"), END)}
    histories |= {"late": history(entered("Shard"), task_failed("DataError", "later")), "early": shard}
    children = ({"executionArn": "late", "stopDate": 2}, {"executionArn": "early", "stopDate": 1})
    assert found(States(histories, children)) == FailedState("Shard", "DataError", "a block", 2)


def test_an_execution_without_a_failed_task_is_told_by_its_end():
    """Where only the end is known, the state before it is named."""
    events = history(entered("Shards"), END)
    assert found(States({f"{ARN}{RUN.id}-1": events})) == FailedState("Shards", "DataError", "in the end")
    assert found(States({f"{ARN}{RUN.id}-1": []})) == FailedState("", "DataError", "told by the execution")


@pytest.mark.parametrize("event", [called("call-1"), task_failed("InputError", "no", requestId="call-1")])
def test_calls_are_known_by_their_request_ids(event):
    """A function's call is found by the id in its result's metadata, or in the error that it gave."""
    states = States({f"{ARN}{RUN.id}-1": history(entered("Plan"), event)})
    assert request_ids(Deployment(None, None, None, states, MACHINE), RUN, 1) == {"call-1"}
