"""The ledger of runs, over each database: placed, lent, lost, tried again, ended, begun anew."""

from dataclasses import replace

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from geodl_core.domain.run.state import FINAL, MOST_TRIES, STATES, pause_s
from geodl_core.errors import CatalogError, InputError
from geodl_core.service.ledger import runs
from geodl_core.service.ledger.cursors import move_cursor, read_cursor
from geodl_core.service.ledger.leases import (
    beat,
    failed,
    finished,
    hand_back,
    lease_work,
    log_lines,
    planned,
    shards_done,
    workers,
)
from geodl_core.service.ledger.next_unit import FEW_UNITS
from geodl_core.service.ledger.runs import (
    RunFilter,
    cancel_run,
    count_states,
    history,
    list_runs,
    move,
    place_orders,
    prune_runs,
    read_payload,
    read_run,
    retry_run,
)
from geodl_core.service.ledger.tables import PAYLOADS, RUNS, UNITS
from geodl_core.service.running.steps import end_leases
from ledgers import DAY_S, NOON, PERMANENT, TRANSIENT, Clock, an_order, compute, crew, empty_ledger, facts
from ledgers import place as order

LEASE_S = 60


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(place, clock):
    with empty_ledger(place, clock) as opened:
        yield opened


def states(ledger, run_id):
    return [line.state for line in history(ledger, run_id)]


def begun(ledger, name="scene", **values):
    """A run that was planned, and its id."""
    (run_id,) = order(ledger, name)
    work = lease_work(ledger, crew(kinds=("plan",)))
    assert planned(ledger, work.lease, facts(**values))
    return run_id


def test_an_order_becomes_a_queued_run(ledger):
    """An order gives a run that waits, with its Item, and one line of history."""
    (placed,) = place_orders(ledger, [an_order(priority=3, watch="fields", depth=1)])
    run = read_run(ledger, placed.run_id)
    assert (run.state, run.attempt, run.priority, run.watch, run.depth) == ("queued", 1, 3, "fields", 1)
    assert (run.item_collection, run.item_id, run.model) == ("s2", "scene", "landcover@0123456789ab")
    assert (run.created, run.updated, run.started) == (NOON, NOON, None)
    assert read_payload(ledger, run.payload) == an_order().item
    assert [(line.state, line.text) for line in history(ledger, run.id)] == [("queued", "ordered by fields")]


def test_the_same_order_is_one_run(ledger):
    """The same order placed again, also by another watch, leaves the run as it is; both watches list it."""
    first = place_orders(ledger, [an_order(watch="one"), an_order(watch="one")])
    second = place_orders(ledger, [an_order(watch="two", priority=9)])
    assert [each.is_new for each in first + second] == [True, False, False]
    assert len({each.run_id for each in first + second}) == 1
    assert [run.watch for run in list_runs(ledger, RunFilter(watch="two"))] == ["one"]
    assert len(list_runs(ledger, RunFilter())) == 1


def test_orders_are_placed_all_or_none(ledger):
    """Where one order of several cannot be stored, none is."""
    broken = an_order("broken", priority=2**70)
    with pytest.raises((CatalogError, OverflowError)):
        place_orders(ledger, [an_order("good"), broken])
    assert list_runs(ledger, RunFilter()) == []


def test_a_run_goes_through_its_states(ledger, clock):
    """Plan, shards and finish are lent one after the other, and each move has its line of history."""
    (run_id,) = order(ledger, "scene")
    work = lease_work(ledger, crew("w"))
    assert (work.kind, work.numbers, work.run.state, work.item["id"]) == ("plan", (0,), "claimed", "scene")
    assert planned(ledger, work.lease, facts(shards=2, tiles=10))
    first, second = lease_work(ledger, crew("w")), lease_work(ledger, crew("v"))
    assert (first.kind, first.numbers, first.item) == ("shard", (0,), None)
    assert (second.kind, second.numbers) == ("shard", (1,))
    assert lease_work(ledger, crew("u")) is None
    clock.wait(5)
    assert beat(ledger, first.lease, 5)
    assert read_run(ledger, run_id).tiles_done == 5
    assert shards_done(ledger, second.lease)
    assert lease_work(ledger, crew("u")) is None
    assert shards_done(ledger, first.lease)
    end = lease_work(ledger, crew("u"))
    assert (end.kind, end.run.id) == ("finish", run_id)
    assert finished(ledger, end.lease, ("results", "scene_x"), None, "registered")
    run = read_run(ledger, run_id)
    assert (run.state, run.tiles_done, run.result_collection, run.result_id) == ("succeeded", 10, "results", "scene_x")
    assert (run.started, run.finished) == (NOON, NOON + 5)
    assert states(ledger, run_id) == ["queued", "claimed", "running", "succeeded"]
    assert lease_work(ledger, crew("u")) is None


