"""How often one caller may ask: budgets of their own for reading and for writing."""

import math
import time
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.types import ASGIApp, Receive, Scope, Send

from geodl_core.catalog.api.middleware import drain
from geodl_core.catalog.api.responses import problem
from geodl_core.service.access.scopes import OPEN, SAFE, needed_scope


@dataclass(frozen=True, slots=True)
class Rates:
    """Requests a minute from one token or address; 0 does not limit."""

    reads: int = 6_000
    writes: int = 3_000


class Budgets:
    """Who has asked how often. Of several servers on one database each keeps its own.

    Args:
        rates: what is allowed.
    """

    def __init__(self, rates: Rates) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._items = {
            kind: RateLimitItemPerMinute(amount)
            for kind, amount in (("read", rates.reads), ("write", rates.writes))
            if amount > 0
        }

    def spend(self, kind: str, who: str) -> int | None:
        """Count a request; return None where it may be answered, else after how many seconds to try again."""
        item = self._items.get(kind)
        if item is None or self._limiter.hit(item, kind, who):
            return None
        reset = self._limiter.get_window_stats(item, kind, who).reset_time
        return max(1, math.ceil(reset - time.time()))


class RateLimit:
    """Refuses requests beyond a caller's budget with 429 and `Retry-After` (RFC 6585).

    Args:
        app: what is behind.
        budgets: shared with what refuses requests before.
        is_proxied: whether a proxy in front says where a request comes from.
    """

    def __init__(self, app: ASGIApp, budgets: Budgets, is_proxied: bool) -> None:
        self._app = app
        self._budgets = budgets
        self._is_proxied = is_proxied

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or needed_scope(scope["method"], scope["path"]) == OPEN:
            await self._app(scope, receive, send)
            return
        who = scope["caller"].name if "caller" in scope else address_of(scope, self._is_proxied)
        wait_s = self._budgets.spend(kind_of(scope), who)
        if wait_s is None:
            await self._app(scope, receive, send)
            return
        await drain(receive)
        await too_many(wait_s)(scope, receive, send)


def kind_of(scope: Scope) -> str:
    """Return from which budget a request is taken; searches by POST are reads, and so is what workers say."""
    is_read = scope["method"] in SAFE or needed_scope(scope["method"], scope["path"]) in ("read", "worker")
    return "read" if is_read else "write"


def too_many(wait_s: int) -> ASGIApp:
    """Return the answer to one request too many."""
    return problem(429, f"too many requests: try again in {wait_s} s", {"Retry-After": str(wait_s)})


def address_of(scope: Scope, is_proxied: bool) -> str:
    """Return where a request comes from: a network of 2⁶⁴ addresses counts as one, since one caller has as many."""
    said = scope["client"][0] if scope.get("client") else "unknown"
    if is_proxied:
        # The last entry is the proxy's own word; those before it anybody may have written.
        headers = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
        said = headers[-1].rpartition(",")[2].strip() if headers else said
    try:
        address = ip_address(said)
    except ValueError:
        return said[:60]
    return said if address.version == 4 else str(ip_network(f"{said}/64", strict=False))
