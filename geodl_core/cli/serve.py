"""`geodl serve`: the catalog as a STAC API."""

import logging
import signal
import socket
from collections.abc import Callable
from typing import Any

import click

from geodl_core.settings import Settings

LOOPBACK = ("127.0.0.1", "localhost", "::1")
GRACE_S = 10
"""How long requests in flight may take when the server is told to stop."""


@click.command()
@click.option("--catalog", help="The catalog file.  [default: $GEODL_CATALOG, else catalog.db in the results' folder]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on, of this machine alone.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port to listen on; 0 takes any."
)
def serve(catalog: str | None, host: str, port: int) -> None:
    """Serve a catalog as a STAC API, until stopped by Ctrl-C or SIGTERM.

    Standard output gets one line, the address; standard error a line of JSON for each request.

    \b
    Examples:
      geodl serve
      geodl serve --catalog results/catalog.db --port 8000
      geodl search --catalog http://127.0.0.1:8080
      geodl run item.json --model landcover.emd --catalog http://127.0.0.1:8080
    """
    location = catalog or Settings.from_env().catalog
    _check(location, host)
    listener = _listener(host, port)
    with listener:
        from geodl_core.catalog.api.app import create_app
        from geodl_core.catalog.sqlite import SqliteCatalog

        with SqliteCatalog(location.removeprefix("file://")) as opened:
            name = f"[{host}]" if ":" in host else host
            click.echo(f"http://{name}:{listener.getsockname()[1]}")
            _log_lines()
            _run(create_app(opened), listener)


def _check(location: str, host: str) -> None:
    from geodl_core.errors import InputError

    if host not in LOOPBACK:
        raise InputError(
            f"--host {host}: listening beyond this machine needs authentication, which is not there yet",
            hint=f"expected one of {', '.join(LOOPBACK)}; reach it from elsewhere through an SSH tunnel",
        )
    if location.lower().startswith(("http://", "https://")):
        raise InputError(f"--catalog {location}: expected a catalog file, found an address, which is served already")


def _listener(host: str, port: int) -> socket.socket:
    from geodl_core.errors import InputError

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as err:
        raise InputError(
            f"--port {port}: expected a free port of {host}, found: {err.strerror}", hint="--port names another"
        ) from err


def _run(app: Callable[..., Any], listener: socket.socket) -> None:
    import uvicorn

    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    # uvicorn stops in order on these, and then raises them anew: there is nothing left to be done about them.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    uvicorn.Server(config).run(sockets=[listener])


def _log_lines() -> None:
    """Write the server's log to standard error, a JSON object a line."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonLines())
    for name, level in (("geodl", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


class _JsonLines(logging.Formatter):
    """A log record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        import json
        from datetime import UTC, datetime

        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"at": at, "level": record.levelname.lower(), "event": record.getMessage()}
        line |= getattr(record, "facts", {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
