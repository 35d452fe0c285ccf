"""What stands before the routes: the size of bodies, the names that the server answers to, a log line a request."""

import logging
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geodl_core.catalog.api.responses import problem

LOG = logging.getLogger("geodl.api")
_DRAINED = 256 * 2**20
"""Bytes of a refused body that are still read, so that its sender gets to see the answer."""


class BodyLimit:
    """Refuses bodies beyond a size, whether they say how large they are or not.

    Args:
        app: what is behind.
        largest: path → bytes.
    """

    def __init__(self, app: ASGIApp, largest: Callable[[str], int]) -> None:
        self._app = app
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._largest(scope["path"])
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > limit:
            await drain(receive)
            await _too_large(limit)(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                if message.get("more_body"):
                    await drain(receive)
                raise HTTPException(413, _complaint(limit))
            return message

        await self._app(scope, counted, send)


class KnownHosts:
    """Refuses requests for other names than the server's own: a page elsewhere may point a name of its own here.

    Args:
        app: what is behind.
        hosts: names, without ports.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "http":
            header = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
            if _host_name(header) not in self._hosts:
                answer = problem(421, f"Host: expected a name of this server, found {header[:80]!r}")
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)


class RequestLog:
    """Writes a line a request: method, path, status, milliseconds, and who asked where that is known."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            spent_ms = round((time.perf_counter() - started) * 1000, 1)
            facts = {"method": scope["method"], "path": scope["path"], "status": status, "ms": spent_ms}
            if "caller" in scope:
                facts["caller"] = scope["caller"].name
            LOG.log(_level(scope["path"], status), "request", extra={"facts": facts})


def _level(path: str, status: int) -> int:
    """Return how much a request is worth a line: workers ask for work every second, and mostly there is none."""
    return logging.DEBUG if status == 204 and path.endswith("/leases") else logging.INFO


def _host_name(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


async def drain(receive: Receive) -> None:
    """Read a body that is refused, up to a limit, so that its sender gets to see the answer."""
    seen, is_more = 0, True
    while is_more and seen < _DRAINED:
        message = await receive()
        seen += len(message.get("body", b""))
        is_more = bool(message.get("more_body", False))


def _complaint(limit: int) -> str:
    return f"body: expected {limit:,} bytes at most, found more"


def _too_large(limit: int) -> ASGIApp:
    return problem(413, _complaint(limit))
