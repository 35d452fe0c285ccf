"""Back-fills on AWS: one execution for a watch and a window, begun anew when that is asked for; and stalled scans."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from test_aws_scan import TEMPLATE, Pages, endless

from controls import controls_of, scheduled
from earth_search import EarthSearch, Manners
from geodl_core.aws.ledger.ledger import move_run, read_run
from geodl_core.aws.ledger.watches import pause_cloud_watch, put_cloud_watch, read_scan, remove_cloud_watch
from geodl_core.aws.site.documents import write_document
from geodl_core.aws.site.executions import execution_arn, start_run
from geodl_core.aws.site.layout import model_item_url
from geodl_core.aws.steps.ingest import Known
from geodl_core.aws.steps.scan import Turn, scan_stage
from geodl_core.aws.steps.sweep import end_stopped, sweep
from geodl_core.aws.steps.tend import MOST_RESUMED, STALLED_S, tend
from geodl_core.aws.watches.backfills import backfill_key_of, list_backfills, start_backfill, stop_backfill
from geodl_core.domain.scan.windows import Window
from geodl_core.errors import AbsentError, InputError, UnavailableError
from scanning import MODEL, NOW, Waits, scenes, watch_of

DAY_S = 86_400
WINDOW = Window(NOW.timestamp() - 10 * DAY_S, NOW.timestamp())


@pytest.fixture
def controls(cloud):
    cloud.clock.now = NOW.timestamp()
    made = controls_of(cloud)
    put_cloud_watch(cloud.ledger, scheduled(), replaces=False)
    return made


def executions(controls):
    states = controls.deployment.states
    return [one["name"] for one in states.list_executions(stateMachineArn=controls.backfill_machine)["executions"]]


def stop(controls, name):
    arn = execution_arn(controls.backfill_machine, name)
    controls.deployment.states.stop_execution(executionArn=arn, error="E", cause="stopped by hand")


def test_asked_twice_there_is_one(controls):
    """However often, and by however many at once, a back-fill is asked for: while it is there it is the same."""
    with ThreadPoolExecutor(4) as pool:
        names = {one.name for one in pool.map(lambda _: start_backfill(controls, "w", WINDOW), range(8))}
    assert executions(controls) == list(names)
    told = controls.deployment.states.describe_execution(executionArn=execution_arn(controls.backfill_machine, *names))
    window = {"since": WINDOW.start, "until": WINDOW.end}
    assert json.loads(told["input"]) == {"watch": "w", "backfill": told["name"], "number": 0, **window}


def test_one_that_has_ended_is_begun_anew_where_asked(controls):
    """It stays ended until somebody wants it again; of many who do one begins it."""
    first = start_backfill(controls, "w", WINDOW)
    assert start_backfill(controls, "w", WINDOW, again=True) == first
    stop(controls, first.name)
    ended = start_backfill(controls, "w", WINDOW)
    assert (ended.name, ended.status) == (first.name, "ABORTED")
    assert ended.stopped is not None
    second = start_backfill(controls, "w", WINDOW, again=True)
    assert (second.status, second.name == first.name) == ("RUNNING", False)
    assert len(executions(controls)) == 2
    assert list_backfills(controls, "w") == [second]


def test_one_is_stopped_by_its_days(controls, cloud):
    """It is told as stopped, also when that is asked for again, and where its watch is gone; of others none is."""
    started = start_backfill(controls, "w", WINDOW)
    other = start_backfill(controls, "w", Window(WINDOW.start - DAY_S, WINDOW.end))
    with pytest.raises(AbsentError, match=r"watch w: no back-fill of 2\d{3}-"):
        stop_backfill(controls, "w", Window(WINDOW.start, WINDOW.end + DAY_S))
    remove_cloud_watch(cloud.ledger, "w")
    stopped = [stop_backfill(controls, "w", WINDOW) for _ in range(2)]
    assert {(one.name, one.status) for one in stopped} == {(started.name, "ABORTED")}
    states = controls.deployment.states
    arn = execution_arn(controls.backfill_machine, other.name)
    assert states.describe_execution(executionArn=arn)["status"] == "RUNNING"
    with pytest.raises(InputError, match="state machine for back-fills"):
        stop_backfill(replace(controls, backfill_machine=""), "w", WINDOW)


class Failing:
    """Step Functions whose executions have failed in a function."""

    def __init__(self, states):
        self._states = states

    def __getattr__(self, name):
        return getattr(self._states, name)

    def describe_execution(self, **asked):
        told = {"errorType": "ItemError", "errorMessage": "https://h/v1: refused", "stackTrace": ["File x, line 3"]}
        failed = {"status": "FAILED", "error": "ItemError", "cause": json.dumps(told)}
        return {**self._states.describe_execution(**asked), **failed}


def test_why_one_failed_is_told_in_a_line(controls):
    """What a function gave as its error is told by its kind and message, without its traceback."""
    deployment = replace(controls.deployment, states=Failing(controls.deployment.states))
    failed = start_backfill(replace(controls, deployment=deployment), "w", WINDOW)
    assert (failed.status, failed.cause) == ("FAILED", "ItemError: https://h/v1: refused")


def test_windows_and_watches_are_apart(controls, cloud):
    """Another window, or another watch with a name that looks alike, has its own back-fill, whose name fits."""
    long = "w" * 30
    windows = [WINDOW, Window(WINDOW.start - 1, WINDOW.end), Window(WINDOW.start, WINDOW.end + 0.5)]
    for name in (f"{long}.a", f"{long}_a", "9." + "_" * 61):
        put_cloud_watch(cloud.ledger, scheduled(name), replaces=False)
        cloud.clock.now += 1
        for window in windows:
            assert start_backfill(controls, name, window).status == "RUNNING"
    assert len(set(executions(controls))) == 9
    assert max(map(len, executions(controls))) <= 80
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for name in executions(controls))
    assert {one.window.start for one in list_backfills(controls, f"{long}.a")} == {one.start for one in windows}
    assert backfill_key_of("w", Window(1, 2)) == backfill_key_of("w", Window(1.0, 2.0))


def test_what_cannot_be_back_filled_is_refused(controls, cloud):
    """A watch that there is not, one of what is published, one without model, a deployment without the machine."""
    put_cloud_watch(cloud.ledger, scheduled("fire", model="fire"), replaces=False)
    put_cloud_watch(cloud.ledger, scheduled("p", mode="item", schedule=None), replaces=False)
    for name, complaint in (("none", "no watch none"), ("fire", "no registered model"), ("p", "mode schedule")):
        with pytest.raises(InputError, match=complaint):
            start_backfill(controls, name, WINDOW)
    with pytest.raises(InputError, match="state machine for back-fills"):
        start_backfill(replace(controls, backfill_machine=""), "w", WINDOW)
    assert executions(controls) == []


@pytest.fixture
def ready(cloud, controls):
    write_document(cloud.s3, model_item_url(cloud.bucket, "fields", "0123456789ab"), MODEL)
    return cloud


def watch(cloud, api):
    put_cloud_watch(cloud.ledger, watch_of(api.url), replaces=True)


def scan(cloud, turn=None, **event):
    return scan_stage(cloud.deployment, Known(), {"watch": "fields", **event}, turn or endless())


def test_what_a_backfill_found_is_told(ready, controls, monkeypatch):
    """Items found, wanted and ordered are those of all its lists together."""
    monkeypatch.setattr("geodl_core.aws.steps.scan.CHUNK", 5)
    with EarthSearch(scenes(TEMPLATE, 23)) as api:
        watch(ready, api)
        name = start_backfill(controls, "fields", WINDOW).name
        event = {"backfill": name, "since": WINDOW.start, "until": WINDOW.end, "number": 0}
        told = {"is_done": False}
        while not told["is_done"]:
            told = scan(ready, **event)
            event["number"] = told["number"]
    (one,) = list_backfills(controls, "fields")
    assert one.counts == {"found": 23, "matched": 23, "ordered": 23}


def listed(cloud, told):
    body = cloud.s3.get_object(Bucket=told["items_bucket"], Key=told["items_key"])["Body"].read().decode()
    return {line["run_id"]: line["attempt"] for line in map(json.loads, body.splitlines())}


def test_what_was_stopped_is_gone_on_with(ready, controls):
    """Begun again, a back-fill lists what it had not started, and what was stopped with it, as their next attempts."""
    with EarthSearch(scenes(TEMPLATE, 6)) as api:
        watch(ready, api)
        first = start_backfill(controls, "fields", WINDOW)
        event = {"since": WINDOW.start, "until": WINDOW.end, "number": 0}
        ids = list(listed(ready, scan(ready, backfill=first.name, **event)))
        # As the map does: one succeeds, one fails, one computes, one has not planned yet; two wait.
        for run_id in ids[:4]:
            start_run(ready.deployment, read_run(ready.ledger, run_id))
        for run_id, *states in ((ids[0], "running", "succeeded"), (ids[1], "failed"), (ids[2], "running")):
            for state in states:
                move_run(ready.ledger, run_id, state, state)
        stop_backfill(controls, "fields", WINDOW)
        for run_id in ids[2:4]:
            arn = execution_arn(ready.deployment.machine, f"{run_id}-1")
            ready.deployment.states.stop_execution(executionArn=arn)
            assert end_stopped(ready.deployment, f"{run_id}-1")
        ready.clock.now += 30 * DAY_S
        assert sweep(ready.deployment).started == 0
        second = start_backfill(controls, "fields", WINDOW, again=True)
        told = [scan(ready, backfill=second.name, **event) for _ in range(2)]
    assert listed(ready, told[0]) == listed(ready, told[1]) == dict.fromkeys(ids[2:], 2)
    assert told[0] == told[1]
    assert {read_run(ready.ledger, run_id).held_by for run_id in ids[2:]} == {second.name}
    assert sweep(ready.deployment).started == 0
    states = [read_run(ready.ledger, run_id).state for run_id in ids]
    assert states == ["succeeded", "failed", *["queued"] * 4]


def test_an_execution_that_was_stopped_before_it_planned_ends_its_run(ready, controls):
    """A run that is queued still, and whose execution is over, is not left with a name that is taken."""
    with EarthSearch(scenes(TEMPLATE, 1)) as api:
        watch(ready, api)
        event = {"backfill": "b-1", "since": WINDOW.start, "until": WINDOW.end, "number": 0}
        (run_id,) = listed(ready, scan(ready, **event))
    states, name = ready.deployment.states, f"{run_id}-1"
    states.start_execution(stateMachineArn=ready.deployment.machine, name=name, input="{}")
    states.stop_execution(executionArn=execution_arn(ready.deployment.machine, name))
    assert end_stopped(ready.deployment, name)
    assert read_run(ready.ledger, run_id).state == "failed"


def test_overlapping_backfills_leave_one_another_s_runs(ready, controls):
    """What another back-fill has listed is listed as it is: of both executions of the same name one starts it."""
    with EarthSearch(scenes(TEMPLATE, 3)) as api:
        watch(ready, api)
        event = {"since": WINDOW.start, "until": WINDOW.end, "number": 0}
        first = listed(ready, scan(ready, backfill="fields-20250101-20250201-aaaaaaaaaaaa-1", **event))
        second = listed(ready, scan(ready, backfill="fields-20250101-20250301-bbbbbbbbbbbb-2", **event))
    assert first == second == dict.fromkeys(first, 1)


def test_a_scan_that_ran_out_of_time_goes_on(ready, controls):
    """The sweep calls the function once for a scan that nobody works on any more, and not for one that is done."""
    with EarthSearch(scenes(TEMPLATE, 40)) as api:
        watch(ready, api)
        assert not scan(ready, Turn(Pages(2), Waits()))["is_done"]
        assert read_scan(ready.ledger, "fields")["is_open"]
        assert tend(controls).resumed == 0
        ready.clock.now += STALLED_S + 1
        assert [tend(controls).resumed for _ in range(3)] == [1, 0, 0]
        assert controls.functions.asked == [(controls.scan_function, "Event", {"watch": "fields"})]
        scan(ready)
    told = read_scan(ready.ledger, "fields")
    assert (told["is_open"], told["found"], told["ordered"]) == (False, 40, 40)
    ready.clock.now += 2 * STALLED_S
    assert tend(controls).resumed == 0


def test_an_api_that_was_away_is_asked_again(ready, controls):
    """A scan that failed at its start is called again, for some hours; getting on counts anew, paused watches wait."""
    with EarthSearch(scenes(TEMPLATE, 4), Manners(is_down=True)) as api:
        watch(ready, api)
        with pytest.raises(UnavailableError):
            scan(ready)
        resumed = 0
        for _ in range(MOST_RESUMED + 5):
            ready.clock.now += STALLED_S + 1
            resumed += tend(controls).resumed
        assert resumed == MOST_RESUMED
        api.manners.is_down = False
        assert scan(ready)["ordered"] == 4
        pause_cloud_watch(ready.ledger, "fields", is_paused=True)
        assert tend(controls).resumed == 0


def test_a_watch_that_is_made_anew_begins_anew(ready):
    """How far its scan was goes with a watch: one of the same name looks at everything."""
    with EarthSearch(scenes(TEMPLATE, 8)) as api:
        watch(ready, api)
        scan(ready)
        assert read_scan(ready.ledger, "fields")["last_end"]
        remove_cloud_watch(ready.ledger, "fields")
        watch(ready, api)
    assert read_scan(ready.ledger, "fields") is None


def test_a_brake_holds_for_a_backfill(ready, controls):
    """Of a watch that may start so many runs a day a back-fill starts no more; the others start on their days."""
    with EarthSearch(scenes(TEMPLATE, 12)) as api:
        put_cloud_watch(ready.ledger, watch_of(api.url, max_runs_per_day=5), replaces=True)
        event = {"backfill": "b", "since": WINDOW.start, "until": WINDOW.end, "number": 0}
        told = scan(ready, **event)
    assert (told["is_done"], told["ordered"], told["count"]) == (True, 12, 0)
    counts = [len(ready.executions())]
    for _ in range(3):
        ready.clock.now += DAY_S
        sweep(ready.deployment)
        counts.append(len(ready.executions()))
    assert counts == [5, 10, 12, 12]
