"""Who may do what: bearer tokens and JWTs, checked before a request reaches any route (RFC 6750)."""

import threading
from base64 import b64decode
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from geodl_core.catalog.api.middleware import drain
from geodl_core.catalog.api.responses import problem
from geodl_core.errors import UnavailableError
from geodl_core.service.access.rates import Budgets, address_of, too_many
from geodl_core.service.access.scopes import OPEN, granted, needed_scope
from geodl_core.service.access.tokens import PREFIX, find_token, is_jwt, note_uses
from geodl_core.service.ledger.database import Ledger

if TYPE_CHECKING:
    from geodl_core.service.access.oidc import Issuer

REALM = 'Bearer realm="geodl"'


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as far as a token says it."""

    name: str
    """`token:NAME` or `oidc:SUBJECT`."""
    scopes: frozenset[str]
    """Everything that the caller may do."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a server asks of its callers."""

    is_private: bool = False
    """Reading needs a token too."""
    is_proxied: bool = False
    """A proxy in front says where requests come from."""


class TokenUse:
    """Remembers when tokens were used, until it is written down; a request must not wait for that."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used: dict[str, float] = {}

    def feed(self, token_id: str, at: float) -> None:
        """Note a use."""
        with self._lock:
            self._used[token_id] = at

    def flush(self, ledger: Ledger) -> int:
        """Write down what was noted; return how many tokens that changed."""
        with self._lock:
            used, self._used = self._used, {}
        return note_uses(ledger, used)


@dataclass(frozen=True, slots=True)
class Gate:
    """By what callers are recognised."""

    ledger: Ledger
    rules: Rules
    use: TokenUse
    issuer: "Issuer | None" = None
    budgets: Budgets | None = None
    """From which requests with wrong tokens are taken, by address."""


class Authentication:
    """Lets a request through if its token allows what it asks for, or if it needs none.

    Args:
        app: what is behind.
        gate: by what callers are recognised.
    """

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        needed = needed_scope(scope["method"], scope["path"]) if scope["type"] == "http" else OPEN
        if needed == OPEN:
            await self._app(scope, receive, send)
            return
        refusal = await self._refusal(scope, needed)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        await drain(receive)
        await refusal(scope, receive, send)

    async def _refusal(self, scope: Scope, needed: str) -> ASGIApp | None:
        """Return why a request is not let through; None where it is, with `caller` in its scope if it has one."""
        if _has_token_in_url(scope):
            return problem(400, "expected the token in the header Authorization, found it in the URL: revoke it")
        text = _token_of(scope)
        if text is None:
            return None if needed == "read" and not self._gate.rules.is_private else _unknown(None)
        try:
            found = await run_in_threadpool(recognise, self._gate, text)
        except UnavailableError as error:
            return problem(503, error.message, {"Retry-After": "5"})
        if isinstance(found, str):
            budgets = self._gate.budgets
            wait_s = budgets.spend("read", address_of(scope, self._gate.rules.is_proxied)) if budgets else None
            return _unknown(found) if wait_s is None else too_many(wait_s)
        scope["caller"] = found
        is_allowed = needed in found.scopes or (needed == "read" and not self._gate.rules.is_private)
        return None if is_allowed else _not_enough(needed)


def recognise(gate: Gate, text: str) -> Caller | str:
    """Return whose token a text is, or why it is not believed.

    Raises:
        UnavailableError: the ledger or the identity provider does not answer.
    """
    if gate.issuer is not None and is_jwt(text):
        found = gate.issuer.verify(text)
        return found if isinstance(found, str) else Caller(f"oidc:{found.name}", granted(found.scopes))
    token = find_token(gate.ledger, text)
    if token is None:
        return "unknown, revoked or past its time"
    gate.use.feed(token.id, gate.ledger.clock())
    return Caller(f"token:{token.name}", granted(token.scopes))


def _token_of(scope: Scope) -> str | None:
    """Return the token in the header; the empty text where the header is there and holds none.

    It may be the password of Basic authentication too, which is all that some senders of events know.
    """
    found = [value for name, value in scope["headers"] if name == b"authorization"]
    if not found:
        return None
    header: str = found[0].decode("latin-1")
    kind, _, text = header.strip().partition(" ")
    if len(found) > 1 or kind.lower() not in ("bearer", "basic"):
        return ""
    if kind.lower() == "bearer":
        return text.strip()
    try:
        return b64decode(text.strip(), validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


def _has_token_in_url(scope: Scope) -> bool:
    """Say whether the query holds what could open something: URLs end in logs. `token` itself names pages in STAC."""
    pairs = parse_qsl(scope["query_string"].decode("latin-1"))
    return any(name == "access_token" or value.startswith(PREFIX) or is_jwt(value) for name, value in pairs)


def _unknown(why: str | None) -> Response:
    if why is None:
        said, header = "expected a token in the header Authorization: Bearer …, found none", REALM
    else:
        quoted = "".join(letter for letter in why if letter.isascii() and letter.isprintable() and letter not in '"\\')
        said, header = f"the token is not believed: {why}", f'{REALM}, error="invalid_token"'
        header += f', error_description="{quoted}"'
    return problem(401, said, {"WWW-Authenticate": header})


def _not_enough(needed: str) -> Response:
    header = f'{REALM}, error="insufficient_scope", scope="{needed}"'
    return problem(403, f"the token lacks the scope {needed}", {"WWW-Authenticate": header})
