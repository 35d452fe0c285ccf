"""`geodl serve`: one server that does everything."""

import logging
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geodl_core.cli.job_options import MEANS_OPTIONS, places_of, with_options
from geodl_core.settings import put_in_environment

if TYPE_CHECKING:
    from geodl_core.service.running.supervisor import Supervisor
    from geodl_core.service.server.app import ServerOptions

LOG = logging.getLogger("geodl.server")


@click.command()
@click.option("--catalog", metavar="PATH|URL", help="A catalog file or postgresql://…  [env: GEODL_CATALOG]")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Folder of results.  [default: geodl-out; env: GEODL_OUT]"
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port to listen on; 0 takes any."
)
@click.option("--workers", type=click.IntRange(min=0), default=1, show_default=True, help="Worker processes.")
@click.option("--store", metavar="URL", help="Object store for plans, parts and results, for workers elsewhere too.")
@click.option("--max-runs", type=click.IntRange(min=1), default=4, show_default=True, help="Under way at a time.")
@click.option(
    "--allow-folder",
    "folders",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Items may name its files; repeatable.  [default: any on loopback, else --out]",
)
@click.option(
    "--watch-folder",
    "watched",
    multiple=True,
    metavar="[COLLECTION=]PATH",
    help="Publish what appears in a folder; repeatable.",
)
@click.option("--no-scheduler", is_flag=True, help="Watches on a schedule fire elsewhere.")
@click.option("--confirm-sns", is_flag=True, help="Confirm subscriptions of Amazon SNS to /publish.")
@click.option("--token-required", is_flag=True, help="Writing needs a token even on loopback.")
@click.option("--private", is_flag=True, help="Reading needs a token too.")
@click.option("--oidc-issuer", metavar="URL", help="Identity provider whose tokens are believed too.")
@click.option("--oidc-audience", metavar="NAME", help="For whom its tokens must be made.")
@click.option("--host-name", "names", multiple=True, help="Name that the server answers to; repeatable.")
@click.option("--cors-origin", "origins", multiple=True, metavar="URL", help="Site whose pages may ask; repeatable.")
@click.option("--proxied", is_flag=True, help="A proxy in front sets X-Forwarded-* headers.")
@click.option("--rate", metavar="READS,WRITES", help="A minute and caller.  [default: 6000,3000; none on loopback]")
@click.option("--grace", type=click.FloatRange(min=0), default=30.0, show_default=True, help="Seconds to stop in.")
@with_options(MEANS_OPTIONS)
def serve(catalog: str | None, host: str, port: int, grace: float, **options: Any) -> None:
    """Serve a catalog and run what is published to it, until stopped by Ctrl-C or SIGTERM.

    It answers as STAC API and OGC API – Processes, matches Items with watches, runs models in worker processes, and
    shows results as map tiles. Standard output gets one line, the address; standard error lines of JSON.

    \b
    Examples:
      geodl serve
      geodl serve --catalog results/catalog.db --port 8000 --workers 2
      geodl serve --catalog postgresql://geodl@db/geodl --host 0.0.0.0 --host-name geodl.example.com --proxied
      geodl search --catalog http://127.0.0.1:8080
    """
    from geodl_core.cli.serve_options import own_address, server_options, told_address

    out, location = places_of({"out": options.pop("out"), "catalog": catalog})
    options["out"] = out
    asked = server_options(location, host, options)
    with _listener(host, port) as listener, ExitStack() as stack:
        from geodl_core.cli.log_lines import log_to_stderr

        log_to_stderr()
        # Not as an argument of the workers, which everybody on the machine can read.
        put_in_environment({"GEODL_CATALOG": location})
        port = listener.getsockname()[1]
        options["address"] = told_address(host, port, options["names"], is_proxied=options["proxied"])
        app, supervisor = _built(stack, location, asked, (options, grace))
        click.echo(own_address(host, port))
        _say_what_runs(location, asked, options)
        _run(app, listener, supervisor, grace)


def _built(
    stack: ExitStack, location: str, asked: "ServerOptions", given: tuple[dict[str, Any], float]
) -> tuple[Callable[..., Any], "Supervisor"]:
    """Open the catalog and start what runs beside the answering of requests; the stack closes and stops all of it."""
    from geodl_core.catalog.open import open_catalog
    from geodl_core.cli.serve_options import allowed_folders, staff_of, watched_folders
    from geodl_core.io.remote.access import way
    from geodl_core.io.remote.egress import EgressProxy
    from geodl_core.service.access.auth import TokenUse
    from geodl_core.service.ledger.database import Ledger
    from geodl_core.service.running.steps import StepOptions, end_leases, server_steps
    from geodl_core.service.running.supervisor import Supervisor
    from geodl_core.service.server.app import Beside, create_server
    from geodl_core.service.services import Services
    from geodl_core.service.webhooks.deliver import Delivery
    from geodl_core.service.webhooks.post import Sender

    options, grace_s = given
    # What others publish must not make the server ask its own network for them.
    proxy = stack.enter_context(EgressProxy(way().access.allowed_hosts)) if asked.rules else None
    out: Path = options["out"]
    opened: Any = stack.enter_context(open_catalog(location))
    ledger = stack.enter_context(Ledger(location))
    watched = watched_folders(options["watched"])
    folders = (*options["folders"], *(path for path, _ in watched))
    roots = allowed_folders(out, folders, is_open=asked.rules is None and not options["folders"])
    services = Services(opened, ledger, out, options["store"], roots)
    use = TokenUse()
    delivery = Delivery(options["address"], Sender(way().access.allowed_hosts))
    steps = server_steps(services, StepOptions(delivery, not options["no_scheduler"], watched), use)
    staff = staff_of(out, roots, options)
    kept = None if staff is None else (staff, lambda worker: end_leases(ledger, worker))
    supervisor = stack.enter_context(Supervisor(steps, kept, grace_s))
    return create_server(services, asked, Beside(supervisor, use, proxy)), supervisor


def _listener(host: str, port: int) -> socket.socket:
    from geodl_core.errors import InputError

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as err:
        raise InputError(
            f"--port {port}: expected a free port of {host}, found: {err.strerror}", hint="--port names another"
        ) from err


def _say_what_runs(location: str, asked: "ServerOptions", options: dict[str, Any]) -> None:
    from geodl_core.domain.place.href import hide_secrets

    facts = {
        "catalog": hide_secrets(location),
        "workers": options["workers"],
        "tokens": "none" if asked.rules is None else "to read and write" if asked.rules.is_private else "to write",
    }
    LOG.info("serving", extra={"facts": facts})


def _run(app: Callable[..., Any], listener: socket.socket, supervisor: "Supervisor", grace_s: float) -> None:
    import uvicorn

    from geodl_core.service.running.garbage import settle_garbage

    settle_garbage()
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=round(grace_s),
    )
    server = uvicorn.Server(config)
    stop_answering = server.handle_exit

    def stop(sig: int, frame: Any) -> None:
        # Workers hear of it at once, not after the last answer; who is told twice waits no longer.
        (supervisor.hurry if supervisor.is_stopping else supervisor.stop)()
        stop_answering(sig, frame)

    server.handle_exit = stop  # type: ignore[method-assign]  # uvicorn calls what it finds there
    # uvicorn stops in order on these, and then raises them anew: there is nothing left to be done about them.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    server.run(sockets=[listener])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: supervisor.hurry())
