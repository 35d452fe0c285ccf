"""Requests that a browser makes for a page of somebody else."""

from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from geodl_core.catalog.api.middleware import drain
from geodl_core.catalog.api.responses import problem
from geodl_core.service.access.scopes import SAFE


class OwnPages:
    """Refuses to change anything for pages of other sites.

    Browsers say from which site a page comes that changes something (`Origin`, Fetch Standard), and send some such
    requests without asking first. On a server that asks for no tokens any page could then start runs.

    Args:
        app: what is behind.
        origins: sites that may, as `https://example.com`.
    """

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        self._app = app
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or scope["method"] in SAFE or self._may(scope):
            await self._app(scope, receive, send)
            return
        await drain(receive)
        await problem(403, "Origin: expected a page of this server; --cors-origin allows others")(scope, receive, send)

    def _may(self, scope: Scope) -> bool:
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin-1")
        if not origin or origin in self._origins or "*" in self._origins:
            return True
        host = headers.get(b"host", b"").decode("latin-1")
        return bool(urlsplit(origin).netloc.lower() == host.lower())
