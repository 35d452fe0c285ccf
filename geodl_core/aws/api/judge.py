"""Who may do what over HTTP: by a token of geodl's, or by what API Gateway itself has found out of the caller."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from geodl_core.aws.site.secrets import PREFIX, KnownToken, bearer_of, find_known_token
from geodl_core.service.access.scopes import INCLUDED, granted

REALM = 'Bearer realm="geodl"'
Tokens = Callable[[bool], tuple[KnownToken, ...]]
"""Returns what is known of tokens; True asks for those of now."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered."""

    status: int
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)


def judge(tokens: Tokens, event: Mapping[str, Any], headers: Mapping[str, str], needed: str) -> Refusal | None:
    """Return why a request may not be answered, None where it may.

    Args:
        tokens: known ones.
        event: of API Gateway, payload format 2.0; empty where there is none.
        headers: of the request.
        needed: scope.

    Raises:
        UnavailableError: tokens cannot be read now.
    """
    authorizer = (event.get("requestContext") or {}).get("authorizer")
    if isinstance(authorizer, Mapping) and needed in granted(gateway_scopes(authorizer)):
        return None
    text = bearer_of(headers)
    if text is None:
        said = "expected a token in the header Authorization: Bearer …, found none"
        return Refusal(401, said, {"WWW-Authenticate": REALM})
    found = find_known_token(tokens(False), text)
    if found is None and text.startswith(PREFIX):
        found = find_known_token(tokens(True), text)
    if found is None:
        return Refusal(401, "the token is not known", {"WWW-Authenticate": f'{REALM}, error="invalid_token"'})
    if needed in granted(found.scopes):
        return None
    header = f'{REALM}, error="insufficient_scope", scope="{needed}"'
    return Refusal(403, f"the token lacks the scope {needed}", {"WWW-Authenticate": header})


def gateway_scopes(authorizer: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what an authorizer of API Gateway allows: everything whom IAM let in, else what its token names.

    Source: "Working with AWS Lambda proxy integrations for HTTP APIs", payload format 2.0: `authorizer` has `iam`,
    `jwt` with claims and scopes, or `lambda` with what the function of one's own tells (here: `scopes`).
    """
    if authorizer.get("iam"):
        return ("admin",)
    jwt, own = authorizer.get("jwt") or {}, authorizer.get("lambda") or {}
    told = [*_words(jwt.get("scopes")), *_words((jwt.get("claims") or {}).get("scope")), *_words(own.get("scopes"))]
    return tuple(scope for scope in told if scope in INCLUDED)


def _words(told: Any) -> list[str]:
    return told.split() if isinstance(told, str) else [str(one) for one in told or ()]
