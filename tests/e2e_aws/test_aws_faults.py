"""On AWS, when things go wrong: a run ends right, or `failed` with a cause that a person understands; others go on."""

import json
import os
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from deployed import SCENES, WAIT_SCALE, eventually, geodl, publish, result_files
from incidents import (
    ended_run,
    jobs,
    logs,
    process_of,
    results_of,
    retry,
    run_of,
    running_job,
    said,
    shard_job,
    states,
    steps,
)

pytestmark = [pytest.mark.aws, pytest.mark.postgres, pytest.mark.xdist_group("aws-hurt")]
ONCE = ["queued", "claimed", "running", "succeeded"]
FAILED = ["queued", "claimed", "running", "failed"]
PRESENT = "present  part 0 of 1: nothing was computed"


def require_once(stack, run):
    """The run succeeded in its first attempt, and there is one result of it."""
    assert (run["state"], run["error"], states(stack, run)) == ("succeeded", None, ONCE)
    assert [one["id"] for one in results_of(stack, run["item"]["id"])] == [run["result"]["id"]]


def require_failed(stack, run, *said_in_cause):
    """The run failed, for a reason that is told, and there is no result of it."""
    assert (run["state"], states(stack, run)) == ("failed", FAILED)
    assert said(run["error"]["message"], *said_in_cause)
    assert not results_of(stack, run["item"]["id"])


def failed_run(stack, name, kind, *said_in_cause):
    """The run of a scene, which failed with an error of a class, for a reason that is told."""
    run = ended_run(stack, name)
    require_failed(stack, run, *said_in_cause)
    assert run["error"]["class"] == kind
    return run


def mended_run(stack, healed, run):
    """The second attempt of a run whose job nothing hurts any more; it succeeded."""
    healed.heal()
    retry(stack, run)
    again = ended_run(stack, run["item"]["id"], attempt=2)
    assert (again["state"], again["error"]) == ("succeeded", None)
    return again


def attempts_of(job):
    """The exit code of each attempt of a job, or why there is none."""
    return [one["container"].get("exitCode", one["statusReason"][:8]) for one in job["attempts"]]


def noted_rate(stack, run):
    """What the ledger has of how long a shard of the run's model took."""
    key = {"pk": {"S": f"RATE#{run['model']}"}, "sk": {"S": "RATE"}}
    return stack.client("dynamodb").get_item(TableName=stack.outputs["Table"], Key=key)["Item"]


@pytest.fixture
def bystander(hurt, meadow, request):
    """A scene that nothing happens to; it is run as ever, whatever else happens meanwhile."""
    name = f"bystander-of-{request.node.name}"
    publish(hurt, meadow(name))
    yield
    require_once(hurt, ended_run(hurt, name))


@pytest.mark.usefixtures("bystander")
def test_a_machine_that_spot_takes_back_costs_an_attempt_only(hurt, meadow, healed):
    """A job that is ended by SIGTERM from outside is run again by Batch, and the run knows nothing of it."""
    healed.hurt("spot", shard=[{"wait_s": 60}])
    publish(hurt, meadow("spot"))
    os.kill(process_of(running_job(hurt, "spot")), signal.SIGTERM)
    run = ended_run(hurt, "spot")
    require_once(hurt, run)
    (job,) = jobs(hurt, run)
    assert attempts_of(job) == ["Host EC2", 0]


@pytest.mark.usefixtures("bystander")
def test_a_source_that_answers_later_costs_attempts_only(hurt, meadow, healed):
    """Exit code 75, a transient error, has Batch run the job again."""
    healed.hurt("late", shard=[{"exit": 75}, {"exit": 75}])
    publish(hurt, meadow("late"))
    run = ended_run(hurt, "late")
    require_once(hurt, run)
    (job,) = jobs(hurt, run)
    assert attempts_of(job) == [75, 75, 0]


def test_a_source_that_never_answers_is_told_and_a_retry_serves_when_it_does(hurt, meadow, healed):
    """After four attempts the run fails with what the job said last; tried again later it succeeds."""
    words = "error: https://scenes.example/red.tif: it does not answer (503)"
    healed.hurt("never", shard=[{"exit": 75, "says": words}] * 4)
    publish(hurt, meadow("never"))
    told = "https://scenes.example/red.tif: it does not answer"
    run = failed_run(hurt, "never", "UnavailableError", told, "shard 0", "in 4 tries")
    again = mended_run(hurt, healed, run)
    assert states(hurt, again) == [*FAILED, *ONCE]
    assert len(results_of(hurt, "never")) == 1


