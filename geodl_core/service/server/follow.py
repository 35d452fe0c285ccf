"""What a request sets going in the rest of the server, and what the server's end means for requests."""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geodl_core.service.access.scopes import SAFE

LOOK_S = 0.25
"""Between two looks of a stream at whether the server ends."""


class WakeOnWrite:
    """Wakes those who wait for writes, after each one that was accepted.

    Args:
        app: what is behind.
        wake: does so; it returns at once.
    """

    def __init__(self, app: ASGIApp, wake: Callable[[], None]) -> None:
        self._app = app
        self._wake = wake

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or scope["method"] in SAFE:
            await self._app(scope, receive, send)
            return

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                self._wake()
            await send(message)

        await self._app(scope, receive, noted)


class EndStreams:
    """Ends server-sent events when the server stops, which would wait for their readers otherwise.

    Args:
        app: what is behind.
        is_stopping: whether it does.
    """

    def __init__(self, app: ASGIApp, is_stopping: Callable[[], bool]) -> None:
        self._app = app
        self._is_stopping = is_stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""

        async def received() -> Message:
            waiting = asyncio.ensure_future(receive())
            while not (await asyncio.wait({waiting}, timeout=LOOK_S))[0]:
                if self._is_stopping():
                    waiting.cancel()
                    # To the route it is as if its reader had gone.
                    return {"type": "http.disconnect"}
            return waiting.result()

        await self._app(scope, received if _is_stream(scope) else receive, send)


def _is_stream(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] not in SAFE:
        return False
    accept = dict(scope["headers"]).get(b"accept", b"")
    return b"text/event-stream" in accept or scope["path"].rstrip("/").endswith("/events")
