"""On AWS, with IAM in force: the same as in the open, and each role's permissions are needed."""

import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from test_aws_open import test_an_item_on_the_topic_becomes_an_item_of_the_api, watched  # noqa: F401  # the same promise

from deployed import STACK, TOKEN, add_watch, ask, ended, eventually, executions, geodl, publish, runs, upload_scene
from earth_search import EarthSearch
from incidents import ended_run, messages, queue_attributes, results_of, retry, run_of, running_job, said
from scenes import write_scene

pytestmark = [pytest.mark.aws, pytest.mark.postgres, pytest.mark.xdist_group("aws-auth")]


@pytest.fixture(scope="module")
def elsewhere():
    """A STAC API of somebody else, without any scenes yet."""
    with EarthSearch(()) as api:
        yield api


@pytest.fixture(scope="module")
def stack(deploy, jobs_images, elsewhere):
    allowed = elsewhere.origin.removeprefix("http://")
    with deploy(allowed=allowed, auth=True, images=jobs_images, functions=4) as stack:
        yield stack


@pytest.fixture(scope="module")
def scene(stack, watched, tmp_path_factory):  # noqa: F811  # the fixture
    """What gives a scene of this name to be published, which a watch wants."""
    folder = tmp_path_factory.mktemp("meadow")
    write_scene(folder, (128, 128))
    item = json.dumps(upload_scene(stack, folder / "scene.json", "meadow", "meadows"))
    add_watch(stack, folder, "meadows")
    return lambda name: {**json.loads(item), "id": name}


@pytest.fixture(scope="module")
def search(elsewhere, scene):
    """That STAC API with four scenes of March 2025, and three of today."""
    days = [datetime(2025, 3, day, 10, tzinfo=UTC) for day in (1, 9, 17, 30)]
    days += [datetime.now(UTC) - timedelta(hours=hours) for hours in (1, 2, 3)]
    elsewhere.add([dated(scene, day) for day in days])
    return elsewhere


def dated(scene, day):
    """A scene that was taken on a day."""
    item = scene(f"taken-{day:%Y%m%d-%H%M}")
    return {**item, "properties": {**item["properties"], "datetime": day.isoformat().replace("+00:00", "Z")}}


@contextmanager
def without_policies(stack, role):
    """A role that may do nothing meanwhile."""
    resources, iam = stack.client("cloudformation"), stack.client("iam")
    found = resources.describe_stack_resource(StackName=STACK, LogicalResourceId=role)["StackResourceDetail"]
    name = found["PhysicalResourceId"]
    kept = {
        policy: iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
        for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
    }
    assert kept
    for policy in kept:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    try:
        yield
    finally:
        for policy, document in kept.items():
            iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document))


@pytest.mark.parametrize(
    ("role", "parts"),
    [
        ("ShardRole", ("/plan.json: access is refused", "s3:GetObject", "shard 0")),
        ("MergeRasterRole", ("/plan.json: access is refused", "s3:GetObject")),
    ],
)
def test_a_step_that_may_do_nothing_is_told(stack, scene, role, parts):
    """Without its role's policy a step is refused: the run has failed, not its Item, and says what; a retry serves."""
    with without_policies(stack, role):
        publish(stack, scene(f"without-{role}"))
        run = ended_run(stack, f"without-{role}")
    assert (run["state"], run["error"]["class"]) == ("failed", "RefusedError")
    assert said(run["error"]["message"], *parts)
    retry(stack, run)
    assert ended_run(stack, f"without-{role}", attempt=2)["state"] == "succeeded"


def test_messages_that_nobody_may_take_are_not_lost(stack, scene):
    """Without the policy of the function that takes them they become dead letters; with it again, replaying serves."""
    with queue_attributes(stack, VisibilityTimeout="1"):
        with without_policies(stack, "IngestRole"):
            publish(stack, scene("unheard"))
            eventually(lambda: messages(stack, "IngestDeadLetters") == 1)
        assert run_of(stack, "unheard") is None
        assert said(geodl(stack, "aws", "replay-dlq"), "nothing is wrong with it now", "1 dead letter sent again")
        assert ended_run(stack, "unheard")["state"] == "succeeded"


