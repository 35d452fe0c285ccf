"""The STAC API as a function: who may write, and what follows a write."""

import logging
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geodl_core.aws.site.secrets import KnownToken, bearer_of, find_known_token
from geodl_core.catalog.api.app import Additions, ApiOptions, create_app
from geodl_core.catalog.api.backend import ServedCatalog
from geodl_core.catalog.api.middleware import drain
from geodl_core.catalog.api.responses import problem
from geodl_core.errors import GeodlError, UnavailableError
from geodl_core.service.access.scopes import OPEN, SAFE, granted, needed_scope

LOG = logging.getLogger("geodl.api")
REALM = 'Bearer realm="geodl"'
Tokens = Callable[[], tuple[KnownToken, ...]]


def create_api(catalog: ServedCatalog, tokens: Tokens, publish: Callable[[], object], *, is_private: bool) -> FastAPI:
    """Return the STAC API.

    Args:
        catalog: stays the caller's.
        tokens: returns what is known of tokens now.
        publish: tells a topic what was written.
        is_private: whether reading needs a token, too.
    """
    guards = (
        Middleware(PublishWrites, publish=publish),
        Middleware(Gate, tokens=tokens, is_private=is_private),
    )
    # API Gateway answers to its own names alone, and says in Host which.
    return create_app(catalog, ApiOptions(hosts=None), Additions(guards=guards))


class Gate:
    """Lets a request through if its token allows what it asks for, or if it needs none.

    Where API Gateway itself has authorised a request (IAM, JWT), which it says in the event, that holds.

    Args:
        app: what is behind.
        tokens: returns what is known of tokens now.
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
        refusal = None if is_open or _is_authorised(scope) else await self._refusal(scope, needed)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        await drain(receive)
        await refusal(scope, receive, send)

    async def _refusal(self, scope: Scope, needed: str) -> ASGIApp | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        text = bearer_of(headers)
        if text is None:
            return problem(401, "expected a token in the header Authorization", {"WWW-Authenticate": REALM})
        try:
            found = find_known_token(await run_in_threadpool(self._tokens), text)
        except UnavailableError as error:
            return problem(503, error.message, {"Retry-After": "5"})
        if found is None:
            return problem(401, "the token is not known", {"WWW-Authenticate": f'{REALM}, error="invalid_token"'})
        if needed not in granted(found.scopes):
            header = f'{REALM}, error="insufficient_scope", scope="{needed}"'
            return problem(403, f"the token lacks the scope {needed}", {"WWW-Authenticate": header})
        return None


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


def _is_authorised(scope: Scope) -> bool:
    event: Any = scope.get("aws.event") or {}
    authorizer = (event.get("requestContext") or {}).get("authorizer")
    return isinstance(authorizer, dict) and bool(authorizer)
