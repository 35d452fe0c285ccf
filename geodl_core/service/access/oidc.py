"""Tokens of an OpenID Connect provider: JWTs, verified against the keys that it publishes.

Formats: OpenID Connect Discovery 1.0; JSON Web Token (RFC 7519) and its best practices (RFC 8725); access tokens as
JWT (RFC 9068).
"""

import json
import logging
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from joserfc import jws, jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from geodl_core.errors import CatalogError, InputError
from geodl_core.service.access.scopes import SCOPES

LOG = logging.getLogger("geodl.auth")
ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)
"""Signatures by a key pair alone: with `none` and HMAC whoever verifies could be talked into another key."""
KEY_TYPES = ("RSA", "EC", "OKP")
TYPES = (None, "JWT", "at+jwt", "application/at+jwt")
LEEWAY_S = 30
"""Clocks differ."""
FRESH_S = 3_600.0
"""Keys are asked for again after that."""
PAUSE_S = 30.0
"""Between two questions for keys: whoever sends unknown key ids must not make this server ask all the time."""
TIMEOUT_S = (5, 10)
MOST_BYTES = 1 << 20
LOOPBACK = ("127.0.0.1", "localhost", "::1")
SCOPE_CLAIMS = ("scope", "scp", "roles", "groups")
"""Where providers put what a caller may do; of the values, `geodl:publish` and `geodl.publish` are ours."""
_warnings_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class OidcOptions:
    """Which provider is believed, and for whom its tokens must be made."""

    issuer: str
    audience: str
    allows_http_loopback: bool = False
    """A provider on this machine may be asked without TLS; elsewhere never."""

    def __post_init__(self) -> None:
        _require_safe(self.issuer, self.allows_http_loopback, "--oidc-issuer")
        if not self.audience:
            raise InputError("--oidc-audience: expected the name under which the provider knows this server")


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whose token was verified."""

    name: str
    scopes: tuple[str, ...]


class Issuer:
    """A provider and the keys that it publishes, asked for when they are needed. Threads may share it.

    Args:
        options: which.
        clock: seconds since 1970, of its tokens; and of its keys' age.
    """

    def __init__(self, options: OidcOptions, clock: Callable[[], float]) -> None:
        self._options = options
        self._clock = clock
        self._lock = threading.Lock()
        self._keys = KeySet([])
        self._asked: float | None = None
        self._got: float | None = None

    def verify(self, text: str) -> Bearer | str:
        """Return whose token a JWT is, or why it is not believed.

        Raises:
            CatalogError: the provider's keys are not to be had now.
        """
        registry = JWSRegistry(algorithms=list(ALGORITHMS))
        registry.max_payload_length = 48_000
        registry.max_header_length = 4_000
        try:
            header = jws.extract_compact(text.encode(), registry=registry).headers()
            if header.get("alg") not in ALGORITHMS:
                return f"expected a signature of {', '.join(ALGORITHMS)}, found {str(header.get('alg'))[:20]}"
            if header.get("typ") not in TYPES:
                return f"expected a JWT, found {str(header.get('typ'))[:40]}"
            key = self._key(header.get("kid"))
            if key is None:
                return "signed with a key that the provider does not publish"
            with _quiet_about(header["alg"]):
                claims = jwt.decode(text, key, registry=registry).claims
            self._check(claims)
        except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
            reason = getattr(error, "description", "") or type(error).__name__
            return reason[:200]
        return Bearer(str(claims["sub"])[:200], _scopes(claims))

    def _check(self, claims: Mapping[str, Any]) -> None:
        jwt.JWTClaimsRegistry(
            now=lambda: int(self._clock()),
            leeway=LEEWAY_S,
            iss={"essential": True, "value": self._options.issuer},
            aud={"essential": True, "value": self._options.audience},
            exp={"essential": True},
            sub={"essential": True},
        ).validate(dict(claims))

    def _key(self, kid: Any) -> Any:
        with self._lock:
            now = self._clock()
            is_stale = self._got is None or now - self._got > FRESH_S
            found = self._found(kid)
            if (found is None or is_stale) and (self._asked is None or abs(now - self._asked) >= PAUSE_S):
                self._asked = now
                self._renew(now)
                found = self._found(kid)
            if self._got is None:
                raise CatalogError(f"{self._options.issuer}: the keys of the identity provider are not to be had now")
            return found

    def _found(self, kid: Any) -> Any:
        if kid is None:
            return self._keys.keys[0] if len(self._keys.keys) == 1 else None
        return next((key for key in self._keys.keys if key.kid == kid), None)

    def _renew(self, now: float) -> None:
        """Ask for the keys; those that are there stay in use where the provider does not answer."""
        try:
            self._keys = self._published()
        except (CatalogError, InputError) as error:
            LOG.warning(error.message)
        else:
            self._got = now

    def _published(self) -> KeySet:
        issuer = self._options.issuer
        found = _document(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != issuer:
            raise CatalogError(f"{issuer}: expected its own name in its configuration, found another")
        place = str(found.get("jwks_uri"))
        _require_safe(place, self._options.allows_http_loopback, f"{issuer}: jwks_uri")
        return _key_set(_document(place).get("keys"), issuer)


def _key_set(keys: Any, issuer: str) -> KeySet:
    # Keys of other kinds are none of ours: a symmetric one, published, would let everybody sign.
    ours = [key for key in keys or () if isinstance(key, dict) and key.get("kty") in KEY_TYPES]
    usable = [key for key in ours if key.get("use") in (None, "sig")]
    try:
        return KeySet.import_key_set({"keys": usable})
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise CatalogError(f"{issuer}: expected keys (RFC 7517), found none that can be read") from error


def _scopes(claims: Mapping[str, Any]) -> tuple[str, ...]:
    words: list[str] = []
    for name in SCOPE_CLAIMS:
        value = claims.get(name)
        words += value.split() if isinstance(value, str) else map(str, value if isinstance(value, list) else ())
    return tuple(scope for scope in SCOPES if f"geodl:{scope}" in words or f"geodl.{scope}" in words)


def _document(url: str) -> dict[str, Any]:
    try:
        with requests.get(url, timeout=TIMEOUT_S, allow_redirects=False, stream=True) as answer:
            content = answer.raw.read(MOST_BYTES + 1, decode_content=True)
            if answer.status_code != 200 or len(content) > MOST_BYTES:
                raise CatalogError(f"{url}: expected a JSON document, found an answer {answer.status_code}")
            found = json.loads(content)
    except (requests.RequestException, ValueError, RecursionError, OSError) as error:
        raise CatalogError(f"{url}: the identity provider does not answer ({type(error).__name__})") from error
    if not isinstance(found, dict):
        raise CatalogError(f"{url}: expected a JSON object, found {type(found).__name__}")
    return found


def _require_safe(url: str, allows_http_loopback: bool, about: str) -> None:
    parts = urlsplit(url)
    is_local = allows_http_loopback and parts.scheme == "http" and parts.hostname in LOOPBACK
    if not (parts.scheme == "https" or is_local) or not parts.hostname or parts.username or parts.query:
        raise InputError(f"{about}: expected an https address, found {parts.scheme or 'none'}")


@contextmanager
def _quiet_about(algorithm: str) -> Iterator[None]:
    """Keep quiet that `EdDSA` has got a more exact name (RFC 9864): providers use the old one."""
    if algorithm != "EdDSA":
        yield
        return
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        yield