@pytest.mark.usefixtures("bystander")
def test_a_job_without_memory_is_told_and_its_part_is_found_by_the_retry(hurt, meadow, healed):
    """SIGKILL, which is what memory without end comes to, fails the run; a part that had been written is not lost."""
    healed.hurt("large", shard=[{"kill": signal.SIGKILL}])
    publish(hurt, meadow("large"))
    run = failed_run(hurt, "large", "OutOfMemoryError", "shard 0", "exit code 137", "memory")
    mended_run(hurt, healed, run)
    _, second = jobs(hurt, run)
    assert logs(hurt, second) == [PRESENT]


def test_a_worker_killed_before_it_reports_has_not_worked_in_vain(hurt, meadow, healed):
    """Killed between writing its part and reporting, the next attempt finds the part; the result is the same."""
    publish(hurt, meadow("whole"))
    noted = noted_rate(hurt, ended_run(hurt, "whole"))
    healed.hurt("mute", shard=[{"kill": signal.SIGTERM}])
    publish(hurt, meadow("mute"))
    run = ended_run(hurt, "mute")
    require_once(hurt, run)
    # Its last try says nothing of the model: it has computed nothing.
    assert noted_rate(hurt, run) == noted
    (job,) = jobs(hurt, run)
    computed, present = logs(hurt, job)
    assert said(computed, "computed part 0 of 1")
    assert present == PRESENT
    assert result_files(hurt, run["result"]) == result_files(hurt, ended_run(hurt, "whole")["result"])


def test_a_job_that_takes_too_long_is_told(hurt, meadow, healed):
    """The time limit of the job definition ends the run, once, with a cause that says so."""
    healed.hurt("slow", shard=[{"wait_s": 60}])
    with shard_job(hurt, timeout={"attemptDurationSeconds": 1}):
        publish(hurt, meadow("slow"))
        run = ended_run(hurt, "slow")
    require_failed(hurt, run, "shard 0", "Job attempt duration exceeded timeout")
    (job,) = jobs(hurt, run)
    assert len(job["attempts"]) == 1


def test_an_image_that_is_not_there_is_told(hurt, meadow):
    """Pulling is tried four times; then the run fails and names the image. Runs that had been started go on."""
    image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/forgotten:1"
    publish(hurt, meadow("earlier"))
    eventually(lambda: (run := run_of(hurt, "earlier")) and run["state"] != "queued")
    with shard_job(hurt, image=image):
        publish(hurt, meadow("no-image"))
        run = ended_run(hurt, "no-image")
    require_once(hurt, ended_run(hurt, "earlier"))
    require_failed(hurt, run, "shard 0", "never started", "CannotPullContainerError", image, "in 4 tries")
    retry(hurt, run)
    assert ended_run(hurt, "no-image", attempt=2)["state"] == "succeeded"


def test_a_merge_function_that_hangs_is_replaced_by_a_job(hurt, meadow):
    """A function that is out of time hands over to a job of Batch: the same bytes, and the next run has it back."""
    function, client = "geodl-merge-raster", hurt.client("lambda")
    client.update_function_configuration(FunctionName=function, Timeout=5)
    try:
        publish(hurt, meadow("quick"))
        quick = ended_run(hurt, "quick")
        with held(processes(hurt, function)):
            publish(hurt, meadow("hung"))
            run = ended_run(hurt, "hung")
    finally:
        client.update_function_configuration(FunctionName=function, Timeout=900)
    require_once(hurt, run)
    way = ["Plan", "IsThere", "Shards", "Merge", "MergeRaster"]
    # The ledger hears of the end a moment before the execution has it.
    eventually(lambda: steps(hurt, quick) == [*way, "Register", "Done"])
    eventually(lambda: steps(hurt, run) == [*way, "MergeJob", "Register", "Done"])
    assert [job["jobName"].rpartition("-")[2] for job in jobs(hurt, run)] == ["0", "merge"]
    assert result_files(hurt, run["result"]) == result_files(hurt, quick["result"])
    publish(hurt, meadow("after"))
    after = ended_run(hurt, "after")
    eventually(lambda: steps(hurt, after) == [*way, "Register", "Done"])


