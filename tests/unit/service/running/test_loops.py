"""Steps in threads."""

import logging
import threading

import pytest

from geodl_core.errors import CatalogError
from geodl_core.service.running.loops import Loop, Step
from geodl_core.service.running.supervisor import Supervisor

PATIENCE_S = 20


@pytest.fixture
def stop():
    event = threading.Event()
    yield event
    event.set()


def started(step, stop):
    loop = Loop(step, stop)
    loop.start()
    return loop


def ended(loop, stop):
    stop.set()
    loop.wake()
    return loop.join(PATIENCE_S)


def test_a_step_is_repeated_while_there_is_work(stop):
    """While there is something to do it goes on at once; then it rests until it is woken."""
    left, woken = [3], threading.Semaphore(0)

    def run():
        if left[0]:
            left[0] -= 1
            return 1
        woken.release()
        return 0

    loop = started(Step("work", run, rest_s=3_600), stop)
    assert woken.acquire(timeout=PATIENCE_S)
    assert (left[0], loop.runs >= 3) == (0, True)
    left[0] = 2
    loop.wake()
    assert woken.acquire(timeout=PATIENCE_S)
    assert left[0] == 0
    assert loop.complaint() is None
    assert ended(loop, stop)
    assert loop.complaint() is None


def test_errors_do_not_end_a_loop(stop, caplog):
    """Neither a catalog that does not answer nor a fault of ours ends a loop; each is logged, without secrets."""
    errors = [CatalogError("postgresql://u:secret@db/x does not answer"), ZeroDivisionError("fault")]
    done = threading.Event()

    def run():
        if errors:
            raise errors.pop(0)
        done.set()
        return 0

    with caplog.at_level(logging.WARNING, logger="geodl.loops"):
        loop = started(Step("work", run, rest_s=3_600), stop)
        assert done.wait(PATIENCE_S)
        assert ended(loop, stop)
    assert (loop.failures, loop.in_a_row) == (2, 0)
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    assert "secret" not in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_supervisor_runs_its_steps_from_beginning_to_end():
    """Writes wake those steps that follow them, and no others; nothing is left at the end."""
    ran = {"follows": threading.Semaphore(0), "other": threading.Semaphore(0)}
    steps = tuple(
        Step(name, lambda name=name: ran[name].release() or 0, rest_s=3_600, is_woken=name == "follows") for name in ran
    )
    with Supervisor(steps, None, grace_s=PATIENCE_S) as supervisor:
        assert all(each.acquire(timeout=PATIENCE_S) for each in ran.values())
        supervisor.check()
        supervisor.wake()
        assert ran["follows"].acquire(timeout=PATIENCE_S)
        assert not ran["other"].acquire(timeout=0.2)
        found = {source.name: source.read() for source in supervisor.numbers()}
        assert found["geodl_loop_runs"]["follows"] >= 1
        assert "geodl_worker_processes" not in found
    assert supervisor.is_stopping
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loop-")]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loop_that_ended_is_missed():
    """A supervisor whose step has died says so, by name."""

    def run():
        raise SystemExit

    stop = threading.Event()
    loop = Loop(Step("work", run, rest_s=1), stop)
    loop.start()
    assert loop.join(PATIENCE_S)
    assert loop.complaint() == "work has ended"
