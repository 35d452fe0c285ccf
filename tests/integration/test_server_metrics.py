"""Numbers for Prometheus."""

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from applications import application
from geodl_core.errors import CatalogError
from geodl_core.service.access.auth import Rules
from geodl_core.service.ledger.leases import beat, lease_work
from geodl_core.service.numbers import metrics
from geodl_core.service.numbers.request_metrics import RequestMetrics
from geodl_core.service.server.app import ServerOptions
from ledgers import compute, crew, facts, place, planned
from stac_documents import make_item


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server whose numbers are read anew each time."""
    monkeypatch.setattr(metrics, "KEPT_S", -1.0)
    monkeypatch.setattr(metrics, "OVERLAP_S", 0.0)
    with application(tmp_path, ServerOptions(rules=Rules())) as found:
        yield found


def numbers(server):
    """Return (name, labels) → number."""
    answer = server.api.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_requests_are_counted_by_route(server):
    """Ids in paths make no series of their own; refusals and what is nowhere are counted too."""
    for name in ("i", "j", "k"):
        server.api.get(f"/collections/c/items/{name}")
    server.api.delete("/collections/c")
    server.api.get("/nowhere/at/all")
    found = numbers(server)
    route = "/collections/{collection_id}/items/{item_id}"

    def count(method, status, route):
        return found["geodl_http_requests_total", ("method", method), ("route", route), ("status", status)]

    assert (count("GET", "200", route), count("GET", "404", route)) == (1, 2)
    assert (count("DELETE", "401", "none"), count("GET", "404", "none")) == (1, 1)
    assert found["geodl_http_request_seconds_count", ("method", "GET"), ("route", route)] == 3
    assert 0 < found["geodl_http_request_seconds_sum", ("method", "GET"), ("route", route)] < 60
    assert not [key for key in found if "nowhere" in str(key)]


def test_runs_and_work_are_those_of_the_ledger(server):
    """States, units, workers and tiles follow what happens to runs; tiles are counted once, and never back."""
    ledger = server.services.ledger
    before = numbers(server)
    assert before["geodl_queue_oldest_seconds",] == 0
    place(ledger, "a", "b", "d")
    found = numbers(server)
    assert found["geodl_runs", ("state", "queued")] == 3
    assert found["geodl_units", ("kind", "plan"), ("state", "open")] == 3
    assert 0 <= found["geodl_queue_oldest_seconds",] < 60
    compute(ledger)
    work = lease_work(ledger, crew())
    assert planned(ledger, work.lease, facts(job="other", where="/out/other"))
    shard = lease_work(ledger, crew())
    assert beat(ledger, shard.lease, 3)
    found = numbers(server)
    states = {state: found["geodl_runs", ("state", state)] for state in ("queued", "running", "succeeded")}
    assert states == {"queued": 1, "running": 1, "succeeded": 1}
    assert found["geodl_units", ("kind", "shard"), ("state", "leased")] == 1
    assert found["geodl_workers",] == 1
    assert found["geodl_run_tiles_total",] == 13
    assert numbers(server)["geodl_run_tiles_total",] == 13
    assert beat(ledger, shard.lease, 2)
    assert [numbers(server)["geodl_run_tiles_total",] for _ in range(2)] == [15, 15]


def test_what_is_published_and_not_dispatched_is_a_lag(server):
    """Writes that no dispatcher has read yet are counted."""
    before = numbers(server)["geodl_outbox_lag",]
    server.services.catalog.put_item(make_item("new") | {"collection": "c"})
    assert numbers(server)["geodl_outbox_lag",] == before + 1


def test_numbers_of_requests_are_there_without_a_ledger(server, monkeypatch):
    """Where the ledger does not answer, the rest is told, and that it does not."""
    assert numbers(server)["geodl_ledger_up",] == 1

    def fail(ledger):
        raise CatalogError("away")

    monkeypatch.setattr(metrics, "count_states", fail)
    found = numbers(server)
    assert found["geodl_ledger_up",] == 0
    assert [key for key in found if key[0] == "geodl_http_requests_total"]


def test_openmetrics_and_the_version(server):
    """Who asks for OpenMetrics gets it, readable; the version is told."""
    answer = server.api.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    families = {family.name: family for family in read_openmetrics(answer.text)}
    assert families["geodl_build"].samples[0].labels["version"]
    assert isinstance(server.app.user_middleware[0].cls, type)
    assert server.app.user_middleware[0].cls is RequestMetrics


def test_numbers_are_kept_for_a_while(tmp_path):
    """Who asks all the time does not make the ledger work all the time."""
    with application(tmp_path) as server:
        place(server.services.ledger, "a")
        assert numbers(server)["geodl_runs", ("state", "queued")] == 1
        place(server.services.ledger, "b")
        assert numbers(server)["geodl_runs", ("state", "queued")] == 1
