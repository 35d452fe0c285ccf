"""Tokens: made, listed, revoked, recognised. The ledger keeps a hash of each; the token itself is shown once."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from geodl_core.errors import InputError
from geodl_core.service.access.scopes import SCOPES
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.tables import METADATA

PREFIX = "gdl_"
"""By which scanners for secrets know one in a repository or a log."""
TOKEN_BYTES = 32
"""256 bits at random need no slow hash: nobody can try them all."""
USE_S = 3_600.0
"""`last_used` is no finer than that."""

TOKENS = sa.Table(
    "tokens",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False, unique=True),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("expires", sa.Float),
    sa.Column("last_used", sa.Float),
)


@dataclass(frozen=True, slots=True)
class Token:
    """A token as the ledger knows it. Times are seconds since 1970."""

    id: str
    name: str
    scopes: tuple[str, ...]
    digest: str
    """SHA-256, hexadecimal."""
    created: float
    expires: float | None
    last_used: float | None
    """To the hour."""


def prepare_tokens(ledger: Ledger) -> None:
    """Make the table where it is missing."""
    with ledger.reading() as connection:
        is_there = sa.inspect(connection).has_table(TOKENS.name)
    if not is_there:
        with ledger.writing() as connection:
            TOKENS.create(connection, checkfirst=True)


def add_token(ledger: Ledger, name: str, scopes: tuple[str, ...], expires: float | None = None) -> tuple[str, Token]:
    """Make a token; return it as it is shown, which happens now or never, and what the ledger keeps of it.

    Args:
        ledger: where.
        name: of who will have it; no two tokens have the same.
        scopes: what it is good for.
        expires: seconds since 1970.

    Raises:
        InputError: a name that is taken or empty, no scope, or one that there is not.
    """
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise InputError(f"token {name}: expected scopes of {', '.join(SCOPES)}, found {', '.join(unknown) or 'none'}")
    if not name.strip() or not name.isprintable() or len(name) > 100:
        raise InputError("token: expected a name of 1 to 100 printable characters")
    text = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    now = ledger.clock()
    token = Token(secrets.token_hex(4), name, tuple(dict.fromkeys(scopes)), digest_of(text), now, expires, None)
    prepare_tokens(ledger)
    with ledger.writing() as connection:
        if connection.execute(sa.select(TOKENS.c.id).where(TOKENS.c.name == name)).first():
            raise InputError(f"token {name}: there is one of this name", hint="revoke it, or take another name")
        connection.execute(TOKENS.insert().values(**_row(token)))
    return text, token


def list_tokens(ledger: Ledger) -> list[Token]:
    """Return all tokens, by name."""
    prepare_tokens(ledger)
    with ledger.reading() as connection:
        return [_token(row) for row in connection.execute(sa.select(TOKENS).order_by(TOKENS.c.name)).mappings()]


def revoke_token(ledger: Ledger, name: str) -> Token:
    """Forget a token by its name or id: from now on it opens nothing.

    Raises:
        InputError: there is none.
    """
    prepare_tokens(ledger)
    is_meant = (TOKENS.c.name == name) | (TOKENS.c.id == name)
    with ledger.writing() as connection:
        row = connection.execute(sa.select(TOKENS).where(is_meant)).mappings().first()
        if row is None:
            raise InputError(f"no token {name}", hint="geodl token list shows them")
        connection.execute(TOKENS.delete().where(TOKENS.c.id == row["id"]))
        return _token(row)


def find_token(ledger: Ledger, text: str) -> Token | None:
    """Return what a token that was shown stands for; None for one that is unknown, revoked or past its time."""
    if not text.startswith(PREFIX) or len(text) > 200:
        return None
    digest = digest_of(text)
    with ledger.reading() as connection:
        row = connection.execute(sa.select(TOKENS).where(TOKENS.c.digest == digest)).mappings().first()
    if row is None or not hmac.compare_digest(str(row["digest"]), digest):
        return None
    token = _token(row)
    return None if token.expires is not None and token.expires <= ledger.clock() else token


def note_uses(ledger: Ledger, used: Mapping[str, float]) -> int:
    """Write down when tokens were used last, where that is an hour or more after what is written; return how many.

    Args:
        ledger: where.
        used: id → seconds since 1970.
    """
    changed = 0
    if not used:
        return changed
    with ledger.writing() as connection:
        for token_id, at in used.items():
            is_old = TOKENS.c.last_used.is_(None) | (TOKENS.c.last_used <= at - USE_S)
            change = TOKENS.update().where(TOKENS.c.id == token_id, is_old).values(last_used=at // USE_S * USE_S)
            changed += connection.execute(change).rowcount
    return changed


def is_jwt(text: str) -> bool:
    """Say whether a text has the form of a signed JWT."""
    return text.startswith("eyJ") and text.count(".") == 2


def digest_of(text: str) -> str:
    """Return the hash by which the ledger knows a token."""
    return hashlib.sha256(text.encode()).hexdigest()


def _row(token: Token) -> dict[str, object]:
    names = ("id", "name", "digest", "created", "expires", "last_used")
    return {name: getattr(token, name) for name in names} | {"scopes": " ".join(token.scopes)}


def _token(row: sa.RowMapping) -> Token:
    return Token(**{**row, "scopes": tuple(row["scopes"].split())})
