"""Schedules of watches on AWS: they follow the table, whoever dies or overtakes whom."""

import json
import re
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from cloud import Refusing, client
from controls import ROLE, Scheduler, controls_of, document_of, scheduled, schedules_of
from geodl_core.aws.ledger.watches import pause_cloud_watch, put_cloud_watch, read_cloud_watch, remove_cloud_watch
from geodl_core.aws.watches.controls import keep_cloud_watch, pause_kept_watch, remove_kept_watch
from geodl_core.aws.watches.schedules import SECOND, follow_watch, heal_schedules
from geodl_core.domain.run.complaints import WATCH_NAME
from geodl_core.errors import InputError, UnavailableError

DAY_S = 86_400
AWAY = ClientError({"Error": {"Code": "InternalServerException", "Message": "away"}}, "UpdateSchedule")
EITHER = {"cron": "0 6 13 * fri", "timezone": "Europe/Vienna"}


@pytest.fixture
def controls(cloud):
    return controls_of(cloud)


def put(controls, name="w", **more):
    return keep_cloud_watch(controls, document_of(name, **more), name, replaces=True)


def heal(controls):
    return heal_schedules(controls.scheduling, controls.deployment.ledger)


def expressions(controls):
    return {name: one["ScheduleExpression"] for name, one in schedules_of(controls).items()}


def test_a_watch_has_its_schedule(controls):
    """It calls the function with the watch's name, by the watch's times and zone, at the minute, and tries again."""
    put(controls, schedule={"cron": "0 6 * * mon-fri", "timezone": "Europe/Vienna"})
    (found,) = schedules_of(controls).values()
    assert (found["Name"], found["State"]) == ("w", "ENABLED")
    assert (found["ScheduleExpression"], found["ScheduleExpressionTimezone"]) == (
        "cron(0 6 ? * MON-FRI *)",
        "Europe/Vienna",
    )
    assert found["FlexibleTimeWindow"] == {"Mode": "OFF"}
    target = found["Target"]
    assert (target["Arn"], target["RoleArn"]) == (controls.scan_function, ROLE)
    assert json.loads(target["Input"]) == {"watch": "w"}
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 20}


def test_a_schedule_follows_its_watch(controls):
    """It is changed, paused, let go on, and goes with the watch, or with its mode; the same again changes nothing."""
    for _ in range(2):
        put(controls)
        assert expressions(controls) == {"w": "cron(0 6 * * ? *)"}
    put(controls, schedule={"every": "PT6H"})
    assert expressions(controls) == {"w": "rate(6 hours)"}
    pause_kept_watch(controls, "w", is_paused=True)
    assert schedules_of(controls)["w"]["State"] == "DISABLED"
    put(controls, schedule={"every": "PT3H"})
    assert schedules_of(controls)["w"]["State"] == "DISABLED"
    pause_kept_watch(controls, "w", is_paused=False)
    assert schedules_of(controls)["w"]["State"] == "ENABLED"
    keep_cloud_watch(controls, {"name": "w", "model": "water"}, "w", replaces=True)
    assert schedules_of(controls) == {}
    put(controls)
    assert list(schedules_of(controls)) == ["w"]
    remove_kept_watch(controls, "w")
    assert schedules_of(controls) == {}
    assert heal(controls) == 0


def test_days_of_either_kind_take_two_schedules(controls):
    """Both call for the same watch, and both go when one is enough."""
    put(controls, schedule=EITHER)
    assert expressions(controls) == {"w": "cron(0 6 13 * ? *)", "_w": "cron(0 6 ? * FRI *)"}
    inputs = {json.loads(one["Target"]["Input"])["watch"] for one in schedules_of(controls).values()}
    assert inputs == {"w"}
    put(controls)
    assert list(schedules_of(controls)) == ["w"]


def test_names_of_watches_are_names_of_schedules(controls):
    """Whatever a watch may be called Scheduler takes, and no two watches' schedules share a name."""
    longest = "w.-_" + "9" * 59
    assert re.fullmatch(WATCH_NAME, longest)
    assert not re.fullmatch(WATCH_NAME, f"{SECOND}w")
    put(controls, longest, schedule=EITHER)
    for name in schedules_of(controls):
        assert re.fullmatch(r"[0-9a-zA-Z\-_.]{1,64}", name)
    assert len(schedules_of(controls)) == 2


def test_who_dies_after_the_table_is_healed(cloud, controls):
    """A change that reached the table and no schedule is followed by the next sweep; then there is nothing to do."""
    put_cloud_watch(cloud.ledger, scheduled("a"), replaces=False)
    put_cloud_watch(cloud.ledger, scheduled("b", schedule=EITHER), replaces=False)
    assert heal(controls) == 2
    assert set(schedules_of(controls)) == {"a", "b", "_b"}
    pause_cloud_watch(cloud.ledger, "a", is_paused=True)
    assert heal(controls) == 1
    assert schedules_of(controls)["a"]["State"] == "DISABLED"
    remove_cloud_watch(cloud.ledger, "b")
    assert heal(controls) == 1
    assert set(schedules_of(controls)) == {"a"}
    assert heal(controls) == 0


def test_nothing_is_asked_where_nothing_changed(cloud, controls):
    """A sweep costs Scheduler no request while schedules are as the table has them, however they were changed."""
    put(controls)
    pause_kept_watch(controls, "w", is_paused=True)
    quiet = Scheduler(lambda name: pytest.fail(f"asked for {name}"))
    assert heal_schedules(replace(controls.scheduling, scheduler=quiet), cloud.ledger) == 0