def processes(stack, function):
    """The numbers of the processes that are a function's environments."""
    named = f"AWS_LAMBDA_FUNCTION_NAME={function}".encode()
    found = [path.parent for path in Path("/proc").glob("[0-9]*/stat") if _session(path) == stack.emulator.pid]
    return [int(path.name) for path in found if named in (path / "environ").read_bytes().split(b"\0")]


def _session(path):
    try:
        return int(path.read_text().rsplit(")", 1)[1].split()[3])
    except OSError:
        return None


@contextmanager
def held(numbers):
    """Processes that do nothing meanwhile; some may be gone at the end."""
    assert numbers
    for number in numbers:
        os.kill(number, signal.SIGSTOP)
    yield
    for number in numbers:
        if Path(f"/proc/{number}").exists():
            os.kill(number, signal.SIGCONT)


def test_a_catalog_that_is_down_for_a_minute_delays_a_run_only(hurt, meadow, server):
    """Registering is tried until the database answers; the work is done once.

    The minute is as long here as all that Step Functions waits for: the state machine waits as often as on AWS.
    """
    server.stop()
    try:
        publish(hurt, meadow("patient"))
        eventually(lambda: (run := run_of(hurt, "patient")) and "Register" in steps(hurt, run), 60)
        time.sleep(60 * WAIT_SCALE)
        assert run_of(hurt, "patient")["state"] == "running"
    finally:
        server.start()
    run = ended_run(hurt, "patient")
    require_once(hurt, run)
    assert steps(hurt, run).count("Register") == 1
    assert len(jobs(hurt, run)) == 1


def test_a_run_that_could_not_register_computes_nothing_again(hurt, meadow):
    """What an earlier attempt has merged is registered by the retry, without a job and without a merge."""
    function, client = "geodl-register", hurt.client("lambda")
    client.update_function_configuration(FunctionName=function, Handler="app.gone")
    try:
        publish(hurt, meadow("unregistered"))
        run = ended_run(hurt, "unregistered")
    finally:
        client.update_function_configuration(FunctionName=function, Handler="app.handler")
    require_failed(hurt, run)
    retry(hurt, run)
    again = ended_run(hurt, "unregistered", attempt=2)
    assert (again["state"], states(hurt, again)) == ("succeeded", [*FAILED, *ONCE])
    eventually(lambda: steps(hurt, again, attempt=2) == ["Plan", "IsThere", "Register", "Done"])
    assert (len(jobs(hurt, again)), len(results_of(hurt, "unregistered"))) == (1, 1)


@pytest.mark.usefixtures("bystander")
def test_a_scene_whose_file_vanished_is_told_before_anything_is_computed(hurt, meadow):
    """Planning fails, once, and names the file."""
    item = meadow("vanished")
    item["assets"]["image"]["href"] = f"s3://{SCENES}/vanished/scene.tif"
    publish(hurt, item)
    run = ended_run(hurt, "vanished")
    assert (run["state"], run["error"]["class"]) == ("invalid", "ItemError")
    assert said(run["error"]["message"], f"asset image: s3://{SCENES}/vanished/scene.tif is not there")
    assert (steps(hurt, run), jobs(hurt, run)) == (["Plan", "Failed", "End"], [])
    told = [json.loads(line) for line in geodl(hurt, "aws", "logs", run["id"][:8], "--json").splitlines()]
    assert {line["source"] for line in told} >= {"ingest", "plan", "fail"}
    assert said("\n".join(line["text"] for line in told if line["source"] == "fail"), "vanished/scene.tif is not there")


def test_a_scene_whose_file_vanishes_under_way_is_told(hurt, meadow, healed):
    """A job that no longer finds what was planned for fails the run, and names the file."""
    s3, key = hurt.client("s3"), "leaving/scene.tif"
    s3.copy_object(Bucket=SCENES, Key=key, CopySource=f"{SCENES}/meadow/scene.tif")
    item = meadow("leaving")
    item["assets"]["image"]["href"] = f"s3://{SCENES}/{key}"
    healed.hurt("leaving", shard=[{"wait_s": 1}])
    publish(hurt, item)
    eventually(lambda: (run := run_of(hurt, "leaving")) and run["state"] == "running")
    s3.delete_object(Bucket=SCENES, Key=key)
    run = ended_run(hurt, "leaving")
    assert (run["state"], run["error"]["class"]) == ("invalid", "InputError")
    assert said(run["error"]["message"], f"asset image: s3://{SCENES}/{key} is not there", "shard 0")