def test_a_result_that_is_there_ends_the_run_at_its_plan(ledger):
    """A plan that finds the result finishes the run, with what it found out."""
    (run_id,) = order(ledger, "scene")
    work = lease_work(ledger, crew())
    assert finished(ledger, work.lease, ("results", "old"), facts(tiles=7), "found")
    run = read_run(ledger, run_id)
    assert (run.state, run.job_id, run.tiles, run.tiles_done) == ("succeeded", "job", 7, 7)


def test_a_plan_without_shards_is_finished_at_once(ledger):
    """A run in which nothing has to be computed goes on to its end, and does not stay for ever."""
    run_id = begun(ledger, shards=0, tiles=0)
    work = lease_work(ledger, crew())
    assert (work.kind, work.run.id) == ("finish", run_id)


def test_every_move_that_the_table_forbids_is_refused(ledger):
    """A state that does not follow the one a run is in is refused, and nothing is written."""
    (run_id,) = order(ledger, "scene")
    for state in set(STATES) - {"claimed", "cancelled", "invalid", "failed"}:
        with pytest.raises(InputError, match="does not follow queued"), ledger.writing() as connection:
            move(connection, run_id, state, NOON)
    assert states(ledger, run_id) == ["queued"]


def test_urgent_work_comes_first(ledger, clock):
    """Higher priority first, then what is nearer its end, then the older run."""
    (old,) = order(ledger, "old")
    clock.wait(1)
    (young,) = order(ledger, "young")
    (urgent,) = order(ledger, "urgent", priority=5)
    plan = lease_work(ledger, crew())
    assert plan.run.id == urgent
    assert lease_work(ledger, crew()).run.id == old
    assert planned(ledger, plan.lease, facts(shards=1))
    shard = lease_work(ledger, crew())
    assert (shard.run.id, shard.kind) == (urgent, "shard")
    assert shards_done(ledger, shard.lease)
    order(ledger, "other", priority=5)
    assert lease_work(ledger, crew()).kind == "finish"
    assert lease_work(ledger, crew()).run.item_id == "other"
    assert lease_work(ledger, crew(most_runs=9)).run.id == young