def test_what_others_changed_is_put_right_within_a_day(cloud, controls):
    """Schedules that were removed or changed by hand come back; those that are nobody's go, of others' none does."""
    put(controls)
    put(controls, "v")
    heal(controls)
    there, group = client("scheduler"), controls.scheduling.group
    there.delete_schedule(Name="w", GroupName=group)
    target = {"Arn": controls.scan_function, "RoleArn": ROLE, "Input": "{}"}
    given = {"GroupName": group, "ScheduleExpression": "rate(1 day)", "FlexibleTimeWindow": {"Mode": "OFF"}}
    there.update_schedule(Name="v", Target=target, **given)
    there.create_schedule(Name="gone", Target=target, **given)
    other = target | {"Arn": target["Arn"].replace("-scan", "-sweep")}
    there.create_schedule(Name="sweep", Target=other, **given)
    cloud.clock.now += DAY_S + 1
    assert heal(controls) == 3
    assert expressions(controls) == {"v": "cron(0 6 * * ? *)", "w": "cron(0 6 * * ? *)", "sweep": "rate(1 day)"}
    assert json.loads(schedules_of(controls)["v"]["Target"]["Input"]) == {"watch": "v"}


def test_the_last_change_wins(cloud, controls):
    """Who is overtaken between the table and Scheduler does not leave an older state there."""
    overtaken = []

    def overtake(call):
        if call == "create_schedule" and not overtaken:
            overtaken.append(call)
            put(controls, schedule={"every": "PT6H"})

    slow = replace(controls, scheduling=replace(controls.scheduling, scheduler=Scheduler(overtake)))
    put(slow)
    assert overtaken
    assert expressions(controls) == {"w": "rate(6 hours)"}
    overtaken.clear()

    def remove(call):
        if call == "update_schedule" and not overtaken:
            overtaken.append(call)
            remove_kept_watch(controls, "w")

    put(replace(controls, scheduling=replace(controls.scheduling, scheduler=Scheduler(remove))))
    assert schedules_of(controls) == {}
    heal(controls)
    assert schedules_of(controls) == {}


def test_a_watch_put_while_schedules_are_healed_keeps_its_own(cloud, controls):
    """A sweep that began before a watch was put takes no schedule of it away."""
    put_cloud_watch(cloud.ledger, scheduled("a"), replaces=False)
    done = []

    def meanwhile(call):
        if call in ("get_paginator", "get_schedule", "delete_schedule") and len(done) < 3:
            done.append(call)
            put(controls, f"late{len(done)}")

    heal_schedules(replace(controls.scheduling, scheduler=Scheduler(meanwhile)), cloud.ledger)
    assert set(schedules_of(controls)) == {"a", "late1", "late2", "late3"}
    heal(controls)
    assert set(schedules_of(controls)) == {"a", "late1", "late2", "late3"}


def test_a_scheduler_that_is_away(cloud, controls):
    """The watch is kept, the caller is told that its schedule follows, and it does."""
    down = Refusing(client("scheduler"), {"update_schedule": AWAY})
    away = replace(controls, scheduling=replace(controls.scheduling, scheduler=down))
    with pytest.raises(UnavailableError, match="Scheduler") as caught:
        put(away)
    assert "follows" in caught.value.hint
    assert read_cloud_watch(cloud.ledger, "w")
    assert schedules_of(controls) == {}
    assert heal(controls) == 1
    assert set(schedules_of(controls)) == {"w"}


def test_what_scheduler_refuses_is_told(controls):
    """Where the role may not make schedules, or there is no such group, trying again does not help."""
    for code in ("AccessDeniedException", "ResourceNotFoundException"):
        error = ClientError({"Error": {"Code": code, "Message": "no"}}, "CreateSchedule")
        down = Refusing(client("scheduler"), {"create_schedule": error})
        refused = replace(controls, scheduling=replace(controls.scheduling, scheduler=down))
        with pytest.raises(InputError, match=code):
            put(refused)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"schedule": {"every": 90}}, "watch w: schedule: every: expected whole minutes"),
        ({"schedule": {"cron": "0 6 31 2 *"}}, "never fires"),
        ({"schedule": {"cron": "0 6 * * *", "timezone": "Mars/Olympus"}}, "no time zone"),
        ({"filter": "eo:cloud_cover <"}, "filter"),
        ({"model": "fire"}, "no registered model fire"),
        ({"collections": []}, "collections"),
    ],
)
def test_a_watch_that_does_not_serve_is_refused(cloud, controls, change, complaint):
    """What is wrong is said before anything is kept."""
    with pytest.raises(InputError, match=complaint):
        put(controls, **change)
    with pytest.raises(InputError, match="no watch w"):
        read_cloud_watch(cloud.ledger, "w")


def test_a_deployment_without_schedules(cloud, controls):
    """It keeps watches of what is published, and refuses those that scan."""
    bare = replace(controls, scheduling=None)
    keep_cloud_watch(bare, {"name": "w", "model": "water"}, "w", replaces=False)
    with pytest.raises(InputError, match="deployment with schedules"):
        put(bare)
    remove_kept_watch(bare, "w")


def test_a_watch_that_cannot_be_scheduled_stops_no_other(cloud, controls):
    """One that an older version let in is passed over by the sweep."""
    put_cloud_watch(cloud.ledger, scheduled("a", schedule={"every": 90}), replaces=False)
    put_cloud_watch(cloud.ledger, scheduled("b"), replaces=False)
    assert heal(controls) == 1
    assert set(schedules_of(controls)) == {"b"}
    with pytest.raises(InputError, match="whole minutes"):
        follow_watch(controls.scheduling, cloud.ledger, "a")
