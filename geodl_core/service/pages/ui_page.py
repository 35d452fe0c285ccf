"""The page for people: runs, watches, workers and results as they change. It holds no data and loads nothing elsewhere.

Its parts lie beside this module: `ui.html`, `ui.css`, and the scripts `ui_*.js` and `map.js`, which become one.
"""

import base64
import hashlib
from functools import cache
from pathlib import Path

from fastapi import APIRouter
from starlette.datastructures import MutableHeaders
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATH = "/ui"
HERE = Path(__file__).parent
SCRIPTS = ("map.js", "ui_facts.js", "ui_parts.js", "ui_server.js", "ui_lists.js", "ui_run.js", "ui_main.js")
"""In the order in which they are put together."""


def ui_router() -> APIRouter:
    """Return the route of the page."""
    router = APIRouter(tags=["Page"])

    @router.get(PATH, summary="A page for people", response_class=HTMLResponse)
    def page() -> Response:
        """Return the page; what it shows it asks of the other routes."""
        document, policy = ui_page()
        headers = {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cache-Control": "no-cache",
        }
        return HTMLResponse(document, headers=headers)

    return router


@cache
def ui_page() -> tuple[str, str]:
    """Return the document, and the policy (CSP Level 3) under which nothing but its own script and style count."""
    style, script = _read("ui.css"), f"'use strict';\n{{\n{''.join(map(_read, SCRIPTS))}}}\n"
    document = _read("ui.html").replace("/* style */", style).replace("/* script */", script)
    policy = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(style),
        # Of pictures that were fetched with a token; the icon is data.
        "img-src": "'self' blob: data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
    }
    return document, "; ".join(f"{name} {value}" for name, value in policy.items())


class PageForBrowsers:
    """Answers `GET /` with the page where HTML is preferred to JSON; all others get the landing page of the API.

    Args:
        app: what is behind.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or scope["path"] != "/" or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return

        async def varied(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).add_vary_header("Accept")
            await send(message)

        accept = b",".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")
        is_page = prefers_html(accept)
        asked = {**scope, "path": PATH, "raw_path": PATH.encode()} if is_page else scope
        await self._app(asked, receive, varied)


def prefers_html(accept: str) -> bool:
    """Say whether an `Accept` header (RFC 9110, 12.5.1) names HTML and gives it more weight than JSON.

    Browsers name it; programs that take anything (`*/*`) do not.
    """
    weights: dict[str, float] = {}
    for part in accept.lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        weight = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            weights[kind] = max(weights.get(kind, 0.0), float(weight))
        except ValueError:
            return False
    # The most specific range counts.
    ranges = ("application/json", "application/*", "*/*")
    of_json = next((weights[kind] for kind in ranges if kind in weights), 0.0)
    return weights.get("text/html", 0.0) > of_json


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
