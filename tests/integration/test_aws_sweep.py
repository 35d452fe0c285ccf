"""The sweep: what was left lying is started, restarted or ended, and what is being worked on is left alone."""

from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from geodl_core.aws.ledger.claims import claim_order
from geodl_core.aws.ledger.ledger import cloud_history, move_run, read_run
from geodl_core.aws.operate.overview import STUCK_S, find_stuck
from geodl_core.aws.site.executions import describe, execution_arn
from geodl_core.aws.steps.ingest import take_order
from geodl_core.aws.steps.sweep import GRACE_S, Swept, end_stopped, sweep
from geodl_core.domain.run.order import Order, order_id
from geodl_core.errors import UnavailableError

NOTHING = Swept(0, 0, 0, 0)


def order(name):
    item = {"id": name, "collection": "scenes", "properties": {}, "assets": {"image": {"href": "https://h/a.tif"}}}
    return Order(item, "water@0123456789abcdef")


@pytest.fixture
def run(cloud):
    """Return a function that takes a run to a state, and then lets time pass."""

    def make(name, *states, lasts_s=GRACE_S + 1):
        run_id = take_order(cloud.deployment, order(name), None).run_id
        for state in states:
            move_run(cloud.ledger, run_id, state, state)
        cloud.clock.now += lasts_s
        return run_id

    return make


def stop(cloud, run_id, **why):
    arn = execution_arn(cloud.deployment.machine, f"{run_id}-1")
    cloud.deployment.states.stop_execution(executionArn=arn, **why)


def test_what_runs_is_left_alone(cloud, run):
    """Runs whose executions run stay as they are, however long that takes; after hours they are told of."""
    run("a")
    run("b", "running", lasts_s=86_400)
    assert sweep(cloud.deployment) == Swept(0, 0, 0, 2)


def test_one_run_that_does_not_answer_keeps_no_other(cloud, run):
    """Where Step Functions does not start one run, the sweep goes on with the others, and says so at the end."""
    ended = run("a", "running")
    stop(cloud, ended, error="States.Timeout")
    claim_order(cloud.ledger, order("b"), None)
    cloud.clock.now += GRACE_S + 1
    down = ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "StartExecution")
    with pytest.raises(UnavailableError, match="cannot start"):
        sweep(cloud.refusing(start_execution=down))
    assert read_run(cloud.ledger, ended).state == "failed"


def test_what_was_never_started_is_started(cloud):
    """A run whose start failed, and whose message never came again, is started when some time has passed."""
    down = ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "StartExecution")
    with pytest.raises(UnavailableError):
        take_order(cloud.refusing(start_execution=down), order("a"), None)
    assert sweep(cloud.deployment) == NOTHING
    cloud.clock.now += GRACE_S
    assert sweep(cloud.deployment) == Swept(1, 0, 0, 0)
    assert len(cloud.executions()) == 1
    assert sweep(cloud.deployment) == NOTHING


def test_what_waits_for_its_day_does_not_hide_what_is_due(cloud, monkeypatch):
    """However many runs are put off, or held by a back-fill, and however long ago: the one that is due is started."""
    monkeypatch.setattr("geodl_core.aws.steps.sweep.MOST_RUNS", 3)
    monkeypatch.setattr("geodl_core.aws.operate.overview.MOST_FAILED", 3)
    monkeypatch.setattr("geodl_core.aws.ledger.ledger.PAGE", 4)
    for number in range(40):
        claim_order(cloud.ledger, replace(order(f"off-{number}"), watch="w"), 1)
        claim_order(cloud.ledger, order(f"held-{number}"), None, "w-1")
    due = [claim_order(cloud.ledger, order(f"due-{number}"), None).run.id for number in range(5)]
    cloud.clock.now += STUCK_S + 1
    first = read_run(cloud.ledger, order_id(replace(order("off-0"), watch="w"))).id
    assert len(find_stuck(cloud.deployment)) == 3
    assert [sweep(cloud.deployment).started for _ in range(3)] == [3, 3, 0]
    assert {name.rpartition("-")[0] for name in cloud.executions()} == {first, *due}


def test_a_claimed_run_without_execution_is_started_again(cloud, run):
    """A run that was noted as started, and of whose execution nobody knows, gets one."""

    run_id = claim_order(cloud.ledger, order("a"), None).run.id
    move_run(cloud.ledger, run_id, "claimed", "execution started")
    cloud.clock.now += GRACE_S + 1
    assert sweep(cloud.deployment) == Swept(0, 1, 0, 0)
    assert cloud.executions() == [f"{run_id}-1"]
    assert read_run(cloud.ledger, run_id).state == "claimed"
    texts = [line["text"] for line in cloud_history(cloud.ledger, run_id)]
    assert texts == ["ordered by hand", "execution started", "there was no execution", "execution started"]


def test_an_execution_that_ended_untold_ends_its_run(cloud, run):
    """Where an execution was ended and could not say so, its cause is asked for."""
    run_id = run("a", "running")
    other = run("b", "running")
    stop(cloud, run_id)
    assert sweep(cloud.deployment) == Swept(0, 0, 1, 0)
    ended = read_run(cloud.ledger, run_id)
    assert (ended.state, ended.error["class"]) == ("failed", "States.ABORTED")
    assert ended.error["message"]
    assert read_run(cloud.ledger, other).state == "running"
    assert sweep(cloud.deployment) == NOTHING


def test_what_changed_lately_is_left_to_who_changed_it(cloud, run):
    """An execution that has just ended may be about to tell."""
    run_id = run("a", "running", lasts_s=10)
    stop(cloud, run_id)
    assert sweep(cloud.deployment) == NOTHING


def test_an_execution_that_was_stopped_ends_its_run_at_once(cloud, run):
    """Told of it, nobody waits for the sweep; of another attempt, or of a run that has ended, nothing is changed."""
    run_id = run("a", "running", lasts_s=1)
    assert not end_stopped(cloud.deployment, f"{run_id}-1")
    stop(cloud, run_id, cause="by hand")
    assert not end_stopped(cloud.deployment, f"{run_id}-2")
    assert not end_stopped(cloud.deployment, "another-1")
    assert end_stopped(cloud.deployment, f"{run_id}-1")
    assert read_run(cloud.ledger, run_id).state == "failed"
    assert not end_stopped(cloud.deployment, f"{run_id}-1")


def test_an_execution_is_known_by_run_and_attempt(cloud, run):
    """The name of an execution is that of its run, with the attempt."""
    run_id = run("a")
    assert describe(cloud.deployment, read_run(cloud.ledger, run_id)).status == "RUNNING"

    assert describe(cloud.deployment, replace(read_run(cloud.ledger, run_id), attempt=2)) is None
