"""Numbers for Prometheus: requests as they are counted; runs and queues as the ledger has them when it is asked."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from geodl_core.domain.run.state import FINAL
from geodl_core.errors import UnavailableError
from geodl_core.service.ledger.cursors import read_cursor
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.runs import count_states
from geodl_core.service.ledger.tables import RUNS, UNITS, WATCHES, WORKERS
from geodl_core.service.services import Services

SEEN_S = 120.0
"""Workers that were heard of so recently are counted."""
KEPT_S = 5.0
"""Numbers of the ledger are kept so long: whoever asks more often gets the same."""
MOST_BEHIND = 1_000
"""Writes that nobody has read yet are counted up to here."""
MOST_RUNS = 10_000
OVERLAP_S = 10.0
"""Runs that changed so shortly before the last look are looked at again: their transaction may have been under way."""


@dataclass(frozen=True, slots=True)
class Source:
    """A number that another part of the server knows."""

    name: str
    text: str
    """What it is."""
    read: Callable[[], dict[str, float]]
    """→ label → number; the label is empty where there is just one."""
    label: str = ""
    is_counter: bool = False


class LedgerNumbers(Collector):
    """What the ledger says of runs, work and workers.

    Args:
        services: with the ledger and the catalog.
        cursor: by which the dispatcher of published Items reads on.
        sources: further numbers.
        monotonic: seconds, of how long numbers are kept.
    """

    def __init__(
        self,
        services: Services,
        cursor: str,
        sources: tuple[Source, ...] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._services = services
        self._cursor = cursor
        self._sources = sources
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._kept: tuple[float, list[Metric]] | None = None
        self._tiles: dict[str, int] = {}
        self._ended: set[str] = set()
        self._tiles_total = 0
        self._since = services.ledger.clock()

    def collect(self) -> Iterator[Metric]:
        """Return the numbers as they are now."""
        with self._lock:
            now = self._monotonic()
            if self._kept is None or now - self._kept[0] > KEPT_S:
                self._kept = now, list(self._read())
            yield from self._kept[1]

    def describe(self) -> list[Metric]:
        """Return nothing, so that the ledger is not asked when the server starts."""
        return []

    def _read(self) -> Iterator[Metric]:
        ledger = self._services.ledger
        yield InfoMetricFamily("geodl_build", "Version of geodl.", {"version": version("geodl")})
        try:
            yield _gauge("geodl_runs", "Runs by state.", dict(count_states(ledger)), "state")
            yield from _queue_numbers(ledger)
            yield CounterMetricFamily("geodl_run_tiles", "Tiles computed since the start.", self._more_tiles(ledger))
            yield _gauge("geodl_outbox_lag", f"Writes not dispatched yet, {MOST_BEHIND} at most.", self._lag())
            for source in self._sources:
                yield (_counter if source.is_counter else _gauge)(source.name, source.text, source.read(), source.label)
            is_up = 1.0
        except UnavailableError:
            # What is known of requests is worth having even then.
            is_up = 0.0
        yield _gauge("geodl_ledger_up", "Whether the ledger answers.", {"": is_up})

    def _lag(self) -> dict[str, float]:
        position = read_cursor(self._services.ledger, self._cursor)
        return {"": float(len(self._services.catalog.outbox(position, MOST_BEHIND)))}

    def _more_tiles(self, ledger: Ledger) -> float:
        """Return how many tiles were finished since the start: what runs that changed since the last time gained."""
        now = ledger.clock()
        columns = RUNS.c.id, RUNS.c.tiles_done, RUNS.c.state
        query = sa.select(*columns).where(RUNS.c.updated >= self._since).limit(MOST_RUNS)
        with ledger.reading() as connection:
            found = {str(row[0]): (int(row[1]), row[2] in FINAL) for row in connection.execute(query)}
        for run_id, (done, _) in found.items():
            self._tiles_total += max(0, done - self._tiles.get(run_id, 0))
        # Whoever has ended begins anew with no tiles, if ever.
        gone = self._ended - found.keys()
        self._tiles = {run_id: done for run_id, done in self._tiles.items() if run_id not in gone}
        self._tiles |= {run_id: done for run_id, (done, _) in found.items()}
        self._ended = {run_id for run_id, (_, is_over) in found.items() if is_over}
        self._since = now - OVERLAP_S
        return float(self._tiles_total)


def metrics_router(registry: CollectorRegistry) -> APIRouter:
    """Return the route `/metrics`, in the text format of Prometheus or as OpenMetrics."""
    router = APIRouter(tags=["Metrics"])

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def metrics(request: Request) -> Response:
        """Return the numbers of this server for Prometheus."""
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": kind})

    return router


def _queue_numbers(ledger: Ledger) -> Iterator[Metric]:
    now = ledger.clock()
    is_due = (UNITS.c.state == "open") & (UNITS.c.not_before <= now)
    units = sa.select(UNITS.c.kind, UNITS.c.state, sa.func.count()).group_by(UNITS.c.kind, UNITS.c.state)
    oldest = sa.select(sa.func.min(RUNS.c.updated)).join(UNITS, UNITS.c.run_id == RUNS.c.id).where(is_due)
    seen = sa.select(sa.func.count()).where(WORKERS.c.seen >= now - SEEN_S)
    watches = sa.select(WATCHES.c.is_paused, sa.func.count()).group_by(WATCHES.c.is_paused)
    with ledger.reading() as connection:
        work = GaugeMetricFamily("geodl_units", "Pieces of work by kind and state.", labels=("kind", "state"))
        for kind, state, count in connection.execute(units):
            work.add_metric((kind, state), float(count))
        since = connection.execute(oldest).scalar()
        workers = connection.execute(seen).scalar_one()
        paused = {bool(row[0]): float(row[1]) for row in connection.execute(watches)}
    yield work
    age_s = 0.0 if since is None else max(0.0, now - float(since))
    yield _gauge("geodl_queue_oldest_seconds", "How long the oldest work that may begin has waited.", {"": age_s})
    yield _gauge("geodl_workers", f"Workers heard of in the last {SEEN_S:.0f} s.", {"": float(workers)})
    states = {"active": paused.get(False, 0.0), "paused": paused.get(True, 0.0)}
    yield _gauge("geodl_watches", "Watches by state.", states, "state")


def _gauge(name: str, text: str, values: dict[Any, float], label: str = "") -> Metric:
    family = GaugeMetricFamily(name, text, labels=(label,) if label else ())
    for key, value in values.items():
        family.add_metric((str(key),) if label else (), float(value))
    return family


def _counter(name: str, text: str, values: dict[Any, float], label: str = "") -> Metric:
    family = CounterMetricFamily(name, text, labels=(label,) if label else ())
    for key, value in values.items():
        family.add_metric((str(key),) if label else (), float(value))
    return family
