"""Tokens of a deployment: made, listed, forgotten, in the secret that its functions read."""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from geodl_core.aws.site.account import account_errors
from geodl_core.aws.site.clients import client
from geodl_core.aws.site.secrets import KnownToken, read_tokens
from geodl_core.aws.site.stack import Stack
from geodl_core.errors import AbsentError, InputError, UnavailableError
from geodl_core.service.access.scopes import SCOPES
from geodl_core.service.access.tokens import PREFIX, TOKEN_BYTES, digest_of

MOST_NAME = 100
CURRENT, NEXT = "AWSCURRENT", "geodl-next"
"""Labels of versions of the secret; the second one marks what is about to become the first."""
MOST_TRIES = 5
"""Of others who change the secret at the same moment."""

Tokens = tuple[KnownToken, ...]


@dataclass(frozen=True, slots=True)
class _Version:
    """The secret as it was read."""

    id: str | None
    """None where it has no value yet."""
    tokens: Tokens


def list_secret_tokens(stack: Stack) -> list[KnownToken]:
    """Return a deployment's tokens, by name.

    Raises:
        InputError: it has no secret for them, or that may not be read.
        UnavailableError: Secrets Manager does not answer.
    """
    return sorted(_read(client("secretsmanager"), _secret(stack)).tokens, key=lambda token: token.name)


def add_secret_token(stack: Stack, name: str, scopes: tuple[str, ...]) -> str:
    """Make a token; return it as it is shown, which happens now or never: the secret keeps its hash.

    Raises:
        InputError: a name that is taken or none, a scope that there is not, or the secret may not be written.
        UnavailableError: Secrets Manager does not answer.
    """
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise InputError(f"token {name}: expected scopes of {', '.join(SCOPES)}, found {', '.join(unknown) or 'none'}")
    if not name.strip() or not name.isprintable() or len(name) > MOST_NAME:
        raise InputError(f"token: expected a name of 1 to {MOST_NAME} printable characters")
    text = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    token = KnownToken(name, digest_of(text), tuple(dict.fromkeys(scopes)))

    def added(tokens: Tokens) -> Tokens:
        if any(one.name == name for one in tokens):
            raise InputError(f"token {name}: there is one of this name", hint="--remove it, or take another name")
        return (*tokens, token)

    _change(stack, added)
    return text


def remove_secret_token(stack: Stack, name: str) -> None:
    """Forget a token: some minutes later it opens nothing.

    Raises:
        InputError: there is none of this name, or the secret may not be written.
        UnavailableError: Secrets Manager does not answer.
    """

    def without(tokens: Tokens) -> Tokens:
        left = tuple(one for one in tokens if one.name != name)
        if len(left) == len(tokens):
            raise AbsentError(f"no token {name}", hint="geodl aws token --list shows them")
        return left

    _change(stack, without)


def _change(stack: Stack, change: Callable[[Tokens], Tokens]) -> None:
    """Write the secret anew, unless somebody else did since it was read: then it is read again."""
    manager, name = client("secretsmanager"), _secret(stack)
    for _ in range(MOST_TRIES):
        before = _read(manager, name)
        tokens = change(before.tokens)
        text = json.dumps([{"name": one.name, "sha256": one.sha256, "scopes": list(one.scopes)} for one in tokens])
        with account_errors("secret of tokens"):
            if before.id is None:
                manager.put_secret_value(SecretId=name, SecretString=text)
                return
            made = manager.put_secret_value(SecretId=name, SecretString=text, VersionStages=[NEXT])["VersionId"]
            try:
                # Refused where the label is no longer at the version that was read.
                manager.update_secret_version_stage(
                    SecretId=name, VersionStage=CURRENT, MoveToVersionId=made, RemoveFromVersionId=before.id
                )
            except ClientError as error:
                if error.response["Error"]["Code"] not in ("InvalidParameterException", "InvalidRequestException"):
                    raise
                continue
            return
    raise UnavailableError("secret of tokens: others change it all the time", hint="try again")


def _read(manager: Any, name: str) -> _Version:
    with account_errors("secret of tokens"):
        try:
            told = manager.get_secret_value(SecretId=name, VersionStage=CURRENT)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            manager.describe_secret(SecretId=name)
            return _Version(None, ())
    text = str(told.get("SecretString") or "").strip()
    return _Version(str(told["VersionId"]), read_tokens(text) if text else ())


def _secret(stack: Stack) -> str:
    if not stack.tokens_secret:
        raise InputError(f"stack {stack.name}: it has no secret for tokens (output TokensSecret)")
    return stack.tokens_secret
