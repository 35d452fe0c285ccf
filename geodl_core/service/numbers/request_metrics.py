"""Numbers of the requests: how many, how long, by route, method and status."""

import time

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class RequestNumbers:
    """What is counted of requests.

    Args:
        registry: which hands it out.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.count = Counter("geodl_http_requests_total", "Requests.", ("method", "route", "status"), registry=registry)
        self.seconds = Histogram(
            "geodl_http_request_seconds",
            "Time until an answer began.",
            ("method", "route"),
            buckets=SECONDS,
            registry=registry,
        )


class RequestMetrics:
    """Counts requests by the template of their route: ids in paths would make a series each.

    Args:
        app: what is behind.
        numbers: where to count.
    """

    def __init__(self, app: ASGIApp, numbers: RequestNumbers) -> None:
        self._app = app
        self._numbers = numbers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, spent_s = time.perf_counter(), 500, 0.0

        async def noted(message: Message) -> None:
            nonlocal status, spent_s
            if message["type"] == "http.response.start":
                status, spent_s = message["status"], time.perf_counter() - started
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            method = scope["method"] if scope["method"] in METHODS else "other"
            route = route_of(scope)
            self._numbers.count.labels(method, route, str(status)).inc()
            self._numbers.seconds.labels(method, route).observe(spent_s or time.perf_counter() - started)


def route_of(scope: Scope) -> str:
    """Return the template of the route that answered, `none` where none did."""
    return str(getattr(scope.get("route"), "path", "none"))
