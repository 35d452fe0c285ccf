"""What Secrets Manager keeps: the address of a catalog with its password, and the hashes of tokens."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError

from geodl_core.errors import InputError, RefusedError, StoreError

KEPT_S = 300.0
FRESH_S = 5.0
"""So often tokens are read again because one was shown that is not known: somebody may have made it just now."""
PREFIX = "gdl_"
"""Of geodl's tokens, by which scanners for secrets know one."""


@dataclass(frozen=True, slots=True)
class KnownToken:
    """A token, as its hash and what it is good for."""

    name: str
    sha256: str
    scopes: tuple[str, ...]


def read_secret(client: Any, name: str) -> str:
    """Return a secret's text.

    Args:
        client: boto3's, of Secrets Manager.
        name: or ARN.

    Raises:
        InputError: there is none.
        RefusedError: it may not be read.
        StoreError: Secrets Manager does not answer.
    """
    try:
        return str(client.get_secret_value(SecretId=name)["SecretString"])
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "AccessDeniedException":
            raise RefusedError(
                f"secret {name}: access is refused: expected leave to read it (secretsmanager:GetSecretValue)"
            ) from error
        kind = InputError if code == "ResourceNotFoundException" else StoreError
        raise kind(f"secret {name}: Secrets Manager answers {code}") from error
    except (BotoCoreError, KeyError) as error:
        raise StoreError(f"secret {name}: it cannot be read now ({type(error).__name__})") from error


def catalog_address(text: str) -> str:
    """Return the address of a catalog from a secret: `postgresql://…`, or what RDS keeps of a database, as JSON.

    RDS itself names the database's engine there; such a one is not talked to in the clear.

    Raises:
        InputError: it is neither; the text itself is not told.
    """
    if text.strip().startswith(("postgresql://", "postgres://")):
        return text.strip()
    try:
        told = json.loads(text)
        user, password = (quote(str(told[name]), safe="") for name in ("username", "password"))
        name = told.get("dbname") or told.get("database") or "postgres"
        host = f"{told['host']}:{told.get('port', 5432)}"
        more = "?sslmode=require" if told.get("engine") else ""
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            "the catalog's secret: expected postgresql://… or JSON with username, password, host, port and dbname"
        ) from None
    return f"postgresql://{user}:{password}@{host}/{quote(str(name), safe='')}{more}"


def with_token(url: str, token: str) -> str:
    """Return the address of a STAC API with a token, as `open_catalog` takes it.

    Raises:
        InputError: the token is none; it is not told.
    """
    text = token.strip()
    if not text.isprintable() or not text or " " in text:
        raise InputError("the secret of the STAC API's token: expected a token alone, found something else")
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{quote(text, safe='')}@{rest}"


def catalog_reader(secrets: Callable[[], Any], name: str) -> Callable[[], str]:
    """Return what tells the address of a catalog from its secret, each time anew.

    Args:
        secrets: makes a client of Secrets Manager.
        name: or ARN of the secret.
    """

    def read() -> str:
        if not name:
            raise InputError(
                "expected the secret with the catalog's address, found none", hint="GEODL_CATALOG_SECRET names it"
            )
        return catalog_address(read_secret(secrets(), name))

    return read


def read_tokens(text: str) -> tuple[KnownToken, ...]:
    """Return the tokens of a secret: a JSON list of name, sha256 (hexadecimal) and scopes.

    Raises:
        InputError: it is none; the text itself is not told.
    """
    try:
        return tuple(
            KnownToken(str(entry["name"]), str(entry["sha256"]).lower(), tuple(map(str, entry["scopes"])))
            for entry in json.loads(text)
        )
    except (ValueError, KeyError, TypeError):
        raise InputError("the tokens' secret: expected a JSON list of name, sha256 and scopes") from None


def find_known_token(tokens: tuple[KnownToken, ...], text: str) -> KnownToken | None:
    """Return which token was shown, None for one that is unknown."""
    if not text.startswith(PREFIX) or len(text) > 200:
        return None
    digest = hashlib.sha256(text.encode()).hexdigest()
    return next((token for token in tokens if hmac.compare_digest(token.sha256, digest)), None)


def bearer_of(headers: Mapping[str, str]) -> str | None:
    """Return the token in the header Authorization; None where there is none, empty where it is of another kind."""
    header = next((value for name, value in headers.items() if name.lower() == "authorization"), None)
    if header is None:
        return None
    kind, _, text = header.strip().partition(" ")
    return text.strip() if kind.lower() == "bearer" else ""


def token_reader(secrets: Callable[[], Any], name: str) -> Callable[[bool], tuple[KnownToken, ...]]:
    """Return what tells the tokens of a secret; they are read again after some minutes, so that one can be revoked.

    Asked for them as they are now (True) it reads them after some seconds.

    Args:
        secrets: makes a client of Secrets Manager.
        name: or ARN of the secret; empty where nobody has a token.
    """
    kept: list[tuple[float, tuple[KnownToken, ...]]] = []

    def read(is_fresh: bool) -> tuple[KnownToken, ...]:
        if not name:
            return ()
        if not kept or time.monotonic() - kept[0][0] > (FRESH_S if is_fresh else KEPT_S):
            kept[:] = [(time.monotonic(), read_tokens(read_secret(secrets(), name)))]
        return kept[0][1]

    return read
