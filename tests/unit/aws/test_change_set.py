"""Why a change of a stack failed, by its events."""

import pytest

from geodl_core.aws.deploy.change_set import STACK, Change, Event, failed


def event(logical_id, status, reason="", kind="AWS::Lambda::Function"):
    return Event(f"{logical_id}-{status}", logical_id, kind, status, reason)


def test_the_first_that_failed_is_the_cause():
    """What was cancelled because of another, and the stack itself, are not taken for the cause."""
    events = [
        event("geodl", "CREATE_IN_PROGRESS", "User Initiated", STACK),
        event("Table", "CREATE_FAILED", "Resource creation cancelled"),
        event("Api", "CREATE_FAILED", "Limit of APIs is reached", "AWS::ApiGatewayV2::Api"),
        event("Queue", "CREATE_FAILED", "no leave"),
        event("geodl", "ROLLBACK_IN_PROGRESS", "The following resource(s) failed to create: [Api, Queue]", STACK),
    ]
    error = failed("geodl", "ROLLBACK_COMPLETE", events)
    expected = "stack geodl: Api (AWS::ApiGatewayV2::Api) failed: Limit of APIs is reached; 1 more failed"
    assert error.message == expected
    assert "geodl deploy --remove" in error.hint


def test_a_stack_that_fails_by_itself_says_so():
    """Where no resource failed the stack's own reason is told; without one, its state."""
    whole = event("geodl", "UPDATE_FAILED", "Template error", STACK)
    assert failed("geodl", "UPDATE_ROLLBACK_COMPLETE", [whole]).message.endswith("failed: Template error")
    assert failed("geodl", "DELETE_FAILED", []).message == "stack geodl: it is DELETE_FAILED"


@pytest.mark.parametrize(
    ("action", "kind", "expected"),
    [
        ("remove", "AWS::S3::Bucket", True),
        ("replace", "AWS::DynamoDB::Table", True),
        ("modify", "AWS::DynamoDB::Table", False),
        ("remove", "AWS::SQS::Queue", False),
    ],
)
def test_what_takes_data_with_it_is_known(action, kind, expected):
    """Buckets, tables and databases that are removed or replaced lose what they hold."""
    assert Change(action, "X", kind).loses_data is expected
