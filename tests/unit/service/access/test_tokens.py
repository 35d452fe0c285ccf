"""Tokens in the ledger."""

import re
import sqlite3

import pytest

from geodl_core.errors import InputError
from geodl_core.service.access.tokens import (
    add_token,
    digest_of,
    find_token,
    is_jwt,
    list_tokens,
    note_uses,
    revoke_token,
)
from geodl_core.service.ledger.database import Ledger
from ledgers import DAY_S, Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(tmp_path, clock):
    with Ledger(str(tmp_path / "catalog.db"), clock=clock) as opened:
        yield opened


def test_a_token_is_known_until_it_is_revoked(ledger):
    """What was made is found by its text alone, with its scopes; once revoked it is nothing."""
    text, made = add_token(ledger, "ci", ("publish", "publish"))
    assert re.fullmatch(r"gdl_[\w-]{43}", text)
    found = find_token(ledger, text)
    assert (found, found.scopes) == (made, ("publish",))
    for other in (text[:-1], text + "A", text.upper(), "", "gdl_", made.digest, made.id):
        assert find_token(ledger, other) is None
    assert revoke_token(ledger, "ci") == made
    assert find_token(ledger, text) is None
    assert list_tokens(ledger) == []


def test_the_database_holds_no_token(ledger, tmp_path):
    """Whoever reads the database's file finds a hash, and nothing that opens a server."""
    text, made = add_token(ledger, "ci", ("admin",))
    connection = sqlite3.connect(tmp_path / "catalog.db")
    dump = "\n".join(connection.iterdump())
    connection.close()
    assert made.digest in dump
    assert text not in dump
    assert text.removeprefix("gdl_") not in dump
    assert made.digest == digest_of(text)


def test_tokens_expire(ledger, clock):
    """A token is good until its time, and not a second longer."""
    text, _ = add_token(ledger, "ci", ("read",), clock.now + 90 * DAY_S)
    clock.wait(90 * DAY_S - 1)
    assert find_token(ledger, text)
    clock.wait(1)
    assert find_token(ledger, text) is None
    assert [one.name for one in list_tokens(ledger)] == ["ci"]


def test_uses_are_written_to_the_hour(ledger, clock):
    """When a token was used last is written once an hour at most, as the hour, so that it tells little."""
    _, made = add_token(ledger, "ci", ("read",))
    start = clock.now
    assert note_uses(ledger, {made.id: start + 10}) == 1
    assert note_uses(ledger, {made.id: start + 3_000, "gone": start}) == 0
    assert list_tokens(ledger)[0].last_used == start // 3_600 * 3_600
    assert note_uses(ledger, {made.id: start + 7_300}) == 1
    assert note_uses(ledger, {}) == 0


def test_wrong_tokens_are_refused(ledger):
    """Names are unique and plain; scopes are those that there are."""
    add_token(ledger, "ci", ("read",))
    for name, scopes in (("ci", ("read",)), ("", ("read",)), ("a\nb", ("read",)), ("x" * 101, ("read",))):
        with pytest.raises(InputError):
            add_token(ledger, name, scopes)
    for scopes in ((), ("root",), ("read", "open")):
        with pytest.raises(InputError, match="expected scopes"):
            add_token(ledger, "other", scopes)
    with pytest.raises(InputError, match="no token other"):
        revoke_token(ledger, "other")
    assert [one.name for one in list_tokens(ledger)] == ["ci"]


def test_two_processes_share_tokens(ledger, tmp_path):
    """A token that one process makes is known to another that had the ledger open before."""
    with Ledger(str(tmp_path / "catalog.db")) as other:
        text, _ = add_token(ledger, "ci", ("read",))
        assert find_token(other, text).name == "ci"
        revoke_token(other, "ci")
        assert find_token(ledger, text) is None


def test_what_looks_like_a_jwt():
    """A JWT is three parts, the first an encoded JSON object."""
    assert is_jwt("eyJhbGciOiJSUzI1NiJ9.e30.x")
    for text in ("eyJhbGciOiJSUzI1NiJ9", "gdl_abc", "a.b.c", ""):
        assert not is_jwt(text)