@pytest.mark.parametrize("count", [FEW_UNITS // 4, FEW_UNITS + 40])
def test_many_or_few_units_are_lent_in_the_same_order(ledger, clock, count):
    """However many units are open, they are lent by priority and age: as a sort of them all says."""
    clock.tick = 1
    orders = [an_order(f"scene{n}", priority=(n * 7) % 5) for n in range(count)]
    ids = [placed.run_id for placed in place_orders(ledger, orders)]
    wanted = sorted((-order.priority, n, run_id) for n, (order, run_id) in enumerate(zip(orders, ids, strict=True)))
    clock.tick = 0
    found = [lease_work(ledger, crew(most_runs=count + 1)).run.id for _ in range(60 if count > FEW_UNITS else count)]
    assert found == [run_id for *_, run_id in wanted[: len(found)]]


@pytest.mark.parametrize("others", [0, FEW_UNITS + 1])
def test_begun_runs_go_on_where_no_other_may_begin(ledger, clock, others):
    """Where as many runs are under way as may be, their shards are lent and no further plan, however urgent."""
    run_id = begun(ledger, shards=3)
    order(ledger, *(f"other{n}" for n in range(others + 1)), priority=50)
    found = [lease_work(ledger, crew(most_runs=1)) for _ in range(4)]
    assert [work and (work.run.id, work.kind) for work in found] == [(run_id, "shard")] * 3 + [None]
    assert lease_work(ledger, crew(most_runs=2)).kind == "plan"


def test_a_run_that_waits_leaves_its_place_to_others(ledger):
    """A run whose next try is later does not count among those under way."""
    order(ledger, "one")
    order(ledger, "two")
    first = lease_work(ledger, crew(most_runs=1))
    assert lease_work(ledger, crew(most_runs=1)) is None
    assert failed(ledger, first.lease, TRANSIENT)
    assert lease_work(ledger, crew(most_runs=1)).run.id != first.run.id


def test_crews_get_the_kinds_they_do(ledger):
    """A worker that only computes gets shards alone, one that only plans gets plans."""
    begun(ledger, shards=1)
    order(ledger, "other")
    assert lease_work(ledger, crew(kinds=("finish",))) is None
    assert lease_work(ledger, crew(kinds=("plan",))).kind == "plan"
    assert lease_work(ledger, crew(kinds=("shard",))).kind == "shard"
    assert lease_work(ledger, crew(kinds=("shard",))) is None


def test_workers_elsewhere_get_what_they_reach(ledger):
    """On another machine only runs whose plan lies at a URL are computed."""
    begun(ledger, "here", job="a", where="/out/a")
    there = begun(ledger, "there", job="b", where="s3://bucket/b")
    work = lease_work(ledger, crew(kinds=("shard",), is_elsewhere=True, most_shards=9))
    assert (work.run.id, work.numbers) == (there, (0, 1))
    assert lease_work(ledger, crew(kinds=("shard",), is_elsewhere=True)) is None


def test_several_shards_of_one_run_are_lent_at_a_time(ledger):
    """A lease holds at most as many shards as asked for, of one run, and all end together."""
    run_id = begun(ledger, shards=5)
    first = lease_work(ledger, crew(most_shards=3))
    second = lease_work(ledger, crew(most_shards=3))
    assert (first.numbers, second.numbers) == ((0, 1, 2), (3, 4))
    assert shards_done(ledger, first.lease)
    assert not shards_done(ledger, first.lease)
    assert shards_done(ledger, second.lease)
    assert (lease_work(ledger, crew()).kind, read_run(ledger, run_id).state) == ("finish", "running")


def test_workers_share_what_is_left(ledger):
    """Where several workers are there none takes all shards of a run."""
    assert lease_work(ledger, crew("one")) is None
    assert lease_work(ledger, crew("two")) is None
    begun(ledger, shards=8)
    assert len(lease_work(ledger, crew("one", most_shards=100)).numbers) < 8


def test_a_worker_that_is_not_heard_of_loses_its_work(ledger, clock):
    """After the lease's end somebody else gets the work at once, and who had it is told that it is gone."""
    run_id = begun(ledger, shards=1)
    lost = lease_work(ledger, crew("lost"))
    clock.wait(LEASE_S)
    assert lease_work(ledger, crew("next")) is None
    clock.wait(1)
    work = lease_work(ledger, crew("next"))
    assert (work.run.id, work.kind, work.numbers) == (run_id, "shard", (0,))
    assert not beat(ledger, lost.lease, 3)
    assert not shards_done(ledger, lost.lease)
    assert not failed(ledger, lost.lease, PERMANENT)
    hand_back(ledger, lost.lease, "too late")
    assert beat(ledger, work.lease, 1)
    assert "lost was not heard of for 60 s" in history(ledger, run_id)[-1].text
    assert shards_done(ledger, work.lease)


def test_a_worker_that_was_seen_to_end_loses_its_work_at_once(ledger):
    """Nobody waits for one whose process has gone, and the history says that it ended, not that it was silent."""
    run_id = begun(ledger, shards=1)
    lease_work(ledger, crew("gone"))
    end_leases(ledger, "other")
    assert lease_work(ledger, crew("next")) is None
    end_leases(ledger, "gone")
    assert lease_work(ledger, crew("next")).kind == "shard"
    assert history(ledger, run_id)[-1].text.endswith("the worker gone ended")


def test_a_heartbeat_keeps_the_work(ledger, clock):
    """Work is kept for as long as its worker beats."""
    begun(ledger, shards=1)
    work = lease_work(ledger, crew())
    for _ in range(5):
        clock.wait(LEASE_S - 1)
        assert beat(ledger, work.lease, 0)
        assert lease_work(ledger, crew("other")) is None
    assert shards_done(ledger, work.lease)


def test_work_that_kills_its_workers_ends_its_run(ledger, clock):
    """After five lost workers the run has failed, and the work is not lent again."""
    run_id = begun(ledger, shards=1)
    for _ in range(MOST_TRIES):
        assert lease_work(ledger, crew()) is not None
        clock.wait(LEASE_S + 1)
        assert lease_work(ledger, crew("other", kinds=("finish",))) is None
        clock.wait(601)
    run = read_run(ledger, run_id)
    assert (run.state, run.error["class"]) == ("failed", "WorkerLost")
    assert lease_work(ledger, crew()) is None


def test_all_workers_of_a_run_lost_at_once_end_it_once(ledger, clock):
    """Several leases of a run that end in the same moment, at the last try, end it once and stop nobody else."""
    run_id = begun(ledger, shards=3)
    for _ in range(MOST_TRIES):
        assert all(lease_work(ledger, crew(f"w{n}")) for n in range(3))
        clock.wait(LEASE_S + 1)
        assert lease_work(ledger, crew("other", kinds=("finish",))) is None
        clock.wait(601)
    assert states(ledger, run_id).count("failed") == 1
    order(ledger, "next")
    assert lease_work(ledger, crew()).run.item_id == "next"


def test_transient_failures_are_tried_again_with_pauses(ledger, clock):
    """Each try waits as long as the back-off says, and after the fifth the run has failed with what was said."""
    run_id = begun(ledger, shards=1)
    for tries in range(1, MOST_TRIES + 1):
        work = lease_work(ledger, crew())
        assert work is not None
        assert failed(ledger, work.lease, TRANSIENT, lambda: 0.5)
        if tries < MOST_TRIES:
            clock.wait(pause_s(tries, 0.5) - 0.01)
            assert lease_work(ledger, crew()) is None
            clock.wait(0.02)
    run = read_run(ledger, run_id)
    assert run.state == "failed"
    assert run.error == {"class": "StoreError", "message": TRANSIENT.message, "hint": "try later"}
    told = [line for line in history(ledger, run_id) if "of 5 failed" in line.text]
    assert [line.worker for line in told] == ["worker"] * (MOST_TRIES - 1)


def test_permanent_failures_are_never_tried_again(ledger):
    """What can never serve ends the run at once, and takes the work of all its workers away."""
    run_id = begun(ledger, shards=2)
    first, second = lease_work(ledger, crew("a")), lease_work(ledger, crew("b"))
    assert failed(ledger, first.lease, PERMANENT)
    assert read_run(ledger, run_id).state == "invalid"
    assert not beat(ledger, second.lease, 1)
    assert lease_work(ledger, crew()) is None


def test_work_handed_back_is_lent_at_once(ledger):
    """Work that a worker gives back goes to the next one, and counts as no try."""
    run_id = begun(ledger, shards=1)
    for _ in range(MOST_TRIES + 1):
        hand_back(ledger, lease_work(ledger, crew()).lease, "stopped")
    assert lease_work(ledger, crew()) is not None
    assert read_run(ledger, run_id).state == "running"


def test_a_plan_handed_back_is_planned_by_another(ledger):
    """A run whose plan was given back goes on, also where no other run may begin."""
    order(ledger, "scene")
    hand_back(ledger, lease_work(ledger, crew()).lease, "stopped")
    work = lease_work(ledger, crew("other", most_runs=1))
    assert (work.kind, work.run.state) == ("plan", "claimed")


def test_cancelled_runs_are_taken_from_their_workers(ledger):
    """Who computes a cancelled run is told with the next heartbeat; nothing that comes late changes it."""
    run_id = begun(ledger, shards=2)
    work = lease_work(ledger, crew())
    assert cancel_run(ledger, run_id[:8]).state == "cancelled"
    assert not beat(ledger, work.lease, 1)
    assert not shards_done(ledger, work.lease)
    assert not finished(ledger, work.lease, ("a", "b"), None, "")
    assert lease_work(ledger, crew()) is None
    assert cancel_run(ledger, run_id).state == "cancelled"
    assert states(ledger, run_id).count("cancelled") == 1


def test_a_queued_run_is_cancelled(ledger):
    """A run that nobody has begun ends without being begun."""
    (run_id,) = order(ledger, "scene")
    cancel_run(ledger, run_id)
    assert lease_work(ledger, crew()) is None
    assert read_run(ledger, run_id).started is None


def test_retry_begins_an_attempt(ledger, clock):
    """A run that failed is queued again, with nothing left of what ended it."""
    (run_id,) = order(ledger, "scene")
    assert failed(ledger, lease_work(ledger, crew()).lease, PERMANENT)
    clock.wait(9)
    run = retry_run(ledger, run_id[:12])
    assert (run.state, run.attempt, run.error, run.started, run.finished) == ("queued", 2, None, None, None)
    assert not run.is_forced
    assert compute(ledger) == run_id
    assert [line.attempt for line in history(ledger, run_id)] == [1, 1, 1, 2, 2, 2, 2]
    assert read_run(ledger, run_id).started == NOON + 9


def test_only_what_ended_is_retried(ledger):
    """A run that has not ended is not retried, one that succeeded only where it is computed anew."""
    (run_id,) = order(ledger, "scene")
    with pytest.raises(InputError, match="found it queued"):
        retry_run(ledger, run_id)
    compute(ledger)
    with pytest.raises(InputError, match="found it succeeded"):
        retry_run(ledger, run_id)
    assert retry_run(ledger, run_id, is_forced=True).is_forced
    assert lease_work(ledger, crew()).run.is_forced
    compute_again = read_run(ledger, run_id)
    assert compute_again.state == "claimed"


def test_a_rerun_stays_one_until_it_succeeded(ledger):
    """What was to be computed anew is, also where that failed at first; afterwards it is an ordinary run."""
    (run_id,) = order(ledger, "scene")
    compute(ledger)
    retry_run(ledger, run_id, is_forced=True)
    assert failed(ledger, lease_work(ledger, crew()).lease, PERMANENT)
    assert retry_run(ledger, run_id).is_forced
    compute(ledger)
    assert not read_run(ledger, run_id).is_forced


def test_a_run_waits_for_another_of_the_same_job(ledger):
    """Of two runs of one job the second is planned again when the first has ended, and not before."""
    first, second = order(ledger, "one", "two")
    plans = [lease_work(ledger, crew()), lease_work(ledger, crew())]
    assert planned(ledger, plans[0].lease, facts(shards=1))
    assert not planned(ledger, plans[1].lease, facts(shards=1))
    assert read_run(ledger, second).state == "queued"
    assert f"waits for run {first[:8]}" in history(ledger, second)[-1].text
    shard = lease_work(ledger, crew())
    assert (shard.run.id, lease_work(ledger, crew())) == (first, None)
    lines = len(history(ledger, second))
    assert lease_work(ledger, crew()) is None
    assert len(history(ledger, second)) == lines
    assert shards_done(ledger, shard.lease)
    assert finished(ledger, lease_work(ledger, crew()).lease, ("r", "x"), None, "registered")
    work = lease_work(ledger, crew())
    assert (work.run.id, work.kind) == (second, "plan")
    assert finished(ledger, work.lease, ("r", "x"), facts(), "found")


def test_the_brake_spreads_runs_over_days(ledger, clock):
    """Of a watch with two runs a day the third and fourth wait for tomorrow, the fifth for the day after."""
    names = [f"scene{n}" for n in range(5)]
    place_orders(ledger, [an_order(name, watch="fields") for name in names], {"fields": 2})
    place_orders(ledger, [an_order("free", watch="other")], {"fields": 2})
    found = []
    for _ in range(3):
        found.append([])
        while work := lease_work(ledger, crew(most_runs=99)):
            found[-1].append(work.run.item_id)
            assert finished(ledger, work.lease, ("r", "x"), facts(job=work.run.id), "found")
        clock.wait(DAY_S / 2 if len(found) == 1 else DAY_S)
    assert [sorted(day) for day in found] == [["free", "scene0", "scene1"], ["scene2", "scene3"], ["scene4"]]


def test_ids_may_be_abbreviated(ledger):
    """Eight characters of an id are enough where they mean one run; signs of patterns mean nothing."""
    (run_id,) = order(ledger, "scene")
    assert read_run(ledger, run_id[:8]).id == run_id
    for wrong in (run_id[:7], "0" * 64, run_id[:7] + "%", "________", run_id + "0", run_id[:8].upper() + "G", ""):
        with pytest.raises(InputError):
            read_run(ledger, wrong)


def test_an_id_that_means_several_is_refused(ledger):
    """Where the first characters are those of two runs, neither is meant."""
    (run_id,) = order(ledger, "scene")
    with ledger.writing() as connection:
        row = dict(connection.execute(sa.select(RUNS)).mappings().one())
        connection.execute(RUNS.insert().values(**(row | {"id": run_id[:60] + "0000"})))
    with pytest.raises(InputError, match="several"):
        read_run(ledger, run_id[:20])
    assert read_run(ledger, run_id).id == run_id


def test_lists_are_filtered_and_paged(ledger, clock):
    """Each filter gives just the runs it names, newest first, and pages together are the whole list."""
    for n in range(7):
        clock.wait(1)
        order(ledger, f"scene{n}", watch="odd" if n % 2 else None, model=f"m{n % 3}@0123456789ab")
    cancel_run(ledger, list_runs(ledger, RunFilter(item=("s2", "scene3")))[0].id)

    def names(**asked):
        return [run.item_id for run in list_runs(ledger, RunFilter(**asked))]

    assert names() == [f"scene{n}" for n in range(6, -1, -1)]
    assert names(states=("cancelled",)) == ["scene3"]
    assert names(watch="odd") == ["scene5", "scene3", "scene1"]
    assert names(model="m1") == names(model="m1@0123456789ab") == ["scene4", "scene1"]
    assert names(model="m") == names(model="m1@") == names(item=("x", "scene1")) == []
    assert names(model=("m1", "m2@0123456789ab")) == ["scene5", "scene4", "scene2", "scene1"]
    assert names(created=(NOON + 2, NOON + 4)) == ["scene3", "scene2", "scene1"]
    assert names(created=(None, NOON + 1)) == ["scene0"]
    lease_work(ledger, crew())
    clock.wait(60)
    assert names(lasted_s=(50, None)) == names(lasted_s=(50, 70)) == ["scene0"]
    assert names(lasted_s=(None, 50)) == []
    clock.wait(-60)
    assert names(since=NOON + 6) == ["scene6", "scene5", "scene3", "scene0"]
    pages, before = [], None
    while page := list_runs(ledger, RunFilter(limit=3, before=before)):
        pages += [run.item_id for run in page]
        before = (page[-1].created, page[-1].id)
    assert pages == names()
    assert count_states(ledger) == {
        state: {"queued": 5, "claimed": 1, "cancelled": 1}.get(state, 0) for state in STATES
    }


def test_history_is_followed_by_its_numbers(ledger):
    """Whoever has seen a number gets what came after it, of one run or of all, each line once."""
    order(ledger, "one", "two")
    compute(ledger)
    every = history(ledger, None)
    assert [line.seq for line in every] == sorted({line.seq for line in every})
    assert history(ledger, None, after=every[2].seq) == every[3:]
    assert history(ledger, None, limit=2) == every[:2]
    assert history(ledger, every[0].run_id) == [line for line in every if line.run_id == every[0].run_id]


def test_progress_never_passes_its_end(ledger, clock):
    """Tiles that a lost worker and the next one both tell of are not counted beyond all there are."""
    run_id = begun(ledger, shards=1, tiles=10)
    assert beat(ledger, lease_work(ledger, crew()).lease, 8)
    clock.wait(LEASE_S + 1)
    assert beat(ledger, lease_work(ledger, crew()).lease, 8)
    assert read_run(ledger, run_id).tiles_done == 10


def test_logs_are_kept_within_bounds(ledger):
    """What workers say is kept in order, without what a database cannot store, and not without end."""
    run_id = begun(ledger, shards=1)
    work = lease_work(ledger, crew())
    assert beat(ledger, work.lease, 0, [("info", "a\x00b"), ("warning", "half \ud800 pair")])
    assert [(line["level"], line["text"]) for line in log_lines(ledger, run_id)] == [
        ("info", "ab"),
        ("warning", "half ? pair"),
    ]
    last = log_lines(ledger, run_id)[-1]["seq"]
    assert beat(ledger, work.lease, 0, [("info", "x" * 9_000)] * 2_100)
    more = log_lines(ledger, run_id, after=last)
    assert len(more) == 1_998
    assert {len(line["text"]) for line in more} == {2_000}


def test_errors_of_any_text_are_kept(ledger):
    """An error that says what no database takes ends its run all the same."""
    (run_id,) = order(ledger, "scene")
    text = "bad \x00 name \udcff " + "x" * 100_000
    failure = PERMANENT.__class__("ItemError", text, text, is_transient=False, state="invalid")
    assert failed(ledger, lease_work(ledger, crew()).lease, failure)
    assert read_run(ledger, run_id).error["message"].startswith("bad  name ? xxx")


def test_workers_are_seen(ledger, clock):
    """Workers that asked for work or beat are listed with what they do; those of long ago are not."""
    assert lease_work(ledger, crew("idle", kinds=("shard",))) is None
    clock.wait(30)
    begun(ledger)
    lease_work(ledger, crew("busy"))
    found = {row["name"]: row for row in workers(ledger, clock.now - 10)}
    assert set(found) == {"busy", "worker"}
    assert found["busy"]["doing"].startswith("shard of ")
    assert {row["name"] for row in workers(ledger, 0)} == {"busy", "idle", "worker"}


def test_pruning_forgets_old_runs_alone(ledger, clock):
    """What ended before a time is forgotten with all that belongs to it; the same order is a new run then."""
    order(ledger, "old")
    old = compute(ledger)
    clock.wait(100)
    order(ledger, "young")
    young = compute(ledger)
    (open_one,) = order(ledger, "open")
    assert prune_runs(ledger, clock.now - 50) == 1
    assert {run.id for run in list_runs(ledger, RunFilter())} == {young, open_one}
    assert history(ledger, old) == [] != history(ledger, young)
    assert read_payload(ledger, read_run(ledger, young).payload)["id"] == "young"
    assert place_orders(ledger, [an_order("old")])[0].is_new


def test_pruning_takes_some_at_a_time(ledger, clock, monkeypatch):
    """However much there is to forget, others get their turn to write in between; what is used still is kept."""
    monkeypatch.setattr(runs, "MOST_PRUNED", 2)
    order(ledger, "a", "b", "c")
    for _ in range(3):
        compute(ledger)
    clock.wait(100)
    (shared,) = order(ledger, "a", collection="other")
    assert [prune_runs(ledger, clock.now - 50) for _ in range(3)] == [2, 1, 0]
    assert read_payload(ledger, read_run(ledger, shared).payload)["id"] == "a"
    with ledger.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(PAYLOADS)).scalar_one() == 1


def test_lost_work_is_planned_anew_within_bounds(ledger, clock):
    """Where plan or parts have gone another attempt begins and all leases end; after five attempts the run fails."""
    lost = replace(PERMANENT, state="failed", is_work_lost=True)
    run_id = begun(ledger, shards=2)
    for attempt in range(1, MOST_TRIES + 1):
        first, second = (lease_work(ledger, crew(name, kinds=("shard",))) for name in ("one", "two"))
        assert failed(ledger, first.lease, lost)
        assert not beat(ledger, second.lease, 1)
        run = read_run(ledger, run_id)
        if attempt == MOST_TRIES:
            break
        assert (run.state, run.attempt, run.tiles_done) == ("queued", attempt + 1, 0)
        assert lease_work(ledger, crew()) is None
        clock.wait(pause_s(attempt, 1.0))
        assert planned(ledger, lease_work(ledger, crew(kinds=("plan",))).lease, facts())
    assert (run.state, run.attempt, run.error["class"]) == ("failed", MOST_TRIES, PERMANENT.kind)


def test_workers_of_long_ago_are_forgotten(ledger, clock):
    """Each process has a name of its own: those of last month are not kept for ever."""
    lease_work(ledger, crew("old"))
    clock.wait(30 * DAY_S)
    lease_work(ledger, crew("new"))
    assert {row["name"] for row in workers(ledger, 0)} == {"new"}


def test_a_cursor_moves_for_one_follower(ledger):
    """Of two that stand at the same place one takes the step."""
    assert read_cursor(ledger, "x") == 0
    with ledger.writing() as connection:
        assert move_cursor(connection, "x", 0, 5)
        assert not move_cursor(connection, "x", 0, 7)
    assert read_cursor(ledger, "x") == 5


def test_idle_polls_write_nothing(ledger, clock):
    """A worker that was seen lately and finds nothing writes nothing, and takes no turn among the writers."""
    assert lease_work(ledger, crew()) is None
    statements = []
    event.listen(ledger._engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    event.listen(ledger._engine, "begin", lambda connection: statements.append(str(connection.info.get("writes"))))
    for _ in range(5):
        clock.wait(1)
        assert lease_work(ledger, crew()) is None
    assert statements
    assert "True" not in statements
    assert not [text for text in statements if text.split()[0] in ("INSERT", "UPDATE", "DELETE")]


def test_final_runs_have_no_units(ledger):
    """Whatever ended a run, none of its work is left to be lent."""
    order(ledger, "a", "b", "c")
    compute(ledger)
    assert failed(ledger, lease_work(ledger, crew()).lease, PERMANENT)
    cancel_run(ledger, lease_work(ledger, crew()).run.id)
    assert {run.state for run in list_runs(ledger, RunFilter())} <= set(FINAL)
    with ledger.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(UNITS)).scalar_one() == 0
