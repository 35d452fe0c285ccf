"""Many at once, on an emulator whose table is atomic: no change of a watch is lost, schedules are right at the end."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from cloud import DAY_S, ENVIRONMENT, make_cloud
from controls import controls_of, document_of, scheduled, schedules_of
from emulator import launch
from geodl_core.aws.ledger.claims import claim_order
from geodl_core.aws.ledger.watches import (
    find_cloud_watch,
    list_cloud_watches,
    put_cloud_watch,
    revision_of_watches,
)
from geodl_core.aws.site.executions import execution_arn
from geodl_core.aws.watches.backfills import list_backfills, start_backfill
from geodl_core.aws.watches.controls import keep_cloud_watch, pause_kept_watch, remove_kept_watch
from geodl_core.aws.watches.schedules import heal_schedules, wanted_schedules
from geodl_core.domain.run.order import Order
from geodl_core.domain.scan.windows import Window
from geodl_core.errors import InputError

pytestmark = pytest.mark.aws
AT_ONCE = 8
WINDOW = Window(1_740_787_200.0, 1_761_955_200.0)


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    log = tmp_path_factory.mktemp("emulator") / "log"
    with launch.running(launch.Setup(log=log)) as running:
        yield running


@pytest.fixture
def cloud(emulator, monkeypatch):
    for name, value in (ENVIRONMENT | emulator.environment).items():
        monkeypatch.setenv(name, value)
    return make_cloud()


@pytest.fixture
def controls(cloud):
    return controls_of(cloud)


def at_once(work, count):
    """Do something so many times, several at once; return what came of each, in order."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, range(count)))


def test_no_change_is_lost(cloud):
    """Of changes by many at once each is made and counted, and no two watches have the same revision."""
    kept = at_once(lambda n: put_cloud_watch(cloud.ledger, scheduled(f"w{n % 12}", priority=n), replaces=True), 48)
    assert sorted(one.revision for one in kept) == list(range(1, 49))
    assert revision_of_watches(cloud.ledger) == 48
    left = list_cloud_watches(cloud.ledger)
    assert [one.watch.name for one in left] == sorted({f"w{n}" for n in range(12)})
    latest = {one.watch.name: one for one in sorted(kept, key=lambda one: one.revision)}
    assert {one.watch.name: one for one in left} == latest


def test_one_of_many_makes_a_watch(cloud):
    """Where a name is to be new, one succeeds and the others are told that there is one."""

    def make(number):
        try:
            put_cloud_watch(cloud.ledger, scheduled(priority=number), replaces=False)
        except InputError as error:
            return error.message
        return number

    found = at_once(make, 16)
    (winner,) = [one for one in found if isinstance(one, int)]
    assert Counter(one for one in found if one != winner) == {"watch w: there is one already": 15}
    assert find_cloud_watch(cloud.ledger, "w").watch.priority == winner


def test_schedules_end_as_the_table_has_it(cloud, controls):
    """However puts, pauses and removals of a few watches overtake one another, all schedules are right at the end."""
    names = ["a", "b", "c"]

    def change(number):
        numbers = random.Random(number)
        name, kind = numbers.choice(names), numbers.randrange(6)
        try:
            if kind < 3:
                when = [{"every": 60 * (number + 1)}, {"cron": "0 6 13 * fri"}, {"cron": f"{number} 6 * * *"}][kind]
                keep_cloud_watch(controls, document_of(name, schedule=when), name, replaces=True)
            elif kind == 3:
                keep_cloud_watch(controls, {"name": name, "model": "water"}, name, replaces=True)
            elif kind == 4:
                pause_kept_watch(controls, name, is_paused=bool(number % 2))
            else:
                remove_kept_watch(controls, name)
        except InputError as error:
            assert error.message.startswith("no watch")
            return 0
        return 1

    made = sum(at_once(change, 60))
    assert revision_of_watches(cloud.ledger) == made
    expected = {}
    for one in list_cloud_watches(cloud.ledger):
        expected |= wanted_schedules(controls.scheduling, one.watch, is_paused=one.is_paused)

    def told():
        found = schedules_of(controls)
        return {name: {key: found[name][key] for key in ("ScheduleExpression", "State")} for name in found}

    wanted = {name: {key: one[key] for key in ("ScheduleExpression", "State")} for name, one in expected.items()}
    assert told() == wanted
    assert heal_schedules(controls.scheduling, cloud.ledger) == 0
    assert told() == wanted


def test_a_brake_holds_for_many_at_once(cloud):
    """Of orders by many at once each day has as many as it may have, and no day between is left with room."""

    def claim(number):
        scene = {"id": f"s{number}", "collection": "scenes", "properties": {}, "assets": {}}
        return claim_order(cloud.ledger, Order(scene, "water@1234", watch="w"), 4).run.not_before

    days = Counter(max(int(moment // DAY_S), 20_000) for moment in at_once(claim, 50))
    assert days == {**{20_000 + day: 4 for day in range(12)}, 20_012: 2}


def test_a_backfill_is_begun_once(cloud, controls):
    """Asked for by many at once there is one execution, and one more where many want it again after its end."""
    put_cloud_watch(cloud.ledger, scheduled(), replaces=False)
    first = {one.name for one in at_once(lambda _: start_backfill(controls, "w", WINDOW), 12)}
    assert len(first) == 1
    states, machine = controls.deployment.states, controls.backfill_machine
    arn = execution_arn(machine, *first)
    states.stop_execution(executionArn=arn, error="Cancelled", cause="by hand")
    (ended,) = list_backfills(controls, "w")
    assert (ended.status, ended.cause) == ("ABORTED", "Cancelled: by hand")
    second = {one.name for one in at_once(lambda _: start_backfill(controls, "w", WINDOW, again=True), 12)}
    assert len(second) == 1
    assert second != first
    names = {one["name"] for one in states.list_executions(stateMachineArn=machine)["executions"]}
    assert names == first | second
