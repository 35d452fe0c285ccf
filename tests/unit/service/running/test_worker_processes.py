"""Worker processes of a server."""

import logging
import sys
import time

import pytest

from geodl_core.service.running.worker_processes import LOOP_DEATHS, Staff, Workers
from ledgers import Clock

PATIENT = "import sys; sys.stdin.read()"
DEAF = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); open(sys.argv[1], 'w'); sys.stdin.read()"
PATIENCE_S = 20


def staff(script, count=1, *words):
    return Staff((sys.executable, "-S", "-c", script, *map(str, words)), count)


def wait_until(is_so):
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def hired():
    """Makes workers; whoever is left at the end is killed."""
    made = []

    def make(staff, clock=time.monotonic, mourn=lambda name: None):
        made.append(Workers(staff, mourn, clock))
        return made[-1]

    yield make
    for workers in made:
        workers.end(lambda: 0)


def test_the_dead_are_replaced(hired):
    """As many run as were asked for; one that was killed is started anew after a pause, and counted."""
    clock, lost = Clock(100.0), []
    workers = hired(staff(PATIENT, 2), clock, lost.append)
    assert workers.tend() == 2
    assert (workers.alive(), workers.tend()) == (2, 0)
    workers._places[0].process.kill()
    wait_until(lambda: workers.alive() == 1)
    assert workers.tend() == 0
    assert (workers.restarts, lost) == (1, ["worker-0.1"])
    clock.wait(0.6)
    assert workers.tend() == 1
    assert workers.alive() == 2


def test_a_crash_loop_is_slowed_down_and_said(hired, caplog):
    """A worker that cannot live is tried less and less often; after some deaths in a row the log says so, once."""
    clock = Clock(100.0)
    workers = hired(staff("raise SystemExit(3)"), clock)
    pauses = []
    with caplog.at_level(logging.ERROR, logger="geodl.workers"):
        for _ in range(LOOP_DEATHS + 2):
            workers.tend()
            place = workers._places[0]
            place.process.wait()
            workers.tend()
            pauses.append(place.not_before - clock.now)
            clock.now = place.not_before
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[1], pauses[-1]) == (0.5, 1.0, 0.5 * 2 ** (LOOP_DEATHS + 1))
    assert [record.message.split(":")[0] for record in caplog.records] == ["a worker dies again and again"]


def test_workers_stop_when_told(hired):
    """Who stops when told is not killed."""
    workers = hired(staff(PATIENT, 2))
    workers.tend()
    workers.stop()
    assert workers.end(lambda: PATIENCE_S) == 0
    assert workers.alive() == 0


def test_who_does_not_stop_is_killed(hired, tmp_path):
    """A worker that is deaf to SIGTERM is killed when the time is up, and waits are cut short on demand."""
    workers = hired(staff(DEAF, 1, tmp_path / "ready"))
    workers.tend()
    wait_until((tmp_path / "ready").exists)
    workers.stop()
    left = iter([5.0, 5.0, 5.0, 5.0])
    assert workers.end(lambda: next(left, 0.0)) == 1
    assert workers.alive() == 0


def test_a_worker_sees_its_servers_end(hired, tmp_path):
    """A worker's standard input is closed when its server is gone: that is how it notices."""
    script = "import sys; sys.stdin.read(); open(sys.argv[1], 'w').write('gone')"
    workers = hired(staff(script, 1, tmp_path / "seen"))
    workers.tend()
    workers._places[0].process.stdin.close()
    wait_until((tmp_path / "seen").exists)
