"""A scene, a registered model and a ledger, for tests of runs that are ordered."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from forks import Forked
from geodl_core.catalog.api.responses import answer_errors
from geodl_core.catalog.model_versions import reference
from geodl_core.catalog.models import add_model
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.domain.run.options import RunOptions
from geodl_core.domain.run.order import Order
from geodl_core.io.package.package import load_package
from geodl_core.io.stac import read_item
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.runs import Run, place_orders, read_run
from geodl_core.service.routes.work_api import work_router
from geodl_core.service.services import Services
from networks import conv_network, write_emd
from runs import NOW
from scenes import write_scene

OPTIONS = {"arguments": {"tile_size": 96}, "bands": {"0": "image:1", "1": "image:2"}}
PATIENCE_S = 60


@dataclass(frozen=True)
class Works:
    """A folder with a scene, a catalog and a registered model."""

    folder: Path
    item: dict[str, Any]
    model: str
    """`NAME@VERSION`."""

    @property
    def catalog(self) -> str:
        return str(self.folder / "catalog.db")

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def order(self, **more: Any) -> Order:
        """Return an order of the scene; `options` are merged with those that the model needs."""
        options = RunOptions.model_validate({**OPTIONS, **more.pop("options", {})})
        return Order(more.pop("item", self.item), self.model, options, **more)


def make_works(folder: Path, shape: tuple[int, int] = (300, 410)) -> Works:
    """Make the scene, the model and the catalog."""
    item, _ = write_scene(folder, shape)
    conv_network(folder / "net.onnx")
    emd = write_emd(folder)
    with SqliteCatalog(folder / "catalog.db") as catalog:
        model = add_model(catalog, folder / "models", load_package(str(emd)), NOW)
    return Works(folder, read_item(str(item)), reference(model))


def place(works: Works, *orders: Order) -> list[str]:
    """Put orders into the ledger; return the ids of their runs."""
    with Ledger(works.catalog) as ledger:
        return [placed.run_id for placed in place_orders(ledger, orders)]


def run_now(works: Works, run_id: str) -> Run:
    """Return a run as it stands."""
    with Ledger(works.catalog) as ledger:
        return read_run(ledger, run_id)


def start_worker(works: Works, *options: object, **env: str) -> Forked:
    """Start `geodl worker` as a process of its own; without --catalog or --server it works on the catalog."""
    words = [str(option) for option in options]
    if "--server" not in words:
        words = ["--catalog", works.catalog, "--out", str(works.out), *words]
    return Forked(
        ["worker", "--threads", "1", *words],
        (subprocess.PIPE, subprocess.DEVNULL, subprocess.PIPE),
        {**os.environ, "GEODL_CACHE": str(works.folder / "cache"), **env},
    )


def end(worker: Forked, number: int = signal.SIGTERM) -> str:
    """Send a signal, wait for the end, and return what the worker wrote."""
    worker.send_signal(number)
    _, errors = worker.communicate(timeout=PATIENCE_S)
    return errors


def wait_for(found: Callable[[], Any], what: str) -> Any:
    """Wait until something is there, and return it."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        value = found()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"there was no {what} within {PATIENCE_S} s")


@contextmanager
def lending(services: Services) -> Iterator[str]:
    """A server that lends work; its address."""
    app = FastAPI()
    answer_errors(app)
    app.include_router(work_router(services))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started, "server")
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
