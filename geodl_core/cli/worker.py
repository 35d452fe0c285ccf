"""`geodl worker`: a process that computes runs of a catalog, or shards that a server lends."""

import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geodl_core.cli.job_options import MEANS_OPTIONS, with_options
from geodl_core.errors import InputError
from geodl_core.settings import Settings

if TYPE_CHECKING:
    from geodl_core.service.workers.worker import Shift

KINDS = ("plan", "shard", "finish")


@click.command()
@click.option("--catalog", metavar="PATH|URL", help="A catalog file or postgresql://…  [env: GEODL_CATALOG]")
@click.option("--server", metavar="URL", help="Of a `geodl serve --store` elsewhere; token in GEODL_TOKEN.")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Folder of results.  [default: geodl-out; env: GEODL_OUT]"
)
@click.option("--store", metavar="URL", help="Object store for plans, parts and results, instead of --out.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Of work; repeatable.  [default: all]")
@click.option("--shards-at-once", type=click.IntRange(1, 10_000), default=1_000, show_default=True, help="Of one run.")
@click.option("--max-runs", type=click.IntRange(min=1), default=4, show_default=True, help="Under way at a time.")
@click.option("--lease", type=click.FloatRange(min=1), default=60.0, show_default=True, help="Seconds of silence.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Tiles at a time.  [default: as planned]")
@click.option(
    "--allow-folder",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Items may name its files; repeatable.  [default: any]",
)
@click.option("--name", help="Of this worker, in lists.  [default: host and process]")
@click.option("--once", is_flag=True, help="End when there is nothing to do.")
@click.option("--until-eof", is_flag=True, help="End when standard input is closed.")
@with_options(MEANS_OPTIONS)
def worker(catalog: str | None, server: str | None, once: bool, until_eof: bool, **options: Any) -> None:
    """Compute runs as they are ordered, until stopped by Ctrl-C or SIGTERM; what is begun then is handed back.

    With --catalog it plans, computes and registers runs of that catalog. With --server it computes shards that a server
    on another machine lends; both must reach the object store that the server was given. Standard error gets lines of
    JSON.

    \b
    Examples:
      geodl worker --catalog results/catalog.db --once
      geodl worker --catalog postgresql://geodl@db/geodl --store s3://bucket/runs
      GEODL_TOKEN=gdl_… geodl worker --server https://geodl.example.com --provider cuda
    """
    from geodl_core.cli.log_lines import log_to_stderr
    from geodl_core.service.workers.worker import work_on

    if catalog and server:
        raise InputError("--catalog and --server exclude one another: expected one of them")
    log_to_stderr()
    stop = _stop_event(until_eof)
    name = options["name"] or f"{socket.gethostname()}-{os.getpid()}"
    if server:
        from geodl_core.service.workers.http_queue import HttpQueue

        with HttpQueue(server, Settings.from_env().token, (name, options["shards_at_once"])) as queue:
            work_on(queue, _shift(options, None, once), stop)
        return
    from geodl_core.catalog.open import open_catalog
    from geodl_core.service.ledger.database import Ledger
    from geodl_core.service.ledger.leases import KINDS as ALL
    from geodl_core.service.ledger.leases import Crew
    from geodl_core.service.workers.queue import LedgerQueue

    location = catalog or Settings.from_env().catalog
    kinds = tuple(kind for kind in ALL if not options["kinds"] or kind in options["kinds"])
    crew = Crew(name, kinds, options["shards_at_once"], options["max_runs"])
    with Ledger(location, lease_s=options["lease"]) as ledger, open_catalog(location) as opened:
        work_on(LedgerQueue(ledger, crew), _shift(options, (location, opened), once), stop)


def _shift(options: dict[str, Any], catalog: tuple[str, Any] | None, once: bool) -> "Shift":
    from geodl_core.cli.run import now, read_means
    from geodl_core.service.workers.steps import Site
    from geodl_core.service.workers.worker import Shift

    location, opened = catalog or ("", None)
    site = Site(
        out=options["out"] or Settings.from_env().out,
        catalog_location=location,
        catalog=opened,
        means=read_means(options, options["batch_size"] or 1),
        batch_size=options["batch_size"],
        store=options["store"],
        local_roots=tuple(options["folders"]) or (Path("/"),),
    )
    return Shift(site, now, idle_s=0.2 if catalog else 1.0, ends_when_idle=once)


def _stop_event(until_eof: bool) -> threading.Event:
    """Return an event that is set by SIGTERM, Ctrl-C, or the end of standard input."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if until_eof:
        threading.Thread(target=_wait_for_eof, args=(stop,), name="parent", daemon=True).start()
    return stop


def _wait_for_eof(stop: threading.Event) -> None:
    # Not through Python's own file: at the end of the process its lock could not be taken from this thread.
    while os.read(sys.stdin.fileno(), 1):
        pass
    stop.set()