def test_a_watch_scans_by_the_clock(stack, search, tmp_path):
    """Scheduler calls the function, which finds today's scenes and no older ones; each is run once."""
    source = {"api": search.url, "lookback_days": 2}
    add_watch(stack, tmp_path, "minutes", mode="schedule", schedule={"every": "PT1M"}, source=source)
    found = ended(stack, "minutes", 3, within_s=150)
    assert {(run["state"], run["attempt"]) for run in found} == {("succeeded", 1)}
    assert {run["item"]["id"] for run in found} == {item["id"] for item in search.items[:3]}
    assert said(geodl(stack, "watch", "show", "minutes"), "last scan", "3 found, 3 matched, 3 ordered")
    geodl(stack, "watch", "remove", "minutes")
    scheduler, group = stack.client("scheduler"), stack.outputs["ScheduleGroup"]
    assert not scheduler.list_schedules(GroupName=group)["Schedules"]


def test_a_back_fill_runs_the_scenes_of_its_days(stack, search, tmp_path):
    """One execution for all of them, however often it is asked for; begun anew it runs what has appeared since."""
    never = {"cron": "0 0 29 2 *"}
    add_watch(stack, tmp_path, "march", mode="schedule", schedule=never, source={"api": search.url})
    days = ("march", "--from", "2025-03-01", "--to", "2025-03-20")
    assert said(geodl(stack, "backfill", *days, "--dry-run"), "3")
    assert not runs(stack, "march")
    for _ in range(2):
        geodl(stack, "backfill", *days)
    done = eventually(lambda: backfills(stack, "SUCCEEDED"), 120, lambda: f"{executions(stack, 'BackfillMachine')}")
    found = runs(stack, "march")
    assert [(run["state"], run["attempt"]) for run in found] == [("succeeded", 1)] * 3
    assert {run["item"]["id"] for run in found} == {f"taken-202503{day:02}-1000" for day in (1, 9, 17)}
    assert len(done) == len(backfills(stack)) == 1
    assert said(geodl(stack, "watch", "show", "march"), "succeeded", "3 found, 3 matched, 3 ordered")
    assert all(len(results_of(stack, run["item"]["id"])) == 1 for run in found)


def backfills(stack, status=None):
    """The executions of back-fills, of a status or of any."""
    return [one for one in executions(stack, "BackfillMachine") if status in (None, one["status"])]


def test_a_run_that_is_called_off_stops_its_job(stack, scene, box, healed):
    """With a token that may publish, and with no other, a run is stopped over the API; nothing of it is registered."""
    healed.hurt("unwanted", shard=[{"wait_s": 300}])
    publish(stack, scene("unwanted"))
    job = running_job(stack, "unwanted")
    run = run_of(stack, "unwanted")
    assert [ask(stack, "RunsApi", f"/runs/{run['id']}", "DELETE", token=one).status for one in ("", TOKEN)] == [
        401,
        403,
    ]
    words = geodl(stack, "aws", "token", "operator", "--scope", "publish").split()
    (token,) = (word for word in words if word.startswith("gdl_"))
    answer = ask(stack, "RunsApi", f"/runs/{run['id']}", "DELETE", token=token)
    assert answer.status == 200, answer
    assert ended_run(stack, "unwanted")["state"] == "cancelled"
    eventually(lambda: stack.client("batch").describe_jobs(jobs=[job["jobId"]])["jobs"][0]["status"] == "FAILED", 30)
    assert not results_of(stack, "unwanted")


def test_an_execution_that_somebody_stops_is_told(stack, scene, healed):
    """Stopped past geodl, a run ends as failed by itself, and can be tried again."""
    healed.hurt("stopped", shard=[{"wait_s": 300}])
    publish(stack, scene("stopped"))
    running_job(stack, "stopped")
    (one,) = [each for each in executions(stack) if each["name"].startswith(run_of(stack, "stopped")["id"])]
    stack.client("stepfunctions").stop_execution(executionArn=one["executionArn"], cause="by hand")
    run = ended_run(stack, "stopped")
    assert run["state"] == "failed"
    assert said(run["error"]["message"], "stopped")
    healed.heal()
    retry(stack, run)
    assert ended_run(stack, "stopped", attempt=2)["state"] == "succeeded"
