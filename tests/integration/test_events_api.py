"""Server-sent events of runs: as they happen, from where a client left, for many at the price of one."""

import json
import threading
import time
from contextlib import contextmanager

import pytest
import requests
from sqlalchemy import event

from geodl_core.catalog.api.app import create_app
from geodl_core.service.ledger.leases import beat, lease_work, planned
from geodl_core.service.ledger.runs import cancel_run, history, retry_run
from geodl_core.service.routes.events_api import events_router
from ledgers import compute, crew, facts
from ledgers import place as order
from uvicorns import behind_uvicorn
from watched import opened

PATIENCE_S = 20


@pytest.fixture
def services(tmp_path):
    with opened(tmp_path) as found:
        yield found


@pytest.fixture
def ledger(services):
    return services.ledger


@pytest.fixture
def url(services):
    app = create_app(services.catalog)
    app.include_router(events_router(services, look_s=0.05, alive_s=0.3))
    with behind_uvicorn(app) as address:
        yield address


class Listener:
    """A client that reads events in a thread."""

    def __init__(self, url, **headers):
        self.events, self.comments = [], 0
        self.response = requests.get(url, headers=headers, stream=True, timeout=PATIENCE_S)
        assert self.response.headers["content-type"].startswith("text/event-stream"), self.response.text
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self):
        fields = {}
        try:
            for line in self.response.iter_lines(chunk_size=1, decode_unicode=True):
                if line.startswith(":"):
                    self.comments += 1
                elif line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif "data" in fields:
                    self.events.append((fields.get("event"), fields.get("id"), json.loads(fields["data"])))
                    fields = {}
                else:
                    fields = {}
        except (requests.RequestException, AttributeError, ValueError):
            pass  # closed by the test

    def states(self):
        return [data["state"] for kind, _, data in self.events if kind == "state"]

    def close(self):
        self.response.raw._fp.fp.raw._sock.shutdown(2)
        self.thread.join()
        self.response.close()


@contextmanager
def listening(url, **headers):
    found = Listener(url, **headers)
    try:
        yield found
    finally:
        if found.thread.is_alive():
            found.close()
        found.thread.join()
        found.response.close()


def until(is_so):
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_run_is_followed_to_its_end(ledger, url):
    """A client gets the whole history and what happens then, with progress, until the run ends the stream."""
    (run_id,) = order(ledger, "scene")
    with listening(f"{url}/jobs/{run_id[:10]}/events") as client:
        until(lambda: client.states() == ["queued"])
        work = lease_work(ledger, crew())
        planned(ledger, work.lease, facts(shards=1, tiles=10))
        until(lambda: client.states() == ["queued", "claimed", "running"])
        beat(ledger, lease_work(ledger, crew()).lease, 4)
        wanted = ("progress", None, {"run_id": run_id, "tiles_done": 4, "tiles": 10})
        until(lambda: wanted in client.events)
        cancel_run(ledger, run_id)
        client.thread.join(PATIENCE_S)
        assert not client.thread.is_alive()
    assert client.states() == ["queued", "claimed", "running", "cancelled"]
    numbers = [int(number) for kind, number, _ in client.events if kind == "state"]
    assert numbers == [line.seq for line in history(ledger, run_id)]


def test_a_run_that_ended_is_told_and_left(ledger, url):
    """The history of a run that has ended is told at once; who has seen it to the end is told not to come again."""
    order(ledger, "scene")
    run_id = compute(ledger)
    lines = history(ledger, run_id)
    with listening(f"{url}/jobs/{run_id}/events") as client:
        client.thread.join(PATIENCE_S)
    assert client.states() == [line.state for line in lines]
    with listening(f"{url}/jobs/{run_id}/events", **{"Last-Event-ID": str(lines[1].seq)}) as client:
        client.thread.join(PATIENCE_S)
    assert client.states() == [line.state for line in lines[2:]]
    seen = {"Last-Event-ID": str(lines[-1].seq)}
    assert requests.get(f"{url}/jobs/{run_id}/events", headers=seen, timeout=PATIENCE_S).status_code == 204


