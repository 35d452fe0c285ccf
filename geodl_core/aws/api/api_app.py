"""The STAC API as a function: who may write, and what follows a write."""

import json
import logging
from collections.abc import Callable
from typing import Any, cast

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# While Lambda starts the function, and not while its first caller waits.
import geodl_core.catalog.pgstac.catalog  # noqa: F401
from geodl_core.aws.api.judge import Refusal, Tokens, judge
from geodl_core.aws.api.small_pages import SmallPages
from geodl_core.catalog.api.app import Additions, ApiOptions, create_app
from geodl_core.catalog.api.backend import ServedCatalog
from geodl_core.catalog.api.middleware import drain
from geodl_core.catalog.api.responses import problem
from geodl_core.errors import GeodlError, UnavailableError
from geodl_core.service.access.scopes import OPEN, SAFE, needed_scope

LOG = logging.getLogger("geodl.api")
BODY_BYTES = 4 << 20
"""Of a request: Lambda takes 6 MB, in which the body is text within JSON, or base64."""


def create_api(catalog: ServedCatalog, tokens: Tokens, publish: Callable[[], object], *, is_private: bool) -> FastAPI:
    """Return the STAC API.

    Args:
        catalog: stays the caller's.
        tokens: returns what is known of tokens; True asks for those of now.
        publish: tells a topic what was written.
        is_private: whether reading needs a token, too.
    """
    guards = (
        Middleware(PublishWrites, publish=publish),
        Middleware(Gate, tokens=tokens, is_private=is_private),
    )
    # API Gateway answers to its own names alone, and says in Host which.
    options = ApiOptions(hosts=None, body_bytes=BODY_BYTES, document_bytes=BODY_BYTES)
    return create_app(cast(ServedCatalog, SmallPages(catalog)), options, Additions(guards=guards))


class Gate:
    """Lets a request through if its token allows what it asks for, or if it needs none.

    Where API Gateway itself has found out who asks, which it says in the event, that holds (`judge`).

    Args:
        app: what is behind.
        tokens: returns what is known of tokens; True asks for those of now.
        is_private: whether reading needs a token, too.
    """

    def __init__(self, app: ASGIApp, tokens: Tokens, is_private: bool) -> None:
        self._app = app
        self._tokens = tokens
        self._is_private = is_private

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        needed = needed_scope(scope["method"], scope["path"]) if scope["type"] == "http" else OPEN
        is_open = needed == OPEN or (needed == "read" and not self._is_private)
        refusal = None if is_open else await run_in_threadpool(self._refusal, scope, needed)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        await drain(receive)
        await problem(refusal.status, refusal.text, dict(refusal.headers))(scope, receive, send)

    def _refusal(self, scope: Scope, needed: str) -> Refusal | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            return judge(self._tokens, scope.get("aws.event") or {}, headers, needed)
        except UnavailableError as error:
            return Refusal(503, error.message, {"Retry-After": "5"})


class PublishWrites:
    """Tells a topic of each write that was accepted, before the answer is complete: afterwards a function stands still.

    Args:
        app: what is behind.
        publish: does so; where it fails, the next write does it, too.
    """

    def __init__(self, app: ASGIApp, publish: Callable[[], object]) -> None:
        self._app = app
        self._publish = publish

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or scope["method"] in SAFE or needed_scope(scope["method"], scope["path"]) == "read":
            await self._app(scope, receive, send)
            return
        status = 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        await self._app(scope, receive, noted)
        if status < 400:
            try:
                await run_in_threadpool(self._publish)
            except GeodlError as error:
                LOG.warning("written, but not published yet", extra={"facts": {"problem": error.message}})


def awake(answer: Callable[[], Any]) -> Any:
    """Return the answer of a function, in API Gateway's form; 503 where its catalog does not come."""
    try:
        return answer()
    except UnavailableError as error:
        body = json.dumps({"code": type(error).__name__, "description": error.message})
        headers = {"content-type": "application/json", "retry-after": "10"}
        return {"statusCode": 503, "headers": headers, "body": body}
