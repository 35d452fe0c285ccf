"""Which scope a request needs, by its method and path."""

import re
from collections.abc import Iterable
from typing import Literal, get_args

Scope = Literal["read", "publish", "worker", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
INCLUDED: dict[str, frozenset[str]] = {
    "read": frozenset({"read"}),
    "publish": frozenset({"read", "publish"}),
    "worker": frozenset({"worker"}),
    "admin": frozenset(SCOPES),
}
"""Scope → what whoever has it may do."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN = "open"
"""Of requests that everybody may make, on any server."""

_ALL, _WRITES, _GET = "*", "POST PUT PATCH DELETE", "GET"
RULES: tuple[tuple[str, re.Pattern[str], str], ...] = tuple(
    (methods, re.compile(pattern, re.DOTALL), scope)
    for methods, pattern, scope in (
        (_GET, r"/(healthz|readyz|_mgmt/ping|_mgmt/health)", OPEN),
        # The page itself says nothing: what it shows it asks for, with a token where one is needed.
        (_GET, r"/ui", OPEN),
        (_ALL, r"/leases(/.*)?", "worker"),
        # Addresses of webhooks are as good as passwords.
        (_GET, r"/webhooks(/.*)?", "admin"),
        ("POST", r"/watches(/[^/]+)?/test", "read"),
        (_WRITES, r"/(watches|webhooks|tokens)(/.*)?", "admin"),
        # Searches: they change nothing.
        ("POST", r"/(search|aggregate|aggregations)", "read"),
        ("POST", r"/collections/[^/]+/(aggregate|aggregations)", "read"),
        (_WRITES, r"/collections(/.*)?", "publish"),
        ("POST", r"/publish(/.*)?", "publish"),
        ("POST", r"/processes/[^/]+/execution", "publish"),
        ("POST DELETE", r"/jobs(/.*)?", "publish"),
        (_GET, r"/(search|conformance|queryables|sortables|aggregate|aggregations|metrics|api|api\.html)?", "read"),
        (_GET, r"/(docs/oauth2-redirect|collections-sortables|scans|workers)", "read"),
        (_GET, r"/(collections|processes|jobs|watches|events)(/.*)?", "read"),
    )
)
"""Methods, path, scope; the first that fits counts."""


def rule_for(method: str, path: str) -> str | None:
    """Return the scope that the rules give a request; None where none of them is about it."""
    asked = "GET" if method == "HEAD" else method
    for methods, pattern, scope in RULES:
        if (methods == _ALL or asked in methods.split()) and pattern.fullmatch(path):
            return scope
    return None


def needed_scope(method: str, path: str) -> str:
    """Return the scope that a request needs; `open` where none.

    What no rule is about is either nothing at all or was forgotten: then nobody but an administrator may change
    anything by it.
    """
    return rule_for(method, path) or ("read" if method in SAFE else "admin")


def granted(scopes: Iterable[str]) -> frozenset[str]:
    """Return everything that these scopes allow."""
    return frozenset(each for scope in scopes for each in INCLUDED.get(scope, ()))