def test_an_earlier_end_does_not_end_the_stream(ledger, url):
    """A run that was begun anew is followed past the end of its first attempt."""
    order(ledger, "scene")
    run_id = compute(ledger)
    retry_run(ledger, run_id, is_forced=True)
    with listening(f"{url}/jobs/{run_id}/events") as client:
        until(lambda: client.states()[-1:] == ["queued"])
        assert client.thread.is_alive()
        compute(ledger)
        client.thread.join(PATIENCE_S)
        assert not client.thread.is_alive()
    assert client.states() == ["queued", "claimed", "running", "succeeded"] * 2


def test_all_runs_are_followed_from_now_or_from_before(ledger, url):
    """`/events` tells of all runs from now on, or behind the number that was seen last, nothing twice or left out."""
    order(ledger, "early")
    first = history(ledger, None)[-1].seq
    with listening(f"{url}/events") as now, listening(f"{url}/events?after=0") as everything:
        until(lambda: everything.states() == ["queued"])
        order(ledger, *(f"scene{n}" for n in range(30)))
        compute(ledger)
        until(lambda: len(everything.states()) == 34)
        until(lambda: len(now.states()) == 33)
        with listening(f"{url}/events", **{"Last-Event-ID": str(first)}) as later:
            until(lambda: len(later.states()) == 33)
            order(ledger, "last")
            until(lambda: len(later.states()) == 34)
        until(lambda: len(now.states()) == 34)
    numbers = [int(number) for kind, number, _ in now.events if kind == "state"]
    assert numbers == [line.seq for line in history(ledger, None, after=first)]
    assert [number for number in numbers if number in {int(n) for k, n, _ in later.events if k == "state"}] == numbers


def test_many_listeners_cost_as_much_as_one(ledger, url):
    """Forty clients that listen to runs that go on ask the ledger no more often than one does."""
    (run_id,) = order(ledger, "scene")
    asked = []
    with listening(f"{url}/jobs/{run_id}/events") as one:
        until(one.states)
        event.listen(ledger._engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
        until(lambda: len(asked) >= 40)
        asked.clear()
        time.sleep(1)
        alone = len(asked)
        clients = [Listener(f"{url}/jobs/{run_id}/events") for _ in range(20)]
        clients += [Listener(f"{url}/events") for _ in range(20)]
        until(lambda: all(client.states() for client in clients[:20]))
        asked.clear()
        time.sleep(1)
        crowded = len(asked)
        order(ledger, "other")
        until(lambda: all(client.states() == ["queued"] for client in clients))
        for client in clients:
            client.close()
    assert 0 < crowded < 2 * alone + 10


def test_clients_that_go_away_are_noticed(ledger, url):
    """When the last listener has gone nobody asks the ledger any more; the next one wakes it again."""
    (run_id,) = order(ledger, "scene")
    with listening(f"{url}/jobs/{run_id}/events") as client:
        until(client.states)
    asked = []
    event.listen(ledger._engine, "before_cursor_execute", lambda *given: asked.append(given[2]))

    def is_quiet():
        before = len(asked)
        time.sleep(0.5)
        return len(asked) == before

    until(is_quiet)
    with listening(f"{url}/jobs/{run_id}/events") as client:
        until(lambda: client.states() == ["queued"])
        cancel_run(ledger, run_id)
        client.thread.join(PATIENCE_S)
    assert client.states() == ["queued", "cancelled"]


def test_silence_is_filled(ledger, url):
    """Where nothing happens comments keep the connection."""
    order(ledger, "scene")
    with listening(f"{url}/events") as client:
        until(lambda: client.comments > 3)
    assert client.events == []


def test_runs_that_there_are_not_have_no_events(url):
    """An id that means no run is 404."""
    answer = requests.get(f"{url}/jobs/{'0' * 64}/events", timeout=PATIENCE_S)
    assert answer.status_code == 404
    assert answer.json()["type"].endswith("/no-such-job")
