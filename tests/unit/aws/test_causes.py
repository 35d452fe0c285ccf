"""What services write as cause: read whatever it is, and never with what is secret."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core import errors
from geodl_core.aws.steps.causes import EXIT_CODES, KINDS, MOST_TEXT, read_failure, with_log
from geodl_core.errors import GeodlError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda one: st.lists(one) | st.dictionaries(st.text(), one)
)


@given(error=st.text(max_size=40), cause=st.text() | JSON.map(json.dumps))
def test_any_cause_is_a_line_and_a_state(error, cause):
    """Whatever a service writes, a run ends with some text, of bounded length."""
    failure = read_failure(error, cause)
    assert failure.state in ("failed", "invalid")
    assert len(failure.message) <= MOST_TEXT


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_error_of_geodl_is_known_by_its_name(kind):
    """Lambda tells a class's name alone: input errors end a run as invalid, all others as failed."""
    failure = read_failure(kind, json.dumps({"errorType": kind, "errorMessage": "why"}))
    assert (failure.kind, failure.message) == (kind, "why")
    assert failure.state == ("invalid" if issubclass(KINDS[kind], errors.InputError) else "failed")


def test_exit_codes_are_those_of_the_errors():
    """Each code that a container may end with belongs to the class that has it."""
    own = {kind.exit_code for kind in KINDS.values() if kind is not GeodlError}
    assert own <= set(EXIT_CODES)
    assert all(kind.exit_code == code for code, kind in EXIT_CODES.items() if code != 137)


@pytest.mark.parametrize("code", sorted(EXIT_CODES))
def test_a_job_is_judged_by_its_exit_code(code):
    """Batch tells the code of the container, in Attempts and Container."""
    job = {"JobId": "1", "JobName": "shard", "StatusReason": "Essential container in task exited"}
    failure = read_failure("States.TaskFailed", json.dumps({**job, "Container": {"ExitCode": code}}))
    assert failure.kind == EXIT_CODES[code].__name__
    assert f"exit code {code}" in failure.message


@pytest.mark.parametrize("code", [2, 75, 137])
def test_a_job_of_managed_instances_is_judged_by_its_exit_code_too(code):
    """Definitions with EcsProperties have the container within a list of tasks, each with a list of containers."""
    container = {"Name": "geodl", "ExitCode": code, "LogStreamName": "geodl/geodl/abc"}
    job = {
        "JobId": "1",
        "JobName": "shard",
        "StatusReason": "Essential container in task exited",
        "Attempts": [{"TaskProperties": [{"Containers": [container]}]}] * 4,
        "EcsProperties": {"TaskProperties": [{"Containers": [{"Name": "agent", "ExitCode": 0}, container]}]},
    }
    failure = read_failure("States.TaskFailed", json.dumps(job))
    assert (failure.kind, failure.log) == (EXIT_CODES[code].__name__, "geodl/geodl/abc")
    assert failure.message == f"shard: exit code {code}, in 4 tries"
    never = job | {
        "StatusReason": "CannotPullContainerError",
        "EcsProperties": {"TaskProperties": [{"Containers": [{}]}]},
    }
    assert "it was never started" in read_failure("States.TaskFailed", json.dumps(never)).message


def test_the_last_line_of_error_counts():
    """Of several lines the last that geodl wrote as an error is taken; without one nothing changes."""
    failure = read_failure("States.TaskFailed", json.dumps({"JobName": "j", "Container": {"ExitCode": 3}}))
    lines = "error: first\nhint: x\nerror: a block cannot be decoded\nhint: y"
    assert with_log(failure, lines).message.startswith("a block cannot be decoded (j: exit code 3")
    assert with_log(failure, "planned\ncomputed") == failure


def test_signatures_do_not_reach_the_ledger():
    """A signed URL in a message loses its signature."""
    url = "https://b.s3.amazonaws.com/k.tif?X-Amz-Signature=abc123&X-Amz-Credential=me"
    cause = json.dumps({"errorType": "StoreError", "errorMessage": f"{url}: the store answers 503"})
    assert "abc123" not in read_failure("StoreError", cause).message
    assert "abc123" not in read_failure("X", url).message


@pytest.mark.parametrize(("end", "shown"), [("7", "shard 7"), ("merge", "merge")])
def test_a_job_is_called_by_its_part(end, shown):
    """A person knows the run: of a job's long name the shard's number is told."""
    job = {"JobName": f"{'0f' * 32}-2-{end}", "Container": {"ExitCode": 137}, "StatusReason": "Essential container"}
    assert read_failure("States.TaskFailed", json.dumps(job)).message == f"{shown}: exit code 137"


def test_a_task_that_fargate_took_back_is_no_lack_of_memory():
    """Fargate Spot ends a task with exit code 137, too; what Batch says of it decides."""
    job = {"JobName": "geodl-0", "StatusReason": "Your Spot Task was interrupted.", "Container": {"ExitCode": 137}}
    failure = read_failure("States.TaskFailed", json.dumps(job))
    assert failure.kind == "UnavailableError"
    assert "taken away" in failure.message


def test_a_cause_that_was_handed_on_is_read_through():
    """A state that fails with all that its Catch was given tells the same as the first one."""
    first = json.dumps({"errorType": "DataError", "errorMessage": "a block"})
    handed = json.dumps({"Error": "DataError", "Cause": first})
    assert read_failure("DataError", handed) == read_failure("DataError", first)
    assert read_failure("States.Timeout", json.dumps({"Error": "States.Timeout"})).kind == "States.Timeout"
