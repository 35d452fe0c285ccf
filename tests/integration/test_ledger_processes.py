"""The ledger among processes: workers that race for work, and one of them killed; ids that come in at the same time."""

import subprocess
import sys
import threading
import time
from collections import Counter

import pytest

from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.runs import RunFilter, count_states, history, list_runs, place_orders
from ledgers import an_order, empty_ledger

RUNS = 200
WORKER = """
import sys, time
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.leases import Crew, Planned, finished, lease_work, planned, shards_done

location, name = sys.argv[1:]
with Ledger(location, lease_s=2.0) as ledger:
    idle = 0
    while idle < 200:
        work = lease_work(ledger, Crew(name, most_runs=8))
        if work is None:
            idle += 1
            time.sleep(0.02)
            continue
        idle = 0
        run = work.run
        facts = Planned(run.id, "/out", 2, 2)
        if work.kind == "plan" and int(run.item_id) % 4:
            is_done = finished(ledger, work.lease, ("r", run.item_id), facts, "found")
        elif work.kind == "plan":
            is_done = planned(ledger, work.lease, facts)
        elif work.kind == "shard":
            is_done = shards_done(ledger, work.lease)
        else:
            is_done = finished(ledger, work.lease, ("r", run.item_id), None, "registered")
        if is_done:
            print(run.id, work.kind, *work.numbers, flush=True)
"""


@pytest.fixture
def ledger(place):
    with empty_ledger(place, time.time) as opened:
        yield opened


def test_work_is_done_once_though_a_worker_is_killed(ledger, place):
    """Of 200 runs among four processes, one of them killed, each piece of work is done once and none is lost."""
    place_orders(ledger, [an_order(str(n)) for n in range(RUNS)])
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, place, f"w{n}"], stdout=subprocess.PIPE, text=True)
        for n in range(4)
    ]
    said = [[] for _ in workers]
    readers = [
        threading.Thread(target=lambda n=n: said[n].extend(workers[n].stdout), name=f"reader{n}") for n in range(4)
    ]
    for reader in readers:
        reader.start()
    try:
        while len(said[0]) < 10:
            assert workers[0].poll() is None
            time.sleep(0.01)
        workers[0].kill()
        while count_states(ledger)["succeeded"] < RUNS:
            assert any(worker.poll() is None for worker in workers)
            time.sleep(0.1)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
        for reader in readers:
            reader.join()
        for worker in workers:
            worker.stdout.close()
    told = Counter(line.strip() for lines in said for line in lines)
    assert max(told.values()) == 1
    whole = RUNS + RUNS // 4 * 3
    assert whole - 1 <= sum(told.values()) <= whole  # the killed one may not have come to say it
    assert all(len(lines) > 10 for lines in said[1:])
    ends = Counter((line.run_id, line.state) for line in history(ledger, None, limit=10_000))
    assert all(ends[run.id, "succeeded"] == 1 for run in list_runs(ledger, RunFilter(limit=RUNS)))
    assert sum(state == "running" for _, state in ends) == RUNS // 4


def test_the_same_order_placed_at_the_same_time_is_one_run(ledger, place):
    """Fifty orders for one Item from several connections at once give one run, new for just one of them."""
    found = []

    def put():
        with Ledger(place) as own:
            for _ in range(10):
                found.extend(place_orders(own, [an_order("same")]))

    threads = [threading.Thread(target=put) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 50
    assert sum(placed.is_new for placed in found) == 1
    assert len(list_runs(ledger, RunFilter())) == 1
    assert len(history(ledger, None)) == 1


def test_numbers_of_history_grow_as_they_become_visible(ledger, place):
    """A follower that reads while others write never finds a line with a number below one it has seen."""
    stop, seen = threading.Event(), []

    def follow():
        after = 0
        with Ledger(place) as own:
            while not stop.is_set():
                lines = history(own, None, after)
                seen.extend(lines)
                after = seen[-1].seq if seen else 0

    follower = threading.Thread(target=follow)
    follower.start()

    def put(first):
        with Ledger(place) as own:
            for n in range(20):
                place_orders(own, [an_order(f"{first}-{n}")])

    writers = [threading.Thread(target=put, args=(n,)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    time.sleep(0.05)
    stop.set()
    follower.join()
    last = seen[-1].seq if seen else 0
    assert [line.seq for line in seen] == sorted({line.seq for line in seen})
    assert len(seen) + len(history(ledger, None, after=last)) == len(history(ledger, None)) == 80
